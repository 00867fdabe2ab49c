"""Ways to gateways: the transport, and TCP for what UDP cannot carry. A port may be 0 now, which needs no change."""

import sqlalchemy as sa

from sipsvc.store.migrations import columns

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ADDED = (("transport", sa.Text(), "'udp'"), ("tcp_if_large", sa.Boolean(), "false"))


def upgrade() -> None:
    columns.add("gateway", ADDED)


def downgrade() -> None:
    columns.drop("gateway", (name for name, _, _ in ADDED))
