"""What endpoints work with: who asks, and a database session a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from portal_api import roles
from portal_api.principal import Principal
from portal_api.problems import UNUSABLE_PARAMETERS, Problem


def single_values(request: Request) -> None:
    """A parameter given twice is refused: one of its values would be passed over in silence."""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if twice := [name for name, many in counts.items() if many > 1]:
        raise Problem(400, UNUSABLE_PARAMETERS, [(name, "is given more than once") for name in twice])


def _session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine) as session:
        yield session


def _caller(request: Request) -> Principal:
    who = request.state.who
    assert isinstance(who, Principal)
    return who


async def _content(request: Request) -> bytes:
    return await request.body()


Caller = Annotated[Principal, Depends(_caller)]
Database = Annotated[Session, Depends(_session)]
Content = Annotated[bytes, Depends(_content)]
"""A body that is a file, as it came."""


def may(kind: str, action: roles.Action) -> Any:
    """A route's dependency: 403 for whoever may not, before the body is looked at."""

    def allowed(who: Caller) -> None:
        who.require(kind, action)

    return Depends(allowed)


def typed(endpoint: Callable[..., Any], **annotations: Any) -> Callable[..., Any]:
    """`endpoint` with parameters whose types are known only here."""
    endpoint.__annotations__ |= annotations
    return endpoint
