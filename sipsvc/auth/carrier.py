"""The other side of digest: a carrier's 401 or 407 answered with its credentials (RFC 3261 §22.2, §22.3; SIP-33)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sipsvc.auth.hashes import ALGORITHMS, ha1, response
from sipsvc.message import Message
from sipsvc.message.build import clean
from sipsvc.message.grammar import QUOTED

# More realms than stand between us and a carrier; nobody makes us compute for more.
MOST_REALMS = 4
# Longer than any nonce in use. What is sent back in each request has to stay small.
MOST_TEXT = 1_024
_SKIP = re.compile(r"[\s,]*+")
_WORD = re.compile(r"([A-Za-z0-9\-._~+/!#$%&'*^`|]++)")
_VALUE = re.compile(rf"\s*+=\s*+({QUOTED}|[^\s,\"]*+)")
_INSIDE = re.compile(r"(?:[^\"\\]|\\.)*+")
_OTHERWISE = re.compile(r"[^,]*+,?")
_WHERE = (("www-authenticate", "Authorization"), ("proxy-authenticate", "Proxy-Authorization"))


class Login(NamedTuple):
    """How a carrier knows us, as people write it. With `realm` no other realm is answered."""

    username: str
    password: str
    realm: str = ""

    def __repr__(self) -> str:
        return f"<Login {self.username!r}>"


class Demand(NamedTuple):
    """A challenge that we can answer. `header` is the one it is answered in.

    `realm`, `nonce` and `opaque` are as they stand between the quotes, escapes included, "" where absent: they go back
    like that. `qop` tells that `auth` is offered; without it the answer is RFC 2069's.
    """

    header: str
    realm: str
    nonce: str
    opaque: str
    algorithm: str
    qop: bool
    stale: bool


def demands(refusal: Message) -> list[Demand]:
    """What a 401 or 407 wants, one for each header and realm in their order, of several the strongest algorithm.

    What is no digest, or of a kind that we do not speak (`auth-int` alone, other algorithms), is left out. Whatever
    stands there, nothing is raised.
    """
    best: dict[tuple[str, str], Demand] = {}
    for name, header in _WHERE:
        if name not in refusal.index:
            continue
        for value in refusal.all_whole(name):
            for params in read_challenges(value):
                demand = _demand(header, params)
                if demand is None:
                    continue
                key = (header, demand.realm)
                known = best.get(key)
                if known is None and len(best) >= MOST_REALMS:
                    continue
                if known is None or _strength(demand) < _strength(known):
                    best[key] = demand
    return list(best.values())


def read_challenges(value: str) -> list[dict[str, str]]:
    """The digest challenges of a header value: parameters by lower-case name, the first of each, without their quotes.

    Several may stand in one value (RFC 9110 §11.6.1), which SIP has no need of but proxies between may make.
    """
    found: list[dict[str, str]] = []
    params: dict[str, str] = {}
    position = 0
    while True:
        position = _end(_SKIP, value, position)
        word = _WORD.match(value, position)
        if word is None:
            if position >= len(value):
                return found
            position = max(_end(_OTHERWISE, value, position), position + 1)
            continue
        position = word.end()
        given = _VALUE.match(value, position)
        if given is None:
            params = {}
            if word.group(1).lower() == "digest":
                found.append(params)
            continue
        position = given.end()
        text = given.group(1)
        params.setdefault(word.group(1).lower(), text[1:-1] if text[:1] == '"' else text)


def _end(pattern: re.Pattern[str], value: str, position: int) -> int:
    match = pattern.match(value, position)
    return position if match is None else match.end()


def _demand(header: str, params: dict[str, str]) -> Demand | None:
    algorithm = params.get("algorithm", "MD5").upper()
    qop = params.get("qop", "")
    if algorithm not in ALGORITHMS or not params.get("nonce"):
        return None
    offered = [one.strip().lower() for one in qop.split(",")]
    if qop and "auth" not in offered:
        return None
    stale = params.get("stale", "").lower() == "true"
    realm, nonce, opaque = (_sendable(params.get(name, "")) for name in ("realm", "nonce", "opaque"))
    if max(len(realm), len(nonce), len(opaque)) > MOST_TEXT:
        return None
    return Demand(header, realm, nonce, opaque, algorithm, bool(qop), stale)


def _sendable(text: str) -> str:
    """Between quotes again it must not end them: what stood there without quotes may hold a stray backslash."""
    text = clean(text)
    return text if _INSIDE.fullmatch(text) else text.replace("\\", "\\\\")


def _strength(demand: Demand) -> int:
    return ALGORITHMS.index(demand.algorithm)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


class Answers:
    """What a carrier's challenges taught us, and the answers to them, for requests of one call or one registration.

    Later requests are answered before they are challenged again, each with the next count of the nonce (RFC 7616
    §3.4). Nothing here is ever shown: not the password, and not in `repr`.
    """

    __slots__ = ("_counts", "_known", "login")

    def __init__(self, login: Login) -> None:
        self.login = login
        # By header and realm; HA1 beside it, so that it is computed once.
        self._known: dict[tuple[str, str], tuple[Demand, str]] = {}
        self._counts: dict[str, int] = {}

    def learn(self, refusal: Message, answered: set[tuple[str, str, bool]]) -> bool:
        """Take the challenges of a 401 or 407; whether the request is worth sending again with `lines`.

        `answered` is empty for a new request and is kept with it. A realm is answered once, and once more where its
        nonce was merely too old (`stale`). False: nothing in it can be answered, or what we said was refused.
        """
        wanted = [demand for demand in demands(refusal) if self._for_us(demand)]
        for demand in wanted:
            turn = (demand.header, demand.realm, False)
            if turn in answered:
                turn = (demand.header, demand.realm, True)
                if not demand.stale or turn in answered:
                    return False
            answered.add(turn)
            self._keep(demand)
        return bool(wanted)

    def _for_us(self, demand: Demand) -> bool:
        login = self.login
        return not login.realm or _text(_unescaped(demand.realm)) == login.realm

    def _keep(self, demand: Demand) -> None:
        key = (demand.header, demand.realm)
        known = self._known.get(key)
        if known is not None and known[0].algorithm == demand.algorithm:
            secret = known[1]
        else:
            # Of the realm as it stands: its escapes are part of what is hashed (`unq`, RFC 7616 §3.2).
            secret = ha1(demand.algorithm, self.login.username, _text(demand.realm), self.login.password)
        if known is None and len(self._known) >= MOST_REALMS:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (demand, secret)
        nonces = {one.nonce for one, _ in self._known.values()}
        self._counts = {nonce: count for nonce, count in self._counts.items() if nonce in nonces}

    def lines(self, method: str, uri: str, cnonce: str) -> tuple[str, ...]:
        """Authorization and Proxy-Authorization lines for a request with this Request-URI; none where nothing is known.

        `cnonce` is random hex, drawn for each request.
        """
        return tuple(self._line(demand, secret, method, uri, cnonce) for demand, secret in self._known.values())

    def _line(self, demand: Demand, secret: str, method: str, uri: str, cnonce: str) -> str:
        header, realm, nonce, opaque, algorithm, qop, _ = demand
        count = ""
        if qop:
            number = self._counts.get(nonce, 0) + 1
            self._counts[nonce] = number
            count = f"{number:08x}"
            proof = response(algorithm, secret, nonce, method, uri, qop="auth", nc=count, cnonce=cnonce)
        else:
            proof = response(algorithm, secret, nonce, method, uri)
        user = _wire(self.login.username).replace("\\", "\\\\").replace('"', '\\"')
        parts = [
            f'username="{clean(user)}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{proof}"',
            f", algorithm={algorithm}",
        ]
        if opaque:
            parts.append(f', opaque="{opaque}"')
        if count:
            parts.append(f', qop=auth, nc={count}, cnonce="{cnonce}"')
        return f"{header}: Digest {''.join(parts)}"


def _text(value: str) -> str:
    """What stands on the wire, in its Latin-1 view, as people write it."""
    return value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _wire(value: str) -> str:
    """The reverse."""
    return value.encode("utf-8", "surrogateescape").decode("latin-1")
