"""What all tables share: names for constraints, exact types, and the columns every resource has."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from sipsvc.store.types import Money, UtcMs

# SQLite counts up only in a column that is INTEGER to the letter.
RowId = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it again on either database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {str: Text(), int: Integer(), bool: Boolean(), Decimal: Money(), datetime: UtcMs()}


class Resource(Base):
    """A row that the API shows and history follows. `version` is its ETag, one higher with each change.

    An id made here is a UUIDv7; a bundle names its own. Both are text, and never used again.
    """

    __abstract__ = True

    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class OfPartner(Resource):
    """A resource of one partner."""

    __abstract__ = True

    @declared_attr
    @classmethod
    def partner(cls) -> Mapped[str]:
        return mapped_column("partner_id", ForeignKey("partner.id"), index=True)


class OfAnyone(Resource):
    """A resource of one partner, or of the platform where `partner` is NULL."""

    __abstract__ = True

    @declared_attr
    @classmethod
    def partner(cls) -> Mapped[str | None]:
        return mapped_column("partner_id", ForeignKey("partner.id"), index=True)
