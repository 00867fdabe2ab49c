"""Whoever asks: a token's role, scopes and tenancy, and where the request came from."""

from __future__ import annotations

from dataclasses import dataclass

from portal_api import roles
from portal_api.problems import Problem
from sipsvc.store.changes import Actor
from sipsvc.store.models import Token
from sipsvc.store.scope import Who


@dataclass(frozen=True, slots=True)
class Principal:
    """Known for one request. `address` is the peer's."""

    token: str
    name: str
    role: str
    scopes: tuple[str, ...]
    who: Who
    address: str

    @classmethod
    def of(cls, token: Token, address: str) -> Principal:
        who = Who(token.partner, token.customer)
        return cls(token.id, token.name, token.role, tuple(token.scopes), who, address)

    @property
    def actor(self) -> Actor:
        """As history names it: two tokens may have one name."""
        return Actor(f"{self.name} ({self.token})", self.role, self.address)

    @property
    def sells_only(self) -> bool:
        """A customer, or its people: what the partner pays its carriers and earns is not shown."""
        return self.who.customer is not None or self.role in roles.CUSTOMER_ROLES

    def may(self, kind: str, action: roles.Action) -> bool:
        return (kind, action) in roles.rights(self.role, self.scopes)

    def require(self, kind: str, action: roles.Action) -> None:
        """Raises Problem 403 that says whether it is the role or the token's scopes that forbid it."""
        if self.may(kind, action):
            return
        if (kind, action) in roles.rights(self.role):
            raise Problem(403, f"The token's scopes do not let it {action} {roles.PATHS[kind]}.")
        raise Problem(403, f"The role {self.role} may not {action} {roles.PATHS[kind]}.")

    def require_notes(self, kind: str) -> None:
        """Raises Problem 403 where notes on the kind may not be written."""
        self.require(kind, "read")
        if not roles.may_write_notes(kind, self.scopes):
            raise Problem(403, f"The token's scopes do not let it write notes on {roles.PATHS[kind]}.")

    def covers(self, role: str, scopes: tuple[str, ...] = (roles.EVERYTHING,)) -> bool:
        """Whether this one may do all that `role` with `scopes` may."""
        return roles.covers((self.role, self.scopes), (role, scopes))
