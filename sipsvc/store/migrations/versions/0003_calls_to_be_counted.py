"""Calls to be counted: destination, whether answered, and the instant that says which day and month a call is of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FILLED = (("sell_prefix", sa.Text()), ("sell_name", sa.Text()), ("answered", sa.Boolean()))
# What usage and statistics add up, so that they are answered from the index: a row of `cdr` is twenty times as wide.
SUMS = ("answered", "duration_ms", "billed_s", "sell_currency", "sell_amount")
BUYING = ("gateway", "sell_prefix", "sell_name", "status", "code", "buy_currency", "buy_amount")
INDEXES = {
    # Of a partner's customer: SQLite would otherwise go through all the partner's calls for its.
    "ix_cdr_customer_partner_invite_at_cdr_id": ("customer", "partner", "invite_at", "cdr_id"),
    "ix_cdr_customer_usage": ("customer", "counted_at", "partner", *SUMS),
    "ix_cdr_partner_statistics": ("partner", "counted_at", "customer", *SUMS, *BUYING),
}


def upgrade() -> None:
    with op.batch_alter_table("cdr") as batch:
        for name, kind in FILLED:
            batch.add_column(sa.Column(name, kind, nullable=True))
        batch.add_column(sa.Column("counted_at", sa.BigInteger(), nullable=True))
    postgresql = op.get_bind().dialect.name == "postgresql"
    prefix, row = (
        (f"CAST(sell AS json) ->> '{name}'" if postgresql else f"json_extract(sell, '$.{name}')")
        for name in ("prefix", "row")
    )
    op.execute(
        f"UPDATE cdr SET sell_prefix = coalesce({prefix}, ''), "
        f"sell_name = coalesce((SELECT name FROM price_row WHERE id = CAST({row} AS BIGINT)), ''), "
        "answered = answer_at IS NOT NULL, "
        "counted_at = CASE WHEN state = 'ended' THEN coalesce(answer_at, invite_at) END"
    )
    with op.batch_alter_table("cdr") as batch:
        for name, kind in FILLED:
            batch.alter_column(name, existing_type=kind, nullable=False)
    op.drop_index("ix_cdr_customer_invite_at_cdr_id", "cdr")
    for name, columns in INDEXES.items():
        op.create_index(name, "cdr", columns)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "cdr")
    with op.batch_alter_table("cdr") as batch:
        for name in ("counted_at", *(name for name, _ in reversed(FILLED))):
            batch.drop_column(name)
    op.create_index("ix_cdr_customer_invite_at_cdr_id", "cdr", ["customer", "invite_at", "cdr_id"])
