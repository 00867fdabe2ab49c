"""The server, its catalogue, and where everybody is who stands round it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sipsvc.demo.server import Server, free_port
from tests.nameserver import Nameserver
from tests.transport.certificates import Authority
from tests.wire.conftest import PASSWORD, Stage, serving
from tests.wire.interop.kamailio import Kamailio, Leg

OFFICE = "127.0.0.7"
"""A customer's address, from which SIPp calls."""
PHONE = "127.0.0.1"
"""Nobody's address: a softphone there has to give its password. Its connections come from there in any case."""
BRANCH = "127.0.0.3"
"""Another customer's address: its own Kamailio."""
CARRIER = "127.0.0.4"
"""A carrier's address: Kamailio before the gateway."""
SOFT = "127.0.0.5"
"""A softphone that is a gateway."""
NOBODY = "127.0.0.6"
"""Where nobody listens."""

# Which gateways have a number, the cheapest first.
BY_CARRIER = "442079460018"
"""Kamailio, then the plain gateway."""
PLAIN = "442179460018"
"""The plain gateway alone."""
BY_STRICT = "442279460018"
"""Kamailio as a strict router."""
TO_SOFT = {"udp": "442379460018", "tcp": "442379460028", "tls": "442379460038"}
"""A softphone, by transport."""
SPIRAL = "442479460018"
"""A carrier that sends the call back to us with another number, as the branch's Kamailio."""
LOOP = "442579460018"
"""The same with the number as it was."""
BY_SLOW = "442679460018"
"""A gateway that is given up after 0.8 s of silence, then the plain one."""
BY_TCP = "443079460018"
"""A gateway by TCP."""
BY_SIZE = "443179460018"
"""A gateway by UDP, and by TCP for what is too large."""
BY_IPV6 = {"udp": "443279460018", "tcp": "443279460028"}
BY_TLS = "443379460018"
"""The carrier's Kamailio by TLS."""
BY_LIMIT = "444079460018"
"""A carrier whose Kamailio ends a call after two seconds, by a BYE of its own to both sides."""
BY_FORK = "443779460018"
"""A carrier that lets two gateways ring at once."""
BY_STATELESS = "443879460018"
"""A carrier whose Kamailio keeps no state of transactions."""
BY_NAME_TLS = "443979460018"
"""The carrier by TLS, found by its name, which its certificate holds."""
BY_REFUSED = "443679460018"
"""A gateway by TCP that nobody listens at, then the plain one."""
BY_LIAR = "443479460018"
"""A carrier whose certificate an authority signed that we do not know, then the plain gateway."""
BY_GUARD = "444179460018"
"""The carrier's Kamailio, which wants credentials by SHA-256 for everything we send."""
BY_ASKING = "444279460018"
"""A gateway that wants credentials by MD5."""
BY_NAME = "443579460018"
"""A gateway by SRV records, the first of which leads to nobody."""

