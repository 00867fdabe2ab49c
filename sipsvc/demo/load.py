"""`sipsvc demo-load`: many calls with SIPp against a server of its own, and whether each has its record.

With `kill` the server is killed (-9) half way and started again while SIPp goes on calling.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sipsvc.demo.api import DemoError
from sipsvc.demo.server import Server, free_port
from sipsvc.demo.sipp import Sipp

TALK_MS = 1000
GRACE_S = 45.0
"""How long calls and deliveries may take after the last call was to begin."""
DIALLED = "442079460018"
CALLER = "442079460100"

BUNDLE = """\
[platform]
realm = "load"
[partner]
name = "Load run"
[[customer]]
id = "load"
name = "Load"
status = "active"
pricelist = "retail"
[customer.dial_plan]
international = ["00"]
bare = "international"
[customer.caller_ids]
allowed = ["4420*"]
[[customer.trunk]]
id = "load"
source = "127.0.0.1/32"
[[gateway]]
id = "one"
name = "One"
host = "127.0.0.1"
port = {port}
uri_prefix = "1001"
coverage = "coverage.csv"
[[pricelist]]
id = "retail"
name = "Retail"
rows = "prices.csv"
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database holds: rows by Call-ID, those that were answered, how many are open or lost their end.

    `position` is the segment and offset up to which the local log is delivered.
    """

    rows: Counter[str]
    answered: Counter[str]
    open: int
    recovered: int
    position: tuple[str, int]


def write_bundle(folder: Path, port: int) -> Path:
    """A customer on 127.0.0.1 and one gateway on `port`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bundle.toml"
    path.write_text(BUNDLE.format(port=port))
    (folder / "coverage.csv").write_text("prefix,name,rate\n44,United Kingdom,0.01\n")
    (folder / "prices.csv").write_text("prefix,name,rate\n44,United Kingdom,0.02\n")
    return path


def read_database(path: Path) -> Kept:
    """Raises DemoError where there is none yet."""
    try:
        base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            found = base.execute("select call_id, state, answer_at is not null, recovered from cdr").fetchall()
            position = base.execute('select segment, "offset" from delivery_position').fetchone()
        finally:
            base.close()
    except sqlite3.OperationalError as error:
        raise DemoError(f"{path}: {error}") from None
    return Kept(
        Counter(row[0] for row in found),
        Counter(row[0] for row in found if row[2]),
        sum(row[1] != "ended" for row in found),
        sum(bool(row[3]) for row in found),
        (str(position[0]), int(position[1])) if position else ("", 0),
    )


def log_end(folder: Path) -> tuple[str, int]:
    """The newest segment of the local log and its size."""
    newest = max(folder.glob("cdr-*.log"))
    return newest.name, newest.stat().st_size


def rejected(folder: Path) -> int:
    """Records the database would not take."""
    path = folder / "rejected.log"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def called(client: Sipp, response: str = "") -> set[str]:
    """The Call-IDs whose INVITE got a response, any or one that begins with `response`."""
    return {
        line.call_id
        for line in client.lines()
        if not line.sent and line.cseq.endswith(" INVITE") and line.start.startswith(f"SIP/2.0 {response}")
    }


def settle(server: Server, admitted: set[str]) -> tuple[Kept, bool]:
    """Wait until the log is delivered and every call of `admitted` stands in the database as ended, or GRACE_S."""
    end = time.monotonic() + GRACE_S
    while True:
        kept = read_database(server.data / "sipsvc.db")
        delivered = kept.position == log_end(server.data / "cdr")
        if (delivered and not kept.open and not admitted - kept.rows.keys()) or time.monotonic() > end:
            return kept, delivered
        time.sleep(0.5)


def calls(
    server: Server, folder: Path, rate: int, count: int, gateway_port: int, meanwhile: Callable[[], None]
) -> Sipp:
    """Run SIPp to its end, and `meanwhile` while it calls."""
    gateway = Sipp("load/uas.xml", folder, gateway_port)
    client: Sipp | None = None
    try:
        client = Sipp(
            "load/uac.xml",
            folder,
            free_port(),
            "-s",
            DIALLED,
            "-key",
            "caller",
            CALLER,
            "-m",
            str(count),
            "-r",
            str(rate),
            "-d",
            str(TALK_MS),
            "-l",
            str(max(1000, rate * 40)),
            "-recv_timeout",
            "30000",
            "-timer_resol",
            "5",
            "-trace_shortmsg",
            target=server.target,
        )
        meanwhile()
        client.wait(count / rate + GRACE_S)
        return client
    finally:
        for one in (client, gateway):
            if one is not None:
                one.stop()


def report(server: Server, client: Sipp, count: int, kill: bool) -> bool:
    """Print the figures; True when they are as asked."""
    admitted, answered = called(client), called(client, "200")
    kept, delivered = settle(server, admitted)
    counted, refused = client.counters(), rejected(server.data / "cdr")
    missing = sum(kept.answered[call_id] == 0 for call_id in answered)
    unrecorded = len(admitted - kept.rows.keys())
    doubled = sum(times > 1 for times in kept.rows.values())
    failed, reasons = count - counted.ok, f" ({', '.join(counted.reasons)})" if counted.reasons else ""
    print(f"answered             {len(answered)} of {count}")
    print(f"failed at SIPp       {failed}{reasons}, {counted.retrans} retransmissions")
    print(
        f"records in database  {kept.rows.total()}, {kept.answered.total()} of answered calls, {kept.open} still open"
    )
    print(f"log delivered        {'yes, to its end' if delivered else 'NO'}, {refused} records rejected")
    print(f"answered without a record {missing}, admitted without a record {unrecorded}, with more than one {doubled}")
    if kill:
        print(f"recovered            {kept.recovered} calls of which the kill hid the end: closed and marked")
    good = delivered and not (refused or missing or unrecorded or doubled or kept.open)
    if kill:
        # Who was calling while the server was away may have failed; the others may not.
        return good and len(answered) >= 0.8 * count
    return good and failed == 0 and len(answered) == count


def _nothing() -> None:
    """Only calls."""


def _kill(server: Server, after_s: float) -> None:
    time.sleep(max(1.0, after_s))
    began = time.monotonic()
    server.kill()
    server.start()
    print(f"the server was killed and answered again after {time.monotonic() - began:.1f} s", flush=True)


def run(rate: int = 100, count: int = 2000, *, kill: bool = False) -> int:
    """The exit code: 0 when every answered call has exactly one record, and without `kill` every call was answered."""
    if not (1 <= rate <= 5000 and 1 <= count <= 1_000_000):
        print("--rate is 1 to 5000 calls a second, --calls 1 to 1,000,000")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="sipsvc-load-"))
    good = False
    server: Server | None = None
    try:
        port = free_port()
        server = Server(folder, write_bundle(folder / "bundle", port), api=False)
        server.start()
        print(
            f"load run (test aid): {count} calls at {rate} a second through {server.target}"
            + (", killed half way" if kill else ""),
            flush=True,
        )
        client = calls(
            server, folder, rate, count, port, partial(_kill, server, count / rate / 2) if kill else _nothing
        )
        good = report(server, client, count, kill)
    except DemoError as error:
        print(error)
    finally:
        if server is not None:
            server.stop()
        if good:
            shutil.rmtree(folder)
        else:
            print(f"kept for a look: {folder}")
    print("as asked" if good else "NOT as asked")
    return 0 if good else 1
