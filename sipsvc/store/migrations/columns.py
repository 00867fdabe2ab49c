"""Columns that come with a migration, and go with its way back."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

# Name, type, and in SQL what the rows there are get; None where that is nothing and may be nothing.
Columns = Sequence[tuple[str, Any, str | None]]


def add(table: str, columns: Columns) -> None:
    """Add them and fill them."""
    with op.batch_alter_table(table) as batch:
        for name, kind, _ in columns:
            batch.add_column(sa.Column(name, kind, nullable=True))
    needed = [(name, kind, value) for name, kind, value in columns if value is not None]
    op.execute(f"UPDATE {table} SET {', '.join(f'{name} = {value}' for name, _, value in needed)}")
    with op.batch_alter_table(table) as batch:
        for name, kind, _ in needed:
            batch.alter_column(name, existing_type=kind, nullable=False)


def drop(table: str, names: Iterable[str]) -> None:
    with op.batch_alter_table(table) as batch:
        for name in names:
            batch.drop_column(name)
