"""Runs the checks group by group and prints one table: `run_tests.py [--wire] -- BIN`, BIN the venv's bin folder.

A failed check, a failed test and a skipped test all make the exit code 1; every group runs all the same.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {
    "unit": (
        [
            f"tests/{folder}"
            for folder in (
                "unit",
                "property",
                "transport",
                "torture",
                "fuzz",
                "store",
                "cdr",
                "feed",
                "imports",
                "portal",
                "house",
            )
        ],
        ["-n", "auto"],
    ),
    "sim": (["tests/sim"], ["-n", "auto"]),
    "wire": (["tests/wire"], []),
}
"""Group: its folders, and how pytest runs them. Wire tests hold ports and processes: one after the other."""
BOUND_S = 2400


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table. `code` is the program's exit code."""

    name: str
    code: int
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def good(self) -> bool:
        return self.code == 0 and not self.skipped


def run(name: str, command: list[str]) -> Result:
    print(f"== {name}: {' '.join(command[1:])}", flush=True)
    began = time.monotonic()
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=BOUND_S, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"{name} did not end within {BOUND_S} s", flush=True)
        code = 124
    return Result(name, code, time.monotonic() - began)


def pytest(name: str, folders: list[str], more: list[str], bin_folder: Path) -> Result:
    present = [folder for folder in folders if (ROOT / folder).is_dir()]
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "report.xml"
        ran = run(name, [str(bin_folder / "pytest"), "-q", f"--junitxml={report}", *more, *present])
        if not report.exists():
            return Result(name, ran.code or 1, ran.seconds)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    if suite is None:
        return Result(name, 1, ran.seconds)
    total, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
    failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
    return Result(name, ran.code, ran.seconds, total - failed - skipped, failed, skipped)


def main(arguments: list[str]) -> int:
    bin_folder = Path(arguments[-1])
    bin_folder = bin_folder if bin_folder.is_absolute() else ROOT / bin_folder
    rows = [
        run("ruff", [str(bin_folder / "ruff"), "check", "."]),
        run("mypy", [str(bin_folder / "mypy")]),
    ]
    for name, (folders, more) in GROUPS.items():
        if name != "wire" or "--wire" in arguments:
            rows.append(pytest(name, folders, more, bin_folder))
    print(f"\n{'':8}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for row in rows:
        counts = f"{row.passed:8}{row.failed:8}{row.skipped:9}" if row.name in GROUPS else " " * 25
        print(f"{row.name:8}{counts}{row.seconds:9.1f}  {'ok' if row.good else 'FAILED'}")
    bad = [row for row in rows if not row.good]
    if any(row.skipped for row in rows):
        print("a skipped test counts as a failure here: what it needs has to be installed (make deps)")
    print("all good" if not bad else f"failed: {', '.join(row.name for row in bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
