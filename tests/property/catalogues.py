"""Random catalogues of several partners, as rows of the database, and calls that somebody in them might make."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.orm import Session

from sipsvc.store.changes import LOCAL, Changes
from sipsvc.store.models import (
    Base,
    Block,
    CoverageRow,
    Customer,
    Gateway,
    PlatformSettings,
    PriceRow,
    ShortCode,
    Trunk,
)
from sipsvc.store.types import from_ms
from tests.store.tenants import add_customer, add_partner, add_pricelist

# Later than any clock that runs this, so that no row in force then has ended now.
T = 2_100_000_000_000
HOUR = 3_600_000
EDGES = (0, T - 2 * HOUR, T - 1, T, T + HOUR)
TIMES = st.sampled_from([T - 2 * HOUR - 1, T - HOUR, T - 1, T, T + HOUR - 1, T + HOUR])

PREFIXES = ("3", "33", "331", "3312", "331234567", "4", "44", "447", "4477009", "979")
ORIGINS = ("", "", "4", "44", "4420", "4420718", "33")
RATES = [Decimal(text) for text in ("0", "0.000001", "0.01", "0.0123", "0.02", "0.499999", "0.5", "1.25")]
DIALLED = (
    "+33123456789", "+331234567", "+331234567", "+447700900123", "0033123456789", "00 33 12 34-56-789", "0033199456789",
    "+33 (1) 99", "00447700900123", "+447700900123", "+442079460000", "0612345678", "33123456789", "00979123456",
    "+49301234567", "alice", "9#33123456789", "112", "1-12", "*98", "98#",
)  # fmt: skip
CALLERS = (
    '"Ann" <sip:442071838750@acme.example>;tag=ann',
    '"Zoë 07700900999" <sip:447700900999@acme.example:5070;user=phone>;tag=z',
    "<sip:02071838750@198.51.100.9>;tag=1",
    "sip:+33612345678@acme.example;tag=2",
    "<tel:+44-20-7183-8750>;tag=3",
    '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=4',
    "<sip:acme.example>;tag=5",
)
PLANS = (
    {"international": ["00"], "national": "", "country": "", "bare": "international"},
    {"international": ["00", "9"], "national": "0", "country": "44", "bare": "national"},
    {"international": ["00"], "national": "0", "country": "33", "bare": "refuse"},
)
CALLER_IDS = (
    {"allowed": ["*"], "default": "442079460000", "otherwise": "default"},
    {"allowed": ["*"], "default": "", "otherwise": "refuse"},
    {"allowed": ["44*", "33*"], "default": "442079460000", "otherwise": "default"},
    {"allowed": ["4420*"], "default": "442079460000", "otherwise": "default"},
    {"allowed": ["33612345678"], "default": "", "otherwise": "refuse"},
    {"allowed": [], "default": "447700900000", "otherwise": "default"},
)
SCHEDULES: list[list[str]] = [
    [], [], [], ["mon-fri 08:00-20:00 Europe/Berlin", "sat 22:00-02:00 America/New_York"], ["mon-sun 00:00-24:00 UTC"],
]  # fmt: skip
REWRITES = (
    [], [], [], [{"pattern": "^44", "replacement": "0"}],
    [{"pattern": "^33(.*)", "replacement": r"0033\1"}, {"pattern": "^00", "replacement": "+"}],
    [{"pattern": "^.*$", "replacement": ""}],
)  # fmt: skip

Series = tuple[str, str, list[tuple[int, int | None]]]


@st.composite
def series(draw: st.DrawFn) -> Series:
    """One price's life: prefix, origin, and the spans for which it is there, one after the other."""
    edges = sorted(draw(st.sets(st.sampled_from(EDGES), min_size=1)))
    spans: list[tuple[int, int | None]] = list(zip(edges, [*edges[1:], None], strict=True))
    kept = [span for span in spans if draw(st.integers(0, 3))] or spans[-1:]
    return draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(ORIGINS)), kept


# Always there, or else hardly a call would find a price and a gateway that serves it.
USUAL: list[Series] = [("33", "", [(0, None)]), ("44", "", [(0, None)])]


@st.composite
def tables(draw: st.DrawFn) -> list[Series]:
    """Each (prefix, origin) once."""
    usual = USUAL if draw(st.integers(0, 5)) else []
    return list({one[:2]: one for one in [*usual, *draw(st.lists(series(), max_size=6))]}.values())


