"""What becomes of each of the 61 messages, and why: the one table of SIP-2."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """`section` is "RFC §", `name` the file.

    `parsed` is what `parse` makes of it: "ok", "drop CODE", or the status of its fault and a word of the reason.
    `proxied` is what a proxy does with it that knows its sender: the status it answers and the code it counts or
    records, or "drop CODE". `why` says so in words.

    Of an INVITE whose only fault is that it dials no number, and of a response whose only fault is that it answers
    nobody here, `dialled` are replacements that mend this and touch nothing else: it then has to arrive on the other
    side with `kept` in it as it stands. A response needs none, [].
    """

    section: str
    name: str
    parsed: str
    proxied: str
    why: str
    dialled: list[tuple[bytes, bytes]] | None = None
    kept: tuple[bytes, ...] = ()


NOT_DIALLED = "404 number_invalid"
NOT_SERVED = "405 method_not_allowed"
# The number that the test's directory has a gateway for.
NUMBER = b"33123456789"
USER = [(b"INVITE sip:user@", b"INVITE sip:%s@" % NUMBER)]
SDP = b"\r\n\r\nv=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.%b\r\ns=-\r\n"

ROWS: list[Row] = [
    # Valid messages
    Row("4475 3.1.1.1", "wsinv", "ok", "481 no_dialog",
        "Folds, blanks and compact names wherever the grammar has them. Its To has a tag of no call of ours.",
        [(b"vivekg@chair-dnrc.example.com;unknownparam SIP", b"%s@h;unknownparam SIP" % NUMBER),
         (b" ;   tag    = 1918181833n\r\n", b" ;   notag  = 1918181833n\r\n"),
         (b"Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n", b"")],
        (b"TO :\r\n sip:vivekg@chair-dnrc.example.com ;   notag  = 1918181833n\r\n",
         b"cseq: 0009\r\n  INVITE\r\n", b"\r\ns :\r\n", b"Content-Length   : 150\r\n",
         b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n",
         b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n", b"Max-Forwards: 67\r\n",
         b"  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n",
         b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n')),
    Row("4475 3.1.1.2", "intmeth", "400 To", "400 malformed",
        "Every character the grammar allows, a NUL in a display name among them. Whoever is behind us may take that "
        "for the end of the text: a NUL is refused wherever it stands (SIP-1, departs from the RFC)."),
    Row("4475 3.1.1.3", "esc01", "ok", NOT_DIALLED,
        "Escapes in user parts and parameters are read once and sent on as they came.",
        [(b"sips%3Auser%40example.com@", b"%33%33123456789@")],
        (b"To: sip:%75se%72@example.com\r\n", b"Max-Forwards: 86\r\n", b"\r\nC: application/sdp\r\n",
         b"Contact:\r\n  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\r\n")),
    Row("4475 3.1.1.4", "escnull", "ok", NOT_SERVED,
        "An escaped NUL is three characters like others and shortens no user part. We are no registrar."),
    Row("4475 3.1.1.5", "esc02", "ok", NOT_SERVED,
        "% is no escape in a method, a name or a display name: RE%47IST%45R is a method nobody knows."),
    Row("4475 3.1.1.6", "lwsdisp", "ok", "200",
        "No blank between display name and bracket, which the grammar forgot to allow. OPTIONS is answered by us."),
    Row("4475 3.1.1.7", "longreq", "ok", NOT_DIALLED,
        "Long values, and 34 Vias under every spelling of the name; none is touched.",
        USER,
        (b"Via: SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=verylonglong", b"\r\nvIa: SIP/2.0/TCP sip24",
         b"\r\nV  : SIP/2.0/TCP sip20", b"Call-ID: longreq.onereallyreallyreally", SDP % b"1")),
    Row("4475 3.1.1.8", "dblreq", "ok", NOT_SERVED,
        "What lies behind the body of a datagram is noise: the INVITE in it is never seen, and one answer goes back."),
    Row("4475 3.1.1.9", "semiuri", "ok", "200",
        "A semicolon before the @ belongs to the user part."),
    Row("4475 3.1.1.10", "transports", "ok", "200",
        "A Via may name a transport nobody knows; only the top one is ours to read."),
    Row("4475 3.1.1.11", "mpart01", "ok", NOT_SERVED,
        "A body of bytes, line ends and NULs among them. MESSAGE outside a call is not carried (SIP-17)."),
    Row("4475 3.1.1.12", "unreason", "ok", "drop foreign_via",
        "A reason phrase in another alphabet goes to the caller as it came. This one answers nobody here.",
        [], (b"SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe", SDP % b"198")),
    Row("4475 3.1.1.13", "noreason", "ok", "drop foreign_via",
        "An empty reason phrase is one. A 100 ends here, whomever it answers.", []),
    # Invalid messages
    Row("4475 3.1.2.1", "badinv01", "400 Via", "400 malformed",
        "Via and Contact with separators that separate nothing. The Via names the fault."),
    Row("4475 3.1.2.2", "clerr", "400 Content-Length", "400 malformed",
        "The body is shorter than its Content-Length: part of the datagram is missing (SIP-4)."),
    Row("4475 3.1.2.3", "ncl", "400 Content-Length", "400 malformed",
        "A negative Content-Length is no number."),
    Row("4475 3.1.2.4", "scalar02", "400 CSeq", "400 malformed",
        "CSeq, Max-Forwards and two expiries out of range; CSeq is the one that cannot be put right."),
    Row("4475 3.1.2.5", "scalarlg", "drop broken_response", "drop broken_response",
        "A response with a CSeq out of range is not looked at further."),
    Row("4475 3.1.2.6", "quotbal", "400 To", "400 malformed",
        "Where an open quote ends would be a guess, and a wrong guess another callee."),
    Row("4475 3.1.2.7", "ltgtruri", "ok", "400 malformed",
        "A Request-URI in brackets. It is read where a new request is sorted, and named there."),
    Row("4475 3.1.2.8", "lwsruri", "400 Request-Line", "400 malformed",
        "A blank in the Request-URI: the line has four parts."),
    Row("4475 3.1.2.9", "lwsstart", "400 Request-Line", "400 malformed",
        "Two blanks between the parts of the first line."),
    Row("4475 3.1.2.10", "trws", "400 Request-Line", "400 malformed",
        "Blanks at the end of the first line."),
    Row("4475 3.1.2.11", "escruri", "ok", NOT_DIALLED,
        "Headers in a Request-URI are left there: the URI that goes out is made of the number alone (SIP-25).",
        USER, (b"INVITE sip:%s@203.0.113.1:5080 SIP/2.0\r\n" % NUMBER, SDP % b"1")),
    Row("4475 3.1.2.12", "baddate", "ok", NOT_DIALLED,
        "A Date in another time zone. We do not go by it, so it goes on as it is.",
        USER, (b"Date: Fri, 01 Jan 2010 16:00:00 EST\r\n",)),
    Row("4475 3.1.2.13", "regbadct", "ok", NOT_SERVED,
        "A Contact that needs brackets. Of a method we do not serve it is not read."),
    Row("4475 3.1.2.14", "badaspec", "400 To", "400 malformed",
        "Blanks inside the brackets of To. It would have to go on as it came, so it is refused."),
    Row("4475 3.1.2.15", "baddn", "400 From", "400 malformed",
        "A comma in a display name without quotes. A proxy must not pass that on."),
    Row("4475 3.1.2.16", "badvers", "505 Version", "505 version",
        "SIP/7.0 is not ours."),
    Row("4475 3.1.2.17", "mismatch01", "400 CSeq", "400 malformed",
        "CSeq says INVITE, the first line OPTIONS."),
    Row("4475 3.1.2.18", "mismatch02", "400 CSeq", "400 malformed",
        "The same with a method nobody knows; the RFC takes 400 as well as 501."),
    Row("4475 3.1.2.19", "bigcode", "drop broken_response", "drop broken_response",
        "4294967301 would be 5 in 32 bits. A status has three digits."),
    # Transactions
    Row("4475 3.2.1", "badbranch", "ok", "200",
        "A branch of the magic cookie and nothing more, which tells no request from another: it is taken as none."),
    # Applications
    Row("4475 3.3.1", "insuf", "drop no_from", "drop no_from",
        "Neither From, To nor Call-ID: an answer could not be matched by anybody (SIP-3)."),
    Row("4475 3.3.2", "unkscm", "ok", "416 uri_scheme",
        "A Request-URI of a scheme nobody knows, to be read as text."),
    Row("4475 3.3.3", "novelsc", "ok", "416 uri_scheme",
        "A scheme that is known, but not to SIP."),
    Row("4475 3.3.4", "unksm2", "ok", NOT_SERVED,
        "Other schemes in From, To and Contact are those headers' business."),
    Row("4475 3.3.5", "bext01", "ok", "420 bad_extension",
        "Proxy-Require and Require ask for what nobody has; Unsupported lists the proxy's."),
    Row("4475 3.3.6", "invut", "ok", NOT_DIALLED,
        "A body of an unknown type is the callee's to refuse.",
        USER, (b"Content-Type: application/unknownformat\r\n", b'<audio>\r\n <pcmu port="443"/>\r\n</audio>\r\n')),
    Row("4475 3.3.7", "regaut01", "ok", NOT_SERVED,
        "Credentials of an unknown scheme. We are no registrar to judge them."),
    Row("4475 3.3.8", "multi01", "400 CSeq", "400 malformed",
        "From, To, Call-ID, CSeq and Max-Forwards twice, each saying something else."),
    Row("4475 3.3.9", "mcl01", "400 Content-Length", "400 malformed",
        "Two Content-Lengths: where the body ends nobody can tell."),
    Row("4475 3.3.10", "bcast", "ok", "drop foreign_via",
        "A response whose second Via would have us send to everybody. Vias of a response are not gone by: its caller "
        "gets it under its own.", [], (SDP % b"198",)),
    Row("4475 3.3.11", "zeromf", "ok", "200",
        "No hops left. OPTIONS ends here anyway, as RFC 3261 §16.3 allows; anything else is answered 483."),
    Row("4475 3.3.12", "cparam01", "ok", NOT_SERVED,
        "A parameter of Contact's, for there are no brackets. We are no registrar."),
    Row("4475 3.3.13", "cparam02", "ok", NOT_SERVED,
        "The same inside brackets, and so the URI's. We are no registrar."),
    Row("4475 3.3.14", "regescrt", "ok", NOT_SERVED,
        "A Route escaped in a Contact. We are no registrar."),
    Row("4475 3.3.15", "sdp01", "ok", NOT_DIALLED,
        "It accepts nothing but a type nobody knows, which is between caller and callee.",
        USER, (b"Accept: text/nobodyKnowsThis\r\n", SDP % b"5")),
    Row("4475 3.4.1", "inv2543", "ok", NOT_DIALLED,
        "As RFC 2543 wrote it: no branch, no tag, no Max-Forwards, no Content-Length, no Contact.",
        [(b"INVITE sip:UserB@", b"INVITE sip:%s@" % NUMBER)],
        (b"Via: SIP/2.0/UDP iftgw.example.com;received=198.51.100.10\r\n", b"Max-Forwards: 70\r\n",
         b"Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>\r\n",
         b"To: sip:+16505552222@ss1.example.net;user=phone\r\n", b"Content-Length: 105\r\n", SDP % b"5")),
    # IPv6
    Row("5118 4.1", "ipv6-good", "ok", NOT_SERVED,
        "An IPv6 reference in every place that has a host. We are no registrar."),
    Row("5118 4.2", "ipv6-bad", "ok", "400 malformed",
        "An IPv6 address without brackets: host and port cannot be told apart. The Request-URI is named."),
    Row("5118 4.3", "port-ambiguous", "ok", NOT_SERVED,
        "What its writer meant for a port is the last group of the address."),
    Row("5118 4.4", "port-unambiguous", "ok", NOT_SERVED,
        "The port stands behind the bracket."),
    Row("5118 4.5", "via-received-param-with-delim", "ok", "481 no_dialog",
        "received in brackets, which the grammar does not have and many send."),
    Row("5118 4.5", "via-received-param-no-delim", "ok", "200",
        "received without brackets, as the grammar has it."),
    Row("5118 4.6", "ipv6-in-sdp", "ok", NOT_DIALLED,
        "IPv6 in a body that is not ours to read.",
        USER, (b"To: sip:user@[2001:db8::10]\r\n", b"Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKas3-111",
               b"c=IN IP6 2001:db8::20\r\n", b"a=rtpmap:107 H263-1998/90000\r\n")),
    Row("5118 4.7", "mult-ip-in-header", "ok", "481 no_dialog",
        "Vias of both families, one with a received of the other."),
    Row("5118 4.8", "mult-ip-in-sdp", "ok", NOT_DIALLED,
        "Both families in one body.",
        USER, (b"m=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n", b"c=IN IP6 2001:db8::1\r\n")),
    Row("5118 4.9", "ipv4-mapped-ipv6", "ok", NOT_DIALLED,
        "IPv4 addresses written as IPv6.",
        USER, (b"Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19",
               b"Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\r\n",
               b'Contact: "T. desk phone" <sip:ted@[::ffff:192.0.2.2]>\r\n', b"c=IN IP6 ::ffff:192.0.2.2\r\n")),
    Row("5118 4.10", "ipv6-bug-abnf-3-colons", "ok", "200",
        "Three colons, which the grammar of RFC 3261 wrongly has; to be borne."),
    Row("5118 4.10", "ipv6-correct-abnf-2-colons", "ok", "200",
        "The same with two."),
]  # fmt: skip
