"""Ways to know a caller: tech prefixes, certificates, SHA-256. What was there goes on with MD5 alone, its only hash."""

import sqlalchemy as sa

from sipsvc.store.migrations import columns

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ADDED = {
    "trunk": tuple(
        (name, sa.Text(), value)
        for name, value in (("ha1_sha256", "''"), ("algorithms", "'[]'"), ("tech_prefix", "''"), ("certificate", "''"))
    ),
    "platform_settings": (("digest", sa.Text(), "'[\"MD5\"]'"),),
}


def upgrade() -> None:
    for table, added in ADDED.items():
        columns.add(table, added)


def downgrade() -> None:
    for table, added in ADDED.items():
        columns.drop(table, (name for name, _, _ in added))
