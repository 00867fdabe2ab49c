"""Compiling rewrite rules with the linear-time engine (SIP-30): the one place that knows RE2."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

GROUP = re.compile(r"\\(?:([1-9][0-9]?)|(.?))", re.DOTALL)


def compile_rule(pattern: str) -> Any:
    """A compiled RE2, for `substitute`. Raises ValueError with why, and where when RE2 says."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0]
        why = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    # RE2 gives no position, but ends its message with the text at fault.
    culprit = why.partition(": ")[2]
    at = pattern.find(culprit) if culprit and culprit != pattern else -1
    raise ValueError(f"{why} (at character {at + 1})" if at >= 0 else why)


def substitute(regex: Any, replacement: str, text: str) -> str:
    """Every match of `regex` replaced. Raises ValueError for a replacement that `check_replacement` would refuse.

    RE2's own `sub` takes an empty match at the end twice, and its `expand` breaks what is not ASCII.
    """
    template, highest = _template(replacement)
    if highest > regex.groups:
        raise ValueError(f"\\{highest}: the pattern has {regex.groups} groups")
    pieces: list[str] = []
    at = 0
    last = (-1, -1)
    for match in regex.finditer(text):
        if match.span() != last:
            last = match.span()
            pieces.append(text[at : last[0]])
            pieces += [part if isinstance(part, str) else match.group(part) or "" for part in template]
            at = last[1]
    return "".join([*pieces, text[at:]])


@lru_cache(maxsize=4_096)
def _template(replacement: str) -> tuple[list[str | int], int]:
    """Texts and numbers of groups in turn, and the highest of these numbers. Raises ValueError."""
    parts: list[str | int] = []
    at = highest = 0
    for found in GROUP.finditer(replacement):
        if found[1] is None:
            raise ValueError(f"{found[0]!r}: only \\1 to \\99 may follow a backslash")
        parts += (replacement[at : found.start()], int(found[1]))
        at, highest = found.end(), max(highest, int(found[1]))
    return [*parts, replacement[at:]], highest


def check_replacement(regex: Any, replacement: str) -> None:
    r"""`\1`..`\99` stand for groups of `regex`; any other backslash is refused. Raises ValueError with why."""
    for found in GROUP.finditer(replacement):
        if found[1] is None:
            raise ValueError(f"{found[0]!r} at character {found.start() + 1}: only \\1 to \\99 may follow a backslash")
        if int(found[1]) > regex.groups:
            raise ValueError(f"\\{found[1]} at character {found.start() + 1}: the pattern has {regex.groups} groups")
