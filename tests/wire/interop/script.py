"""SIPp scenarios as ladders: each method adds a step. `Caller` is the customer's side, `Callee` the gateway's.

What a dialog is made of (identities, remote target, route set) is kept in SIPp's variables, so that either side may
send any request in it, also to a strict router (RFC 3261 §12.2.1.1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

OFFER = """\
v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000"""
REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    302: "Moved Temporarily",
    401: "Unauthorized",
    407: "Proxy Authentication Required",
    422: "Session Interval Too Small",
    404: "Not Found",
    405: "Method Not Allowed",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    491: "Request Pending",
    503: "Service Unavailable",
    600: "Busy Everywhere",
    603: "Decline",
}
# A SIPp call has 20 s for each answer that does not come; a scenario that hangs fails by itself.
_URI = "sips?:[^> ]+"
_REST = "[^ ].*"


class Script:
    """Steps common to both sides. `strict` makes the nearest hop of this side's route set a strict router.

    Of the requests that come, `lost` per cent are not heard. Answers are all sent: SIPp knows a request that is
    repeated only where it has answered it.
    """

    mine = theirs = tag = ""

    def __init__(self, *, strict: bool = False, lost: int = 0) -> None:
        self.strict = strict
        self._lost = f' lost="{lost}"' if lost else ""
        self.cseq = 0
        self._invite_cseq = 0
        self._steps: list[str] = []
        self._sent_at = 0
        self._variables: list[str] = []

    # Steps

    def wait(self, milliseconds: int) -> Self:
        return self._add(f'<pause milliseconds="{milliseconds}"/>')

    def say(self, method: str, *fields: str, offer: bool = False) -> Self:
        """Send a request inside the dialog."""
        self.cseq += 1
        if method == "INVITE":
            self._invite_cseq = self.cseq
        return self._request(method, self.cseq, fields, offer)

    def hear(self, method: str, *checks: tuple[str, str], maybe: bool = False) -> Self:
        """Wait for a request, or `maybe` for the next. `checks` are (header, regular expression) that must match."""
        optional = ' optional="true"' if maybe else ""
        return self._add(f'<recv request="{method}"{optional}{self._lost}>{self._actions(checks)}</recv>')

    def answer(self, status: int, *fields: str, offer: bool = False) -> Self:
        """Answer the request that was heard last, inside the dialog."""
        return self._response(status, ["[last_Via:]", "[last_From:]", "[last_To:]", "[last_CSeq:]"], fields, offer)

    def expect(self, status: int, *checks: tuple[str, str]) -> Self:
        """Wait for the answer to what was said last; of an INVITE, provisional ones may come before."""
        self._maybe(100, 180, 183)
        return self._add(f'<recv response="{status}">{self._actions(checks)}</recv>')

    def ack(self, *fields: str, offer: bool = False) -> Self:
        """ACK the 2xx to the INVITE said last."""
        return self._request("ACK", self._invite_cseq, fields, offer)

    def turned_down(self, status: int) -> Self:
        """Wait for a failure of the INVITE said last, inside the dialog, and ACK it."""
        back_to = self._sent_at
        self.expect(status)
        back = len(self._steps) - back_to
        self._request("ACK", self._invite_cseq, (), False)
        self._steps[-1] = self._steps[-1].replace("branch=[branch]", f"branch=[branch-{back}]", 1)
        return self

    def linger(self, milliseconds: int) -> Self:
        """Stay that long after the last step, to answer what is repeated."""
        return self._add(f'<timewait milliseconds="{milliseconds}"/>')

    def write(self, path: Path) -> str:
        """Write the scenario; the name to give to SIPp."""
        references = f'<Reference variables="{",".join(self._variables)}"/>' if self._variables else ""
        body = "\n".join([*self._steps, references])
        path.write_text(
            '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
            f'<scenario name="{path.stem}">\n{body}\n</scenario>\n'
        )
        return str(path)

    # How they are made

    def _add(self, step: str) -> Self:
        self._steps.append(step)
        return self

    def _maybe(self, *statuses: int) -> None:
        for status in statuses:
            self._add(f'<recv response="{status}" optional="true"/>')

    def _actions(self, checks: tuple[tuple[str, str], ...] = (), *saves: tuple[str, str, str, int]) -> str:
        """`saves` are (variable, header, regular expression, occurrence)."""
        found = []
        for header, pattern in checks:
            name = f"check{len(self._variables)}"
            found.append((name, header, pattern, 1))
        lines = []
        for name, header, pattern, occurrence in [*found, *saves]:
            if name not in self._variables:
                self._variables.append(name)
            quoted = pattern.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
            lines.append(
                f'<ereg regexp="{quoted}" search_in="hdr" header="{header}:" occurrence="{occurrence}" '
                f'check_it="true" assign_to="{name}"/>'
            )
        return f"<action>{''.join(lines)}</action>" if lines else ""

    def _send(self, lines: list[str], fields: tuple[str, ...], offer: bool, *, repeat: bool) -> Self:
        body = OFFER if offer else ""
        if offer:
            fields = (*fields, "Content-Type: application/sdp")
        text = "\n".join([*lines, *fields, "Content-Length: [len]", "", body])
        self._sent_at = len(self._steps)
        opening = '<send retrans="500">' if repeat else "<send>"
        return self._add(f"{opening}<![CDATA[\n\n{text}\n\n]]></send>")

    def _request(self, method: str, cseq: int, fields: tuple[str, ...], offer: bool) -> Self:
        if self.strict:
            beyond = [f"Route: [${name}]" for name in self._variables if name.startswith("beyond")]
            uri, routes = "[$hop]", [*beyond, "Route: <[$target]>"]
        else:
            uri, routes = "[$target]", ["[routes]"]
        lines = [
            f"{method} {uri} SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
            *routes,
            f"From: {self.mine}",
            f"To: {self.theirs}",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
        ]
        if method in ("INVITE", "UPDATE"):
            lines.append("Contact: <sip:[local_ip]:[local_port];transport=[transport]>")
        return self._send(lines, fields, offer, repeat=method != "ACK")

    def _response(self, status: int, copied: list[str], fields: tuple[str, ...], offer: bool) -> Self:
        lines = [
            f"SIP/2.0 {status} {REASONS[status]}",
            *copied,
            "Call-ID: [call_id]",
            "Contact: <sip:[local_ip]:[local_port];transport=[transport]>",
        ]
        invite = self._steps[-1].startswith('<recv request="INVITE"')
        return self._send(lines, fields, offer, repeat=invite and status >= 200)


class Caller(Script):
    """The customer's side. `far` is how many Record-Route values an answer brings, for `strict` alone."""

    tag = "c[pid]x[call_number]"
    mine = f"<sip:[caller]@[local_ip]:[local_port]>;tag={tag}"
    theirs = "[$theirs]"

    def __init__(self, *, strict: bool = False, far: int = 2) -> None:
        super().__init__(strict=strict)
        self.far = far
        self._invited_at = 0

    def invite(self, *fields: str, pad: int = 0) -> Self:
        """The first INVITE; `pad` adds a header of so many characters."""
        self.cseq = self._invite_cseq = 1
        self._invited_at = len(self._steps)
        lines = [
            *self._unsettled("INVITE"),
            "CSeq: 1 INVITE",
            "Max-Forwards: 70",
            "Contact: <sip:[caller]@[local_ip]:[local_port];transport=[transport]>",
            *([f"Subject: {'x' * pad}"] if pad else []),
        ]
        return self._send(lines, fields, True, repeat=True)

    def answered(self, status: int = 200, *checks: tuple[str, str], ack_after: int = 0) -> Self:
        """Wait for the INVITE's answer and ACK it, late if so wished (milliseconds), or for an early dialog's 183."""
        saves = [("target", "Contact", _URI, 1), ("theirs", "To", _REST, 1)]
        if self.strict:
            saves.append(("hop", "Record-Route", _URI, self.far))
            saves += [(f"beyond{n}", "Record-Route", "<[^>]+>", n) for n in range(self.far - 1, 0, -1)]
        self._maybe(100, 180, *(() if status == 183 else (183,)))
        self._add(f'<recv response="{status}" rrs="true">{self._actions(checks, *saves)}</recv>')
        if ack_after:
            self.wait(ack_after)
        return self.ack() if status >= 200 else self

    def refused(self, status: int, *checks: tuple[str, str]) -> Self:
        """Wait for a final failure, and ACK it."""
        self._maybe(100, 180, 183)
        self._add(f'<recv response="{status}">{self._actions(checks)}</recv>')
        lines = [*self._unsettled("ACK", "[last_To:]"), "CSeq: 1 ACK", "Max-Forwards: 70"]
        return self._send(lines, (), False, repeat=False)

    def rings(self, status: int = 180) -> Self:
        self._maybe(100)
        return self._add(f'<recv response="{status}"/>')

    def cancel(self) -> Self:
        lines = [*self._unsettled("CANCEL"), "CSeq: 1 CANCEL", "Max-Forwards: 70"]
        return self._send(lines, (), False, repeat=True)._add('<recv response="200"/>')

    def _unsettled(self, method: str, to: str = "") -> list[str]:
        """A request of the INVITE's transaction."""
        back = len(self._steps) - self._invited_at
        return [
            f"{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch{f'-{back}' if back else ''}]",
            f"From: {self.mine}",
            to or "To: <sip:[service]@[remote_ip]:[remote_port]>",
            "Call-ID: [call_id]",
        ]


