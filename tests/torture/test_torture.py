"""Every row of the table runs: through the parser, through a proxy, and to the other side where it can get there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from sipsvc.directory import CallerIds
from sipsvc.errors import MessageDropped
from sipsvc.message import Message, parse, parse_name_addr, parse_uri, parse_via
from tests.torture.table import NUMBER, ROWS, Row
from tests.unit.wire import CALLER, CUSTOMER, CUSTOMERS, GATES, STRANGER, Sent, Wire, directory, request

HERE = Path(__file__).parent
# Callers of these messages own no number: they are shown under the account's.
BOOK = directory(customer=replace(CUSTOMERS, caller_ids=CallerIds(("4420*",), CALLER, "default")))
NAMES = [row.name for row in ROWS]
DIALLED = [row for row in ROWS if row.dialled]
ANSWERS = [row for row in ROWS if row.dialled == []]
LENGTH = re.compile(rb"(?<=\r\nContent-Length: )\d+")


def archived(row: Row) -> bytes:
    return (HERE / f"rfc{row.section[:4]}" / f"{row.name}.dat").read_bytes()


def message(row: Row) -> bytes:
    """The message of a file as it travels.

    One file of RFC 4475 and two of RFC 5118 end before the empty line that closes the headers. Those of RFC 5118
    have bare LFs, and in three the Content-Length is counted without regard to them. Nothing else is changed.
    """
    data = archived(row)
    if b"\r\n" not in data:
        data = data.replace(b"\n", b"\r\n")
    if b"\r\n\r\n" not in data:
        return data + b"\r\n"
    head, blank, body = data.partition(b"\r\n\r\n")
    if row.section.startswith("5118"):
        head = LENGTH.sub(str(len(body)).encode(), head)
    return head + blank + body


def by_name(name: str) -> bytes:
    return message(ROWS[NAMES.index(name)])


def verdict(data: bytes) -> str:
    try:
        fault = parse(data).fault
    except MessageDropped as dropped:
        return f"drop {dropped.code}"
    return f"{fault.status} {fault.reason}" if fault is not None else "ok"


@pytest.mark.rule("SIP-2")
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_parser(row: Row) -> None:
    found = verdict(message(row))
    status, _, word = row.parsed.partition(" ")
    assert found.partition(" ")[0] == status
    assert word in found


@pytest.mark.rule("SIP-2")
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_proxy(row: Row) -> None:
    wire = Wire(BOOK)
    data = message(row)
    said = [sent for sent in wire.give(data) if sent.message.status != 100]
    codes = [*wire.engine.counters, *(record["code"] for record in wire.records if record["kind"] == "end")]
    what, _, code = row.proxied.partition(" ")
    assert codes == ([code] if code else [])
    if what == "drop":
        assert said == []
        return
    (answer,) = said
    assert (answer.message.status, answer.flow) == (int(what), CUSTOMER)
    _belongs(answer.message, data)
    wire.wait(100_000)
    assert {sent.flow for sent in wire.sent} == {CUSTOMER}
    assert wire.engine.leftovers() == {"transactions": 0, "timers": 0, "calls": 0}


def _belongs(answer: Message, data: bytes) -> None:
    """The answer has the request's Call-ID, CSeq and number of Vias, and a tag in To."""
    asked = parse(data)
    assert (answer.call_id, answer.get("cseq")) == (asked.call_id, asked.get("cseq"))
    assert answer.names.count("via") == asked.names.count("via")
    assert ";tag=" in re.sub(r"\s", "", answer.get("to") or "")


@pytest.mark.rule("SIP-2", "SIP-1")
@pytest.mark.parametrize("row", DIALLED, ids=[row.name for row in DIALLED])
def test_forwarded(row: Row) -> None:
    data = message(row)
    for old, new in row.dialled or []:
        assert data.count(old) == 1
        data = data.replace(old, new)
    wire = Wire(BOOK)
    trying, forwarded = wire.give(data)
    assert (trying.what, forwarded.what, forwarded.flow) == ("100 INVITE", "INVITE", GATES[0])
    assert forwarded.message.uri == f"sip:{NUMBER.decode()}@203.0.113.1:5080"
    for piece in row.kept:
        assert piece in forwarded.data
    _unchanged(parse(data), forwarded)


def _unchanged(came: Message, forwarded: Sent) -> None:
    """Nothing is lost, put in or put in another order but what a proxy is there for."""
    rewritten = {"from", "max-forwards", "via", "record-route", "route"}
    left = forwarded.message
    assert [line for line, name in zip(left.lines, left.names, strict=True) if name not in rewritten] == [
        line for line, name in zip(came.lines, came.names, strict=True) if name not in rewritten
    ]
    assert left.all("record-route")[1:] == came.all("record-route")
    assert [parse_via(via).branch for via in left.all("via")[1:]] == [parse_via(via).branch for via in came.all("via")]
    assert (left.from_.tag, left.body) == (came.from_.tag, came.body)


