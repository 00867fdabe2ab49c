"""A call that is not made, as somebody types it: what it would say of itself on the wire."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from sipsvc.directory import Customer, Directory
from sipsvc.errors import SipError, SipsvcError
from sipsvc.message import escape_user, parse_name_addr, parse_uri
from sipsvc.routing.decision import CallFacts
from sipsvc.routing.number import by_plan, dialled, read
from sipsvc.routing.shortcode import short

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URI = re.compile(r"(sips?|tel):", re.IGNORECASE)


class ExplainError(SipsvcError, ValueError):
    """A question that cannot be answered; `field` is what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Question(NamedTuple):
    """`dialled` is a number as it would be dialled, or a whole Request-URI; `caller` a number or a whole From.

    `preferred` and `privacy` are the values of P-Preferred-Identity and Privacy, "" for none. `channels` is how many
    calls of the customer are to be taken as in progress; `call_id` is what draws where gateways are drawn by weight.
    """

    customer: str
    dialled: str
    caller: str = ""
    preferred: str = ""
    privacy: str = ""
    channels: int = 0
    call_id: str = ""


class Asked(NamedTuple):
    """A question as the wire would have it: `from_value` is the From header's value."""

    facts: CallFacts
    from_value: str


def number_of(question: Question) -> Callable[[Customer, Directory], str]:
    """What makes the E.164 number by a customer's short codes and dial plan, "" for none.

    Raises ExplainError as `asked` does.
    """
    asked = read(_dialled(question))

    def number(customer: Customer, directory: Directory) -> str:
        code = short(directory, customer, asked)
        return by_plan(asked, customer.dial_plan) if code is None else code.number

    return number


def asked(question: Question, trunk: str, host: str) -> Asked:
    """`host` is our name, as a URI writes it, on the listener the call would come by.

    Raises ExplainError that names the field.
    """
    caller = _wire("caller", question.caller.strip())
    whole = "<" in caller or _URI.match(caller) is not None
    at = f"{escape_user(question.caller.strip())}@" if caller else ""
    value = caller if whole else f"<sip:{at}{host}>"
    try:
        from_ = parse_name_addr(value, "From")
        parse_uri(from_.uri)
    except SipError as error:
        raise ExplainError("caller", f"is neither a number nor a From: {error.reason}") from error
    preferred, privacy = _wire("preferred", question.preferred), _wire("privacy", question.privacy)
    facts = CallFacts(
        question.customer,
        trunk,
        _dialled(question),
        from_,
        preferred,
        privacy,
        host,
        _wire("call_id", question.call_id),
    )
    return Asked(facts, value)


def readable(value: str) -> str:
    """What `_wire` made of text, as text."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")


def _dialled(question: Question) -> str:
    text = _wire("dialled", question.dialled.strip())
    if not text:
        raise ExplainError("dialled", "a number is needed")
    if not _URI.match(text):
        return escape_user(question.dialled.strip())
    try:
        uri = parse_uri(text)
    except SipError as error:
        raise ExplainError("dialled", f"is neither a number nor a URI: {error.reason}") from error
    return dialled(uri)


def _wire(field: str, value: str) -> str:
    """A message is read as Latin-1, whatever its bytes are."""
    found = _CONTROL.search(value)
    if found is not None:
        raise ExplainError(field, f"holds the control character U+{ord(found[0]):04X}")
    try:
        return value.encode().decode("latin-1")
    except UnicodeEncodeError:
        raise ExplainError(field, "holds what is no character") from None
