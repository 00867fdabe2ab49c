"""The catalogue, CDRs, the delivery position and API tokens.

Money is BIGINT of millionths, instants BIGINT of UTC milliseconds, JSON is TEXT.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _int(*names: str, null: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=null) for name in names]


def _bool(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _big(*names: str, null: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=null) for name in names]


def _reference(table: str, column: str, target: str) -> list[SchemaItem]:
    return [
        *_text(column),
        sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}"),
    ]


def _single(table: str) -> list[SchemaItem]:
    return [
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    ]


def _slug(table: str) -> list[SchemaItem]:
    return [*_text("id"), sa.PrimaryKeyConstraint("id", name=f"pk_{table}")]


def _number(table: str) -> list[SchemaItem]:
    return [
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    ]


def _rows(table: str, owner: str) -> None:
    op.create_table(
        table,
        *_number(table),
        *_reference(table, f"{owner}_id", owner),
        *_text("prefix", "origin", "name"),
        *_big("rate", "fee"),
        *_int("initial", "increment"),
        sa.UniqueConstraint(f"{owner}_id", "prefix", "origin", name=f"uq_{table}_{owner}_id_prefix_origin"),
        sqlite_autoincrement=True,
    )


def upgrade() -> None:
    op.create_table("catalogue", *_single("catalogue"), *_int("version"), *_big("loaded_at"))
    op.create_table(
        "platform_settings",
        *_single("platform_settings"),
        *_text("realm"),
        *_int("nonce_lifetime_s", "t1_ms", "t2_ms", "t4_ms", "max_call_s", "durable_wait_ms"),
    )
    op.create_table("partner", *_slug("partner"), *_text("name"))
    op.create_table(
        "pricelist",
        *_slug("pricelist"),
        *_text("name", "currency"),
        *_int("initial", "increment"),
        *_big("minimum"),
        *_big("expensive_at", null=True),
        *_text("strategy"),
    )
    _rows("price_row", "pricelist")
    op.create_table(
        "gateway",
        *_slug("gateway"),
        *_text("name", "host"),
        *_int("port"),
        *_text("currency"),
        *_int("priority"),
        *_bool("enabled", "trusted", "remote_party_id", "p_asserted_identity"),
        *_text("caller_prefix", "caller_prefix_in", "uri_prefix"),
        *_bool("uri_prefix_escaped"),
        *_text("hunt_codes"),
        *_int("provisional_timeout_ms", "ring_timeout_s"),
    )
    op.create_table(
        "rewrite",
        *_reference("rewrite", "gateway_id", "gateway"),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        *_text("pattern", "replacement"),
        sa.PrimaryKeyConstraint("gateway_id", "position", name="pk_rewrite"),
    )
    _rows("coverage_row", "gateway")
    op.create_table(
        "customer",
        *_slug("customer"),
        *_text("name"),
        *_reference("customer", "partner_id", "partner"),
        *_text("status"),
        *_reference("customer", "pricelist_id", "pricelist"),
        *_bool("allow_expensive"),
        *_int("max_channels"),
        *_text("dial_international", "dial_national", "dial_country", "dial_bare"),
        *_text("caller_allowed", "caller_default", "caller_otherwise"),
    )
    op.create_table(
        "trunk",
        *_slug("trunk"),
        *_reference("trunk", "customer_id", "customer"),
        *_text("source"),
        *_int("port"),
        sa.Column("username", sa.Text(), nullable=True),
        *_text("ha1_md5"),
        sa.UniqueConstraint("username", name="uq_trunk_username"),
    )
    op.create_index("ix_trunk_customer_id", "trunk", ["customer_id"])
    op.create_table("block", *_text("prefix", "reason"), sa.PrimaryKeyConstraint("prefix", name="pk_block"))
    _cdrs()
    op.create_table("delivery_position", *_single("delivery_position"), *_text("segment"), *_big("offset"))
    op.create_table(
        "api_token",
        *_number("api_token"),
        *_text("role", "sha256"),
        *_big("created_at"),
        sa.UniqueConstraint("sha256", name="uq_api_token_sha256"),
    )


def _cdrs() -> None:
    op.create_table(
        "cdr",
        *_text("cdr_id", "state", "call_id", "customer", "customer_name", "trunk", "auth", "source"),
        *_text("dialled", "e164", "caller", "caller_shown"),
        *_big("invite_at"),
        *_big("progress_at", "answer_at", "end_at", "duration_ms", null=True),
        *_int("status"),
        *_text("reason", "code", "hangup_by"),
        *_int("q850", null=True),
        *_bool("recovered"),
        *_text("gateway", "gateway_name", "sent_to"),
        *_int("directory"),
        *_text("attempts", "trace", "live"),
        sa.Column("sell", sa.Text(), nullable=True),
        sa.Column("buy", sa.Text(), nullable=True),
        *_int("billed_s", null=True),
        *_big("sell_amount", null=True),
        *_text("sell_currency"),
        *_big("buy_amount", null=True),
        *_text("buy_currency"),
        *_big("margin", null=True),
        sa.PrimaryKeyConstraint("cdr_id", name="pk_cdr"),
    )
    op.create_index("ix_cdr_invite_at_cdr_id", "cdr", ["invite_at", "cdr_id"])
    op.create_index("ix_cdr_customer_invite_at_cdr_id", "cdr", ["customer", "invite_at", "cdr_id"])
    op.create_index("ix_cdr_call_id", "cdr", ["call_id"])


def downgrade() -> None:
    for table in (
        "api_token", "delivery_position", "cdr", "block", "trunk", "customer", "coverage_row", "rewrite", "gateway",
        "price_row", "pricelist", "partner", "platform_settings", "catalogue",
    ):  # fmt: skip
        op.drop_table(table)
