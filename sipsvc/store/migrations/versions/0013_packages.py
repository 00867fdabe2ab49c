"""Web products, price packages, and the seconds of their allowances that accounts used."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _resource() -> tuple[sa.Column[Any], ...]:
    """The columns that every resource of a partner has."""
    return (
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "partner_id")),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("created_at", "updated_at")),
    )


def upgrade() -> None:
    op.create_table(
        "web_product",
        *_resource(),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "type", "currencies")),
        sa.PrimaryKeyConstraint("id", name="pk_web_product"),
        sa.ForeignKeyConstraint(["partner_id"], ["partner.id"], name="fk_web_product_partner_id"),
    )
    op.create_index("ix_web_product_partner_id", "web_product", ["partner_id"])
    op.create_table(
        "price_package",
        *_resource(),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("name", "kind", "pricelist_id", "country", "currencies", "products")
        ),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_price_package"),
        sa.ForeignKeyConstraint(["partner_id"], ["partner.id"], name="fk_price_package_partner_id"),
        sa.ForeignKeyConstraint(["pricelist_id"], ["pricelist.id"], name="fk_price_package_pricelist_id"),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name="fk_price_package_customer_id"),
    )
    for column in ("partner_id", "pricelist_id", "customer_id"):
        op.create_index(f"ix_price_package_{column}", "price_package", [column])
    op.create_table(
        "allowance_used",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("trunk", "month")),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("trunk", "month", name="pk_allowance_used"),
    )
    with op.batch_alter_table("customer") as batch:
        batch.add_column(sa.Column("product_id", sa.Text(), nullable=True))
        batch.create_foreign_key("fk_customer_product_id", "web_product", ["product_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("customer") as batch:
        batch.drop_constraint("fk_customer_product_id", type_="foreignkey")
        batch.drop_column("product_id")
    for table in ("allowance_used", "price_package", "web_product"):
        op.drop_table(table)
