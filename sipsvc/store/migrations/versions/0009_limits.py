"""Limits of calls and of what is spent; schedules, weights and the margin guard; exchange rates.

The guard is on for the price lists there are: what they sold below cost is left out from now on (SIP-28).
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LIMIT = ("max_channels", sa.Integer(), "0")
RATE = ("max_cps", sa.Integer(), "0")
# Name, type and what there is has; None where that is nothing.
ADDED: dict[str, tuple[tuple[str, Any, str | None], ...]] = {
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
    for table, columns in ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name, kind, _ in columns:
                batch.add_column(sa.Column(name, kind, nullable=True))
        needed = [(name, kind, value) for name, kind, value in columns if value is not None]
        op.execute(f"UPDATE {table} SET {', '.join(f'{name} = {value}' for name, _, value in needed)}")
        with op.batch_alter_table(table) as batch:
            for name, kind, _ in needed:
                batch.alter_column(name, existing_type=kind, nullable=False)


def downgrade() -> None:
    for table, columns in reversed(ADDED.items()):
        with op.batch_alter_table(table) as batch:
            for name, _, _ in columns:
                batch.drop_column(name)
    op.execute("UPDATE pricelist SET strategy = 'cheapest' WHERE strategy = 'weight'")
