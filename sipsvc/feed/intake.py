"""The worker's end of the line: one packet a wake-up goes into the builder, and a commit makes the next directory."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from sipsvc.directory import Builder, Directory, DirectoryError, Image, PriceRow
from sipsvc.feed.images import Key, mapped
from sipsvc.feed.line import ROOM, Joiner, Message, packets
from sipsvc.observe import get_logger


class Spent(NamedTuple):
    """What calls of today cost that are in the database: customer, currency, the hour (UTC ms) they ended in, amount.

    `charged` is what customers were ever charged for calls: customer, currency, amount; `used` are the seconds of their
    allowances that accounts used: trunk, month such as `2026-11`, seconds. What ended later than either knows stands in
    the log behind `offset` of `segment`, a file's name, "" for the whole log.
    """

    sums: list[tuple[str, str, int, str]]
    segment: str
    offset: int
    charged: Sequence[tuple[str, str, str]] = ()
    used: Sequence[tuple[str, str, int]] = ()


class Told:
    """What messages told of it so far. It grows in place: a copy for each of them would take minutes of many."""

    def __init__(self) -> None:
        self._sums: list[tuple[str, str, int, str]] = []
        self._charged: list[tuple[str, str, str]] = []
        self._used: list[tuple[str, str, int]] = []
        self._upto: tuple[str, int] | None = None

    def add(self, message: Message) -> None:
        """With what a message tells besides."""
        for there, name in ((self._sums, "spent"), (self._charged, "charged"), (self._used, "used")):
            there.extend(map(tuple, message.get(name, ())))
        segment, offset = message["upto"]
        self._upto = segment, offset

    def spent(self) -> Spent | None:
        """All of it, None where nothing was told."""
        if self._upto is None:
            return None
        return Spent(self._sums, *self._upto, tuple(self._charged), tuple(self._used))


class Intake:
    """The feed may die and come back: what it had begun is forgotten, what was committed stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._take: Callable[[Directory, int], None] = lambda directory, items: None
        self._hang_up: Callable[[list[str]], None] = lambda calls: None
        self._builder = Builder()
        self._images: dict[Key, tuple[str, Image]] = {}
        self._joiner = Joiner()
        self._line: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Of the change under way: items, tables opened, the longest a wake-up took for it (ns).
        self._items = self._opened = self._longest = 0
        self._told = Told()
        self._begun = False
        self._log = get_logger("sip")

    def attach(self, line: socket.socket) -> None:
        """A feed was started, and this is the line to it. Nothing is read before `start`."""
        self._detach()
        line.setblocking(False)
        self._line = line
        self._joiner = Joiner()
        self._listen()

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[Directory, int], None],
        hang_up: Callable[[list[str]], None],
    ) -> None:
        """From now on the feed may read the database, and is listened to.

        `take(directory, items)` is called with each new directory and how many items made it, `hang_up` with the
        `cdr_id`s of calls that an administrator ends.
        """
        self._loop, self._take, self._hang_up = loop, take, hang_up
        self._listen()

    @property
    def attached(self) -> bool:
        """Whether a feed is there."""
        return self._line is not None

    @property
    def directory(self) -> Directory:
        """The last that was committed."""
        return self._builder.directory

    @property
    def spent(self) -> Spent | None:
        """What customers had spent before the first commit."""
        return self._told.spent()

    def _listen(self) -> None:
        if self._line is not None and self._loop is not None:
            self._loop.add_reader(self._line.fileno(), self._readable)
            self._say({"start": True})

    def stop(self) -> None:
        """Hang up; the feed ends."""
        self._detach()

    def _detach(self) -> None:
        if self._line is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._line.fileno())
            self._line.close()
            self._line = None

    def _readable(self) -> None:
        began = time.monotonic_ns()
        assert self._line is not None
        try:
            packet = self._line.recv(ROOM)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._detach()
            return
        message = self._joiner.add(packet)
        if message is not None:
            if "commit" in message:
                self._commit(message, began)
                return
            self._apply(message)
        self._longest = max(self._longest, time.monotonic_ns() - began)

    def _apply(self, message: Message) -> None:
        """One message into the builder, which keeps a fault until the commit."""
        builder = self._builder
        if "begin" in message:
            builder.begin(message["begin"])
            if not self._begun:
                self._told = Told()
            self._items = self._opened = self._longest = 0
        elif "put" in message:
            self._items += len(message["items"])
            for fields in message["items"]:
                builder.put(message["put"], fields)
        elif "drop" in message:
            self._items += len(message["ids"])
            for name in message["ids"]:
                builder.drop(message["drop"], name)
                self._images.pop((message["drop"], name), None)
        elif "upto" in message:
            if not self._begun:
                self._told.add(message)
        elif "hangup" in message:
            self._hang_up(message["hangup"])
        elif "table" in message:
            self._items += max(1, len(message["overlay"]))
            self._table(message["table"], message["id"], message["image"], message["overlay"])

    def _table(self, kind: str, owner: str, image: str | None, overlay: Mapping[str, Any]) -> None:
        try:
            opened = None if image is None else self._image((kind, owner), image)
            rows = {prefix: tuple(map(price_row, group)) for prefix, group in overlay.items()}
        except (OSError, ValueError) as error:
            self._builder.refuse(f"rows of {kind} {owner}: {error}")
        else:
            self._builder.table(kind, owner, opened, rows)

    def _image(self, key: Key, name: str) -> Image:
        """The file mapped, unless it is already: its rows that calls have met are kept then."""
        there = self._images.get(key)
        if there is None or there[0] != name:
            there = self._images[key] = name, Image(mapped(self._folder / name))
            self._opened += 1
        return there[1]

    def _commit(self, message: Message, began: int) -> None:
        version = message["commit"]
        try:
            self._take(self._builder.commit(version), self._items)
        except DirectoryError as error:
            self._log.error("directory_refused", version=version, reason=str(error))
            self._say({"refused": version, "reason": str(error)})
            return
        self._begun = True
        longest = max(self._longest, time.monotonic_ns() - began)
        self._log.info(
            "directory_live",
            version=version,
            behind_ms=time.time_ns() // 1_000_000 - message["since"],
            items=self._items,
            tables=self._opened,
            longest_ms=round(longest / 1e6, 2),
        )
        self._say({"live": version})

    def _say(self, message: Message) -> None:
        """Few and small: the line always has room for them. A feed that is gone is noticed by the next read."""
        try:
            for packet in packets(message):
                if self._line is not None:
                    self._line.send(packet)
        except OSError as error:
            self._log.warning("feed_gone", reason=str(error))


def price_row(cells: list[Any]) -> PriceRow:
    """A row as the feed sends it; money is millionths."""
    id_, prefix, origin, name, rate, fee, initial, increment, valid_from, valid_to = cells
    money = Decimal(rate).scaleb(-6), Decimal(fee).scaleb(-6)
    return PriceRow(id_, prefix, name, *money, initial, increment, origin, valid_from, valid_to)
