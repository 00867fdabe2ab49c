"""Ways to know a caller: tech prefixes, certificates, SHA-256. What was there goes on with MD5 alone, its only hash."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ADDED = {
    "trunk": {"ha1_sha256": "", "algorithms": "[]", "tech_prefix": "", "certificate": ""},
    "platform_settings": {"digest": '["MD5"]'},
}


def upgrade() -> None:
    for table, columns in ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.add_column(sa.Column(name, sa.Text(), nullable=True))
        values = ", ".join(f"{name} = '{value}'" for name, value in columns.items())
        op.execute(f"UPDATE {table} SET {values}")
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.alter_column(name, existing_type=sa.Text(), nullable=False)


def downgrade() -> None:
    for table, columns in ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
