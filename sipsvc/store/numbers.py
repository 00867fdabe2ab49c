"""What is said of single numbers: prefixes blocked or allowed at three levels (SIP-26), and short codes (SIP-25)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sipsvc.store.sections import Customer, Partner
from sipsvc.store.values import Matches, Name, Prefix, Section


class Block(Section):
    """`[[block]]`, `[[partner.block]]` and `[[customer.block]]` (SIP-26)."""

    prefix: Prefix
    reason: Name
    action: Literal["block", "allow"] = "block"
    liftable: bool = False
    lift_expensive: bool = False

    @field_validator("liftable")
    @classmethod
    def _blocks_are_liftable(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("action") == "allow":
            raise ValueError("goes with a block, not with an allow")
        return value

    @field_validator("lift_expensive")
    @classmethod
    def _allows_lift(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("action") == "block":
            raise ValueError("goes with an allow, not with a block")
        return value


class BlockList(Section):
    """`[[blocklist]]`: a file of the platform's blocks."""

    file: Name
    liftable: bool = False


def block_at_level(liftable: bool, lift_expensive: bool, of_platform: bool) -> tuple[str, str] | None:
    """The field, and what is wrong with it, of an entry of the platform's or of a partner's; None for nothing."""
    if liftable and not of_platform:
        return "liftable", "goes with the platform's blocks; a partner's give way to its own allows anyway"
    if lift_expensive and of_platform:
        return "lift_expensive", "goes with a partner's or a customer's allow: expensive is what the partner says"
    return None


class ShortCode(Section):
    """`[[partner.shortcode]]` and `[[customer.shortcode]]` (SIP-25)."""

    code: Annotated[str, Matches(r"[0-9*#]{2,6}", "must be 2 to 6 of 0-9 * #")]
    name: Name
    emergency: bool = False
    # Behind the two that say which it must have.
    number: Annotated[str, Matches(r"([1-9][0-9]{2,17})?", "must be an international number of 3 to 18 digits")] = ""
    gateways: Annotated[list[str], Field(max_length=10)] = []
    dial: Annotated[str, Matches(r"[0-9A-Za-z+*#._-]{0,64}", "must be at most 64 letters, digits and + * # . _ -")] = ""

    @field_validator("gateways")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("names a gateway twice")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.number) == bool(self.gateways):
            raise ValueError("needs either number or gateways" if not self.number else "has both number and gateways")
        if self.emergency and not self.gateways:
            raise ValueError("an emergency code needs gateways")
        if self.dial and not self.gateways:
            raise ValueError("dial goes with gateways")
        return self


class PartnerTables(Partner):
    """`[partner]` with the tables below it."""

    block: list[Block] = []
    shortcode: list[ShortCode] = []


class CustomerTables(Customer):
    """`[[customer]]` with the tables below it."""

    block: list[Block] = []
    shortcode: list[ShortCode] = []
