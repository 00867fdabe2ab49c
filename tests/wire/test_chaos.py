"""`make chaos`, shorter: kills, a database that is away, a log's disk that is full, and no call lost or doubled."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SECONDS = 40
RATE = 20


@pytest.mark.rule("law 8", "law 6")
def test_no_call_is_lost_or_doubled_whatever_fails(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seconds", str(SECONDS), "--rate", str(RATE)],
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout
    assert done.returncode == 0, f"{told}\n{done.stderr}"
    for what in ("killed, and answered", "database was stopped", "disk was filled", "live calls at the end"):
        assert what in told
    heard = re.search(r"answers the callers saw +(\d+)", told)
    assert heard is not None
    assert int(heard[1]) > SECONDS * RATE / 2
    assert "log_full" in told, "the disk was full, and every call admitted"
    with capsys.disabled():
        print(f"\nchaos: {heard[1]} of {SECONDS * RATE} calls answered")