@pytest.mark.rule("SIP-2", "SIP-9")
@pytest.mark.parametrize("row", ANSWERS, ids=[row.name for row in ANSWERS])
def test_response_of_a_gateway(row: Row) -> None:
    """The same response, but to a call there is: the caller gets it, and nobody else."""
    wire = Wire(BOOK)
    invite = wire.give(request())[-1].message
    asked = {name: invite.lines[invite.index[name]].encode() for name in ("from", "to", "call-id", "cseq")}
    asked["to"] += b";tag=gw"
    ours, callers = [line.encode() for line, name in zip(invite.lines, invite.names, strict=True) if name == "via"]
    asked["via"] = ours if row.name == "bcast" else ours + b"\r\n" + callers
    lines = message(row).split(b"\r\n")
    for name, line in asked.items():
        where = next(index for index, one in enumerate(lines) if one.lower().startswith(name.encode()))
        lines[where] = line
    sent = wire.give(b"\r\n".join(lines), GATES[0])
    if row.name == "noreason":
        assert sent == []
        return
    (answer,) = sent
    assert (answer.what, answer.flow) == ("200 INVITE", CUSTOMER)
    assert len(answer.message.all("via")) == 1
    assert answer.message.via.sent_by == f"{CUSTOMER.host}:{CUSTOMER.port}"
    for piece in row.kept:
        assert piece in answer.data


# What is to be read in a message whose point the verdict does not show.
READ: dict[str, tuple[Callable[[Message], object], object]] = {
    "wsinv": (lambda m: (m.cseq, m.from_.display, m.from_.tag, m.to.tag, m.via.host, m.via.branch, m.get("subject")),
              (9, '"J Rosenberg \\\\\\""', "98asjd8", "1918181833n", "192.0.2.2", "390skdjuw", "")),
    "esc01": (lambda m: (parse_uri(m.uri).user, parse_uri(m.uri).host), ("sips%3Auser%40example.com", "example.net")),
    "escnull": (lambda m: [parse_uri(parse_name_addr(c, "Contact").uri).user for c in m.all("contact")],
                ["%00", "%00%00"]),
    "esc02": (lambda m: (m.method, m.from_.display, len(m.all("contact")), m.get("c%6fntact")),
              ("RE%47IST%45R", '"%Z%45"', 2, "<sip:alias2@host2.example.com>")),
    "lwsdisp": (lambda m: (m.from_.display, m.from_.uri), ("caller", "sip:caller@example.com")),
    "longreq": (lambda m: (len(m.all("via")), len(m.from_.tag) > 100), (34, True)),
    "dblreq": (lambda m: (m.method, m.body, m.names.count("via")), ("REGISTER", b"", 1)),
    "semiuri": (lambda m: parse_uri(m.uri).user, "user;par=u%40example.net"),
    "transports": (lambda m: [parse_via(via).transport for via in m.all("via")],
                   ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]),
    "mpart01": (lambda m: (len(m.body), m.body.count(b"\0"), m.body.endswith(b"--7a9cbec02ceef655--\r\n")),
                (553, 2, True)),
    "unreason": (lambda m: m.reason.encode("latin-1").decode().endswith("простое"), True),
    "noreason": (lambda m: (m.status, m.reason), (100, "")),
    "bext01": (lambda m: m.all("proxy-require"), ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]),
    "unksm2": (lambda m: (m.to.uri, m.from_.uri), ("isbn:2983792873", "http://www.example.com")),
    "cparam01": (lambda m: parse_name_addr(m.all("contact")[0], "Contact").params, ";unknownparam"),
    "cparam02": (lambda m: parse_name_addr(m.all("contact")[0], "Contact").params, ""),
    "regescrt": (lambda m: parse_uri(parse_name_addr(m.all("contact")[0], "Contact").uri).headers,
                 "?Route=%3Csip:sip.example.com%3E"),
    "inv2543": (lambda m: (m.via.branch, m.from_.tag, m.to.uri), ("", "", "sip:+16505552222@ss1.example.net")),
    "ipv6-good": (lambda m: (m.via.host, parse_uri(m.uri).host), ("[2001:db8::9:1]", "[2001:db8::10]")),
    "port-ambiguous": (lambda m: parse_uri(m.uri)[2:4], ("[2001:db8::10:5070]", 0)),
    "port-unambiguous": (lambda m: parse_uri(m.uri)[2:4], ("[2001:db8::10]", 5070)),
    "mult-ip-in-header": (lambda m: [parse_via(via)[0:3] for via in m.all("via")],
                          [("UDP", "[2001:db8::9:1]", 6050), ("UDP", "192.0.2.1", 0), ("TCP", "[2001:db8::9:255]", 0)]),
    "ipv6-bug-abnf-3-colons": (lambda m: parse_uri(m.uri)[1:3], ("user", "[2001:db8:::192.0.2.1]")),
}  # fmt: skip


