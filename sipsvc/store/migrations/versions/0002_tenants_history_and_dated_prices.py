"""Resources of partners with versions and history; prices that hold from an instant to another; imports and jobs.

What 0001 held is carried over: its partner owns all of it, and its prices have always been valid.
"""

from collections.abc import Sequence
from json import dumps, loads
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT, INT, BIG, BOOL = sa.Text(), sa.Integer(), sa.BigInteger(), sa.Boolean()
PLAN = ("international", "national", "country", "bare")
CALLERS = ("allowed", "default", "otherwise")
RESOURCE = (("version", INT, "1"), ("created_at", BIG, "0"), ("updated_at", BIG, "0"))
OWNED = (("partner_id", TEXT, "(SELECT min(id) FROM partner)"),)
ROWS = (
    ("country", TEXT, "''"),
    ("kind", TEXT, "''"),
    ("valid_from", BIG, "0"),
    ("changed", INT, "(SELECT version FROM catalogue)"),
)

Kind = sa.types.TypeEngine[Any]
# Table: columns that every row has, with the SQL that fills those which are there; then columns that may be NULL.
ADDED: dict[str, tuple[Sequence[tuple[str, Kind, str]], Sequence[tuple[str, Kind]]]] = {
    "partner": ((("email", TEXT, "''"), ("time_zone", TEXT, "'UTC'"), *RESOURCE), ()),
    "gateway": ((("rewrites", TEXT, "'[]'"), ("rows_version", INT, "1"), *OWNED, *RESOURCE), ()),
    "pricelist": (
        (("min_rate", BIG, "0"), ("rows_version", INT, "1"), *OWNED, *RESOURCE),
        (("max_profit", BIG),),
    ),
    "customer": (
        (
            ("time_zone", TEXT, "'UTC'"),
            ("dial_plan", TEXT, "''"),
            ("caller_ids", TEXT, "''"),
            *(
                (name, TEXT, "''")
                for name in (
                    "contact_first_name", "contact_last_name", "phone", "billing_address", "billing_type", "plan",
                    "tier",
                )
            ),
            *RESOURCE,
        ),
        (("email", TEXT),),
    ),
    "trunk": ((("enabled", BOOL, "true"), *OWNED, *RESOURCE), ()),
    "block": ((("id", TEXT, "'block-' || prefix"), *RESOURCE), (("partner_id", TEXT),)),
    "coverage_row": (ROWS, (("valid_to", BIG), ("opened_by", TEXT), ("closed_by", TEXT))),
    "price_row": (
        ROWS,
        (("valid_to", BIG), ("opened_by", TEXT), ("closed_by", TEXT), ("source_row", ROW_ID), ("markup", BIG)),
    ),
    "cdr": ((("partner", TEXT, "coalesce((SELECT partner_id FROM customer WHERE id = cdr.customer), '')"),), ()),
}  # fmt: skip
OWNED_TABLES = ("gateway", "pricelist", "trunk", "block")
ROW_TABLES = (("coverage_row", "gateway_id"), ("price_row", "pricelist_id"))


def upgrade() -> None:
    for table, (filled, optional) in ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name, kind, _ in filled:
                batch.add_column(sa.Column(name, kind, nullable=True))
            for other, other_kind in optional:
                batch.add_column(sa.Column(other, other_kind, nullable=True))
        op.execute(f"UPDATE {table} SET " + ", ".join(f"{name} = {value}" for name, _, value in filled))
    _fold()
    for table, owner in ROW_TABLES:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"uq_{table}_{owner}_prefix_origin", type_="unique")
    for table, (filled, _) in ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name, kind, _value in filled:
                batch.alter_column(name, existing_type=kind, nullable=False)
            if table == "block":
                batch.drop_constraint("pk_block", type_="primary")
                batch.create_primary_key("pk_block", ["id"])
            if table == "customer":
                for name in (*(f"dial_{key}" for key in PLAN), *(f"caller_{key}" for key in CALLERS)):
                    batch.drop_column(name)
                batch.create_unique_constraint("uq_customer_email", ["email"])
            if table in OWNED_TABLES:
                batch.create_foreign_key(f"fk_{table}_partner_id", "partner", ["partner_id"], ["id"])
    for table in (*OWNED_TABLES, "customer"):
        op.create_index(f"ix_{table}_partner_id", table, ["partner_id"])
    for table, owner in ROW_TABLES:
        op.create_index(
            f"ix_{table}_{owner}_prefix_origin_valid_from", table, [owner, "prefix", "origin", "valid_from"]
        )
        op.create_index(f"ix_{table}_{owner}_changed", table, [owner, "changed"])
    op.create_index("ix_cdr_partner_invite_at_cdr_id", "cdr", ["partner", "invite_at", "cdr_id"])
    op.drop_table("rewrite")
    with op.batch_alter_table("catalogue") as batch:
        batch.alter_column("loaded_at", new_column_name="changed_at", existing_type=BIG, existing_nullable=False)
    _work_tables()
    op.execute(
        "INSERT INTO token (id, name, role, scopes, sha256, expires_at, version, created_at, updated_at) "
        f"SELECT 'token-' || id, 'administrator', role, '[\"*\"]', sha256, created_at + {365 * 86_400_000}, 1, "
        "created_at, created_at FROM api_token"
    )
    op.drop_table("api_token")


