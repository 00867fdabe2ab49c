"""Whatever is asked of a session's interval, what is forwarded keeps RFC 4028 §8.1, and reading it never fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import Timing
from sipsvc.message import parse
from sipsvc.proxy.session_timer import Asked, ask, seconds, tell
from tests.unit.wire import request

INTERVALS = st.integers(90, 86_400)
NUMBERS = st.one_of(st.integers(0, 100_000).map(str), st.text("0123456789 ;=\xb2x-", max_size=12))


@pytest.mark.rule("SIP-18", "SIP-3")
@given(
    expires=st.none() | NUMBERS, least=st.none() | NUMBERS, able=st.booleans(),
    min_se=INTERVALS, ours=st.just(0) | INTERVALS,
)  # fmt: skip
def test_the_interval_that_is_forwarded(
    expires: str | None, least: str | None, able: bool, min_se: int, ours: int
) -> None:
    lines = [f"Session-Expires: {expires}"] if expires is not None else []
    lines += [f"Min-SE: {least}"] if least is not None else []
    lines += ["Supported: timer"] if able else []
    uri = "sip:33123456789@192.0.2.1"
    message = parse(request("INVITE", uri, *lines))
    before = parse(request("INVITE", uri, *lines))
    asked = ask(message, Timing(min_se_s=min_se, session_expires_s=max(ours, min_se) if ours else 0))
    said = seconds(before)
    if asked is None:
        # Nothing was asked that we could read, and nothing is asked by us.
        assert message.lines == before.lines
        assert said == 0
        return
    if asked.too_small:
        assert able
        assert 0 < said < asked.too_small == min_se
        return
    forwarded = seconds(message)
    assert forwarded == asked.interval >= min_se
    assert forwarded >= said
    assert able or said
    if said >= min_se:
        assert forwarded == said
    # Nobody beyond us may go below our minimum.
    theirs = message.get("min-se")
    assert min_se <= 90 or (theirs is not None and int(theirs.partition(";")[0]) >= min_se)
    assert message.names.count("session-expires") == 1
    assert message.names.count("min-se") <= 1


@pytest.mark.rule("SIP-18")
@given(interval=INTERVALS, able=st.booleans(), there=st.booleans())
def test_a_2xx_is_completed_once_and_only_for_who_understands_it(interval: int, able: bool, there: bool) -> None:
    lines, names = (["x: 1"], ["session-expires"]) if there else ([], [])
    for _ in range(2):
        tell(Asked(interval, able, 0), lines, names)
    added = able and not there
    assert lines == (["x: 1"] if there else []) + (
        [f"Session-Expires: {interval};refresher=uac", "Require: timer"] if added else []
    )
    assert len(names) == len(lines)
