"""What the settings of the catalogue are made of: text, numbers and money, each checked with its reason."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from sipsvc.store.schedule import time_zone, window

# Below this no charge, however long the call, leaves the 64 bits that money is stored in.
MONEY = re.compile(r"[0-9]{1,8}(\.[0-9]+)?")
# What is true of a type in the words of JSON Schema, for the API's description.
NO_CONTROLS = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
NO_BLANKS = r"[^\s\u0000-\u001f\u007f-\u009f\u2028\u2029]"
AMOUNT = r"^[0-9]{1,8}(\.[0-9]{1,6})?$"
LONGEST_PREFIX = 18
LONGEST_INTERVAL_S = 86_400
# Characters before a number; every one of them may be sent as three and more.
LONGEST_BEFORE = 32


def money(value: Any) -> Decimal:
    """Text such as `0.0125` as an exact Decimal. Raises ValueError with why."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        raise ValueError('money is text: write it in quotes, such as "0.50"')
    if not MONEY.fullmatch(value):
        if re.fullmatch(r"-[0-9.]+", value):
            raise ValueError("must not be negative")
        raise ValueError("is not an amount such as 0.0125 (digits and a decimal point, below 100000000)")
    if len(value.partition(".")[2]) > 6:
        raise ValueError("has more than 6 decimal places")
    return Decimal(value)


def clean(value: str) -> str:
    """Text without control characters (SIP-5). Raises ValueError that names the first."""
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(f"control character U+{ord(character):04X} is not allowed")
    return value


def prefix(value: str) -> str:
    """Digits of an E.164 prefix. Raises ValueError with why."""
    if not (value.isascii() and value.isdigit()):
        raise ValueError("must be digits only, at least one" if value else "is empty")
    if value[0] == "0":
        raise ValueError("an international number never begins with 0")
    if len(value) > LONGEST_PREFIX:
        raise ValueError(f"is longer than {LONGEST_PREFIX} digits")
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


@dataclass(frozen=True, slots=True)
class Matches:
    """The whole text fits `pattern`, or `reason` says what it must be. JSON Schema is told the pattern."""

    pattern: str
    reason: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(self.reason)
        return value


def once(value: list[Any]) -> list[Any]:
    if len(set(value)) != len(value):
        raise ValueError("one of them stands twice")
    return value


def empty_is_none(value: Any) -> Any:
    return None if value in ("", None) else money(value)


Text = Annotated[
    str, Field(max_length=1024), AfterValidator(clean), Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"})
]
UriPrefix = Annotated[
    str,
    Field(max_length=LONGEST_BEFORE),
    AfterValidator(clean),
    Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*$"}),
]
Name = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(clean),
    AfterValidator(_filled),
    Field(json_schema_extra={"pattern": f"^{NO_CONTROLS}*{NO_BLANKS}{NO_CONTROLS}*$"}),
]
Slug = Annotated[
    str, Matches(r"[a-z0-9][a-z0-9._-]{0,63}", "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit")
]
Currency = Annotated[str, Matches(r"[A-Z]{3}", "must be an ISO 4217 code such as USD")]
Digits = Annotated[str, Matches(r"[0-9]*", "must be digits only")]
Prefix = Annotated[
    str, AfterValidator(prefix), Field(json_schema_extra={"pattern": f"^[1-9][0-9]{{0,{LONGEST_PREFIX - 1}}}$"})
]
Amount = Annotated[
    Decimal,
    BeforeValidator(money),
    WithJsonSchema({"type": "string", "pattern": AMOUNT, "examples": ["0.0125"]}),
]
SipUsername = Annotated[
    Text, Matches(r'[^":\\\s]{0,128}', "must be at most 128 characters without space, colon, quote or backslash")
]
TechPrefix = Annotated[str, Matches(r"[0-9*#]{0,16}", "must be at most 16 digits, * or #")]
Fingerprint = Annotated[
    str, Matches(r"([0-9a-f]{64})?", "must be the certificate's SHA-256, 64 lower-case hexadecimal digits")
]
# Of digest authentication, the strongest first (RFC 8760).
Algorithm = Literal["SHA-256", "MD5"]
Interval = Annotated[int, Field(ge=1, le=LONGEST_INTERVAL_S)]
Milliseconds = Annotated[int, Field(ge=1, le=600_000)]
# How many calls, at once or a second; 0 is no limit.
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
TimeZone = Annotated[
    str,
    AfterValidator(time_zone),
    Field(description="A name of the IANA database.", examples=["Europe/Berlin"]),
]
Window = Annotated[str, AfterValidator(window), Field(max_length=128, examples=["mon-fri 08:00-20:00 Europe/Berlin"])]


class Section(BaseModel):
    """No value is converted on the way in: "5080" is no port and 1 is not true."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)
