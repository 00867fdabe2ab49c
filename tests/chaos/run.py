"""The run: SIPp calls, the plan is carried out, and when all is quiet what came of it is looked at."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sipsvc.control import ask
from sipsvc.demo.api import DemoError
from sipsvc.demo.load import CALLER, DIALLED, log_end, rejected, write_bundle
from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp
from sipsvc.store.database import open_database
from tests.chaos.disk import Ballast, mounted
from tests.chaos.plan import plan
from tests.chaos.verdict import Held, answers, figures, read
from tests.postgres import Postgres, running

TALK_MS = 6_000
# A call hangs for 64 T1 at most on each of INVITE, ACK and BYE; a probe comes within 30 s of a restart.
QUIET_S = 120.0
BACK_S = 90.0
SIPP = ("-aa", "-trace_shortmsg", "-timer_resol", "5", "-recv_timeout", "40000")


class Chaos:
    """A server that is started again whenever it is gone, and what is done to it."""

    def __init__(self, server: Server, postgres: Postgres) -> None:
        self._server = server
        self._postgres = postgres
        self._ballast: Ballast | None = None
        self.kills = 0
        self.away_s = 0.0

    def do(self, what: str) -> str:
        """What was done, for a person."""
        began = time.monotonic()
        if what == "kill":
            self._server.kill()
            self.back()
            self.kills += 1
            self.away_s += time.monotonic() - began
            return f"the server was killed, and answered again after {time.monotonic() - began:.1f} s"
        if what == "stop":
            self._postgres.stop()
            return "the database was stopped"
        if what == "start":
            self._postgres.start()
            return "the database was started"
        if what == "fill":
            self._ballast = Ballast(self._server.data / "cdr")
            return "the log's disk was filled"
        self.end()
        return "the log's disk has room again"

    def back(self) -> None:
        """As a service manager does: again until it runs. Raises DemoError when it never does."""
        give_up = time.monotonic() + BACK_S
        while True:
            try:
                self._server.start()
                return
            except DemoError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.5)

    def end(self) -> None:
        if self._ballast is not None:
            self._ballast.off()
            self._ballast = None


def run(seconds: int, rate: int) -> int:
    """The exit code: 0 when everything is as asked."""
    folder = Path(tempfile.mkdtemp(prefix="sipsvc-chaos-"))
    good = False
    try:
        with ExitStack() as stack:
            postgres = stack.enter_context(running())
            port = free_port()
            url = postgres.url(postgres.database())
            server = Server(folder, write_bundle(folder / "bundle", port), api=False, database=url)
            stack.enter_context(mounted(server.data / "cdr"))
            stack.callback(server.stop)
            chaos = Chaos(server, postgres)
            stack.callback(chaos.end)
            server.start()
            print(f"chaos: {rate} calls a second for {seconds} s through {server.target}", flush=True)
            gateway = Sipp("load/uas.xml", folder, port, *SIPP)
            stack.callback(gateway.stop)
            client = _caller(folder, server, rate, seconds)
            stack.callback(client.stop)
            _carry_out(chaos, seconds)
            client.wait(TALK_MS / 1000 + QUIET_S)
            engine = open_database(url)
            stack.callback(engine.dispose)
            held, live, delivered = _quiet(server, engine)
            client.stop()
            gateway.stop()
            good = _tell(server, client, gateway, held, live, delivered)
            counted = client.counters()
            print(
                f"killed {chaos.kills} times and away for {chaos.away_s:.0f} s of it; {counted.created} calls begun, "
                f"{counted.failed} of them failed at the caller, {counted.retrans} retransmissions"
            )
    except (DemoError, OSError, SQLAlchemyError) as error:
        print(error)
    finally:
        if good:
            shutil.rmtree(folder)
        else:
            print(f"kept for a look: {folder}")
    print("as asked" if good else "NOT as asked")
    return 0 if good else 1


def _caller(folder: Path, server: Server, rate: int, seconds: int) -> Sipp:
    return Sipp(
        "load/uac.xml",
        folder,
        free_port(),
        *("-s", DIALLED, "-key", "caller", CALLER, "-m", str(rate * seconds), "-r", str(rate), "-d", str(TALK_MS)),
        *("-l", str(rate * 60), *SIPP),
        target=server.target,
    )


def _carry_out(chaos: Chaos, seconds: int) -> None:
    began = time.monotonic()
    for event in plan(seconds):
        time.sleep(max(0.0, began + event.at_s - time.monotonic()))
        at = time.monotonic() - began
        print(f"{at:6.1f} s  {chaos.do(event.what)}", flush=True)
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def _quiet(server: Server, engine: Engine) -> tuple[Held, int, bool]:
    """When no call is live and the log is delivered, or after QUIET_S: the database, live calls, whether delivered."""
    end = time.monotonic() + QUIET_S
    while True:
        held = read(engine)
        (told,) = ask(server.data, "status")
        live = int(told["live_calls"])
        delivered = held.position == log_end(server.data / "cdr")
        if (delivered and not live and not held.open and not told["transactions"]) or time.monotonic() > end:
            return held, live, delivered
        time.sleep(0.5)


def _tell(server: Server, client: Sipp, gateway: Sipp, held: Held, live: int, delivered: bool) -> bool:
    found = list(
        figures(
            held,
            answers(client, sent=False),
            answers(gateway, sent=True),
            live,
            rejected(server.data / "cdr"),
            delivered,
        )
    )
    print("\n".join(map(str, found)))
    return all(figure.good for figure in found)
