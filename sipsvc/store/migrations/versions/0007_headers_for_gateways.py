"""What gateways get to see: the plus before the caller's number, and Diversion."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ADDED = ("plus_in_caller", "diversion")


def upgrade() -> None:
    with op.batch_alter_table("gateway") as batch:
        for name in ADDED:
            batch.add_column(sa.Column(name, sa.Boolean(), nullable=True))
    op.execute(f"UPDATE gateway SET {', '.join(f'{name} = false' for name in ADDED)}")
    with op.batch_alter_table("gateway") as batch:
        for name in ADDED:
            batch.alter_column(name, existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("gateway") as batch:
        for name in ADDED:
            batch.drop_column(name)
