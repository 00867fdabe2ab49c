"""A ledger that is only added to, accounts with credit, and calls that may be rated again.

Calls that ended before are posted too, so that the ledger is the sum of all calls: who is to be prepaid from now on and
paid for them elsewhere is given a credit.
"""

import sqlalchemy as sa
from alembic import op

from sipsvc.store.migrations import columns

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ADDED: dict[str, columns.Columns] = {
    "customer": (
        ("prepaid", sa.Boolean(), "false"),
        ("credit_limit", sa.BigInteger(), None),
        ("low_balance", sa.BigInteger(), None),
        ("funds", sa.BigInteger(), "0"),
    ),
    "cdr": (("rating_version", sa.Integer(), "1"), ("rated_before", sa.Text(), "'[]'")),
}
TEXT = ("id", "partner", "debit", "credit", "currency", "source_type", "source_id", "kind", "memo")
SUMS = ("balance_units", "balance_millionths", "charged_units", "charged_millionths")
NEVER = "what was posted is never changed or deleted"

POSTED = """
INSERT INTO ledger_posting
    (id, at, partner, customer, debit, credit, amount, currency, source_type, source_id, kind, memo)
SELECT cdr_id || '.{kind}', coalesce(end_at, counted_at), partner, {customer}, {debit}, {credit}, {side}_amount,
    {side}_currency, 'cdr', cdr_id, '{kind}', ''
FROM cdr WHERE state = 'ended' AND {side}_amount > 0
"""
BALANCES = """
INSERT INTO ledger_account
    (account, currency, balance_units, balance_millionths, charged_units, charged_millionths)
SELECT account, currency, sum(gets * (amount / 1000000)), sum(gets * (amount % 1000000)),
    sum(charged * (amount / 1000000)), sum(charged * (amount % 1000000)) FROM (
    SELECT credit AS account, currency, amount, 1 AS gets, 0 AS charged FROM ledger_posting
    UNION ALL
    SELECT debit, currency, amount, -1, CASE WHEN kind = 'charge' THEN 1 ELSE 0 END FROM ledger_posting
) AS sides GROUP BY account, currency
"""


def upgrade() -> None:
    for table, added in ADDED.items():
        columns.add(table, added)
    op.create_table(
        "ledger_posting",
        *(sa.Column(name, sa.Text(), nullable=False) for name in TEXT),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_posting"),
        sa.UniqueConstraint("source_id", "source_type", "kind", name="uq_ledger_posting_source_id_source_type_kind"),
    )
    op.create_table(
        "ledger_account",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint("account", "currency", name="pk_ledger_account"),
    )
    sold = {"customer": "customer", "debit": "'customer:' || customer", "credit": "'revenue:' || partner"}
    bought = {"customer": "NULL", "debit": "'cost:' || partner", "credit": "'carrier:' || gateway"}
    op.execute(POSTED.format(kind="charge", side="sell", **sold))
    op.execute(POSTED.format(kind="cost", side="buy", **bought))
    op.execute(BALANCES)
    for before in ((), ("partner",), ("customer", "partner")):
        names = [*before, "at", "id"]
        op.create_index(f"ix_ledger_posting_{'_'.join(names)}", "ledger_posting", names)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION ledger_posting_stays() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{NEVER}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        for what, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER ledger_posting_stays_{each.lower()} BEFORE {what} ON ledger_posting "
                f"FOR EACH {each} EXECUTE FUNCTION ledger_posting_stays()"
            )
    else:
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_posting_stays_{what.lower()} BEFORE {what} ON ledger_posting "
                f"BEGIN SELECT RAISE(ABORT, '{NEVER}'); END"
            )


def downgrade() -> None:
    # With their triggers. A call that was rated again keeps its last price.
    op.drop_table("ledger_account")
    op.drop_table("ledger_posting")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION ledger_posting_stays()")
    for table, added in reversed(ADDED.items()):
        columns.drop(table, (name for name, _, _ in added))
