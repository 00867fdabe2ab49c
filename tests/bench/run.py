"""`make bench`: does sipsvc do the whole job, and what does a call cost beside Kamailio doing the same?

Kamailio runs with one worker, as sipsvc does. The figures of one run are only good beside each other.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import adapter

PREFIXES = 10_000
NEEDED = {
    "sipp": "sip-tester",
    "kamailio": "kamailio kamailio-extra-modules kamailio-utils-modules kamailio-sqlite-modules",
}
PARTS = ("bench.py", "dataset/make_dataset.py", "kamailio/prepare.py")
COMPARED = [
    ("cpu_s_per_1000", "CPU s per 1,000 calls"),
    ("p50_ms", "answer p50 ms"),
    ("p99_ms", "answer p99 ms"),
    ("pss_mib", "memory, PSS MiB"),
    ("failed", "failed calls"),
    ("retrans", "retransmissions"),
]


def missing(bench: Path) -> str:
    """What is not there, as a sentence; "" when all is."""
    absent = [part for part in PARTS if not (bench / part).is_file()]
    if absent:
        return (
            f"no benchmark harness in {bench} (no {', '.join(absent)}).\n"
            "Name its folder: make bench BENCH_DIR=/path/to/bench"
        )
    packages = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    return f"install first: apt-get install --no-install-recommends {' '.join(packages)}" if packages else ""


def run(command: list[str], seconds: float) -> str:
    """Its output. Raises SystemExit with the exit code where it fails, 124 where it does not end."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        print(f"did not end within {seconds:.0f} s: {shlex.join(command)}", file=sys.stderr)
        raise SystemExit(124) from None
    if done.returncode:
        print(f"{done.stdout}\nexit code {done.returncode}: {shlex.join(command)}", file=sys.stderr)
        raise SystemExit(done.returncode)
    return done.stdout


def compare(options: argparse.Namespace, bench: list[str], systems: list[str], scenario: str, report: Path) -> Any:
    """The report of one scenario, both systems in turn."""
    seconds = 2 * options.repeat * (options.seconds + 60)
    run(
        [
            *bench,
            "--compare",
            *systems,
            "--phases",
            "fixed",
            "--scenario",
            scenario,
            "--rate",
            str(options.rate),
            "--repeat",
            str(options.repeat),
            "--seconds",
            str(options.seconds),
            "--json",
            str(report),
        ],
        seconds,
    )
    return json.loads(report.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, required=True, help="the harness's folder")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    home = options.bench.resolve()
    if fault := missing(home):
        print(fault, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="sipsvc-bench-") as name:
        folder, python = Path(name), sys.executable
        run([python, str(home / "dataset/make_dataset.py"), "--out", str(folder), "--sizes", str(PREFIXES)], 120)
        data = folder / str(PREFIXES)
        kamailio = run(
            [
                python,
                str(home / "kamailio/prepare.py"),
                "--data",
                str(data),
                "--run",
                str(folder / "kam"),
                "--children",
                "1",
            ],
            120,
        ).strip()
        config = adapter.make(data, folder / "sipsvc")
        run([python, "-m", "sipsvc", "load", str(folder / "sipsvc" / "bundle.toml"), "--config", str(config)], 300)
        serve = shlex.join([python, "-m", "sipsvc", "serve", "--config", str(config)])
        bench = [python, str(home / "bench.py"), "--data", str(data)]
        count = shlex.join([python, str(Path(adapter.__file__).resolve()), "count", str(folder / "sipsvc")])
        print("verify: every rule of the data set, sipsvc", flush=True)
        run([*bench, "--sut", serve, "--phases", "verify", "--cdr-count", count], 300)
        for scenario in ("ip", "digest"):
            print(f"\n{scenario}, {options.rate:g} calls a second, {options.repeat} rounds each", flush=True)
            report = compare(
                options, bench, [f"kamailio={kamailio}", f"sipsvc={serve}"], scenario, folder / f"{scenario}.json"
            )
            a, b = report["summary"]["kamailio"], report["summary"]["sipsvc"]
            print(f"{'median of the rounds':28}{'kamailio':>12}{'sipsvc':>12}{'ratio':>9}")
            for key, title in COMPARED:
                ratio = f"{b[key] / a[key]:9.2f}" if a.get(key) and b.get(key) else f"{'-':>9}"
                print(f"{title:28}{a[key]:12.4g}{b[key]:12.4g}{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
