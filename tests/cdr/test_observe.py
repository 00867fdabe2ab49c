"""The processes' own log: one line an event, whoever says it, and a logger made early follows what is set later."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest

from sipsvc.observe import configure

SPEAK = """
import logging, sys
from sipsvc.observe import configure, get_logger
log = get_logger("test")
configure(*sys.argv[1:])
log.info("quiet")
log.warning("seen", number=7, raw=b"\\xff")
logging.getLogger("library").warning("said %s", "this")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broke")
"""


def said(level: str, form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SPEAK, level, form], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    seen, library, broke = (orjson.loads(line) for line in said("warning", "json"))
    assert (seen["event"], seen["level"], seen["room"], seen["number"]) == ("seen", "warning", "test", 7)
    assert seen["time"].endswith("Z")
    assert (library["event"], library["logger"]) == ("said this", "library")
    assert "ZeroDivisionError" in broke["exception"]


def test_console_is_for_the_eye() -> None:
    lines = said("info", "console")
    assert "quiet" in lines[0]
    assert "seen" in lines[1]
    assert "said this" in lines[2]
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(("level", "form", "word"), [("loud", "json", "loud"), ("info", "xml", "xml")])
def test_what_cannot_be_set_is_named(level: str, form: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        configure(level, form)
