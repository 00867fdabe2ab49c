"""The fuzzer itself: it begins without a finding, it finds what is planted, and its judge is no fool."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import seeds, target
from tests.fuzz.__main__ import CORPUS, ROOT
from tests.fuzz.check import wrong
from tests.fuzz.target import Finding, framed, untouched
from tests.unit.wire import Wire, request


def fuzz(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


@pytest.mark.rule("SIP-3", "SIP-5")
def test_nothing_is_found_in_a_short_run() -> None:
    code, said = fuzz("--runs", "600", "--seed", "1")
    summary = re.fullmatch(r"executions (\d+), edges (\d+), findings 0", said.strip().splitlines()[-1])
    assert code == 0, said
    assert summary is not None
    assert int(summary[1]) >= 600
    assert int(summary[2]) > 800


@pytest.mark.rule("SIP-5")
def test_a_planted_bug_is_found_and_can_be_seen_again() -> None:
    code, said = fuzz("--runs", "20000", "--seed", "2", "--plant")
    assert code == 0, said
    assert "headers changed on the way" in said
    assert said.strip().splitlines()[-1].endswith("findings 1")
    again = re.search(r"^again: \S+ -m tests\.fuzz (\S+) --plant$", said, re.MULTILINE)
    assert again is not None
    code, said = fuzz(again[1], "--plant")
    assert code != 0
    assert "Finding: headers changed on the way" in said
    assert fuzz(again[1])[0] == 0
    Path(again[1]).unlink()


@pytest.mark.rule("SIP-3", "SIP-5")
def test_no_seed_and_no_input_of_the_corpus_shows_a_bug(tmp_path: Path) -> None:
    assert seeds.write(tmp_path) > 70
    for file in (*sorted(tmp_path.iterdir()), *sorted(CORPUS.iterdir())):
        target.run(file.read_bytes())


def test_a_seed_reaches_a_whole_call() -> None:
    wire = target.Judged()
    for packet in seeds.calls()["call"].split(target.DIVIDER):
        target.give(wire, packet[:1], packet[1:])
    kinds = [record["kind"] for record in wire.records]
    assert (kinds[0], kinds[-1], set(kinds)) == ("start", "end", {"start", "answer", "end"})


(GOOD,) = [sent.data for sent in Wire().give(request(body=b"abc")) if sent.what == "INVITE"]
BAD = {
    "a bare CR or LF, or a NUL": GOOD.replace(b"Ann", b"A\nn"),
    "a line that is no header": GOOD.replace(b"Contact:", b"Contact"),
    "no call-id": GOOD.replace(b"Call-ID:", b"Call-IX:"),
    "a bad first line": GOOD.replace(b" SIP/2.0\r\n", b"  SIP/2.0\r\n", 1),
    "from twice": GOOD.replace(b"From:", b"f: <sip:a@b>\r\nFrom:"),
    "a wrong content-length": GOOD[:-1],
    "a bad from": GOOD.replace(b'"Ann"', b"Ann, B"),
    "a bad to": GOOD.replace(b"To: <", b"To: <<"),
    "a bad via": GOOD.replace(b"Via: SIP/2.0/UDP 192", b"Via: SIP/2.0/ 192"),
    "a bad call-id": GOOD.replace(b"Call-ID: call-1", b"Call-ID: call 1"),
    "a bad cseq": GOOD.replace(b"CSeq: 1 ", b"CSeq: x "),
    "a bad max-forwards": GOOD.replace(b"Max-Forwards: 69", b"Max-Forwards: 256"),
    "no max-forwards": GOOD.replace(b"Max-Forwards: 69\r\n", b""),
    "a cseq of another method": GOOD.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
    "no end of headers": GOOD.partition(b"\r\n\r\n")[0],
}


@pytest.mark.rule("SIP-5")
@pytest.mark.parametrize("fault", BAD)
def test_the_judge_sees(fault: str) -> None:
    assert wrong(GOOD) == ""
    assert wrong(BAD[fault]) == fault


@pytest.mark.rule("SIP-1", "SIP-4")
@pytest.mark.parametrize(
    ("old", "new"), [(b"Contact", b"contact"), (b"\r\nabc", b"\r\nabd"), (b"5062>\r\n", b"5062>\r\nX: 1\r\n")]
)
def test_the_judge_sees_what_changed_on_the_way(old: bytes, new: bytes) -> None:
    came = request("INVITE", "sip:1@h", "Subject: a", body=b"abc")
    untouched(came, GOOD.replace(b"Content-Length", b"Subject: a\r\nContent-Length"))
    with pytest.raises(Finding):
        untouched(came, GOOD.replace(b"Content-Length", b"Subject: a\r\nContent-Length").replace(old, new))


@pytest.mark.rule("SIP-4")
def test_a_stream_is_cut_into_its_messages() -> None:
    first, second = request(body=b"abc"), request("BYE", CSeq="2 BYE")
    assert framed(b"\r\n\r\n" + first + second + b"INV") == ([first, second], None, b"")
    cut = framed(first + second.replace(b"Content-Length: 0", b"Content-Length: x") + first)
    assert (cut.messages, str(cut.fault)) == ([first], "400 Bad Content-Length header")
