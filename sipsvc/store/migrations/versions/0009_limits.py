"""Limits of calls and of what is spent; schedules, weights and the margin guard; exchange rates.

The guard is on for the price lists there are: what they sold below cost is left out from now on (SIP-28).
"""

import sqlalchemy as sa
from alembic import op

from sipsvc.store.migrations import columns

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LIMIT = ("max_channels", sa.Integer(), "0")
RATE = ("max_cps", sa.Integer(), "0")
ADDED: dict[str, columns.Columns] = {
    "platform_settings": (("rates", sa.Text(), "'{}'"),),
    "customer": (
        RATE,
        ("busy_status", sa.Integer(), "486"),
        *((f"spend_{what}_{window}", sa.BigInteger(), None) for what in ("alert", "cap") for window in ("hour", "day")),
    ),
    "trunk": (LIMIT,),
    "gateway": (LIMIT, RATE, ("weight", sa.Integer(), "1"), ("schedule", sa.Text(), "'[]'")),
    "pricelist": (("expected_s", sa.Integer(), "60"), ("allow_loss", sa.Boolean(), "false")),
}


def upgrade() -> None:
    for table, added in ADDED.items():
        columns.add(table, added)


def downgrade() -> None:
    for table, added in reversed(ADDED.items()):
        columns.drop(table, (name for name, _, _ in added))
    op.execute("UPDATE pricelist SET strategy = 'cheapest' WHERE strategy = 'weight'")
