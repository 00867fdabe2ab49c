"""The SIP worker: the one place that knows sockets, the engine and the log together."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from sipsvc import keyring
from sipsvc.cdr import aside
from sipsvc.cdr.keeper import Keeper
from sipsvc.cdr.log import open_calls, outages, read_from
from sipsvc.cdr.segments import segment_number
from sipsvc.control import ControlServer
from sipsvc.directory import Directory
from sipsvc.effects import Close, Flow, Listener, Notice, Now, Resolve, Send, Target, WriteCdr
from sipsvc.engine import Engine
from sipsvc.errors import ConfigError, SipError
from sipsvc.feed.intake import Spent
from sipsvc.observe import get_logger
from sipsvc.settings import Settings
from sipsvc.store.days import month_at
from sipsvc.transport import Resolver, Streams, StreamUser, Tls, UdpListener
from sipsvc.watch import Facts, HttpListener, handlers

# A timer that fires this much late hurts nobody; re-arming for less would cost more than it gives.
TIMER_GRAIN_NS = 1_000_000
REPORT_EVERY_S = 60.0


def now() -> Now:
    return Now(time.monotonic_ns(), time.time_ns() // 1_000_000)


class Worker:
    """Binds in the constructor (raises ConfigError), serves from `start` to `stop`.

    `feed` tells whether changes of the catalogue can reach it.
    """

    def __init__(
        self, settings: Settings, directory: Directory, secrets: tuple[bytes, ...], feed: Callable[[], bool]
    ) -> None:
        self._log = get_logger("sip")
        ours = settings.sip.listeners()
        listeners = tuple(Listener(one.transport, one.told_host, one.told_port, ":" in one.host) for one in ours)
        self._engine = Engine(
            directory,
            listeners=listeners,
            secret=secrets[0],
            older_secrets=secrets[1:],
            random_bytes=os.urandom,
            months=month_at,
        )
        self._secrets = secrets
        self._data: Path = settings.data.dir
        self._tls = Tls(settings.sip.tls) if settings.sip.tls.certificate else None
        self._streams = Streams(self._stream_user(), self._tls)
        self._resolver = Resolver(listeners, settings.sip.dns(), Random())
        self._datagrams: dict[int, UdpListener] = {}
        self._http: HttpListener | None = None
        for index, one in enumerate(ours):
            try:
                if one.transport == "UDP":
                    self._datagrams[index] = UdpListener(one.host, one.port)
                else:
                    self._streams.listen(index, one.transport, one.host, one.port)
            except OSError as error:
                self._close_sockets()
                reason = error.strerror or "cannot be listened on"
                raise ConfigError([("sip.listen", settings.sip.listen[index], reason)]) from None
        self._folder: Path = settings.data.dir / "cdr"
        self._keeper = Keeper(self._folder, settings.cdr.max_bytes, self._recorded, self._log_door)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0
        # From the log's opening to its end: timers before and after it would have nowhere to write.
        self._running = False
        self._reported: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        # How much later than it was due a timer fired at worst, nanoseconds: in all, and since the last report.
        self._late = self._late_lately = self._late_before = 0
        self._facts = self._watchable(feed)
        self._figures = self._facts.figures
        self._stopping = False
        self._control = ControlServer(handlers(self._facts))
        if where := settings.metrics.where():
            try:
                self._http = HttpListener(where)
            except ConfigError:
                self._close_sockets()
                raise

    @property
    def live_calls(self) -> int:
        return self._engine.live_calls

    def start(self, loop: asyncio.AbstractEventLoop, spent: Spent | None = None) -> None:
        """Bring back the calls of before, and what was `spent`, then listen. Raises LogLocked or LogFull."""
        self._loop = loop
        # The log's rotation carries open calls over, so they are read before it is opened.
        unfinished = open_calls(self._folder) if self._folder.exists() else []
        seen = outages(self._folder)
        self._keeper.open(loop, self._from_thread)
        self._running = True
        if spent is not None:
            self._recall(spent)
        # What calls that go on are to have is put by from what those that are over left.
        self._engine.restore(unfinished, now(), seen)
        self._keeper.write([])  # nothing yet: whether there is room for new calls
        if unfinished:
            self._log.info("calls_restored", records=len(unfinished), up=self._engine.live_calls)
        self._streams.start(loop)
        for index, listener in self._datagrams.items():
            listener.start(loop, self._receiver(index), self._carry_out)
        self._facts.bound = True
        self._carry_out()
        loop.call_later(REPORT_EVERY_S, self._report)

    def _recall(self, spent: Spent) -> None:
        """What calls have cost and used: those delivered by the database, the others by the log or set aside."""
        for customer, currency, utc, amount in spent.sums:
            self._engine.spent(customer, currency, Decimal(amount), utc)
        for customer, currency, amount in spent.charged:
            self._engine.charged(customer, currency, Decimal(amount))
        for trunk, month, seconds in spent.used:
            self._engine.allowance_used(trunk, month, seconds)
        counted: set[str] = set()
        for entry in read_from(self._folder, segment_number(spent.segment), spent.offset):
            self._recall_end(entry.record, counted)
        # A call stands there twice when a try was broken off, and in the log too until the position moves on.
        for one in aside.listed(self._folder):
            for record in one.get("records", []):
                self._recall_end(record, counted)

    def _recall_end(self, record: dict[str, Any], counted: set[str]) -> None:
        """Once each; one the database refuses for what stands in it must not keep the worker from starting."""
        try:
            cdr_id, sell = record["cdr_id"], record.get("sell")
            if record["kind"] != "end" or cdr_id in counted or sell is None or record["answer_at"] is None:
                return
            customer, currency, cost = record["customer"], sell["currency"], Decimal(sell["amount"])
            self._engine.spent(customer, currency, cost, record["end_at"])
            self._engine.charged(customer, currency, cost)
            counted.add(cdr_id)
            if "month" in record:
                self._engine.allowance_used(record["trunk"], record["month"], sell.get("allowance", 0))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            self._log.error("cdr_not_recalled", record=repr(record)[:200], error=repr(error))

    async def be_watched(self) -> None:
        """Answer questions from now on. That the control socket cannot be had is logged: calls do not need it."""
        if self._http is not None:
            await self._http.start(self._facts)
        try:
            await self._control.start(self._data)
        except OSError as error:
            self._log.error("no_control_socket", error=str(error))

    def swap(self, directory: Directory) -> None:
        """Calls from now on are decided on `directory`."""
        self._engine.swap(directory, now())
        self._facts.directory_at = time.monotonic_ns()
        self._carry_out()

    def hang_up(self, calls: list[str]) -> None:
        """End those of these calls (`cdr_id`) that are live: an administrator wants it."""
        for cdr_id in calls:
            self._hang_up(cdr_id)

    def _hang_up(self, cdr_id: str) -> bool:
        live = self._engine.hang_up(cdr_id, "admin", now())
        if live:
            self._log.info("hung_up", cdr_id=cdr_id)
        self._carry_out()
        return live

    def _door(self, closed: bool) -> str:
        """Take no new calls, or take them again; "", or why not."""
        if closed:
            self._engine.drain(now())
        elif self._stopping:
            return "the server is ending"
        else:
            self._engine.reopen(now())
            self._engine.log_full = self._keeper.full
        self._log.info("door", closed=closed, live_calls=self._engine.live_calls)
        return ""

    def _watchable(self, feed: Callable[[], bool]) -> Facts:
        began = time.monotonic_ns()
        return Facts(
            engine=self._engine,
            folder=self._folder,
            now=now,
            began=began,
            late=lambda: max(self._late_lately, self._late_before),
            keeper=self._keeper,
            connections=lambda: len(self._streams),
            hang_up=self._hang_up,
            drain=self._door,
            feed=feed,
            directory_at=began,
        )

    async def drain(self, patience_s: float) -> bool:
        """Take no new calls and wait until those in set-up are through; False when `patience_s` ran out."""
        self._stopping = True
        self._engine.drain(now())
        self._carry_out()
        deadline = time.monotonic() + patience_s
        while not (self._engine.idle and not self._keeper.waiting):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def stop(self) -> None:
        """Close sockets and log; what was written is on disk."""
        self._control.stop()
        self._resolver.close()
        self._close_sockets()
        if self._timer is not None:
            self._timer.cancel()
        self._carry_out()
        self._keeper.close()
        self._running = False
        self._report()
        self._log.info("loop_was_late", most_ms=_ms(self._late))

    def _close_sockets(self) -> None:
        for listener in self._datagrams.values():
            listener.close()
        self._streams.stop()
        if self._http is not None:
            self._http.stop()

    def _receiver(self, index: int) -> Any:
        flows: dict[tuple[str, int], Flow] = {}
        received = self._received

        def receive(data: bytes, host: str, port: int) -> None:
            flow = flows.get((host, port))
            if flow is None:
                if len(flows) > 10_000:
                    flows.clear()
                flow = flows[host, port] = Flow("UDP", host, port, index)
            received(data, flow)

        return receive

    def _received(self, data: bytes, flow: Flow) -> None:
        try:
            self._engine.receive(data, flow, now())
        except Exception as error:  # a fault of ours must not cost the worker (SIP-3)
            self._internal_error(error, source=f"{flow.host}:{flow.port}", message=data[:200])

    def _stream_user(self) -> StreamUser:
        engine = self._engine

        def misframed(head: bytes, fault: SipError, flow: Flow) -> None:
            try:
                engine.misframed(head, fault, flow, now())
            except Exception as error:  # as in `_received`
                self._internal_error(error, source=f"{flow.host}:{flow.port}", message=head[:200])

        def lost(flow: Flow) -> None:
            try:
                engine.flow_lost(flow, now())
            except Exception as error:  # as in `_received`
                self._internal_error(error, source=f"{flow.host}:{flow.port}")
            self._carry_out()

        return StreamUser(self._received, misframed, self._carry_out, self._send_failed, lost, engine.count)

    def _internal_error(self, error: Exception, **more: Any) -> None:
        self._engine.count("internal_error")
        self._log.error("internal_error", error=repr(error), **more)

    def _carry_out(self) -> None:
        """Records into the log first, then the datagrams (law 8); then see when to wake up next."""
        effects = self._engine.take()
        if effects:
            sends: list[Send | Close] = []
            records: list[tuple[dict[str, Any], int, bool]] = []
            for effect in effects:
                if isinstance(effect, Send):
                    sends.append(effect)
                elif isinstance(effect, WriteCdr):
                    records.append((effect.record, effect.seq, effect.wait))
                elif isinstance(effect, Close):
                    sends.append(effect)
                elif isinstance(effect, Resolve):
                    ref, host, port, transport = effect
                    self._resolver.resolve(host, port, transport, partial(self._resolved, ref))
                elif isinstance(effect, Notice):
                    self._log.warning(effect.event, **effect.fields)
            if records:
                self._keeper.write(records)
            for one in sends:
                if isinstance(one, Close):
                    self._streams.close(one.flow)
                    continue
                data, flow, ref = one
                if flow.transport != "UDP":
                    self._streams.send(data, flow, ref)
                elif not self._datagrams[flow.listener].send(data, flow.host, flow.port) and ref and self._loop:
                    self._loop.call_soon(self._send_failed, ref)
        due = self._engine.next_timer()
        if due is not None and (self._timer is None or due < self._armed - TIMER_GRAIN_NS):
            if self._timer is not None:
                self._timer.cancel()
            if self._loop is not None and self._running:
                self._armed = due
                self._timer = self._loop.call_later(max(0, due - time.monotonic_ns()) / 1e9, self._on_timer)

    def _recorded(self, record: dict[str, Any]) -> None:
        """It went into the log."""
        kind = record["kind"]
        if kind == "start":
            self._figures.decided(record, time.time_ns() // 1_000_000)
        elif kind == "end":
            self._figures.ended(record)
            self._log.info("call", **_summary(record))

    def _log_door(self, closed: bool) -> None:
        self._engine.log_full = closed

    def _on_timer(self) -> None:
        self._timer = None
        self._late_lately = max(self._late_lately, time.monotonic_ns() - self._armed)
        try:
            self._engine.handle_timer(now())
        except Exception as error:  # as in `_received`
            self._internal_error(error)
        self._carry_out()

    def _from_thread(self, seq: int) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._durable, seq)

    def _durable(self, seq: int) -> None:
        self._engine.durable(seq, now())
        self._carry_out()

    def _send_failed(self, ref: str) -> None:
        self._engine.send_failed(ref, now())
        self._carry_out()

    def _resolved(self, ref: str, targets: tuple[Target, ...]) -> None:
        try:
            self._engine.resolved(ref, targets, now())
        except Exception as error:  # as in `receive`
            self._engine.count("internal_error")
            self._log.error("internal_error", error=repr(error))
        self._carry_out()

    def _report(self) -> None:
        """What was dropped, refused or challenged without a CDR, which gateways had no use for our credentials, and how
        late timers fired at worst: once a minute.

        A new certificate is looked for at the same time.
        """
        if self._tls is not None:
            self._tls.renew()
        counters, refused = self._engine.counters, self._engine.core.refused_credentials
        if fresh := _since(self._reported, counters):
            self._log.info("turned_away", **fresh)
            self._reported = dict(counters)
        for gateway, times in _since(self._refused, refused).items():
            self._log.warning("credentials_refused", gateway=gateway, times=times)
        self._refused = dict(refused)
        if self._late_lately:
            self._log.info("loop_late", most_ms=_ms(self._late_lately), live_calls=self._engine.live_calls)
        self._late = max(self._late, self._late_lately)
        self._late_before, self._late_lately = self._late_lately, 0
        if self._loop is not None and self._running:
            self._loop.call_later(REPORT_EVERY_S, self._report)
            # Not here: a new key is synced to disk, and no call shall wait for that.
            self._loop.run_in_executor(None, keyring.load, self._data, now().utc).add_done_callback(self._rekey)

    def _rekey(self, looked: asyncio.Future[tuple[bytes, ...]]) -> None:
        """The newest key was too old, or `sipsvc rotate-keys` made another."""
        if looked.cancelled():
            return
        error = looked.exception()
        if error is not None:
            self._log.error("keys_unusable", error=str(error))
        elif looked.result() != self._secrets:
            self._secrets = looked.result()
            self._engine.rekey(self._secrets[0], self._secrets[1:])
            self._log.info("keys_changed", kept=len(self._secrets))


def _since(before: dict[str, int], counts: dict[str, int]) -> dict[str, int]:
    """What was counted since."""
    return {name: count - before.get(name, 0) for name, count in counts.items() if count > before.get(name, 0)}


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 1)


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    """The one line a call has in the log."""
    sell = record["sell"]
    return {
        "call_id": record["call_id"],
        "cdr_id": record["cdr_id"],
        "customer": record["customer"],
        "code": record["code"],
        "status": record["status"],
        "gateway": record["gateway"],
        "duration_ms": record["duration_ms"],
        "amount": sell["amount"] if sell else None,
        "hangup_by": record["hangup_by"],
        "recovered": record["recovered"],
    }
