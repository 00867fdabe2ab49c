"""URIs, name-addr and Via as values: what each part is, what is refused, and escaping both ways (SIP-1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipsvc.errors import SipError
from sipsvc.message import escape_user, params_get, parse_name_addr, parse_uri, parse_via, unescape

# scheme, user, host, port, params, headers
URIS: dict[str, tuple[str, str, str, int, str, str]] = {
    "sip:h": ("sip", "", "h", 0, "", ""),
    "sip:alice@atlanta.example": ("sip", "alice", "atlanta.example", 0, "", ""),
    "sip:alice:pw@h": ("sip", "alice:pw", "h", 0, "", ""),
    "SIPS:1@H.Example:5061": ("sips", "1", "H.Example", 5061, "", ""),
    "sip:+44(20)-7.1@h;user=phone": ("sip", "+44(20)-7.1", "h", 0, ";user=phone", ""),
    "sip:%2B33@h": ("sip", "%2B33", "h", 0, "", ""),
    "sip:1;rn=2;npdi@h;lr;x=y": ("sip", "1;rn=2;npdi", "h", 0, ";lr;x=y", ""),
    "sip:a?b&c=+$,/d@h": ("sip", "a?b&c=+$,/d", "h", 0, "", ""),
    "sip:1@[2001:db8::1]": ("sip", "1", "[2001:db8::1]", 0, "", ""),
    "sip:[::ffff:192.0.2.1]:5062;transport=tcp": ("sip", "", "[::ffff:192.0.2.1]", 5062, ";transport=tcp", ""),
    "sip:1@h?Subject=x&y=%20": ("sip", "1", "h", 0, "", "?Subject=x&y=%20"),
    "sip:1@h;maddr=10.0.0.1?Route=%3Csip%3Ax%3E": ("sip", "1", "h", 0, ";maddr=10.0.0.1", "?Route=%3Csip%3Ax%3E"),
    "sip:1@h:65535": ("sip", "1", "h", 65_535, "", ""),
    "tel:+33-1-2345": ("tel", "+33-1-2345", "", 0, "", ""),
    "TEL:(0)12.34;phone-context=+44;isub=1": ("tel", "(0)12.34", "", 0, ";phone-context=+44;isub=1", ""),
    "tel:*31#1": ("tel", "*31#1", "", 0, "", ""),
}
REFUSED: dict[str, int] = {
    "": 400,
    "sip:": 400,
    "sip:1@": 400,
    "sip:1@h:": 400,
    "sip:1@h:65536": 400,
    "sip:1@h:123456": 400,
    "sip:1@@h": 400,
    "sip:1 2@h": 400,
    "sip:1@h\r\n": 400,
    "sip:1@h\n": 400,
    "sip:1\r\nX: y@h": 400,
    "sip:<1@h>": 400,
    'sip:"1"@h': 400,
    "sip:1@[::1": 400,
    "sip:1@-h": 400,
    "tel:": 400,
    "tel:hello": 400,
    "tel:+1\n": 400,
    "1@h": 400,
    "mailto:a@b.c": 416,
    "http:": 416,
    "urn:service:sos": 416,
}


@pytest.mark.rule("SIP-1")
@pytest.mark.parametrize("text", URIS)
def test_parts_of_a_uri(text: str) -> None:
    uri = parse_uri(text)
    assert tuple(uri) == URIS[text]
    scheme, colon, rest = text.partition(":")
    assert str(uri) == scheme.lower() + colon + rest


@pytest.mark.rule("SIP-1")
@pytest.mark.parametrize("text", REFUSED)
def test_no_uri(text: str) -> None:
    with pytest.raises(SipError) as caught:
        parse_uri(text)
    assert caught.value.status == REFUSED[text]


# display, uri, params, tag
NAME_ADDRS: dict[str, tuple[str, str, str, str]] = {
    "<sip:1@h>": ("", "sip:1@h", "", ""),
    "Ann  Lee <sip:1@h>;tag=x": ("Ann  Lee", "sip:1@h", ";tag=x", "x"),
    '"Ann" <sip:1@h> ; tag = x': ('"Ann"', "sip:1@h", "; tag = x", "x"),
    '""<sip:1@h>': ('""', "sip:1@h", "", ""),
    '"<sip:2@h>" <sip:1@h>;tag=x': ('"<sip:2@h>"', "sip:1@h", ";tag=x", "x"),
    "<sip:1@h;tag=uri>;tag=header": ("", "sip:1@h;tag=uri", ";tag=header", "header"),
    "sip:1@h;tag=x": ("", "sip:1@h", ";tag=x", "x"),
    "<sip:1@h>;q=\"a;tag=no\";Tag=yes": ("", "sip:1@h", ';q="a;tag=no";Tag=yes', "yes"),
    "<tel:+1;phone-context=+1>;tag=t": ("", "tel:+1;phone-context=+1", ";tag=t", "t"),
    "<sip:1@h>;expires=5;+sip.instance=\"<urn:x>\"": ("", "sip:1@h", ';expires=5;+sip.instance="<urn:x>"', ""),
}  # fmt: skip
NO_NAME_ADDRS = [
    "", "<>", '"Ann" sip:1@h', '"Ann <sip:1@h>', "<sip:1@h", "sip:1@h>", "<sip:1@h>x", "<sip:1@h>;=x",
    "<sip:1@h>,<sip:2@h>", "sip:1@h?x=y", "sip:1@h,2", '<sip:1@h>;a"b', "<sip:1@h>;;tag=x",
]  # fmt: skip


@pytest.mark.rule("SIP-1")
@pytest.mark.parametrize("value", NAME_ADDRS)
def test_parts_of_a_name_addr(value: str) -> None:
    parsed = parse_name_addr(value, "To")
    assert (parsed.display, parsed.uri, parsed.params, parsed.tag) == NAME_ADDRS[value]


@pytest.mark.rule("SIP-1", "SIP-3")
@pytest.mark.parametrize("value", NO_NAME_ADDRS)
def test_no_name_addr_names_its_header(value: str) -> None:
    with pytest.raises(SipError, match="Refer-To") as caught:
        parse_name_addr(value, "Refer-To")
    assert caught.value.status == 400


# transport, host, port, branch, sent_by
VIAS: dict[str, tuple[str, str, int, str, str]] = {
    "SIP/2.0/UDP h": ("UDP", "h", 0, "", "h:5060"),
    "SIP/2.0/UDP H.Example;branch=z9hG4bK1": ("UDP", "H.Example", 0, "z9hG4bK1", "h.example:5060"),
    "sip / 2.0 / tcp\t h:5070 ;rport ; Branch = b": ("TCP", "h", 5070, "b", "h:5070"),
    "SIP/2.0/TLS-SCTP [2001:DB8::1]:5061;ttl=1;maddr=h;branch=b": (
        "TLS-SCTP", "[2001:DB8::1]", 5061, "b", "[2001:db8::1]:5061",
    ),
}  # fmt: skip
NO_VIAS = ["", "SIP/2.0/UDP", "SIP/2.0 UDP h", "SIP/1.0/UDP h", "HTTP/2.0/UDP h", "SIP/2.0/UDP h:port",
           "SIP/2.0/UDP h x", "SIP/2.0/UDP h:123456", "SIP/2.0/UDP [::1", "SIP/2.0/UDP -h", "SIP/2.0/ h"]  # fmt: skip


@pytest.mark.rule("SIP-1")
@pytest.mark.parametrize("value", VIAS)
def test_parts_of_a_via(value: str) -> None:
    via = parse_via(value)
    assert (via.transport, via.host, via.port, via.branch, via.sent_by) == VIAS[value]


@pytest.mark.rule("SIP-3")
@pytest.mark.parametrize("value", NO_VIAS)
def test_no_via(value: str) -> None:
    with pytest.raises(SipError, match="Via"):
        parse_via(value)


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [
        ("", "a", None),
        (";a", "a", ""),
        (";A=b", "a", "b"),
        ("; a = b ;c", "c", ""),
        (';x="a=1;a=2";a=3', "a", "3"),
        (";ab=1;a=2", "a", "2"),
        (";a=1;a=2", "a", "1"),
    ],
)
def test_one_parameter_of_several(params: str, name: str, value: str | None) -> None:
    assert params_get(params, name) == value


@pytest.mark.rule("SIP-30")
@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("9#33123", "9%2333123"),
        ("+33123", "+33123"),
        ("*31*", "*31*"),
        ("a b", "a%20b"),
        ("50%", "50%25"),
        ("a@b", "a%40b"),
        ("a:b", "a%3Ab"),
        ("<x>", "%3Cx%3E"),
        ("\r\n", "%0D%0A"),
        ("é", "%C3%A9"),
    ],
)
def test_escaping_a_user_part(plain: str, escaped: str) -> None:
    assert escape_user(plain) == escaped
    if plain.isascii():
        assert unescape(escaped) == plain


@pytest.mark.rule("SIP-1", "SIP-5")
@given(st.text(st.characters(max_codepoint=127), min_size=1))
def test_any_user_part_escaped_is_one(user: str) -> None:
    uri = parse_uri(f"sip:{escape_user(user)}@h")
    assert unescape(uri.user) == user
    assert (uri.host, uri.params, uri.headers) == ("h", "", "")


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "a%", "%%41"])
def test_what_is_no_escape_stands(text: str) -> None:
    assert unescape(text) == text.replace("%41", "A")
