"""Who may do what: one table of roles and kinds, and the scopes that narrow a token (IP-6).

A role says which kinds may be read, created, updated and deleted; tenancy (`store.scope`) says whose. A kind that is
not in a role's column is closed to it. Notes may be read and written on whatever may be read, history read likewise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

Action = Literal["read", "create", "update", "delete"]
Right = tuple[str, Action]

PLATFORM_ROLES = ("platform_admin",)
PARTNER_ROLES = ("partner_admin", "partner_billing", "partner_support", "partner_readonly")
CUSTOMER_ROLES = ("customer_admin", "customer_user")
SERVICE = "service"
ROLES = (*PLATFORM_ROLES, *PARTNER_ROLES, *CUSTOMER_ROLES, SERVICE)

_LETTERS: Mapping[str, Action] = {"r": "read", "c": "create", "u": "update", "d": "delete"}

# Kind: its path, which is its scope's name too; then the rights of the partner's roles and of the customer's.
_TABLE: Mapping[str, tuple[str, str, str, str, str, str, str, str]] = {
    # kind          path                admin   billing support readonly c_admin c_user service
    "partner":     ("partners",         "ru",   "r",    "r",    "r",     "",     "",    ""),
    "customer":    ("customers",        "rcu",  "r",    "ru",   "r",     "r",    "r",   ""),
    "user":        ("users",            "rcud", "r",    "rcud", "r",     "rcud", "",    ""),
    "trunk":       ("trunks",           "rcud", "r",    "rcud", "r",     "r",    "",    ""),
    "gateway":     ("gateways",         "rcud", "r",    "r",    "r",     "",     "",    ""),
    "pricelist":   ("term-pricelists",  "rcud", "rcud", "r",    "r",     "",     "",    ""),
    "block":       ("blocks",           "rcud", "r",    "r",    "r",     "",     "",    ""),
    "shortcode":   ("shortcodes",       "rcud", "r",    "r",    "r",     "",     "",    ""),
    "product":     ("web-products",     "rcud", "r",    "r",    "r",     "",     "",    ""),
    "package":     ("price-packages",   "rcud", "rcud", "r",    "r",     "",     "",    ""),
    "token":       ("tokens",           "rcd",  "r",    "r",    "r",     "",     "",    ""),
    "import":      ("coverage-imports", "rcud", "rcud", "r",    "r",     "",     "",    ""),
    "pricelist_import": ("pricelist-imports", "rcud", "rcud", "r", "r",  "",     "",    ""),
    "job":         ("jobs",             "rcud", "rcud", "r",    "r",     "",     "",    ""),
    "cdr":         ("cdrs",             "ru",   "r",    "r",    "r",     "r",    "r",   "r"),
    "ledger":      ("ledger",           "rc",   "rc",   "r",    "r",     "r",    "r",   ""),
    "usage":       ("usage",            "r",    "r",    "r",    "r",     "r",    "",    "r"),
    "statistics":  ("statistics",       "r",    "r",    "r",    "r",     "",     "",    ""),
    "explain":     ("explain",          "r",    "r",    "r",    "r",     "r",    "r",   ""),
}  # fmt: skip
KINDS = tuple(_TABLE)
PATHS: Mapping[str, str] = {kind: row[0] for kind, row in _TABLE.items()}

# A role that may update a kind, but only these fields of it.
FIELDS: Mapping[tuple[str, str], frozenset[str]] = {
    ("partner_support", "customer"): frozenset({"contact_first_name", "contact_last_name", "email", "phone"}),
}

EVERYTHING = "*"
READ = "read"
SCOPES = (EVERYTHING, READ, *(f"{path}:{word}" for path in PATHS.values() for word in ("read", "write")))
"""`read` is all that the role may read; `<path>:write` is all that it may do there, reading included."""


class Level(NamedTuple):
    """Whether a role belongs to a partner, and to a customer of it. None: it may or may not."""

    partner: bool | None
    customer: bool | None


def level(role: str) -> Level:
    if role in PLATFORM_ROLES:
        return Level(False, False)
    if role in PARTNER_ROLES:
        return Level(True, False)
    return Level(None, None) if role == SERVICE else Level(True, True)


def rights(role: str, scopes: Collection[str] = (EVERYTHING,)) -> frozenset[Right]:
    """What a role may do, narrowed to `scopes`."""
    return frozenset(right for right in _RIGHTS[role] if _allowed(right, scopes))


def may_write_notes(kind: str, scopes: Collection[str]) -> bool:
    """Whether the scopes let notes on a kind be written; that it may be read is another question."""
    return EVERYTHING in scopes or f"{PATHS[kind]}:write" in scopes


def fields(role: str, kind: str) -> frozenset[str] | None:
    """Which fields the role may update; None is all of them."""
    return FIELDS.get((role, kind))


def covers(stronger: tuple[str, Iterable[str]], weaker: tuple[str, Iterable[str]]) -> bool:
    """Whether (role, scopes) may do all that another pair may."""
    (role, scopes), (other, wanted) = stronger, weaker
    if not rights(other, tuple(wanted)) <= rights(role, tuple(scopes)):
        return False
    for kind in KINDS:
        limit = fields(role, kind)
        if limit is not None and (kind, "update") in rights(other, tuple(wanted)):
            theirs = fields(other, kind)
            if theirs is None or not theirs <= limit:
                return False
    return True


def _allowed(right: Right, scopes: Collection[str]) -> bool:
    kind, action = right
    path = PATHS[kind]
    reading = action == "read" and (READ in scopes or f"{path}:read" in scopes)
    return EVERYTHING in scopes or f"{path}:write" in scopes or reading


def _rights_of(role: str) -> frozenset[Right]:
    if role == "platform_admin":
        return frozenset((kind, action) for kind in KINDS for action in _LETTERS.values())
    column = 1 + (*PARTNER_ROLES, *CUSTOMER_ROLES, SERVICE).index(role)
    return frozenset((kind, _LETTERS[letter]) for kind, row in _TABLE.items() for letter in row[column])


_RIGHTS: Mapping[str, frozenset[Right]] = {role: _rights_of(role) for role in ROLES}
