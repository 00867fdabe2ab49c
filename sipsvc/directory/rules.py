"""Compiling rewrite rules with the linear-time engine (SIP-30): the one place that knows RE2."""

from __future__ import annotations

import re
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
    """Every match of `regex` replaced. RE2's own `sub` takes an empty match at the end twice."""
    pieces: list[str] = []
    at = 0
    last = (-1, -1)
    for match in regex.finditer(text):
        if match.span() != last:
            last = match.span()
            pieces += (text[at : last[0]], match.expand(replacement))
            at = last[1]
    return "".join([*pieces, text[at:]])


def check_replacement(regex: Any, replacement: str) -> None:
    r"""`\1`..`\99` stand for groups of `regex`; any other backslash is refused. Raises ValueError with why."""
    for found in GROUP.finditer(replacement):
        if found[1] is None:
            raise ValueError(f"{found[0]!r} at character {found.start() + 1}: only \\1 to \\99 may follow a backslash")
        if int(found[1]) > regex.groups:
            raise ValueError(f"\\{found[1]} at character {found.start() + 1}: the pattern has {regex.groups} groups")
