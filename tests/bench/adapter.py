"""Turns the benchmark's data set into a sipsvc bundle and configuration, or counts the call records of a run.

adapter.py make DATA RUN     writes RUN/sipsvc.toml, RUN/bundle.toml and its CSV files
adapter.py count RUN         prints how many answered calls the database holds
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path

REWRITE = [r"^(\+|00)"]
"""The data set's one rule on dialled numbers; the dial plan below says the same."""
MARKUP = Decimal(2)
"""Sell price over the cheaper buy price: high enough that the dearer gateway makes no loss either."""
PORT = 15060


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="ascii") as handle:
        return list(csv.DictReader(handle))


def write_prices(path: Path, table: list[tuple[str, str, str]]) -> None:
    with path.open("w", newline="", encoding="ascii") as handle:
        writer = csv.writer(handle)
        writer.writerow(["prefix", "name", "rate"])
        writer.writerows(table)


def text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value)


def customer(row: dict[str, str]) -> str:
    source = text(f"{row['source_ip']}/32") if row["auth"] == "ip" else ""
    known = (
        f"source = {source}" if source else f"username = {text(row['username'])}\npassword = {text(row['password'])}"
    )
    return (
        f'[[customer]]\nid = {text(row["id"])}\nname = {text(row["id"])}\nstatus = "active"\npricelist = "bench"\n'
        f'allow_expensive = true\n[customer.dial_plan]\ninternational = ["00"]\nbare = "international"\n'
        f'[customer.caller_ids]\nallowed = ["20*"]\n[[customer.trunk]]\nid = {text(row["id"])}\n{known}\n'
    )


def gateway(row: dict[str, str], caller_prefix: str) -> str:
    return (
        f"[[gateway]]\nid = {text(row['id'].lower())}\nname = {text('gateway ' + row['id'])}\n"
        f"host = {text(row['host'])}\n"
        f"port = {row['port']}\nremote_party_id = true\np_asserted_identity = true\n"
        f'caller_prefix = {text(caller_prefix)}\ncaller_prefix_in = ["pai", "rpid"]\n'
        f'uri_prefix = {text(row["tech_prefix"])}\ncoverage = "coverage_{row["id"]}.csv"\n'
    )


def make(data: Path, run: Path) -> Path:
    """Write the run folder and return its configuration file. Raises ValueError where the data set is another one."""
    run.mkdir(parents=True, exist_ok=True)
    if [row["pattern"] for row in rows(data / "rewrite.csv")] != REWRITE:
        raise ValueError(f"{data / 'rewrite.csv'}: the adapter knows only the rule {REWRITE[0]}")
    people = rows(data / "customers.csv")
    prefixes = {row["caller_prefix"] for row in people}
    if len(prefixes) != 1:
        raise ValueError(f"{data / 'customers.csv'}: one caller prefix for all expected, found {sorted(prefixes)}")
    gateways = rows(data / "gateways.csv")
    cheapest: dict[str, Decimal] = {}
    for one in gateways:
        coverage = [
            (r["prefix"], r["description"], r["rate_per_min"]) for r in rows(data / f"coverage_{one['id']}.csv")
        ]
        write_prices(run / f"coverage_{one['id']}.csv", coverage)
        for prefix, _, rate in coverage:
            cheapest[prefix] = min(Decimal(rate), cheapest.get(prefix, Decimal(rate)))
    write_prices(run / "prices.csv", [(p, f"Destination {p}", str(rate * MARKUP)) for p, rate in cheapest.items()])
    realm = next(row["realm"] for row in people if row["auth"] == "digest")
    blocks = "".join(
        f"[[block]]\nprefix = {text(r['prefix'])}\nreason = {text(r['reason'])}\n" for r in rows(data / "blocked.csv")
    )
    (run / "bundle.toml").write_text(
        f'[platform]\nrealm = {text(realm)}\ndigest = ["MD5"]\n[partner]\nname = "Bench"\n'
        + "".join(customer(row) for row in people)
        + "".join(gateway(row, next(iter(prefixes))) for row in gateways)
        + '[[pricelist]]\nid = "bench"\nname = "Bench"\nstrategy = "cheapest"\nallow_loss = true\nrows = "prices.csv"\n'
        + blocks
    )
    config = run / "sipsvc.toml"
    config.write_text(
        f'[sip]\nlisten = ["udp:127.0.0.1:{PORT}"]\n[api]\nenabled = false\n[data]\ndir = {text(str(run / "data"))}\n'
    )
    return config


def count(run: Path) -> int:
    base = sqlite3.connect(f"file:{run / 'data' / 'sipsvc.db'}?mode=ro", uri=True)
    try:
        return int(base.execute("select count(*) from cdr where answer_at is not null").fetchone()[0])
    finally:
        base.close()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["make", data, run]:
            print(make(Path(data), Path(run)))
        case ["count", run]:
            print(count(Path(run)))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
