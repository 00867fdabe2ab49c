"""Bugs planted in the engine: each must be caught, or the simulation proves little.

A mutant is a function that changes the engine's classes in this process; every one runs in a child of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import get_context

from tests.sim import bugs, bugs_inside, bugs_money
from tests.sim.run import CORES, run_seed, run_seeds

MOST_SEEDS = 60

MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__.replace("_", "-"): mutant
    for mutant in (
        bugs.doubled_cdr,
        bugs.leaked_transaction,
        bugs.stacked_prefix,
        bugs.lost_2xx,
        bugs.ack_elsewhere,
        bugs.cancel_forgotten,
        bugs.deaf_to_cancel_between,
        bugs.endless_call,
        bugs.second_answer_kept,
        bugs.hunts_on_busy,
        bugs.credentials_leak,
        bugs.impatient_answer,
        bugs.retransmission_is_a_call,
        bugs.quiet_transaction,
        bugs.one_sided_end,
        bugs.no_timer_c,
        bugs.rounded_down,
        bugs.dear_first,
        bugs.callee_blamed,
        bugs.log_after_sending,
        bugs.forgets_calls,
        bugs.deaf_to_changes,
        bugs.half_a_swap,
        bugs.old_gateways,
        bugs.calls_lost_in_a_swap,
        bugs.limitless,
        bugs.places_kept,
        bugs.blind_to_what_filled_up,
        bugs.free_calls_a_second,
        bugs_inside.session_for_ever,
        bugs_inside.bye_at_expiry,
        bugs_inside.unbilled_talk,
        bugs_inside.any_interval,
        bugs_inside.refresh_unheard,
        bugs_inside.first_address_only,
        bugs_inside.patient_look_up,
        bugs_inside.loose_only,
        bugs_inside.direct_only,
        bugs_inside.deaf_to_moves,
        bugs_inside.any_token,
        bugs_inside.answers_as_they_came,
        bugs_inside.anybodys_answers,
        bugs_inside.no_way_back_to_udp,
        bugs_inside.one_ack_is_enough,
        bugs_inside.bodies_lost,
        bugs_inside.hasty,
        bugs_inside.glare_hidden,
        bugs_inside.ack_by_the_caller,
        bugs_inside.offset_lost_at_prack,
        bugs_inside.rack_by_the_caller,
        bugs_inside.credentials_elsewhere,
        bugs_inside.offset_forgotten_by_a_restart,
        bugs_inside.blind_to_health,
        bugs_inside.down_for_ever,
        bugs_inside.quick_to_judge,
        bugs_inside.pinged_for_ever,
        bugs_money.reservation_kept,
        bugs_money.parallel_calls_forgotten,
        bugs_money.uncapped,
        bugs_money.minutes_counted_at_the_end,
        bugs_money.charges_forgotten,
        bugs_money.credit_lost_by_a_restart,
        bugs_money.anyone_let_in,
        bugs_money.never_cut,
        bugs_money.never_topped_up,
        bugs_money.money_first,
        bugs_money.month_of_the_invite,
        bugs_inside.taken_for_alive,
        bugs_inside.half_a_probe,
    )
}


def hunt(name: str) -> tuple[str, int, list[str]]:
    """Plant a bug, then run seeds until an invariant is broken: its name, how many seeds it took, what was broken."""
    MUTANTS[name]()
    for seed in range(1, MOST_SEEDS + 1):
        findings = run_seed(seed).findings
        if findings:
            return name, seed, list(dict.fromkeys(finding.rule for finding in findings))
    return name, MOST_SEEDS, []


def main() -> int:
    """Exit 1 when a mutant survives, or when the engine as it is breaks an invariant on the same seeds."""
    sound = [finding.rule for outcome in run_seeds(1, MOST_SEEDS) for finding in outcome.findings]
    if sound:
        print(f"the engine without any mutant breaks {', '.join(sorted(set(sound)))}: nothing can be told from this")
        return 1
    with get_context("fork").Pool(CORES, maxtasksperchild=1) as pool:
        results = pool.imap(hunt, MUTANTS, chunksize=1)
        survivors = 0
        for name, seeds, rules in results:
            survivors += not rules
            told = f"caught by {', '.join(rules)} after {seeds} seed{'s'[: seeds > 1]}" if rules else "SURVIVED"
            print(f"{name:<26} {told}", flush=True)
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
