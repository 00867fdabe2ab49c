"""Credentials of gateways: the password is sealed by a key that is not in the database."""

import sqlalchemy as sa

from sipsvc.store.migrations import columns

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ADDED = tuple((name, sa.Text(), "''") for name in ("auth_username", "auth_password", "auth_realm"))


def upgrade() -> None:
    columns.add("gateway", ADDED)


def downgrade() -> None:
    columns.drop("gateway", (name for name, _, _ in ADDED))