def _fold() -> None:
    """Columns of the dial plan and the caller IDs, and the rows of rewrite rules, become JSON."""
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT * FROM customer")).mappings().all():
        plan = {key: row[f"dial_{key}"] for key in PLAN} | {"international": loads(row["dial_international"])}
        callers = {key: row[f"caller_{key}"] for key in CALLERS} | {"allowed": loads(row["caller_allowed"])}
        connection.execute(
            sa.text("UPDATE customer SET dial_plan = :plan, caller_ids = :callers WHERE id = :id"),
            {"plan": dumps(plan), "callers": dumps(callers), "id": row["id"]},
        )
    rules: dict[str, list[dict[str, str]]] = {}
    for row in connection.execute(sa.text("SELECT * FROM rewrite ORDER BY gateway_id, position")).mappings():
        rule = {"pattern": row["pattern"], "replacement": row["replacement"]}
        rules.setdefault(row["gateway_id"], []).append(rule)
    for gateway, listed in rules.items():
        connection.execute(
            sa.text("UPDATE gateway SET rewrites = :rules WHERE id = :id"), {"rules": dumps(listed), "id": gateway}
        )


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, TEXT, nullable=False) for name in names]


def _resource(table: str, *, anyone: bool = False) -> list[SchemaItem]:
    """Columns and constraints of a resource; where it may be the platform's, `partner_id` may be NULL."""
    return [
        *_text("id"),
        sa.Column("partner_id", TEXT, nullable=anyone),
        *(sa.Column(name, kind, nullable=False) for name, kind, _ in RESOURCE),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["partner_id"], ["partner.id"], name=f"fk_{table}_partner_id"),
    ]


def _customer(table: str) -> list[SchemaItem]:
    return [
        sa.Column("customer_id", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=f"fk_{table}_customer_id"),
    ]


def _of_import(table: str) -> list[SchemaItem]:
    return [
        *_text("import_id"),
        sa.ForeignKeyConstraint(["import_id"], ["rate_import.id"], name=f"fk_{table}_import_id"),
    ]


def _said(table: str) -> list[SchemaItem]:
    """Who said or did something, of whose resource, when and from where."""
    return [
        *_text("kind", "resource_id", "actor", "role", "address"),
        sa.Column("partner_id", TEXT, nullable=True),
        sa.Column("customer_id", TEXT, nullable=True),
        sa.Column("at", BIG, nullable=False),
    ]


