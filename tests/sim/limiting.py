"""Drawing limits: who may have how many calls at once, and a second."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.sim.plan import Setting


def draw_limits(seed: int, setting: Setting) -> Setting:
    """Some runs have limits. Their gateways are addresses, by UDP only: the wire shows when one is left for another."""
    rng = Random(f"limits {seed}")
    if rng.random() > 0.4:
        return setting
    gateways = tuple(
        replace(
            gateway, name="", spares=(), tcp_if_large=False,
            max_channels=rng.choice((0, 1, 2, 4)), max_cps=rng.choice((0, 0, 1, 2)),
        )
        for gateway in setting.gateways
    )  # fmt: skip
    customers = tuple(
        replace(
            customer, trunk_channels=rng.choice((0, 0, 2, 5)), max_cps=rng.choice((0, 0, 1)),
            busy_status=rng.choice((486, 503)),
        )
        for customer in setting.customers
    )  # fmt: skip
    return replace(setting, gateways=gateways, customers=customers)