CUSTOMER = """\
[[customer]]
id = "{id}"
name = "{id}"
status = "active"
pricelist = "retail"
[customer.dial_plan]
international = ["00"]
bare = "international"
[customer.caller_ids]
allowed = ["4420*"]
"""
TRUNK = """\
[[customer.trunk]]
id = "{id}"
{how}
"""
GATEWAY = """\
[[gateway]]
id = "{id}"
name = "{id}"
host = "{host}"
port = {port}
{more}
coverage = "{id}.csv"
"""
TAIL = """\
[[pricelist]]
id = "retail"
name = "Retail"
initial = 1
increment = 1
minimum = "0.01"
expensive_at = "0.50"
rows = "prices.csv"
"""
CUSTOMERS = {
    "office": [f'source = "{OFFICE}/32"', 'source = "::1/128"'],
    "branch": [f'source = "{BRANCH}/32"'],
    "phone": [f'username = "phone"\npassword = "{PASSWORD}"'],
}
TLS = """\
certificate = "{us[0]}"
key = "{us[1]}"
ca = "{ca}"
client_certificate = "optional"
client_ca = "{ca}"
"""
KAMAILIO_TLS = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
certificate = {carrier[0]}
private_key = {carrier[1]}
[server:{where}]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
certificate = {liar[0]}
private_key = {liar[1]}
[client:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
ca_list = {ca}
"""
LIMIT = "$dlg_ctx(timeout_bye) = 1; dlg_manage();"
LOGIN = ("reseller", "carrier-Secret-9")
GUARD = (
    f'if (!pv_proxy_authenticate("carrier.test", "{LOGIN[1]}", "0")) '
    '{ t_newtran(); proxy_challenge("carrier.test", "1"); exit; } consume_credentials();'
)
# Kamailio answers our challenge for a Request-URI of ours.
CREDENTIALS = (
    '$ru = "sip:" + $rU + "@{us}"; $avp(realm) = "wire"; $avp(user) = "phone"; $avp(password) = "{password}"; '
    't_on_failure("AUTHENTICATE");'
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway of the bundle: `coverage` is prefix and rate."""

    id: str
    host: str
    port: int
    coverage: dict[str, str]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of an authority that everybody trusts: certificate and key of each, made for this run."""

    ca: Path
    us: tuple[Path, Path]
    carrier: tuple[Path, Path]
    phone: tuple[Path, Path]
    liar: tuple[Path, Path]
    """For the carrier's address too, but signed by nobody's authority."""

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        folder.mkdir()
        ca, other = Authority(folder, "ca"), Authority(folder, "other")
        return cls(
            ca.file,
            ca.sign("us", "IP:127.0.0.1", "IP:::1"),
            ca.sign("carrier", f"IP:{CARRIER}", f"IP:{BRANCH}", "DNS:secure.test"),
            ca.sign("phone", f"IP:{PHONE}", f"IP:{SOFT}"),
            other.sign("liar", f"IP:{CARRIER}"),
        )


@dataclass(frozen=True, slots=True)
class Town:
    """`ports` is where each gateway is expected, by its id, and `far` where the carrier's Kamailio sends calls.

    `targets` is where we listen and `branches` where a customer finds its own Kamailio, host:port, both by transport;
    `udp6` and `tcp6` are ours on ::1; `strict` is the branch's strict router, `limit` ends calls after two
    seconds, `digest` has a password.
    """

    stage: Stage
    ports: dict[str, int]
    targets: dict[str, str]
    branches: dict[str, str]
    certificates: Certificates


def write_bundle(folder: Path, gateways: list[Gateway]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    parts = ['[platform]\nrealm = "wire"\ndigest = ["MD5"]\n[partner]\nname = "Interop"\n']
    for name, trunks in CUSTOMERS.items():
        parts.append(CUSTOMER.format(id=name))
        parts += [TRUNK.format(id=f"{name}-{index}", how=how) for index, how in enumerate(trunks)]
    for one in gateways:
        parts.append(GATEWAY.format(id=one.id, host=one.host, port=one.port, more=one.more))
        rows = "".join(f"{prefix},Somewhere,{rate}\n" for prefix, rate in one.coverage.items())
        (folder / f"{one.id}.csv").write_text(f"prefix,name,rate\n{rows}")
    (folder / "prices.csv").write_text("prefix,name,rate\n44,United Kingdom,0.03\n")
    (folder / "bundle.toml").write_text("".join([*parts, TAIL]))
    return folder / "bundle.toml"


def _gateways(ports: dict[str, int]) -> list[Gateway]:
    carrier = 'uri_prefix = "1001"\nhunt_codes = [408, 500, 502, 503, 504]'
    patient = 'uri_prefix = "1002"\nprovisional_timeout_ms = 20000'
    plain = {"4420": "0.012", "4421": "0.012", "4426": "0.012", "4434": "0.012", "4436": "0.012"}
    tcp, tls = 'transport = "tcp"', 'transport = "tls"'
    login = f'auth_username = "{LOGIN[0]}"\nauth_password = "{LOGIN[1]}"\nprovisional_timeout_ms = 20000'
    return [
        Gateway("carrier", CARRIER, ports["carrier"], {"4420": "0.010"}, carrier),
        Gateway("strict", CARRIER, ports["strict"], {"4422": "0.010"}),
        Gateway("spiral", CARRIER, ports["spiral"], {"4424": "0.010"}),
        Gateway("loop", CARRIER, ports["loop"], {"4425": "0.010"}),
        Gateway("plain", OFFICE, ports["plain"], plain, patient),
        Gateway("slow", OFFICE, ports["slow"], {"4426": "0.010"}, "provisional_timeout_ms = 800"),
        Gateway("soft", SOFT, ports["soft"], {TO_SOFT["udp"]: "0.010"}),
        Gateway("soft-tcp", SOFT, ports["soft"], {TO_SOFT["tcp"]: "0.010"}, tcp),
        # baresip has TLS one port above the others.
        Gateway("soft-tls", SOFT, ports["soft"] + 1, {TO_SOFT["tls"]: "0.010"}, tls),
        Gateway("tcp", OFFICE, ports["tcp"], {"4430": "0.010"}, tcp),
        Gateway("size", OFFICE, ports["size"], {"4431": "0.010"}, "tcp_if_large = true"),
        Gateway("six", "::1", ports["six"], {BY_IPV6["udp"]: "0.010"}),
        Gateway("six-tcp", "::1", ports["six-tcp"], {BY_IPV6["tcp"]: "0.010"}, tcp),
        Gateway("tls", CARRIER, ports["tls"], {"4433": "0.010"}, tls),
        Gateway("liar", CARRIER, ports["liar"], {"4434": "0.010"}, tls),
        Gateway("limit", CARRIER, ports["limit"], {"4440": "0.010"}),
        Gateway("guard", CARRIER, ports["guard"], {"4441": "0.010"}, login),
        Gateway("asks", OFFICE, ports["asks"], {"4442": "0.010"}, f'{login}\nauth_realm = "asks.test"'),
        Gateway("fork", CARRIER, ports["fork"], {"4437": "0.010"}),
        Gateway("stateless", CARRIER, ports["stateless"], {"4438": "0.010"}),
        Gateway("name-tls", "secure.test", 0, {"4439": "0.010"}, tls),
        Gateway("refused", NOBODY, ports["name"], {"4436": "0.010"}, tcp),
        Gateway("name", "gw.test", 0, {"4435": "0.010"}, "provisional_timeout_ms = 2000"),
    ]


def _legs(server: Server, ports: dict[str, int], targets: dict[str, str]) -> list[Leg]:
    """One Kamailio is the carrier's and the branch's, for calls that come back leave by a socket of the branch."""
    us, far = f"sip:{targets['udp']}", f"sip:{OFFICE}:{ports['far']}"
    back = f'$fs = "udp:{BRANCH}:{ports["branch"]}";'
    return [
        Leg(CARRIER, ports["carrier"], far),
        Leg(CARRIER, ports["strict"], far, strict=True),
        Leg(CARRIER, ports["spiral"], us, before=f'$rU = "{PLAIN}"; $rd = "{server.sip[0]}"; {back}'),
        Leg(CARRIER, ports["loop"], us, before=f'$ru = "sip:{LOOP}@{server.target}"; {back}'),
        Leg(CARRIER, ports["tls"], far, transport="tls"),
        Leg(CARRIER, ports["liar"], far, transport="tls"),
        Leg(CARRIER, ports["limit"], far, before=LIMIT),
        Leg(CARRIER, ports["guard"], far, before=GUARD, inside=GUARD),
        Leg(CARRIER, ports["fork"], far, before=f'append_branch("sip:{OFFICE}:{ports["far-2"]}");'),
        Leg(CARRIER, ports["stateless"], far, relay="forward()"),
        Leg(PHONE, ports["pbx"], us, before=CREDENTIALS.format(us=targets["udp"], password=PASSWORD)),
        Leg(BRANCH, ports["branch"], us),
        Leg(BRANCH, ports["branch-limit"], us, before=LIMIT),
        Leg(BRANCH, ports["branch-strict"], us, strict=True),
        *(
            Leg(
                BRANCH,
                ports[f"branch-{transport}"],
                f"sip:{targets[transport]};transport={transport}",
                before=f'$fs = "{transport}:{BRANCH}:{ports[f"out-{transport}"]}";',
            )
            for transport in ("tcp", "tls")
        ),
    ]


@contextmanager
def town(folder: Path) -> Iterator[Town]:
    """All of it running, in a folder of its own; its log shows no fault when it ends."""
    names = (
        "far", "far-2", "limit", "fork", "stateless", "pbx", "plain", "slow", "soft", "carrier", "strict", "spiral",
        "loop", "tcp", "size", "six", "six-tcp", "tls", "liar", "name", "branch", "branch-limit", "branch-strict",
        "branch-tcp", "branch-tls", "guard", "asks",
    )  # fmt: skip
    ports = {name: free_port() for name in names}
    ports |= {name: free_port(socket.SOCK_STREAM) for name in ("out-tcp", "out-tls")}
    targets = {name: f"127.0.0.1:{free_port(socket.SOCK_STREAM)}" for name in ("tcp", "tls")}
    targets |= {"udp6": f"[::1]:{free_port()}", "tcp6": f"[::1]:{free_port(socket.SOCK_STREAM)}"}
    with ExitStack() as stack:
        certificates = Certificates.make(folder / "certificates")
        names_of = Nameserver(folder)
        stack.callback(names_of.close)
        names_of.start(
            f"host-record=here.test,{OFFICE}",
            f"host-record=nobody.test,{NOBODY}",
            f"host-record=carrier.test,{CARRIER}",
            f"srv-host=_sips._tcp.secure.test,carrier.test,{ports['tls']},10,1",
            f"srv-host=_sip._udp.gw.test,nobody.test,{ports['name']},10,1",
            f"srv-host=_sip._udp.gw.test,here.test,{ports['name']},20,1",
        )
        server = Server(
            folder,
            write_bundle(folder / "bundle", _gateways(ports)),
            listen=[f"{name.rstrip('6')}:{target}" for name, target in targets.items()],
            sip=f'nameserver = "127.0.0.1:{names_of.port}"\n[sip.tls]\n'
            + TLS.format(us=certificates.us, ca=certificates.ca),
        )
        targets["udp"] = server.target
        stack.enter_context(serving(server))
        tls = KAMAILIO_TLS.format(
            carrier=certificates.carrier,
            liar=certificates.liar,
            where=f"{CARRIER}:{ports['liar']}",
            ca=certificates.ca,
        )
        out = tuple(f"{transport}:{BRANCH}:{ports[f'out-{transport}']}" for transport in ("tcp", "tls"))
        stack.callback(Kamailio(folder / "kamailio", _legs(server, ports, targets), out, tls).stop)
        branches = {
            name: f"{BRANCH}:{ports[port]}"
            for name, port in (
                ("udp", "branch"),
                ("strict", "branch-strict"),
                ("limit", "branch-limit"),
                ("tcp", "branch-tcp"),
                ("tls", "branch-tls"),
            )
        } | {"digest": f"{PHONE}:{ports['pbx']}"}
        yield Town(Stage(server, ports["far"], ports["plain"]), ports, targets, branches, certificates)
