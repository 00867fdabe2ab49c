"""`python -m tests.fuzz [--seconds N | --runs N] [--seed N] [--plant]`; with a FILE it runs that one input.

Prints one line at the end: executions, edges and findings. Exit codes: 0 nothing found, 1 a finding, whose input is
printed and kept, 2 the fuzzer did not run. With `--plant` it is the other way round: 0 the planted bug was found,
1 it was not.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import seeds, target

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
FOUND = ROOT / "build" / "fuzz"
COVERED = re.compile(r"^#\d+\s.* cov: (\d+) ", re.MULTILINE)
EXECUTED = re.compile(r"^stat::number_of_executed_units: (\d+)|^#(\d+)\s", re.MULTILINE)
MOST_BYTES = 8_192


def fuzz(limits: list[str], seed: int, planted: bool) -> int:
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        begin, new = Path(scratch, "seeds"), Path(scratch, "new")
        begin.mkdir()
        new.mkdir()
        seeds.write(begin)
        command = [
            sys.executable, "-m", "tests.fuzz.child", *(["--plant"] if planted else []), *limits, f"-seed={seed}",
            f"-max_len={MOST_BYTES}", "-mutate_depth=1", "-print_final_stats=1", "-timeout=60",
            f"-artifact_prefix={FOUND}/", str(new), str(begin), str(CORPUS),
        ]  # fmt: skip
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": "0"},  # the same seed, the same run
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    said = run.stdout + run.stderr
    edges = max((int(one) for one in COVERED.findall(said)), default=0)
    executions = max((int(one or other) for one, other in EXECUTED.findall(said)), default=0)
    kept = re.search(r"Test unit written to (\S+)", said)
    if kept is None and (run.returncode or not executions):
        print(said[-4_000:])
        print(f"the fuzzer did not run: exit code {run.returncode}")
        return 2
    if kept is not None:
        show(run.stdout, Path(kept[1]), planted)
    print(f"executions {executions}, edges {edges}, findings {int(kept is not None)}")
    return int((kept is None) == planted)


def show(said: str, kept: Path, planted: bool) -> None:
    """The finding, its input, and how to see it again."""
    print(said.partition("=== Uncaught Python exception: ===")[2].strip()[:4_000])
    print(f"\ninput: {kept.read_bytes()!r}")
    print(f"again: {sys.executable} -m tests.fuzz {kept}" + " --plant" * planted)


def again(file: Path, planted: bool) -> int:
    """One input without libFuzzer; what it raises is shown by Python."""
    if planted:
        from tests.fuzz import plant

        plant.plant()
    target.run(file.read_bytes())
    print(f"{file}: nothing found")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, help="one input to run")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, help="so many executions instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", action="store_true", help="plant a bug and find it")
    options = parser.parse_args()
    if options.file:
        return again(options.file, options.plant)
    limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    return fuzz([limit], options.seed, options.plant)


if __name__ == "__main__":
    sys.exit(main())
