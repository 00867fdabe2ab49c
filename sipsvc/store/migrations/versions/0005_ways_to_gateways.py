"""Ways to gateways: the transport, and TCP for what UDP cannot carry. A port may be 0 now, which needs no change."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ADDED = (("transport", sa.Text(), "'udp'"), ("tcp_if_large", sa.Boolean(), "false"))


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
