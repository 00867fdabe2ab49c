"""What the worker has, and what it is to be sent so that it has what the database has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from sipsvc.directory import Package, package_of
from sipsvc.directory.image import Cells
from sipsvc.feed.compiler import Compiler, compile_rows
from sipsvc.feed.images import Images, Key, Name
from sipsvc.feed.line import Message
from sipsvc.observe import get_logger
from sipsvc.store import allowances, cdrs, ledger, snapshot
from sipsvc.store.changes import utc_now
from sipsvc.store.database import one_state

# In one message: what the worker makes of it must take a few milliseconds only.
ITEMS = 50
OVERLAID_ROWS = 400
CHARGED = 400
HANG_UP_FOR = timedelta(minutes=1)
# More changed prefixes than this are compiled anew, and more rows than that in a process of its own.
MOST_OVERLAID = 2_000
MOST_INLINE = 20_000
log = get_logger("feed")


class Sent(NamedTuple):
    """The worker has an owner's rows: the image of version `image`, and over it what changed up to `upto`."""

    image: int
    upto: int


class Source:
    """Reads the catalogue in one state each time; what it gives is sent in order, and only then is it the worker's."""

    def __init__(self, engine: Engine, images: Images, compiler: Compiler) -> None:
        self._engine = engine
        self._images = images
        self._compiler = compiler
        self.version = -1
        self._platform: dict[str, Any] = {}
        self._tables: dict[Key, Sent] = {}
        self._packages: dict[str, Package] = {}

    @property
    def used(self) -> dict[Key, int]:
        """The images that the worker has."""
        return {key: sent.image for key, sent in self._tables.items()}

    def to_compile(self) -> list[Key]:
        """Owners whose rows are many and changed too much to be sent as they are."""
        with one_state(self._engine) as connection, Session(connection) as session:
            return [
                key
                for key, version in snapshot.rows_versions(session).items()
                if version and self._base(connection, key) is None and self._is_big(connection, key)
            ]

    def everything(self) -> Iterator[Message]:
        """All there is, for a worker that has nothing of ours."""
        self._tables.clear()
        self._packages.clear()
        with one_state(self._engine) as connection, Session(connection) as session:
            version = snapshot.state(session).version
            yield {"begin": True}
            yield from self._hung_up(session)
            self._platform = snapshot.platform(session)
            yield {"put": "platform", "items": [self._platform]}
            for kind in snapshot.KINDS:
                yield from self._puts(kind, snapshot.items(session, kind))
            yield from self._rows(connection, snapshot.rows_versions(session), version)
            yield from _spent(session)
            self.version = version

    def changes(self) -> Iterator[Message]:
        """What is different from what was sent last."""
        with one_state(self._engine) as connection, Session(connection) as session:
            version = snapshot.state(session).version
            yield {"begin": False}
            yield from self._hung_up(session)
            platform = snapshot.platform(session)
            if platform != self._platform:
                self._platform = platform
                yield {"put": "platform", "items": [platform]}
            changed = snapshot.changed(session, self.version)
            changed["package"].update(snapshot.not_free_as(session, self._packages, self.version, MOST_OVERLAID))
            for kind, ids in changed.items():
                there: set[str] = set()
                for message in self._puts(kind, snapshot.items(session, kind, ids)):
                    there.update(item["id"] for item in message["items"])
                    yield message
                gone = sorted(ids - there)
                for owner in gone:
                    self._tables.pop((kind, owner), None)
                    if kind == "package":
                        self._packages.pop(owner, None)
                yield from ({"drop": kind, "ids": batch} for batch in _batches(gone, ITEMS))
            yield from self._rows(connection, snapshot.rows_versions(session), version)
            self.version = version

    def _puts(self, kind: str, items: Iterable[dict[str, Any]]) -> Iterator[Message]:
        """Packages go one by one, for each may have thousands of prefixes."""
        size = 1 if kind == "package" else ITEMS
        for batch in _batches(items, size):
            if kind == "package":
                self._packages |= {fields["id"]: package_of(fields) for fields in batch}
            yield {"put": kind, "items": batch}

    def _hung_up(self, session: Session) -> Iterator[Message]:
        """Calls to be ended. What was asked for while no feed was there counts for a minute; twice does no harm."""
        asked = snapshot.hung_up(session, self.version, utc_now() - HANG_UP_FOR)
        return ({"hangup": batch} for batch in _batches(asked, ITEMS))

    def _rows(self, connection: Connection, versions: dict[Key, int], version: int) -> Iterator[Message]:
        """The rows that changed. Those that must be compiled elsewhere first are left as the worker has them."""
        for key, changed in versions.items():
            sent = self._tables.get(key)
            if not changed or (sent is not None and sent.upto >= changed):
                continue
            base = self._base(connection, key)
            if base is None:
                if self._is_big(connection, key):
                    self._compiler.want(key)
                    continue
                try:
                    base = compile_rows(connection, self._images, key)
                except ValueError as error:
                    log.error("table_not_compiled", kind=key[0], id=key[1], reason=str(error))
                    continue
            anew = sent is None or sent.image != base.version
            since = base.version if sent is None or anew else sent.upto
            yield from self._overlay(connection, base, since, anew=anew)
            self._tables[key] = Sent(base.version, version)

    def _base(self, connection: Connection, key: Key) -> Name | None:
        """An image that little has changed since: the worker's own, else the newest there is."""
        sent = self._tables.get(key)
        names = [Name(*key, sent.image)] if sent is not None else []
        newest = self._images.newest(key)
        for name in [*names, *([newest] if newest is not None else [])]:
            changed = snapshot.changed_prefixes(connection, *key, name.version, MOST_OVERLAID + 1)
            if len(changed) <= MOST_OVERLAID:
                return name
        return None

    def _is_big(self, connection: Connection, key: Key) -> bool:
        return snapshot.count_rows(connection, *key) > MOST_INLINE

    def _overlay(self, connection: Connection, base: Name, since: int, *, anew: bool) -> Iterator[Message]:
        """The image, where the worker has another, and the prefixes changed after version `since`."""
        kind, owner = base.key
        prefixes = snapshot.changed_prefixes(connection, kind, owner, since, MOST_OVERLAID)
        image = str(base) if anew else None
        overlay: dict[str, list[Cells]] = {}
        rows = 0
        for prefix, group in snapshot.groups(connection, kind, owner, prefixes):
            overlay[prefix] = group
            rows += 1 + len(group)
            if rows >= OVERLAID_ROWS:
                yield {"table": kind, "id": owner, "image": image, "overlay": overlay}
                image, overlay, rows = None, {}, 0
        if overlay or image is not None:
            yield {"table": kind, "id": owner, "image": image, "overlay": overlay}


def _spent(session: Session) -> Iterator[Message]:
    """What calls cost, for a worker that begins: of today by the hour where somebody watches that, and all that was
    ever charged; and the seconds they used of allowances. What the log has behind `upto` is in none of it.

    Of allowances it is this month's and the last one's: a call that began in that may end now.
    """
    now, upto = utc_now(), list(cdrs.position(session))
    if cdrs.is_watched(session):
        sums = ([*key, str(amount)] for *key, amount in cdrs.spent(session, now))
        yield from ({"spent": batch, "upto": upto} for batch in _batches(sums, ITEMS))
    charged = ([customer, currency, str(amount)] for customer, currency, amount in ledger.charged(session))
    yield from ({"charged": batch, "upto": upto} for batch in _batches(charged, CHARGED))
    used = map(list, allowances.used_since_last_month(session, now))
    yield from ({"used": batch, "upto": upto} for batch in _batches(used, ITEMS))
    yield {"spent": [], "upto": upto}


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
