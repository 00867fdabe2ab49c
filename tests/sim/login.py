"""What a gateway that challenges asks for, and how it judges what it is given (SIP-33)."""

from __future__ import annotations

import re
from hashlib import md5, sha256
from random import Random
from typing import NamedTuple

from tests.sim.sipmsg import Msg

USER, PASSWORD, REALM = "reseller", "no secret", "carrier"
MAKERS = {"MD5": md5, "SHA-256": sha256}
WHERE = {401: ("WWW-Authenticate", "authorization"), 407: ("Proxy-Authenticate", "proxy-authorization")}


class Login(NamedTuple):
    """What a gateway challenges with, and how many requests it takes with one nonce."""

    status: int
    algorithm: str
    qop: bool
    uses: int


def draw_login(seed: int, gateway: str) -> Login | None:
    rng = Random(f"login {seed} {gateway}")
    if rng.random() < 0.65:
        return None
    return Login(rng.choice((401, 407)), rng.choice(("MD5", "SHA-256")), rng.random() < 0.8, rng.choice((3, 8, 1_000)))


class Guard:
    """A gateway's nonces: how often each was used, and with which counts."""

    def __init__(self, name: str, login: Login, rng: Random) -> None:
        self.name, self.login, self.rng = name, login, rng
        self.used: dict[str, set[str]] = {}

    def forget(self) -> None:
        self.used.clear()

    def challenge(self, stale: bool) -> tuple[str, str]:
        """A header with a new nonce."""
        nonce = f"{self.name}-{self.rng.getrandbits(64):016x}"
        self.used[nonce] = set()
        login = self.login
        parts = [f'realm="{REALM}"', f'nonce="{nonce}"', f"algorithm={login.algorithm}"]
        parts += ['qop="auth,auth-int"'] * login.qop + ["stale=true"] * stale
        return WHERE[login.status][0], f"Digest {', '.join(parts)}"

    def weigh(self, msg: Msg) -> tuple[str, str]:
        """What is to be said to a request: `in`, `challenge` or `stale`; and what is wrong with it, "" for nothing.

        Whether `uri` is the Request-URI is for who sees it leave: a proxy on the way may have changed that one.
        """
        value = msg.get(WHERE[self.login.status][1])
        if not value:
            return "challenge", ""
        given = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', value)}
        nonce, count = given["nonce"], given.get("nc", "")
        if not nonce.startswith(f"{self.name}-"):
            return "challenge", f"{msg.line} has the nonce {nonce} of another gateway"
        if given["response"] != self._proof(msg, given):
            return "challenge", f"{msg.line} has a wrong response: {value}"
        if nonce not in self.used or len(self.used[nonce]) >= self.login.uses:
            return "stale", ""
        fault = f"{msg.line} has the count {count} again" if count and count in self.used[nonce] else ""
        self.used[nonce].add(count or msg.branch)
        return "in", fault

    def _proof(self, msg: Msg, given: dict[str, str]) -> str:
        make = MAKERS[self.login.algorithm]

        def hashed(*parts: str) -> str:
            return make(":".join(parts).encode()).hexdigest()

        middle = [given["nc"], given["cnonce"], "auth"] if self.login.qop else []
        known = hashed(USER, REALM, PASSWORD)
        return hashed(known, given["nonce"], *middle, hashed(msg.method, given["uri"]))
