"""`make import-big`: a generated price file imported twice, the second time with one row in a hundred changed.

Prints the previews, and the time and peak memory of each run, on SQLite and on a PostgreSQL of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import running

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "config" / "demo" / "demo.toml"
TARGET = "retail"
HEADER = "prefix,name,rate,fee,initial,increment,country,kind\n"


def rows(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """`count` prefixes of four to ten digits, each with the rest of its row."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        prefix = str(rng.randrange(10 ** rng.choice((3, 5, 5, 6, 6, 6, 7, 8, 9)), 10**9 * 9))[
            : rng.choice((5, 6, 7, 8, 9))
        ]
        area = int(prefix[:3])
        name = f'"Country {area}, Area {prefix[3:5]}"'
        found[prefix] = f"{name},0.{rng.randrange(1, 3000):06d},0,{rng.choice(('1,1', '60,60'))},,{rng.choice('LM')}"
    return list(found.items())


def changed(before: list[tuple[str, str]], seed: int = 2) -> list[tuple[str, str]]:
    """One row in a hundred is other: of these three in five cost something else, one is gone, one is new."""
    rng = random.Random(seed)
    there = dict(before)
    touched = rng.sample(sorted(there), len(there) // 100)
    for at, prefix in enumerate(touched):
        rest = there.pop(prefix)
        name, _, other = rest.rpartition('",')
        _rate, _, tail = other.partition(",")
        if at % 5 < 3:
            there[prefix] = f'{name}",0.{rng.randrange(1, 3000):06d},{tail}'
        elif at % 5 == 3:
            fresh = f"{prefix}{rng.randrange(10**4, 10**5)}"
            there[fresh] = rest
    return list(there.items())


def write(path: Path, listed: list[tuple[str, str]]) -> None:
    path.write_text(HEADER + "".join(f"{prefix},{rest}\n" for prefix, rest in listed), encoding="utf-8")


def sipsvc(environment: dict[str, str], *words: str) -> tuple[float, float, int]:
    """Run the command; seconds, seconds of CPU, and the most memory it held, in MiB."""
    command = [sys.executable, "-m", "sipsvc", *words]
    begun = time.monotonic()
    pid = os.posix_spawn(command[0], command, {**os.environ, **environment})
    _, status, used = os.wait4(pid, 0)
    seconds = time.monotonic() - begun
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"sipsvc {' '.join(words)} ended with {code}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024


@contextmanager
def databases(folder: Path) -> Iterator[list[tuple[str, str]]]:
    with running() as server:
        yield [("SQLite", f"sqlite:///{folder / 'sipsvc.db'}"), ("PostgreSQL", server.url(server.database()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefixes", type=int, default=500_000)
    count = parser.parse_args().prefixes
    with tempfile.TemporaryDirectory() as name, databases(Path(name)) as listed:
        folder = Path(name)
        first = rows(count)
        write(folder / "first.csv", first)
        write(folder / "second.csv", changed(first))
        told = []
        for database, url in listed:
            environment = {"SIPSVC_DATA__DIR": name, "SIPSVC_DATA__DATABASE": url}
            sipsvc(environment, "load", str(BUNDLE))
            for file in ("first.csv", "second.csv"):
                seconds, cpu, memory = sipsvc(environment, "import", TARGET, str(folder / file), "--yes")
                told.append(f"{database:<12}{file:<12}{seconds:6.1f} s, {cpu:5.1f} s of CPU, {memory:5d} MiB at most")
        print("\n".join(told))


if __name__ == "__main__":
    main()
