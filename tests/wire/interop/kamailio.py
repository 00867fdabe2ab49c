"""Kamailio as somebody else's proxy: a customer's or a carrier's. Debian package kamailio, 5.6."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sipsvc.demo.sipp import is_bound
from tests.processes import end

US = "127.0.0.1"
CONFIG = """\
debug=1
log_stderror=yes
children=1
tcp_children=1
{head}
auto_aliases=no
dns=no
rev_dns=no
{listen}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "dialog.so"
loadmodule "uac.so"
loadmodule "corex.so"
loadmodule "auth.so"
{modules}
modparam("tm", "fr_timer", 2000)
modparam("tm", "fr_inv_timer", 30000)
modparam("rr", "enable_full_lr", 1)
modparam("dialog", "default_timeout", 2)
modparam("uac", "restore_mode", "none")
modparam("uac", "auth_realm_avp", "$avp(realm)")
modparam("uac", "auth_username_avp", "$avp(user)")
modparam("uac", "auth_password_avp", "$avp(password)")
modparam("auth", "algorithm", "SHA-256")
modparam("auth", "nonce_expire", 2)
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")

request_route {{
    if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (!is_method("ACK")) t_check_trans();
    if (has_totag()) {{
{inside}
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "No Route");
        exit;
    }}
    remove_hf("Route");
{legs}
    sl_send_reply("404", "Nothing Here");
}}

failure_route[AUTHENTICATE] {{
    if (t_check_status("407") && uac_auth()) t_relay();
}}
"""


@dataclass(frozen=True, slots=True)
class Leg:
    """What comes in at `host`:`port` goes to `to`, a URI. `before` is more configuration for it, done first.

    `inside` is done first with requests inside a call that come from us, but for an ACK. `strict` writes a
    Record-Route as RFC 2543 had it, without lr.
    """

    host: str
    port: int
    to: str
    strict: bool = False
    transport: str = "udp"
    before: str = ""
    relay: str = "t_relay()"
    inside: str = ""

    @property
    def socket(self) -> str:
        return f"{self.transport}:{self.host}:{self.port}"

    @property
    def route(self) -> str:
        mark = f'insert_hf("Record-Route: <sip:{self.host}:{self.port}>\\r\\n", "Record-Route")'
        return (
            f'    if ($Rp == {self.port} && $proto == "{self.transport}") {{\n        {self.before}\n'
            f"        {mark if self.strict else 'record_route()'};\n"
            f'        $du = "{self.to}";\n        {self.relay};\n        exit;\n    }}'
        )


class Kamailio:
    """One process with a folder of its own. `sockets` are those besides the legs', `tls` the text of a tls.cfg,
    `modules` more of them with their settings."""

    def __init__(
        self, folder: Path, legs: list[Leg], sockets: tuple[str, ...] = (), tls: str = "", modules: str = ""
    ) -> None:
        program = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
        assert program, "kamailio is missing: run `make deps` (Debian package kamailio)"
        folder.mkdir(parents=True)
        self.log = folder / "log"
        config = folder / "kamailio.cfg"
        head = ""
        if tls:
            (folder / "tls.cfg").write_text(tls)
            head = "enable_tls=yes"
            modules += f'\nloadmodule "tls.so"\nmodparam("tls", "config", "{folder}/tls.cfg")'
        listen = "\n".join(f"listen={one}" for one in [*(leg.socket for leg in legs), *sockets])
        routes = "\n".join(leg.route for leg in legs)
        inside = "\n".join(
            f'        if ($Rp == {leg.port} && $si == "{US}") {{ if (is_method("ACK")) t_check_trans(); '
            f"else {{ {leg.inside} }} }}"
            for leg in legs
            if leg.inside
        )
        config.write_text(CONFIG.format(head=head, listen=listen, modules=modules, legs=routes, inside=inside))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # In the foreground, with little memory; what it writes besides its log stays in the folder.
                [program, "-f", str(config), "-DD", "-E", "-m", "32", "-M", "8", "-Y", str(folder), "-w", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 30
        # It holds its ports long before it listens to them where the machine is busy.
        while not all(is_bound(leg.port) and (leg.transport != "udp" or _answers(leg)) for leg in legs):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"kamailio did not start:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        end(self.process, 5)


def _answers(leg: Leg) -> bool:
    """Whether it says something to a request that may go no further."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind((US, 0))
        here.settimeout(0.2)
        lines = (
            f"OPTIONS sip:{leg.host}:{leg.port} SIP/2.0",
            f"Via: SIP/2.0/UDP {US}:{here.getsockname()[1]};branch=z9hG4bKup",
            "From: <sip:up@up.test>;tag=up",
            f"To: <sip:{leg.host}>",
            "Call-ID: up",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 0",
            "Content-Length: 0\r\n\r\n",
        )
        here.sendto("\r\n".join(lines).encode(), (leg.host, leg.port))
        try:
            return here.recv(65_535).startswith(b"SIP/2.0 483")
        except TimeoutError:
            return False
