"""Calls to be handed on: the order in which they were stored, and how far each output is.

Calls that are there already get no number: they are in nobody's queue.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cdr_output",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_cdr_output"),
    )
    op.add_column("cdr", sa.Column("sequence", sa.BigInteger(), nullable=True))
    op.create_index("ix_cdr_sequence", "cdr", ["sequence"])
    op.add_column("delivery_position", sa.Column("sequence", sa.BigInteger(), nullable=True))
    op.execute("UPDATE delivery_position SET sequence = 0")
    with op.batch_alter_table("delivery_position") as batch:
        batch.alter_column("sequence", existing_type=sa.BigInteger(), nullable=False)


def downgrade() -> None:
    op.drop_table("cdr_output")
    op.drop_index("ix_cdr_sequence", "cdr")
    for table in ("cdr", "delivery_position"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("sequence")
