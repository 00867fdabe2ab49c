"""One call as the wire, the log and the agents saw it: what the invariants look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.sim.customers import CallerCall
from tests.sim.gateways import GatewayCall
from tests.sim.network import MS
from tests.sim.plain import Plain, guarded
from tests.sim.plan import CallPlan, CustomerSpec, GatewaySpec, Row, Setting
from tests.sim.rim import Logged, Wire
from tests.sim.scenario import PROXIES, Run, is_known
from tests.sim.sipmsg import Msg
from tests.sim.sipua import GIVE_UP

# The engine acts at the instant something comes; only an answer waits, for the disk.
INSTANT = MS
PROVISIONAL_MS = 4_000
# What an address gets at least, where there are two in what a look-up left of that, each by TCP and then by UDP.
LEAST_SHARE_MS = 400
# Why a gateway is passed over that a call could go to otherwise (SIP-27).
PASSED_OVER = ("full", "over_rate")


@dataclass
class Branch:
    """One INVITE the engine sent to a gateway, and what came back on it. `tried` is how that began: the same, or what
    was challenged before."""

    gateway: GatewaySpec
    buy: Row
    first: Wire
    id: str
    tried: Wire
    replies: list[Wire] = field(default_factory=list)

    @property
    def at(self) -> int:
        return self.first.at

    def is_heard(self, msg: Msg) -> bool:
        """Whether it may say this: not a final response of one kind after the other (§17.1.1.2)."""
        said = next((wire.msg.status for wire in self.replies if wire.msg.status >= 200), msg.status)
        return counts(msg) and (msg.status < 200 or (said < 300) == (msg.status < 300))

    def provisionals(self, before: int) -> list[Wire]:
        return [wire for wire in self.replies if wire.msg.status < 200 and wire.order < before]

    def final(self, before: int) -> Wire | None:
        """The first final reply that came before effect `before`."""
        return next((wire for wire in self.replies if wire.msg.status >= 200 and wire.order < before), None)


class CallView:
    """`wires` and `records` are this call's alone, in the engine's order; `wires` as if no gateway challenged."""

    def __init__(self, run: Run, plan: CallPlan, wires: list[Wire], records: list[Logged]) -> None:
        self.run, self.plan, self.records = run, plan, records
        self.plain = Plain(wires, guarded(run.setting))
        self.wires = self.plain.wires
        self.caller: CallerCall = run.callers[plan.call_id]
        self.caller_address = self.caller.agent.seen_at
        self.known = is_known(plan)
        self.lates: list[dict[str, Any]] = []

    def setting_at(self, order: int) -> Setting:
        """What the call was decided on, as far as the log had it by then. A restart may decide it once more."""
        starts = [one.record for one in self.records if one.record["kind"] == "start" and one.order < order]
        return self.run.settings[starts[-1]["directory"]] if starts else self.run.setting

    @cached_property
    def start(self) -> dict[str, Any]:
        """The start record: the last one, where a restart made the call begin once more."""
        return next(one.record for one in reversed(self.records) if one.record["kind"] == "start")

    @cached_property
    def setting(self) -> Setting:
        """What the call was decided on in the end."""
        return self.setting_at(1 << 62)

    @cached_property
    def customer(self) -> CustomerSpec | None:
        """Its customer as it was then."""
        return self.setting.customer(self.plan)

    @cached_property
    def down(self) -> frozenset[str]:
        """The gateways it was decided to pass over because they are down (SIP-34)."""
        if not self.records:
            return frozenset()
        return frozenset(said[0] for what, *said in self.start["trace"] if what == "gateway" and said[1] == "down")

    @cached_property
    def expect(self) -> str:
        """What it must be refused for, by the setting it was decided on."""
        return self.setting.expects(self.plan)

    def report(self, rule: str, text: str, tag: str = "", at: int | None = None) -> None:
        self.run.world.report(rule, self.plan.call_id, text, tag, at)

    @cached_property
    def gateway_calls(self) -> list[GatewayCall]:
        agents = self.run.gateways.values()
        return [call for agent in agents for call in agent.calls if call.invite.call_id == self.plan.call_id]

    def where(self, *, out: bool, caller: bool, method: str = "", request: bool | None = None) -> Iterator[Wire]:
        """This call's messages by direction, side, CSeq method, and whether they are requests."""
        for wire in self.wires:
            if wire.out != out or (wire.peer[0] == self.caller_address[0]) != caller:
                continue
            if (method and wire.msg.method != method) or request is (wire.msg.status > 0):
                continue
            yield wire

    @cached_property
    def invites(self) -> list[Wire]:
        """The caller's INVITE as the engine got it: every copy, with credentials and without."""
        found = self.where(out=False, caller=True, method="INVITE", request=True)
        return [wire for wire in found if not wire.msg.to_tag]

    @cached_property
    def admitted(self) -> Wire | None:
        """The INVITE the engine said its first 100 to: the caller was known by it."""
        trying = next((wire for wire in self.upward if wire.msg.status == 100), None)
        if trying is None:
            return None
        came = [wire for wire in self.invites if wire.order < trying.order and wire.msg.branch == trying.msg.branch]
        return came[-1] if came else None

    @cached_property
    def upward(self) -> list[Wire]:
        """Responses to the caller's first INVITE, in order."""
        branches = {wire.msg.branch for wire in self.invites}
        found = self.where(out=True, caller=True, method="INVITE", request=False)
        return [wire for wire in found if wire.msg.branch in branches]

    @cached_property
    def final(self) -> Wire | None:
        """The first final response to the INVITE that was admitted."""
        if self.admitted is None:
            return None
        branch = self.admitted.msg.branch
        # A refusal that was lost with its server may be followed by another decision on the same request.
        since = max((one.order for one in self.records if one.record["kind"] == "start" and one.life), default=0)
        finals = [wire for wire in self.upward if wire.msg.status >= 200 and wire.msg.branch == branch]
        return next((wire for wire in finals if wire.order > since), finals[0] if finals else None)

    @cached_property
    def over_at(self) -> int:
        """When it ended, by the log."""
        ended = self.records[-1] if self.records and self.records[-1].record["kind"] == "end" else None
        return ended.at if ended is not None else 1 << 62

    @cached_property
    def forgotten_at(self) -> int:
        """From when on the engine need know nothing of it: 64·T1 after its end."""
        return self.over_at + int(GIVE_UP * MS)

    @property
    def final_order(self) -> int:
        return self.final.order if self.final is not None else 1 << 62

    @cached_property
    def cancel(self) -> Wire | None:
        return next(self.where(out=False, caller=True, method="CANCEL", request=True), None)

    @cached_property
    def branches(self) -> list[Branch]:
        """The attempts in the order they were made; a gateway not meant for the call is reported on the way."""
        found: dict[str, Branch] = {}
        for wire in self.where(out=True, caller=False, method="INVITE", request=True):
            if wire.msg.to_tag or wire.msg.branch in found:
                continue
            setting = self.setting_at(wire.order)
            rows = {gateway.id: row for gateway, row in setting.candidates(self.plan)}
            gateway = setting.gateway_at(wire.peer)
            if gateway is None or gateway.id not in rows:
                self.report("hunting-order", f"INVITE to {wire.peer}, which must not get this call")
                continue
            tried = self.plain.began.get(wire.msg.branch, wire)
            found[wire.msg.branch] = Branch(gateway, rows[gateway.id], wire, wire.msg.branch, tried)
        for wire in self.where(out=False, caller=False, method="INVITE", request=False):
            branch = found.get(wire.msg.branch)
            if branch is not None and branch.is_heard(wire.msg):
                branch.replies.append(wire)
        return list(found.values())

    @cached_property
    def answer(self) -> tuple[Branch, Wire] | None:
        """The first 2xx of any branch, if it came before another final response went up (SIP-15)."""
        best: tuple[Branch, Wire] | None = None
        life = self.run.host.life_at
        for branch in self.branches:
            for wire in branch.replies:
                if life(branch.at) != life(wire.at):
                    continue  # nobody is left who knows this branch
                if 200 <= wire.msg.status < 300 and (best is None or wire.order < best[1].order):
                    best = branch, wire
        if best is None:
            return None
        if self.final is not None and self.final.order < best[1].order:
            return None
        return best

    @cached_property
    def end(self) -> Wire | None:
        """The first BYE of the answered dialog, seen or sent; one that was seen dying does not count."""
        if self.answer is None:
            return None
        tag = self.answer[1].msg.to_tag
        host, ended = self.run.host, self.records[-1] if self.records else None
        since = host.deaths[ended.life - 1] if ended is not None and ended.life else 0
        # A BYE that was challenged is one all the same.
        for wire in self.plain.raw:
            msg = wire.msg
            if msg.method == "BYE" and not msg.status and tag in (msg.to_tag, msg.from_tag) and wire.at > since:
                return wire
        return None

    @cached_property
    def fates(self) -> set[str]:
        """What restarts did to it: it was `in set-up`, `up`, had `just ended`."""
        return {self._fate(life, died) for life, died in enumerate(self.run.host.deaths)} - {""}

    def forgets_losers(self, tag: str, at: int) -> bool:
        """Whether the ACK to an answer under `tag` may go without credentials: those of branches that lost are gone
        with the call, and with the server; so are those of a re-INVITE that it died under."""
        if self.answer is not None and tag == self.answer[1].msg.to_tag:
            life = self.run.host.life_at
            sent = [one.at for one in self.where(out=True, caller=False, method="INVITE", request=True) if one.at <= at]
            return bool(sent) and life(sent[-1]) != life(at)
        died = [died for life, died in enumerate(self.run.host.deaths) if self._fate(life, died) == "up"]
        return at > min([self.over_at, *died])

    def _fate(self, life: int, died: int) -> str:
        before = [logged for logged in self.records if logged.life <= life]
        if not before:
            return "in set-up" if self._came_before(died) else ""
        last = before[-1]
        if last.record["kind"] == "start":
            return "in set-up"
        if last.record["kind"] == "answer":
            return "up"
        return "just ended" if died - last.at < int(GIVE_UP * MS) else ""

    def _came_before(self, died: int) -> bool:
        """Whether the caller had been said 100 to, and yet no record stands in the log."""
        return any(wire.msg.status == 100 and wire.at <= died for wire in self.upward)

    def expired(self, branch: Branch) -> bool:
        """Whether its gateway's first word came when the transaction had timed out (timer B), or its last so long after
        the CANCEL that nothing was expected any more (§9.1)."""
        if branch.replies and branch.replies[0].at >= branch.at + int(GIVE_UP * MS) - INSTANT:
            return True
        final = branch.final(1 << 62)
        cancels = self.where(out=True, caller=False, method="CANCEL", request=True)
        cancel = next((wire for wire in cancels if wire.msg.branch == branch.id), None)
        return bool(cancel and final and final.at >= cancel.at + int(GIVE_UP * MS) - INSTANT)

    def given_up(self, branch: Branch) -> bool:
        """Whether its failure came when that was waited for no longer: 64·T1 after its CANCEL (§9.1)."""
        cancels = [wire.at for wire in self.where(out=True, caller=False, method="CANCEL", request=True)
                   if wire.msg.branch == branch.id]  # fmt: skip
        final = branch.final(1 << 62)
        return bool(cancels) and final is not None and final.at >= cancels[0] + int(GIVE_UP * MS) - INSTANT

    def failed(self, branch: Branch) -> bool:
        """Whether the send to this gateway was refused by the network."""
        return branch.first.peer not in self.run.world.net.nodes

    def left_for_silence(self, branch: Branch, at: int, order: int) -> bool:
        shared = branch.gateway.name or (branch.gateway.tcp_if_large and self.plan.large)
        share = LEAST_SHARE_MS if shared else PROVISIONAL_MS
        return not branch.provisionals(order) and at - branch.at >= share * MS

    @cached_property
    def unresolved(self) -> list[tuple[int, str]]:
        """When which gateway's turn was over because its name led nowhere, by the log."""
        end = self.records[-1].record if self.records else {}
        return [(one["started_at"], one["gateway"]) for one in end.get("attempts", ()) if one["left"] == "dns"]

    @cached_property
    def candidates(self) -> list[GatewaySpec]:
        """The gateways it must be tried at, in order; whether those that were full, over their rate or down when it
        came were so, others say."""
        starts = [one.record for one in self.records if one.record["kind"] == "start"]
        trace = starts[-1]["trace"] if starts else ()
        shut = self.down | {said[0] for what, *said in trace if what == "gateway" and said[1] in PASSED_OVER}
        return [gateway for gateway, _ in self.setting.candidates(self.plan) if gateway.id not in shut]

    @cached_property
    def passed_over(self) -> bool:
        """Whether it found a gateway full, or over its rate, when its turn came."""
        end = self.records[-1].record if self.records else {}
        return any(one["left"] in PASSED_OVER for one in end.get("attempts", ()))

    @cached_property
    def by_tcp(self) -> int:
        """How many attempts were made by TCP, and to no avail, because the INVITE is too large for UDP (SIP-6)."""
        end = self.records[-1].record if self.records else {}
        return sum(one["address"].startswith("tcp:") for one in end.get("attempts", ()))

    def blurred(self, branch: Branch) -> bool:
        """Whether it was left for a gateway that had to be looked up, or tried by TCP: when, the wire does not show."""
        others = [one.gateway for one in self.branches[self.branches.index(branch) + 1 :]]
        if others and others[0].name and others[0] is not branch.gateway:
            return True
        candidates = self.candidates
        if not others and branch.gateway in candidates:
            # The last that is seen: the next may have been looked up when all was over.
            following = candidates[candidates.index(branch.gateway) + 1 :]
            if following and (following[0].name or (following[0].tcp_if_large and self.plan.large)):
                return True
        end = self.records[-1].record if self.records else {}
        shown = [on_the_wire(one) for one in end.get("attempts", ())]
        reached = [index for index, there in enumerate(shown) if there]
        number = self.branches.index(branch)
        following = reached[number] + 1 if number < len(reached) else len(shown)
        return following < len(shown) and not shown[following]

    @cached_property
    def turns(self) -> list[str]:
        """The gateways in the order of their turns, whether they were reached at several addresses or at none."""
        tried = [branch.gateway.id for branch in self.branches]
        end = self.records[-1].record if self.records else {}
        logged = end.get("attempts", ())
        # A name that led nowhere shows in the log alone; all else has to be there as it was on the wire.
        if [one["gateway"] for one in logged if on_the_wire(one)] == tried:
            tried = [one["gateway"] for one in logged]
        found: list[str] = []
        for gateway in tried:
            if not found or found[-1] != gateway:
                found.append(gateway)
        return found


def on_the_wire(attempt: dict[str, Any]) -> bool:
    """Whether it is to be seen on the wire here, where there is only UDP."""
    return attempt["left"] not in ("dns", *PASSED_OVER) and not attempt["address"].startswith("tcp:")


def ours(msg: Msg) -> bool:
    """Whether the engine's name stands in the top Via."""
    return any(f" {host}:{port};" in msg.get("via") for host, port in PROXIES)


def counts(response: Msg) -> bool:
    """Whether the engine may take note of it: it is for it, and a 2xx to an INVITE makes a dialog (§12.1.1)."""
    answer = response.method == "INVITE" and 200 <= response.status < 300
    return ours(response) and (bool(response.to_tag) or not answer)
