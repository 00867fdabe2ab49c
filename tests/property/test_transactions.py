"""The transaction machines against what the RFCs' prose says, over any sequence of events (SIP-10).

The references below are written from RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1 and §17.2.2, RFC 6026 §7 and RFC 4320 §4,
one `if` a sentence, and know nothing of the tables. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.directory import Timing
from sipsvc.effects import Flow
from sipsvc.message import parse
from sipsvc.transaction.tables import Event
from tests.unit.test_transactions import Bench, Step
from tests.unit.wire import CUSTOMER, GATES, answer, request

T1, T2, T4 = 500, 4_000, 5_000
Script = list[tuple[int, str]]


class Reference:
    """Timers by their letter, and what was sent and told. Subclasses have a method for each timer and event."""

    def __init__(self, method: str, reliable: bool) -> None:
        self.method = method
        self.reliable = reliable
        self.at = 0
        self.state = "first"
        self.timers: dict[str, int] = {}
        self.log: list[Step] = []
        self.resend = T1
        self.begin()

    def begin(self) -> None:
        """What happens at once."""

    def say(self, what: str) -> None:
        self.log.append((self.at, what))

    def set(self, timer: str, span: int) -> None:
        self.timers[timer] = self.at + span

    def end(self) -> None:
        self.state = "terminated"
        self.timers.clear()

    def run_until(self, at: int) -> None:
        while self.timers:
            timer = min(self.timers, key=lambda name: self.timers[name])
            if self.timers[timer] > at:
                break
            self.at = self.timers.pop(timer)
            getattr(self, f"timer_{timer}")()
        self.at = at

    def take(self, event: str) -> None:
        if self.state == "terminated":
            return
        if event.isdigit():
            self.status(int(event))
        else:
            getattr(self, event)()

    def status(self, status: int) -> None:
        raise AssertionError(f"{type(self).__name__} takes no {status}")


class InviteClient(Reference):
    def begin(self) -> None:
        self.say("send INVITE")
        if not self.reliable:
            self.set("a", T1)
        self.set("b", 64 * T1)

    def timer_a(self) -> None:
        self.say("send INVITE")
        self.resend *= 2
        self.set("a", self.resend)

    def timer_b(self) -> None:
        self.say("hear nothing")
        self.end()

    def status(self, status: int) -> None:
        calling = self.state == "first"
        if status < 200 and self.state in ("first", "proceeding"):
            self.state = "proceeding"
            self.say(f"hear {status}")
        elif 200 <= status < 300:
            if self.state in ("first", "proceeding"):
                self.set("m", 64 * T1)
                self.state = "accepted"
            self.say(f"hear {status}")  # in Completed as well, for the proxy's sake (§16.7 step 5)
        elif status >= 300 and self.state in ("first", "proceeding"):
            self.say("send ACK")
            self.say(f"hear {status}")
            self.state = "completed"
            if self.reliable:
                self.end()
            else:
                self.set("d", 64 * T1)
        elif status >= 300 and self.state == "completed":
            self.say("send ACK")
        if calling:
            self.timers.pop("a", None)
            self.timers.pop("b", None)

    def fail(self) -> None:
        if self.state == "first":
            self.say("hear failure")
            self.end()

    timer_d = timer_m = Reference.end


class OtherClient(Reference):
    def begin(self) -> None:
        self.say("send BYE")
        if not self.reliable:
            self.set("e", T1)
        self.set("f", 64 * T1)

    def timer_e(self) -> None:
        self.say("send BYE")
        self.resend = min(self.resend * 2, T2) if self.state == "first" else T2
        self.set("e", self.resend)

    def timer_f(self) -> None:
        self.say("hear nothing")
        self.end()

    def status(self, status: int) -> None:
        if self.state == "completed":
            return
        self.say(f"hear {status}")
        if status < 200:
            self.state = "proceeding"
            return
        self.state = "completed"
        self.timers.clear()
        if self.reliable:
            self.end()
        else:
            self.set("k", T4)

    def fail(self) -> None:
        if self.state != "completed":
            self.say("hear failure")
            self.end()

    timer_k = Reference.end


class InviteServer(Reference):
    last = 0

    def status(self, status: int) -> None:
        if self.state == "accepted" and 200 <= status < 300:
            self.say(f"send {status}")
        if self.state not in ("first", "proceeding"):
            return
        self.last = status
        self.say(f"send {status}")
        if status < 200:
            self.state = "proceeding"
        elif status < 300:
            self.state = "accepted"
            self.set("l", 64 * T1)
        else:
            self.state = "completed"
            if not self.reliable:
                self.set("g", T1)
            self.set("h", 64 * T1)

    def again(self) -> None:
        if self.state in ("proceeding", "completed"):
            self.say(f"send {self.last}")

    def ack(self) -> None:
        if self.state == "completed":
            self.state = "confirmed"
            self.timers.clear()
            if self.reliable:
                self.end()
            else:
                self.set("i", T4)

    def timer_g(self) -> None:
        self.say(f"send {self.last}")
        self.resend = min(self.resend * 2, T2)
        self.set("g", self.resend)

    timer_h = timer_i = timer_l = Reference.end


class OtherServer(Reference):
    last = 0

    def begin(self) -> None:
        span, wait = 0, T1
        while wait < T2:  # until timer E of its client has been reset to T2
            span, wait = span + wait, wait * 2
        self.set("late", span)

    def timer_late(self) -> None:
        if self.state == "first":
            self.status(100)

    def status(self, status: int) -> None:
        if self.state == "completed":
            return
        self.last = status
        self.say(f"send {status}")
        if status < 200:
            self.state = "proceeding"
            return
        self.state = "completed"
        if self.reliable:
            self.end()
        else:
            self.set("j", 64 * T1)

    def again(self) -> None:
        if self.state in ("proceeding", "completed"):
            self.say(f"send {self.last}")

    def abandon(self) -> None:
        if self.state != "completed":
            self.set("patience", 64 * T1)

    timer_j = timer_patience = Reference.end


def script(*events: str) -> st.SearchStrategy[Script]:
    """Events with the time that passes before each, often none or a timer's."""
    pause = st.one_of(st.sampled_from([0, 1, 499, 500, 1_000, 3_500, 4_000, 5_000, 32_000]), st.integers(0, 9_000))
    return st.lists(st.tuples(pause, st.sampled_from(events)), max_size=12)