def _work_tables() -> None:
    op.create_table(
        "portal_user",
        *_resource("portal_user"),
        *_customer("portal_user"),
        *_text("username", "email", "first_name", "last_name", "role", "extension", "caller_ids"),
        sa.UniqueConstraint("username", name="uq_portal_user_username"),
        sa.UniqueConstraint("email", name="uq_portal_user_email"),
    )
    op.create_table(
        "token",
        *_resource("token", anyone=True),
        *_customer("token"),
        *_text("name", "role", "scopes", "sha256"),
        sa.Column("expires_at", BIG, nullable=False),
        sa.Column("revoked_at", BIG, nullable=True),
        sa.UniqueConstraint("sha256", name="uq_token_sha256"),
    )
    op.create_table(
        "history",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        *_said("history"),
        sa.Column("version", INT, nullable=False),
        sa.Column("directory", INT, nullable=False),
        *_text("action", "changes"),
        sa.PrimaryKeyConstraint("seq", name="pk_history"),
        sqlite_autoincrement=True,
    )
    op.create_table("note", *_text("id"), *_said("note"), *_text("text"), sa.PrimaryKeyConstraint("id", name="pk_note"))
    op.create_table(
        "idempotency",
        *_text("token", "key", "request", "headers", "body"),
        sa.Column("status", INT, nullable=False),
        sa.Column("at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("token", "key", name="pk_idempotency"),
    )
    op.create_table(
        "rate_import",
        *_resource("rate_import"),
        *_text("target", "target_id", "source", "mode", "status", "filename", "sha256", "options", "preview", "error"),
        *(sa.Column(name, INT, nullable=False) for name in ("size", "rows", "rejected")),
        *(sa.Column(name, BIG, nullable=True) for name in ("effective_from", "applied_at", "undone_at")),
    )
    op.create_table(
        "import_file",
        *_of_import("import_file"),
        *_text("role"),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "role", name="pk_import_file"),
    )
    op.create_table(
        "job",
        *_resource("job"),
        *_of_import("job"),
        *_text("task", "status", "options", "error"),
        sa.Column("percent", INT, nullable=False),
        sa.Column("result", TEXT, nullable=True),
        *(sa.Column(name, BIG, nullable=True) for name in ("started_at", "finished_at", "heartbeat_at")),
    )
    for table, columns in (
        ("portal_user", ["partner_id"]),
        ("portal_user", ["customer_id"]),
        ("token", ["partner_id"]),
        ("token", ["customer_id"]),
        ("history", ["kind", "resource_id", "seq"]),
        ("history", ["directory"]),
        ("note", ["kind", "resource_id", "id"]),
        ("idempotency", ["at"]),
        ("rate_import", ["partner_id"]),
        ("rate_import", ["target", "target_id"]),
        ("job", ["partner_id"]),
        ("job", ["status", "created_at"]),
    ):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def downgrade() -> None:
    """What 0001 had comes back as it stands now: prices in force, the one list of blocks, live tokens."""
    connection = op.get_bind()
    op.create_table(
        "api_token",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        *_text("role", "sha256"),
        sa.Column("created_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
        sa.UniqueConstraint("sha256", name="uq_api_token_sha256"),
    )
    # 0001 knows administrators only, and no expiry.
    op.execute(
        "INSERT INTO api_token (role, sha256, created_at) SELECT role, sha256, created_at FROM token "
        "WHERE role = 'platform_admin' AND revoked_at IS NULL ORDER BY created_at, id"
    )
    for table in ("job", "import_file", "rate_import", "idempotency", "note", "history", "token", "portal_user"):
        op.drop_table(table)
    with op.batch_alter_table("catalogue") as batch:
        batch.alter_column("changed_at", new_column_name="loaded_at", existing_type=BIG, existing_nullable=False)
    op.create_table(
        "rewrite",
        *_text("gateway_id"),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name="fk_rewrite_gateway_id"),
        sa.Column("position", INT, autoincrement=False, nullable=False),
        *_text("pattern", "replacement"),
        sa.PrimaryKeyConstraint("gateway_id", "position", name="pk_rewrite"),
    )
    for gateway, rules in connection.execute(sa.text("SELECT id, rewrites FROM gateway")).all():
        for position, rule in enumerate(loads(rules)):
            connection.execute(
                sa.text("INSERT INTO rewrite VALUES (:gateway, :position, :pattern, :replacement)"),
                {"gateway": gateway, "position": position, **rule},
            )
    for table in (*OWNED_TABLES, "customer"):
        op.drop_index(f"ix_{table}_partner_id", table)
    op.drop_index("ix_cdr_partner_invite_at_cdr_id", "cdr")
    for table, owner in ROW_TABLES:
        op.drop_index(f"ix_{table}_{owner}_prefix_origin_valid_from", table)
        op.drop_index(f"ix_{table}_{owner}_changed", table)
        # Clocks differ little enough that what is in force now is what was written last and is open.
        op.execute(f"DELETE FROM {table} WHERE valid_to IS NOT NULL")
    op.execute(
        "DELETE FROM block WHERE EXISTS (SELECT 1 FROM block AS other WHERE other.prefix = block.prefix "
        "AND other.id < block.id)"
    )
    _unfold(connection)
    for table, (filled, optional) in ADDED.items():
        with op.batch_alter_table(table) as batch:
            if table in OWNED_TABLES:
                batch.drop_constraint(f"fk_{table}_partner_id", type_="foreignkey")
            if table == "block":
                batch.drop_constraint("pk_block", type_="primary")
                batch.create_primary_key("pk_block", ["prefix"])
            if table == "customer":
                batch.drop_constraint("uq_customer_email", type_="unique")
                for name, kind in _columns():
                    batch.alter_column(name, existing_type=kind, nullable=False)
            for name, _, _ in filled:
                batch.drop_column(name)
            for name, _ in optional:
                batch.drop_column(name)
    for table, owner in ROW_TABLES:
        with op.batch_alter_table(table) as batch:
            batch.create_unique_constraint(f"uq_{table}_{owner}_prefix_origin", [owner, "prefix", "origin"])


def _columns() -> list[tuple[str, Kind]]:
    return [(name, TEXT) for name in (*(f"dial_{key}" for key in PLAN), *(f"caller_{key}" for key in CALLERS))]


def _unfold(connection: sa.Connection) -> None:
    """The JSON of dial plan and caller IDs as columns again."""
    with op.batch_alter_table("customer") as batch:
        for name, kind in _columns():
            batch.add_column(sa.Column(name, kind, nullable=True))
    for row in connection.execute(sa.text("SELECT id, dial_plan, caller_ids FROM customer")).mappings().all():
        plan, callers = loads(row["dial_plan"]), loads(row["caller_ids"])
        values = {f"dial_{key}": plan[key] for key in PLAN} | {f"caller_{key}": callers[key] for key in CALLERS}
        values = {name: dumps(value) if isinstance(value, list) else value for name, value in values.items()}
        sets = ", ".join(f"{name} = :{name}" for name in values)
        connection.execute(sa.text(f"UPDATE customer SET {sets} WHERE id = :id"), {**values, "id": row["id"]})
