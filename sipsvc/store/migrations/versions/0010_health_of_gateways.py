"""Health of gateways: pings, how many failures and successes count, and registration."""

import sqlalchemy as sa

from sipsvc.store.migrations import columns

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ADDED = (
    ("ping_interval_s", sa.Integer(), "0"),
    ("down_after", sa.Integer(), "3"),
    ("up_after", sa.Integer(), "2"),
    ("registration", sa.Boolean(), "false"),
    ("registration_expires_s", sa.Integer(), "3600"),
)


def upgrade() -> None:
    columns.add("gateway", ADDED)


def downgrade() -> None:
    columns.drop("gateway", (name for name, _, _ in ADDED))