def client_run(method: str, flow: Flow, steps: Script) -> Bench:
    bench = Bench(Timing())
    ours = request(method, "sip:1@203.0.113.1", Via="SIP/2.0/UDP us;branch=z9hG4bKus")
    client = bench.layer.new_client("z9hG4bKus", method, ours, flow, bench, bench.now)
    for pause, event in steps:
        bench.wait_until(bench.at + pause)
        if event.isdigit():
            response = parse(answer(parse(ours), int(event)))
            found = bench.layer.client_for(response)
            if found is not None:
                found.receive(response, bench.now)
        else:
            bench.layer.failed(client.key, bench.now)
    return bench


def server_run(method: str, flow: Flow, steps: Script) -> Bench:
    bench = Bench(Timing())
    theirs = parse(request(method))
    server = bench.layer.new_server(theirs, flow)
    if method != "INVITE":
        server.await_answer(bench.now)
    for pause, event in steps:
        bench.wait_until(bench.at + pause)
        if event.isdigit():
            server.respond(int(event), answer(theirs, int(event)), bench.now)
        elif event == "ack":
            server.run(Event.ACK, bench.now)
        elif event == "abandon":
            server.abandon(bench.now)
        else:
            server.run(Event.REQUEST, bench.now)
    return bench


Run = Callable[[str, Flow, Script], Bench]


def agree(run: Run, reference: type[Reference], method: str, flow: Flow, steps: Script) -> None:
    """Both say the same at the same times, end or not alike, and leave no timer behind."""
    ours = run(method, flow, steps)
    theirs = reference(method, flow.transport != "UDP")
    for pause, event in steps:
        theirs.run_until(theirs.at + pause)
        theirs.take(event)
    end = theirs.at + 100_000
    ours.wait_until(end)
    theirs.run_until(end)
    assert ours.log == theirs.log
    assert (len(ours.layer) == 0) == (theirs.state == "terminated")
    assert len(ours.heap) == len(theirs.timers) == 0


TRANSPORTS = pytest.mark.parametrize("transport", ["UDP", "TCP"])


@pytest.mark.rule("SIP-10")
@TRANSPORTS
@given(steps=script("100", "180", "200", "299", "302", "486", "503", "603", "fail"))
def test_invite_client(transport: str, steps: Script) -> None:
    agree(client_run, InviteClient, "INVITE", GATES[0]._replace(transport=transport), steps)


@pytest.mark.rule("SIP-10")
@TRANSPORTS
@given(steps=script("100", "180", "200", "404", "500", "fail"))
def test_other_client(transport: str, steps: Script) -> None:
    agree(client_run, OtherClient, "BYE", GATES[0]._replace(transport=transport), steps)


@pytest.mark.rule("SIP-10")
@TRANSPORTS
@given(steps=script("100", "180", "200", "486", "603", "again", "ack"))
def test_invite_server(transport: str, steps: Script) -> None:
    agree(server_run, InviteServer, "INVITE", CUSTOMER._replace(transport=transport), steps)


@pytest.mark.rule("SIP-10")
@TRANSPORTS
@given(steps=script("100", "200", "481", "again"), rest=st.none() | script("again"))
def test_other_server(transport: str, steps: Script, rest: Script | None) -> None:
    # Whoever gave a request up says no more to it.
    whole = steps if rest is None else [*steps, (100, "abandon"), *rest]
    agree(server_run, OtherServer, "BYE", CUSTOMER._replace(transport=transport), whole)