@pytest.mark.rule("SIP-1", "SIP-2")
@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    view, shown = READ[name]
    assert view(parse(by_name(name))) == shown


@pytest.mark.rule("SIP-2", "SIP-1")
def test_all_but_the_nul_of_intmeth_is_taken() -> None:
    data = by_name("intmeth").replace(b"NUL:\\\0 ", b"")
    asked = parse(data)
    assert asked.fault is None
    assert asked.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert asked.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    user, colon, password = parse_uri(asked.uri).user.partition(":")
    assert user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert colon + password == ":&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    (answer,) = Wire(BOOK).give(data)
    assert (answer.message.status, answer.message.method) == (405, asked.method)


@pytest.mark.rule("SIP-2")
def test_what_is_not_supported_is_listed() -> None:
    (answer,) = Wire(BOOK).give(by_name("bext01"))
    assert answer.message.all("unsupported") == ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]
    ours = by_name("bext01").replace(b"Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis\r\n", b"")
    (answer,) = Wire(BOOK).give(ours)
    assert answer.message.all("unsupported") == ["nothingSupportsThis", "nothingSupportsThisEither"]


@pytest.mark.rule("SIP-2", "SIP-10")
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_stranger_gets_no_further(row: Row) -> None:
    """The same answer or a challenge, without state; nothing leaves for anybody else, and nothing is recorded."""
    wire = Wire(BOOK)
    said = wire.give(message(row), STRANGER)
    wire.wait(100_000)
    status = row.proxied.partition(" ")[0]
    if status == "drop":
        assert said == []
    else:
        (answer,) = said
        assert answer.message.status == (407 if row.proxied == "404 number_invalid" else int(status))
    assert {sent.flow for sent in wire.sent} <= {STRANGER}
    assert wire.records == []


@pytest.mark.rule("SIP-2")
def test_every_message_has_one_row() -> None:
    assert len(ROWS) == len(set(NAMES)) == 61
    assert len({row.section for row in ROWS if row.section.startswith("4475")}) == 49
    assert all(row.why.endswith(".") for row in ROWS)
    files = {path.stem: path.parent.name[3:] for path in HERE.glob("rfc*/*.dat")}
    assert {row.name: row.section[:4] for row in ROWS} == files


@pytest.mark.rule("SIP-2")
@pytest.mark.parametrize("folder", ["rfc4475", "rfc5118"])
def test_no_byte_of_a_file_has_changed(folder: str) -> None:
    lines = (HERE / folder / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == {"rfc4475": 49, "rfc5118": 12}[folder]
    for line in lines:
        sum_, name = line.split()
        assert sha256((HERE / folder / name).read_bytes()).hexdigest() == sum_, name


@pytest.mark.rule("SIP-4")
def test_lengths_of_the_archive_that_do_not_fit() -> None:
    """What `message` puts right in three files of RFC 5118 is a fault of its own: too long is 400, too short is cut."""
    long, short = (by_name(name).replace(old, new) for name, old, new in (
        ("ipv6-in-sdp", b"Content-Length: 251", b"Content-Length: 268"),
        ("mult-ip-in-sdp", b"Content-Length: 189", b"Content-Length: 181"),
    ))  # fmt: skip
    assert verdict(long).startswith("400 Content-Length")
    assert len(parse(short).body) == 181


@pytest.mark.rule("SIP-2", "SIP-10")
def test_a_branch_without_identifier_identifies_nothing() -> None:
    """As in badbranch: two calls of one sender are two, and each still knows its own retransmission."""
    wire = Wire(BOOK)
    bare = f"SIP/2.0/UDP {CUSTOMER.host};branch=z9hG4bK"
    first, second = (request(Via=bare, Call_ID=f"call-{number}") for number in (1, 2))
    assert [sent.what for sent in wire.give(first)] == ["100 INVITE", "INVITE"]
    assert [sent.what for sent in wire.give(second)] == ["100 INVITE", "INVITE"]
    assert [sent.what for sent in wire.give(first)] == ["100 INVITE"]
