"""What gateways get to see: the plus before the caller's number, and Diversion."""

import sqlalchemy as sa

from sipsvc.store.migrations import columns

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ADDED = tuple((name, sa.Boolean(), "false") for name in ("plus_in_caller", "diversion"))


def upgrade() -> None:
    columns.add("gateway", ADDED)


def downgrade() -> None:
    columns.drop("gateway", (name for name, _, _ in ADDED))
