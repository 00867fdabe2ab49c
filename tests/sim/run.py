"""Runs seeds, two at a time, and tells what was met and what went wrong."""

from __future__ import annotations

from collections import Counter
from multiprocessing import get_context
from typing import NamedTuple

import typer

from tests.sim.account import LONG_RUN, PROMISED, account
from tests.sim.invariants import check
from tests.sim.ladder import ladder
from tests.sim.scenario import play, prepare
from tests.sim.sipua import Finding

CORES = 2
LADDERS_SHOWN = 3
app = typer.Typer(add_completion=False)


class Outcome(NamedTuple):
    """One seed's run: its findings, the counts of what was met, and a ladder for each call at fault."""

    seed: int
    calls: int
    findings: list[Finding]
    counts: Counter[str]
    ladders: list[str]


def run_seed(seed: int) -> Outcome:
    """Play one seed and hold it to every invariant."""
    run = play(prepare(seed))
    views = check(run)
    counts = account(run, views)
    faulty = list(dict.fromkeys(finding.call_id for finding in run.findings if finding.call_id))
    ladders = ["\n".join(ladder(run, call_id)) for call_id in faulty[:LADDERS_SHOWN]]
    return Outcome(seed, len(run.plans), list(run.findings), counts, ladders)


def run_seeds(first: int, number: int, cores: int = CORES) -> list[Outcome]:
    """Results in the order of the seeds."""
    seeds = range(first, first + number)
    if cores == 1 or number == 1:
        return [run_seed(seed) for seed in seeds]
    with get_context("fork").Pool(cores) as pool:
        return pool.map(run_seed, seeds, chunksize=4)


def tell(outcomes: list[Outcome]) -> int:
    """Print the account of a run; the number of violations, promises that a long run did not keep among them."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total += outcome.counts
    calls = sum(outcome.calls for outcome in outcomes)
    violations = sum(len(outcome.findings) for outcome in outcomes)
    print(f"seeds {len(outcomes)}, calls {calls}")
    for name in sorted(set(total) - set(PROMISED)):
        print(f"  {name:<40} {total[name]:>8}")
    print("\npromised")
    for name in PROMISED:
        print(f"  {name:<40} {total[name]:>8}")
    for outcome in outcomes:
        if not outcome.findings:
            continue
        print(f"\nseed {outcome.seed}: replay with  make sim SEEDS=1 FIRST_SEED={outcome.seed}")
        for finding in outcome.findings:
            print(f"  {finding.rule}  {finding.call_id}  at {finding.at / 1e9 - 1000:.4f} s: {finding.text}")
        for lines in outcome.ladders:
            print(f"\n{lines}")
    rules = Counter(finding.rule for outcome in outcomes for finding in outcome.findings)
    missing = [name for name in PROMISED if not total[name]]
    if missing and len(outcomes) >= LONG_RUN:
        print(f"\nnever met: {', '.join(missing)}")
        violations += len(missing)
    print(f"\nviolations {violations}" + "".join(f", {rule} {number}" for rule, number in rules.most_common()))
    return violations


@app.command()
def main(seeds: int = 100, first_seed: int = 1, mutant: str = "") -> None:
    """Play seeds FIRST_SEED to FIRST_SEED + SEEDS - 1; exit 1 when an invariant is broken."""
    if mutant:
        from tests.sim.mutants import MUTANTS

        if mutant not in MUTANTS:
            raise typer.BadParameter(f"{mutant} is none of {', '.join(MUTANTS)}", param_hint="--mutant")
        MUTANTS[mutant]()
    if tell(run_seeds(first_seed, seeds)):
        raise typer.Exit(1)
