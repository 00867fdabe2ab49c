"""Credentials of gateways: the password is sealed by a key that is not in the database."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ADDED = ("auth_username", "auth_password", "auth_realm")


def upgrade() -> None:
    with op.batch_alter_table("gateway") as batch:
        for name in ADDED:
            batch.add_column(sa.Column(name, sa.Text(), nullable=True))
    blank = ", ".join(f"{name} = ''" for name in ADDED)
    op.execute(f"UPDATE gateway SET {blank}")
    with op.batch_alter_table("gateway") as batch:
        for name in ADDED:
            batch.alter_column(name, existing_type=sa.Text(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("gateway") as batch:
        for name in ADDED:
            batch.drop_column(name)