ROW = st.tuples(st.sampled_from(RATES), st.sampled_from(RATES[:4]), st.sampled_from([(1, 1), (30, 6), (60, 60)]))


@st.composite
def gateways(draw: st.DrawFn) -> dict[str, Any]:
    flag = st.booleans()
    escaped = draw(flag)
    return {
        "transport": draw(st.sampled_from(["udp", "udp", "tcp", "tls"])), "tcp_if_large": draw(flag),
        "currency": draw(st.sampled_from(["USD", "USD", "EUR"])), "priority": draw(st.integers(0, 2)),
        "enabled": draw(st.integers(0, 5)) > 0, "trusted": draw(flag), "remote_party_id": draw(flag),
        "p_asserted_identity": draw(flag), "caller_prefix": draw(st.sampled_from(["", "77", "9#"])),
        "caller_prefix_in": draw(st.lists(st.sampled_from(["from", "pai", "rpid"]), unique=True)),
        "uri_prefix": draw(st.sampled_from(["", "9#", "00"])), "uri_prefix_escaped": escaped,
        "plus_in_caller": draw(flag), "diversion": draw(flag),
        "rewrites": draw(st.sampled_from(REWRITES)), "hunt_codes": draw(st.sampled_from([[503], [500, 503], [500]])),
        "max_channels": 0, "max_cps": 0,
        "weight": draw(st.sampled_from([1, 1, 5, 0])), "schedule": draw(st.sampled_from(SCHEDULES)),
    }  # fmt: skip


@dataclass
class Catalogue:
    """By id: customers, gateways and price lists with their values; each has the number of its partner."""

    customers: dict[str, dict[str, Any]]
    gateways: dict[str, dict[str, Any]]
    pricelists: dict[str, dict[str, Any]]
    blocks: list[dict[str, Any]]
    shortcodes: list[dict[str, Any]]
    partners: int
    rates: dict[str, str]


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    partners = draw(st.integers(1, 3))
    rates = draw(st.sampled_from([{}, {"USD": "1", "EUR": "1.0835"}, {"EUR": "2.5", "USD": "0.5"}]))
    made = Catalogue({}, {}, {}, [], [], partners, rates)
    for partner in range(partners):
        lists = [f"list-{partner}-{number}" for number in range(draw(st.integers(1, 2)))]
        for pricelist in lists:
            made.pricelists[pricelist] = {
                "partner": partner, "currency": draw(st.sampled_from(["USD", "USD", "EUR"])),
                "strategy": draw(st.sampled_from(["cheapest", "priority", "weight"])),
                "expected_s": draw(st.sampled_from([60, 60, 45, 300])), "allow_loss": draw(st.booleans()),
                "minimum": draw(st.sampled_from(RATES[:3])),
                "expensive_at": draw(st.sampled_from([None, None, Decimal("0.5"), Decimal("0.02")])),
                "rows": draw(tables()), "row": draw(ROW),
            }  # fmt: skip
        for number in range(draw(st.sampled_from([3, 2, 2, 1, 0]))):
            made.gateways[f"gateway-{partner}-{number}"] = draw(gateways()) | {
                "partner": partner, "rows": draw(tables()), "row": draw(ROW),
            }  # fmt: skip
        for number in range(draw(st.integers(1, 2))):
            made.customers[f"customer-{partner}-{number}"] = {
                "partner": partner, "pricelist": draw(st.sampled_from(lists)),
                "status": draw(st.sampled_from(["active"] * 9 + ["trial", "suspended", "closed"])),
                "allow_expensive": draw(st.booleans()), "max_channels": draw(st.sampled_from([0, 0, 1, 2])),
                "dial_plan": draw(st.sampled_from(PLANS[:1] * 3 + PLANS)),
                "caller_ids": draw(st.sampled_from(CALLER_IDS)),
            }  # fmt: skip
    levels: list[tuple[int | None, str | None]] = [(partner, None) for partner in range(partners)]
    levels += [(values["partner"], id_) for id_, values in made.customers.items()]
    prefixes = st.sets(st.tuples(st.sampled_from([(None, None), *levels]), st.sampled_from(PREFIXES[2:])), max_size=4)
    for level, prefix in sorted(draw(prefixes), key=str):
        action = draw(st.sampled_from(["block", "allow"]))
        made.blocks.append({
            "level": level, "prefix": prefix, "action": action,
            "liftable": action == "block" and level == (None, None) and draw(st.booleans()),
            "lift_expensive": action == "allow" and level != (None, None) and draw(st.booleans()),
        })  # fmt: skip
    codes = st.sets(st.tuples(st.sampled_from(levels), st.sampled_from(["112", "*98", "98#"])), max_size=3)
    for level, code in sorted(draw(codes), key=str):
        named = [id_ for id_, values in made.gateways.items() if values["partner"] == level[0]]
        chosen = draw(st.lists(st.sampled_from(named), unique=True, max_size=2)) if named else []
        number = draw(st.sampled_from(["33123456789", "447700900123"])) if not chosen else ""
        made.shortcodes.append({
            "level": level, "code": code, "number": number, "gateways": chosen,
            "dial": draw(st.sampled_from(["", "9#112"])) if chosen else "", "emergency": bool(chosen) and code == "112",
        })  # fmt: skip
    return made


