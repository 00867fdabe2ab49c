"""Health of gateways: pings, how many failures and successes count, and registration."""

import sqlalchemy as sa
from alembic import op

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
    with op.batch_alter_table("gateway") as batch:
        for name, kind, _ in ADDED:
            batch.add_column(sa.Column(name, kind, nullable=True))
    op.execute(f"UPDATE gateway SET {', '.join(f'{name} = {value}' for name, _, value in ADDED)}")
    with op.batch_alter_table("gateway") as batch:
        for name, kind, _ in ADDED:
            batch.alter_column(name, existing_type=kind, nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("gateway") as batch:
        for name, _, _ in ADDED:
            batch.drop_column(name)
