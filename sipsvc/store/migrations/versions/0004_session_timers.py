"""Session timers of the platform (RFC 4028): the smallest interval taken, and the one asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DEFAULTS = {"min_se_s": 90, "session_expires_s": 1_800}


def upgrade() -> None:
    with op.batch_alter_table("platform_settings") as batch:
        for name, value in DEFAULTS.items():
            batch.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default=str(value)))
    with op.batch_alter_table("platform_settings") as batch:
        for name in DEFAULTS:
            batch.alter_column(name, existing_type=sa.Integer(), server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("platform_settings") as batch:
        for name in reversed(DEFAULTS):
            batch.drop_column(name)
