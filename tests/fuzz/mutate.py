"""Changes that keep a message nearly one: whole lines and values where libFuzzer's own changes are of bytes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

LINES = (
    b"Subject: a",
    b"s:",
    b"Privacy: id",
    b"Privacy: user;header",
    b"Remote-Party-ID: <sip:1@h>;privacy=uri",
    b"P-Preferred-Identity: <sip:442071838750@h>",
    b"Timestamp: 1",
    b"Require: 100rel",
    b"Proxy-Require: x",
    b"Supported: timer, 100rel",
    b"Session-Expires: 90;refresher=uac",
    b"Min-SE: 90",
    b"RAck: 1 1 INVITE",
    b"RSeq: 1",
    b"Reason: Q.850;cause=16",
    b"Route: <sip:192.0.2.1:5060;lr>",
    b"Record-Route: <sip:p;lr>",
    b"Contact: <sip:a@h>",
    b"Contact: *",
    b"Max-Forwards: 0",
    b"Max-Forwards: 255",
    b"Content-Length: 0",
    b"l: 1",
    b"Content-Type: a/b",
    b"Identity: x",
    b'Proxy-Authorization: Digest username="alice", realm="sipsvc", nonce="n", uri="sip:h", response="r"',
    b"Via: SIP/2.0/UDP h;branch=z9hG4bKx",
    b"v: SIP/2.0/TCP [::1]:9 ;rport ;received=h, SIP/2.0/UDP i",
    b"X: \xd0\xbd",
    b"To: <sip:1@h>;tag=x",
    b"f: sip:a@h",
    b"CSeq: 1 ACK",
    b"i: x",
    b"Refer-To: <sip:1@h>",
    b"Replaces: a;to-tag=b",
)
VALUES = (
    b"",
    b" ",
    b"0",
    b"-1",
    b"4294967296",
    b"2147483647",
    b"*",
    b"<>",
    b"<sip:1@h>",
    b"sip:1@h;tag=x",
    b"tel:+33123456789",
    b"sip:33123456789@192.0.2.1:5060",
    b'"',
    b'"a\\"b" <sip:1@h>',
    b"%00",
    b"\r\n a",
    b",",
    b";",
    b"a, b",
    b"<sip:h;lr>",
    b"1 INVITE",
)
METHODS = (b"INVITE", b"ACK", b"BYE", b"CANCEL", b"OPTIONS", b"UPDATE", b"PRACK", b"INFO", b"REFER", b"REGISTER", b"X")
STEPS = (1, 1, 1, 2, 4)
PACKETS = (b"C", b"G", b"H", b"S", b"F")
MOMENTS = (b"T", b"L", b"E")
LINE_END = b"\r\n"
DIVIDER = b"\n==\n"


def mutate(data: bytes, most: int, seed: int, bytewise: Callable[[bytes, int], bytes]) -> bytes:
    """`data` changed in one to four places, at most `most` bytes long; `bytewise` is libFuzzer's way of it."""
    random = Random(seed)
    for _ in range(random.choice(STEPS)):
        if random.random() < 0.2:
            data = bytes(bytewise(data, most))
            continue
        packets = data.split(DIVIDER)
        index = random.randrange(len(packets))
        if random.random() < 0.1:
            _move(packets, index, random)
        else:
            packets[index] = _lines(packets[index], random)
        data = DIVIDER.join(packets)
    return data[:most]


def _move(packets: list[bytes], index: int, random: Random) -> None:
    """A packet comes again, comes from somebody else, is lost, or something happens before it."""
    what = random.randrange(4)
    if what == 0:
        packets.insert(random.randrange(len(packets) + 1), packets[index])
    elif what == 1:
        packets[index] = random.choice(PACKETS) + packets[index][1:]
    elif what == 2:
        packets.pop(index)
    else:
        packets.insert(index, random.choice(MOMENTS))


def _lines(packet: bytes, random: Random) -> bytes:
    head, blank, body = packet.partition(LINE_END * 2)
    lines = head.split(LINE_END)
    index = random.randrange(len(lines))
    what = random.randrange(9)
    if what <= 2:
        lines.insert(index + 1, random.choice(LINES))
    elif what == 3:
        lines.insert(random.randrange(len(lines)) + 1, lines[index])
    elif what == 4 and index:
        lines.pop(index)
    elif what == 5 and index:
        other = random.randrange(1, len(lines))
        lines[index], lines[other] = lines[other], lines[index]
    elif what == 6 and index:
        name, colon, value = lines[index].partition(b":")
        mixed = random.choice((random.choice(VALUES), value + b", " + random.choice(VALUES), value + b";" + value))
        lines[index] = name + colon + mixed
    elif what == 7:
        old, new = random.choice(METHODS), random.choice(METHODS)
        lines = [line.replace(old, new) for line in lines]
    else:
        line = lines[index]
        at = random.randrange(len(line) + 1)
        lines[index] = line[:at] + random.choice(VALUES) + line[at:]
    if random.random() < 0.1:
        body = body[:-1] if random.random() < 0.5 else body + b"x"
    return LINE_END.join(lines) + blank + body
