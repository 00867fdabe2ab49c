"""What is true only now of a call that is to be decided, and how its CDR keeps it (law 4)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from sipsvc.rating import text


class Spent(NamedTuple):
    """What a customer's calls cost in this hour and this day (UTC), those included that go on."""

    hour: Decimal
    day: Decimal


NOWHERE: Mapping[str, int] = {}
NONE: frozenset[str] = frozenset()


class Live(NamedTuple):
    """`channels`, `trunk` and `gateways` are the calls in progress of the customer, of the trunk, and at each gateway
    that has a limit of them, by id; this one is not counted (law 6).

    `closed` is "" or why the server takes no calls at all: `draining`, `log_full`. `over_cps`: the customer has used up
    its calls a second, `over_rate`: so have these gateways, by id; `down`: these answer nobody. `spent` is None for a
    customer without alert or cap. `credit` is the money that is there for its calls, None where nothing limits it;
    `allowance` how many of its package's seconds its trunk has left this month, None where they are not counted.
    """

    channels: int = 0
    closed: str = ""
    trunk: int = 0
    gateways: Mapping[str, int] = NOWHERE
    over_cps: bool = False
    over_rate: frozenset[str] = NONE
    spent: Spent | None = None
    down: frozenset[str] = NONE
    credit: Decimal | None = None
    allowance: int | None = None


def live_facts(live: Live) -> dict[str, Any]:
    """As JSON has it: `channels`, and of the rest what is not as usual."""
    facts: dict[str, Any] = {"channels": live.channels}
    if live.closed:
        facts["closed"] = live.closed
    if live.trunk:
        facts["trunk"] = live.trunk
    if live.gateways:
        facts["gateways"] = dict(live.gateways)
    if live.over_cps:
        facts["over_cps"] = True
    if live.over_rate:
        facts["over_rate"] = sorted(live.over_rate)
    if live.spent is not None:
        facts["spent"] = [text(live.spent.hour), text(live.spent.day)]
    if live.down:
        facts["down"] = sorted(live.down)
    if live.credit is not None:
        facts["credit"] = text(live.credit)
    if live.allowance is not None:
        facts["allowance"] = live.allowance
    return facts


def live_of(facts: Mapping[str, Any]) -> Live:
    """What `live_facts` was made of: a call decided on it again is decided alike."""
    spent, credit = facts.get("spent"), facts.get("credit")
    return Live(
        facts.get("channels", 0),
        facts.get("closed", ""),
        facts.get("trunk", 0),
        facts.get("gateways", NOWHERE),
        facts.get("over_cps", False),
        frozenset(facts.get("over_rate", ())),
        None if spent is None else Spent(*map(Decimal, spent)),
        frozenset(facts.get("down", ())),
        None if credit is None else Decimal(credit),
        facts.get("allowance"),
    )
