"""What endpoints work with: who asks, a database session a request, and the Directory that explain decides on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal_api import roles
from portal_api.principal import Principal
from portal_api.problems import UNUSABLE_PARAMETERS, Problem
from sipsvc.directory import Directory
from sipsvc.store import catalogue
from sipsvc.store.snapshot import load_directory


class DirectoryCache:
    """The Directory of the catalogue's present version; loading one takes a second where prices are many."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loading = threading.Lock()
        self._directory: Directory | None = None

    def get(self) -> Directory:
        """Raises ConfigError while no catalogue is loaded."""
        with Session(self._engine) as session:
            version = catalogue.version(session)
        directory = self._directory
        if directory is not None and directory.version == version:
            return directory
        with self._loading:
            directory = self._directory
            if directory is None or directory.version < version:
                directory = self._directory = load_directory(self._engine)
            return directory


def single_values(request: Request) -> None:
    """A parameter given twice is refused: one of its values would be passed over in silence."""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if twice := [name for name, many in counts.items() if many > 1]:
        raise Problem(400, UNUSABLE_PARAMETERS, [(name, "is given more than once") for name in twice])


def _session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine) as session:
        yield session


def _directories(request: Request) -> DirectoryCache:
    cache = request.app.state.directories
    assert isinstance(cache, DirectoryCache)
    return cache


def _caller(request: Request) -> Principal:
    who = request.state.who
    assert isinstance(who, Principal)
    return who


Caller = Annotated[Principal, Depends(_caller)]
Database = Annotated[Session, Depends(_session)]
Directories = Annotated[DirectoryCache, Depends(_directories)]


def may(kind: str, action: roles.Action) -> Any:
    """A route's dependency: 403 for whoever may not, before the body is looked at."""

    def allowed(who: Caller) -> None:
        who.require(kind, action)

    return Depends(allowed)


def typed(endpoint: Callable[..., Any], **annotations: Any) -> Callable[..., Any]:
    """`endpoint` with parameters whose types are known only here."""
    endpoint.__annotations__ |= annotations
    return endpoint