class Callee(Script):
    """The gateway's side. `hops` is how many Vias an INVITE brings, `routes` how many Record-Routes, `first` the
    number in its CSeq."""

    tag = "g[pid]x[call_number]"
    mine = f"[$here];tag={tag}"
    theirs = "[$there]"

    def __init__(self, *, strict: bool = False, hops: int = 2, routes: int = 1, lost: int = 0, first: int = 1) -> None:
        super().__init__(strict=strict, lost=lost)
        self.first = first
        self.hops = hops
        self.routes = routes

    def invited(self, *checks: tuple[str, str]) -> Self:
        """Wait for the first INVITE; it must have come over as many hops as said."""
        saves = [
            ("target", "Contact", _URI, 1),
            ("there", "From", _REST, 1),
            ("here", "To", _REST, 1),
            *((f"via{n}", "Via", _REST, n) for n in range(1, self.hops + 1)),
            *((f"route{n}", "Record-Route", _REST, n) for n in range(1, self.routes + 1)),
        ]
        if self.strict:
            saves.append(("hop", "Record-Route", _URI, 1))
            saves += [(f"beyond{n}", "Record-Route", "<[^>]+>", n) for n in range(2, self.routes + 1)]
        return self._add(f'<recv request="INVITE" rrs="true"{self._lost}>{self._actions(checks, *saves)}</recv>')

    def turns_away(self, status: int, *fields: str) -> Self:
        """Refuse the first INVITE, which may come once more with the next number."""
        self.hear("INVITE")
        copied = ["[last_Via:]", "[last_From:]", f"[last_To:];tag={self.tag}t", "[last_CSeq:]"]
        self._response(status, copied, fields, False)
        self.first += 1
        return self.hear("ACK")

    def challenges(self, method: str, status: int, *fields: str) -> Self:
        """Refuse a request inside the dialog, which is to come once more."""
        self.hear(method).answer(status, *fields)
        return self.hear("ACK") if method == "INVITE" else self

    def reply(self, status: int, *fields: str, offer: bool = False) -> Self:
        """Answer the first INVITE, whatever came since."""
        copied = [
            *(f"Via: [$via{n}]" for n in range(1, self.hops + 1)),
            *(f"Record-Route: [$route{n}]" for n in range(1, self.routes + 1)),
            "From: [$there]",
            "To: [$here]" + (f";tag={self.tag}" if status > 100 else ""),
            f"CSeq: {self.first} INVITE",
        ]
        self._response(status, copied, fields, offer)
        if status >= 200:
            self._steps[-1] = self._steps[-1].replace("<send>", '<send retrans="500">', 1)
        return self

    def cancelled(self) -> Self:
        """Wait for the CANCEL and end the INVITE by it."""
        self.hear("CANCEL")
        copied = ["[last_Via:]", "[last_From:]", f"[last_To:];tag={self.tag}", "[last_CSeq:]"]
        self._response(200, copied, (), False)
        return self.reply(487).hear("ACK")
