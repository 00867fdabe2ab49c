"""Draws the messages of one call as a ladder: caller, sipsvc, gateways."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sipsvc.demo.agent import Message, Seen

WIDTH = 36


def label(message: Message) -> str:
    """`INVITE 1001442079460018` or `407 Proxy Authentication Required`."""
    if message.status:
        return message.start.removeprefix("SIP/2.0 ")
    found = re.match(r"sips?:([^@;]+)@", message.uri)
    return f"{message.method} {found[1]}" if found and message.method in ("INVITE", "CANCEL") else message.method


def arrow(text: str, *, right: bool) -> str:
    text = text if len(text) <= WIDTH - 8 else text[: WIDTH - 9] + "…"
    line = f" {text} ".center(WIDTH - 2, "-")
    return f"{line}->" if right else f"<-{line}"


def draw(seen: Iterable[Seen], caller: str) -> list[str]:
    """Lines of the ladder, a millisecond stamp in front of each. `caller` is the name of the left column."""
    rows = sorted(seen, key=lambda one: one.at)
    blank = " " * WIDTH
    lines = [f"{'ms':>7}  {'caller':<{WIDTH}} {'sipsvc':<{WIDTH}} gateway"]
    for one in rows:
        at = f"{(one.at - rows[0].at) * 1000:7.0f}"
        if one.who == caller:
            lines.append(f"{at}  |{arrow(label(one.message), right=one.sent)}|{blank}|")
        else:
            lines.append(f"{at}  |{blank}|{arrow(label(one.message), right=not one.sent)}| {one.who}")
    return lines
