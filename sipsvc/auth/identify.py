"""One answer to "who sent this INVITE?" (SIP-20..22)."""

from __future__ import annotations

import re
from collections.abc import Callable
from hmac import compare_digest
from typing import NamedTuple

from sipsvc.auth.acl import Acl, behind
from sipsvc.auth.digest import Credentials, Nonces, expected, parse_credentials
from sipsvc.auth.guesses import Guesses
from sipsvc.directory import Directory, Trunk
from sipsvc.effects import Flow, Now
from sipsvc.errors import SipError
from sipsvc.message import Message, parse_uri
from sipsvc.message.build import clean, quoted

# Hashed in place of an unknown user's HA1, so that the work and the answer are the same.
NOBODY = {"SHA-256": "0" * 64, "MD5": "0" * 32}
_NC = re.compile(r"[0-9A-Fa-f]{8}\Z")


class Identity(NamedTuple):
    """`auth` is `ip`, `certificate` or `digest`."""

    trunk: Trunk
    auth: str

    def number(self, dialled: str) -> str:
        """What it dialled, without its tech prefix."""
        rest = behind(self.trunk.tech_prefix, dialled) if self.trunk.tech_prefix else None
        return dialled if rest is None else rest


class Challenge(NamedTuple):
    """The caller is to prove who it is. `code` says why in our counters, never to the caller.

    `trunk` is whose credentials are right but for their nonce, which is then too old or was used before (`stale`).
    """

    code: str
    trunk: Trunk | None = None

    @property
    def stale(self) -> bool:
        return self.trunk is not None


class Authenticator:
    """Looks into the tables of the directory it was last given; nonces and what was guessed outlive it."""

    def __init__(
        self, directory: Directory, nonces: Nonces, hosts: frozenset[str], random: Callable[[int], bytes]
    ) -> None:
        self._nonces = nonces
        self._names = hosts
        self._random = random
        self._directory = directory
        self._acl = Acl(directory.networks)
        self.guesses = Guesses()
        self.use(directory)

    def use(self, directory: Directory) -> None:
        """Who calls from now on is looked for in `directory`."""
        # What the networks were asked before is kept as long as they are the same.
        if directory.networks is not self._directory.networks:
            self._acl = Acl(directory.networks)
        self._directory = directory
        # As it comes back: a message is read as Latin-1, and no line end gets into ours (SIP-5).
        self.realm = clean(directory.platform.realm).encode(errors="replace").decode("latin-1")
        self._lifetime = directory.platform.nonce_lifetime_ms
        self._offered = directory.platform.digest
        self._hosts = self._names | {self.realm.lower()}

    def identify(self, request: Message, dialled: str, flow: Flow, now: Now) -> Identity | Challenge:
        """By certificate, else by source, else by digest. `dialled` is the Request-URI's user part as it came.

        Raises SipError 403 for a gateway, whose calls inward are not taken yet.
        """
        if (flow.host, flow.port) in self._directory.addresses:
            raise SipError(403, "Calls from gateways are not accepted here", "gateway_inbound")
        if flow.certificate and (shown := self._directory.certificates.get(flow.certificate)) is not None:
            return Identity(shown, "certificate")
        trunk = self._acl.find(flow.host, flow.port, dialled)
        if trunk is not None:
            return Identity(trunk, "ip")
        for value in request.all_whole("proxy-authorization"):
            credentials = parse_credentials(value)
            if credentials is not None and credentials.realm == self.realm:
                return self._digest(credentials, request.method, flow, now)
        return Challenge("no_credentials")

    def knows(self, flow: Flow) -> bool:
        """Whether the packet alone tells who this is: a gateway, a trunk's network or a trunk's certificate."""
        directory = self._directory
        return (
            (flow.host, flow.port) in directory.addresses
            or self._acl.knows(flow.host, flow.port)
            or flow.certificate in directory.certificates
        )

    def _digest(self, credentials: Credentials, method: str, flow: Flow, now: Now) -> Identity | Challenge:
        if self.guesses.held_off(flow.host, credentials.username, now):
            return Challenge("held_off")
        algorithm = credentials.algorithm.upper() or "MD5"
        trunk = self._directory.users.get(credentials.username)
        if algorithm not in self._offered:
            algorithm, trunk = "MD5", None
        ha1 = "" if trunk is None else trunk.ha1(algorithm)
        if not ha1:
            ha1, trunk = NOBODY[algorithm], None
        right = expected(algorithm, ha1, credentials, method)
        matches = compare_digest(right, credentials.response.lower().encode("ascii", "replace").decode())
        age = self._nonces.check(credentials.nonce, self._lifetime, now)
        if age == Nonces.FOREIGN:
            return Challenge("foreign_nonce")
        if (
            not matches
            or trunk is None
            or credentials.qop != "auth"
            or not _NC.match(credentials.nc)
            or not self._ours(credentials.uri)
        ):
            self.guesses.failed(flow.host, credentials.username, now)
            return Challenge("wrong_credentials")
        if age == Nonces.STALE or not self._nonces.use(credentials.nonce, credentials.nc, self._lifetime, now):
            return Challenge("stale_nonce", trunk)
        self.guesses.succeeded(flow.host, credentials.username, now)
        return Identity(trunk, "digest")

    def _ours(self, uri: str) -> bool:
        try:
            return parse_uri(uri).host.strip("[]").lower() in self._hosts
        except SipError:
            return False

    def challenge(self, stale: bool, now: Now) -> list[str]:
        """The headers of a 407, one for each algorithm, the one liked best first (RFC 8760 §2.3)."""
        nonce = self._nonces.make(now, self._random(4))
        flag = ", stale=true" if stale else ""
        realm = quoted(self.realm)
        return [
            f'Proxy-Authenticate: Digest realm={realm}, nonce="{nonce}", algorithm={name}, qop="auth"{flag}'
            for name in self._offered
        ]

    def ours(self, value: str) -> bool:
        """Whether a Proxy-Authorization value is for us, and so not for the gateway to see."""
        credentials = parse_credentials(value)
        return credentials is None or credentials.realm == self.realm