def source(number: int) -> str:
    """The address of customer `number`'s trunk."""
    return f"198.51.100.{10 + number}"


def store(session: Session, made: Catalogue) -> None:
    """In the place of whatever is there; the session is `database.writing`'s."""
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(delete(table))
    changes = Changes(session, LOCAL)
    session.add(PlatformSettings(
        id=1, realm="here", nonce_lifetime_s=300, t1_ms=500, t2_ms=4000, t4_ms=5000, max_call_s=14_400,
        durable_wait_ms=20, min_se_s=90, session_expires_s=1_800, rates=made.rates, digest=["MD5"],
    ))  # fmt: skip
    for partner in range(made.partners):
        add_partner(changes, f"partner-{partner}")
    for id_, values in made.pricelists.items():
        shown = {name: value for name, value in values.items() if name not in ("partner", "rows", "row")}
        add_pricelist(changes, id_, f"partner-{values['partner']}", **shown)
        _rows(changes, PriceRow, {"pricelist": id_, "source_row": None, "markup": None}, values)
    for number, (id_, values) in enumerate(made.gateways.items()):
        shown = {name: value for name, value in values.items() if name not in ("partner", "rows", "row")}
        changes.create(Gateway(
            id=id_, partner=f"partner-{values['partner']}", name=f"Gateway {number}",
            host=f"203.0.113.{1 + number}" if number % 3 else f"gw{number}.example",
            port=5080 + number if number % 3 else 0,
            provisional_timeout_ms=4000, ring_timeout_s=185, rows_version=0, ping_interval_s=0, down_after=3,
            up_after=2, registration=False, registration_expires_s=3600, auth_username="", auth_password="",
            auth_realm="", **shown,
        ))  # fmt: skip
        _rows(changes, CoverageRow, {"gateway": id_}, values)
    for number, (id_, values) in enumerate(made.customers.items()):
        partner = f"partner-{values['partner']}"
        customer: Customer = add_customer(changes, id_, partner, **values | {"partner": partner})
        changes.create(Trunk(
            id=f"trunk-{number}", partner=partner, customer=customer.id, enabled=True, source=f"{source(number)}/32",
            port=0, username=None, ha1_md5="", ha1_sha256="", algorithms=[], tech_prefix="", certificate="",
            max_channels=0,
        ))  # fmt: skip
    for number, values in enumerate(made.blocks):
        changes.create(Block(id=f"block-{number}", reason="because", **_at_level(values)))
    for number, values in enumerate(made.shortcodes):
        changes.create(ShortCode(id=f"code-{number}", name=f"Code {number}", **_at_level(values)))


def _at_level(values: dict[str, Any]) -> dict[str, Any]:
    """With the ids of the level in its place."""
    partner, customer = values["level"]
    owner = {"partner": None if partner is None else f"partner-{partner}", "customer": customer}
    return owner | {name: value for name, value in values.items() if name != "level"}


def _rows(changes: Changes, model: Any, owner: dict[str, Any], values: dict[str, Any]) -> None:
    """Rates differ from row to row, so that no two rows are taken for each other."""
    rate, fee, (initial, increment) = values["row"]
    step = Decimal(0)
    for prefix, origin, spans in values["rows"]:
        for begin, end in spans:
            step += Decimal("0.000100")
            changes.session.add(model(
                **owner, prefix=prefix, origin=origin, name=f"to {prefix}", country="", kind="", rate=rate + step,
                fee=fee, initial=initial, increment=increment, valid_from=from_ms(begin),
                valid_to=None if end is None else from_ms(end), changed=1, opened_by=None, closed_by=None,
            ))  # fmt: skip
