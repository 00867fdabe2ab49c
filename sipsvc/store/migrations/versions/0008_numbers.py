"""Prefixes allowed, and for single customers; short codes."""

import sqlalchemy as sa
from alembic import op

from sipsvc.store.migrations import columns

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ADDED = (
    ("customer_id", sa.Text(), None),
    ("action", sa.Text(), "'block'"),
    ("liftable", sa.Boolean(), "false"),
    ("lift_expensive", sa.Boolean(), "false"),
)


def upgrade() -> None:
    columns.add("block", ADDED)
    with op.batch_alter_table("block") as batch:
        batch.create_foreign_key("fk_block_customer_id", "customer", ["customer_id"], ["id"])
    op.create_index("ix_block_customer_id", "block", ["customer_id"])
    op.create_table(
        "shortcode",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "partner_id")),
        sa.Column("customer_id", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("code", "name", "number", "gateways", "dial")),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("created_at", "updated_at")),
        sa.PrimaryKeyConstraint("id", name="pk_shortcode"),
        sa.ForeignKeyConstraint(["partner_id"], ["partner.id"], name="fk_shortcode_partner_id"),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name="fk_shortcode_customer_id"),
    )
    for column in ("partner_id", "customer_id"):
        op.create_index(f"ix_shortcode_{column}", "shortcode", [column])


def downgrade() -> None:
    """What 0007 knows comes back: what is blocked for the platform or for a partner."""
    op.drop_table("shortcode")
    op.execute("DELETE FROM block WHERE customer_id IS NOT NULL OR action <> 'block'")
    op.drop_index("ix_block_customer_id", "block")
    with op.batch_alter_table("block") as batch:
        batch.drop_constraint("fk_block_customer_id", type_="foreignkey")
    columns.drop("block", (name for name, _, _ in ADDED))
