"""Where a gateway's name leads (RFC 3263 §4.2): SRV, A and AAAA, kept for as long as they may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from random import Random
from typing import NamedTuple

import dns.asyncresolver
import dns.name
import dns.resolver

from sipsvc.effects import Listener, Target
from sipsvc.observe import get_logger

# The core waits for half of a gateway's set-up time, 2 s as a rule: before that it gets what there is.
PATIENCE_S = 1.8
# A question may take longer; its answer serves the calls that come then.
TRY_S, QUESTION_S = 1.0, 5.0
MOST_ADDRESSES = 8
MOST_HOSTS = 16
MOST_KEPT = 4_096
LONGEST_S, LONGEST_NEGATIVE_S = 86_400.0, 60.0
# Nothing is asked again so soon after it failed (RFC 9520 §3.2); an old answer serves meanwhile (RFC 8767).
FAILED_S, STALE_S, STALE_FOR_S = 5.0, 86_400.0, 30.0

SERVICES = {"UDP": ("_sip._udp.", 5060), "TCP": ("_sip._tcp.", 5060), "TLS": ("_sips._tcp.", 5061)}

Question = tuple[str, str]
Done = Callable[[tuple[Target, ...]], None]


class Service(NamedTuple):
    """An SRV record; `host` is "" where it says that there is no such service."""

    priority: int
    weight: int
    port: int
    host: str


class Kept(NamedTuple):
    """An answer, until when it holds and from when on it is too old for anything, by the loop's clock.

    It has no values where the name has none, or where nobody could say (`failed`).
    """

    values: tuple[Service, ...] | tuple[str, ...]
    until: float
    old_at: float
    failed: bool = False


class Search:
    """One look-up on its way. What it was told serves it to its end, whatever the TTL."""

    __slots__ = ("done", "host", "hosts", "known", "patience", "port", "transport")

    def __init__(self, host: str, port: int, transport: str, done: Done) -> None:
        self.host = host
        self.port = port
        self.transport = transport
        self.done: Done | None = done
        self.known: dict[Question, Kept] = {}
        self.hosts: list[tuple[str, int]] | None = None
        self.patience: asyncio.TimerHandle | None = None


class Resolver:
    """Answers from what it knows at once; otherwise one task a question, however many calls wait for it.

    `nameserver` is (address, port), None for the system's; names are looked up as they stand, without search domains
    and without the hosts file. IPv6 addresses are given only where one of `listeners` can send to them; of both
    families the one of the transport's first listener comes first. `random` draws by weight.
    """

    def __init__(self, listeners: Iterable[Listener], nameserver: tuple[str, int] | None, random: Random) -> None:
        self._log = get_logger("dns")
        self._nameserver = nameserver
        self._random = random
        self._families: dict[str, list[str]] = {}
        for listener in listeners:
            families = self._families.setdefault(listener.transport, [])
            kind = "AAAA" if listener.ipv6 else "A"
            if kind not in families:
                families.append(kind)
        self._asker: dns.asyncresolver.Resolver | None = None
        self._kept: dict[Question, Kept] = {}
        self._tasks: dict[Question, asyncio.Task[None]] = {}
        self._waiting: dict[Question, list[Search]] = {}
        self._closed = False

    def resolve(self, host: str, port: int, transport: str, done: Done) -> None:
        """`done(targets)` is called once, never before this returns; with none when the look-up failed.

        Nothing is asked, and nobody told, once it is closed.
        """
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        search = Search(host.rstrip(".").lower(), port, transport, done)
        missing = self._step(search, loop.time())
        if isinstance(missing, tuple):
            loop.call_soon(done, missing)
            return
        search.patience = loop.call_later(PATIENCE_S, self._enough, search)
        self._ask(search, missing)

    def close(self) -> None:
        """Ask no more; searches under way get no answer."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        for searches in self._waiting.values():
            for search in searches:
                self._end(search)
        self._waiting.clear()

    # A search, step by step

    def _step(self, search: Search, at: float, late: bool = False) -> tuple[Target, ...] | list[Question]:
        """Its targets, or the questions whose answers it still needs; when it is late, what there is."""
        hosts = search.hosts
        if hosts is None:
            service, port = SERVICES[search.transport]
            hosts = [(search.host, search.port or port)]
            if not search.port:
                question = (service + search.host, "SRV")
                found = self._known(search, question, at, late)
                if found is None:
                    return () if late else [question]
                if found.failed:
                    return ()
                if found.values:
                    hosts = self._drawn([one for one in found.values if isinstance(one, Service)])
            search.hosts = hosts
        missing: list[Question] = []
        targets: list[Target] = []
        for host, port in hosts:
            for family in self._families.get(search.transport, ["A"]):
                found = self._known(search, (host, family), at, late)
                if found is None:
                    missing.append((host, family))
                    continue
                addresses = [str(value) for value in found.values]
                self._random.shuffle(addresses)
                targets += [Target(search.transport, address, port) for address in addresses]
        if missing and not late:
            return missing
        return tuple(dict.fromkeys(targets))[:MOST_ADDRESSES]

    def _known(self, search: Search, question: Question, at: float, late: bool) -> Kept | None:
        kept = search.known.get(question) or self._kept.get(question)
        if kept is None or at < kept.until or question in search.known:
            return kept
        # Better an old answer than none, for a call that cannot wait (RFC 8767 §5).
        return kept if late and kept.values and at < kept.old_at else None

    def _drawn(self, services: list[Service]) -> list[tuple[str, int]]:
        """In the order of trial: by priority, and among equals drawn by weight (RFC 2782)."""
        hosts: list[tuple[str, int]] = []
        for priority in sorted({one.priority for one in services}):
            # Those without weight stand first, so that a draw of zero can fall on them.
            left = sorted((one for one in services if one.priority == priority), key=lambda one: one.weight > 0)
            while left:
                draw = self._random.randint(0, sum(one.weight for one in left))
                chosen = 0
                while draw > left[chosen].weight:
                    draw -= left[chosen].weight
                    chosen += 1
                service = left.pop(chosen)
                if service.host and service.port:
                    hosts.append((service.host, service.port))
        return hosts[:MOST_HOSTS]

    def _enough(self, search: Search) -> None:
        """Time is up: what there is has to do."""
        found = self._step(search, asyncio.get_running_loop().time(), late=True)
        self._finish(search, found if isinstance(found, tuple) else ())

    def _finish(self, search: Search, targets: tuple[Target, ...]) -> None:
        done = search.done
        self._end(search)
        if done is not None:
            done(targets)

    def _end(self, search: Search) -> None:
        search.done = None
        if search.patience is not None:
            search.patience.cancel()

    # Questions

    def _ask(self, search: Search, questions: list[Question]) -> None:
        for question in questions:
            self._waiting.setdefault(question, []).append(search)
            if question not in self._tasks:
                self._tasks[question] = asyncio.get_running_loop().create_task(self._answer(question))

    async def _answer(self, question: Question) -> None:
        """Put a question, keep the answer, and go on with the searches that waited for it."""
        kept = await self._put(question)
        del self._tasks[question]
        self._kept.pop(question, None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = kept
        for search in self._waiting.pop(question, ()):
            if search.done is None:
                continue
            search.known[question] = kept
            found = self._step(search, asyncio.get_running_loop().time())
            if isinstance(found, tuple):
                self._finish(search, found)
            else:
                self._ask(search, [one for one in found if search not in self._waiting.get(one, ())])

    async def _put(self, question: Question) -> Kept:
        loop = asyncio.get_running_loop()
        name, kind = question
        try:
            if self._asker is None:
                self._asker = self._system_or_set()
            answer = await self._asker.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            ttl = min(response.resolve_chaining().minimum_ttl for response in error.kwargs["responses"].values())
            return _kept((), loop.time() + min(ttl, LONGEST_NEGATIVE_S))
        except Exception as error:  # whatever a server says, it costs a look-up and no more
            before = self._kept.get(question)
            stale = before is not None and before.values and loop.time() < before.old_at
            self._log.warning("lookup_failed", name=name, type=kind, error=str(error), serving_old=bool(stale))
            if before is not None and stale:
                return before._replace(until=loop.time() + STALE_FOR_S)
            return Kept((), loop.time() + FAILED_S, 0.0, failed=True)
        ttl = answer.chaining_result.minimum_ttl
        if answer.rrset is None:
            return _kept((), loop.time() + min(ttl, LONGEST_NEGATIVE_S))
        until = loop.time() + min(ttl, LONGEST_S)
        if kind == "SRV":
            services = (Service(one.priority, one.weight, one.port, _host(one.target)) for one in answer.rrset)
            return _kept(tuple(services), until)
        return _kept(tuple(str(one.address) for one in answer.rrset if _of_one_host(one.address)), until)

    def _system_or_set(self) -> dns.asyncresolver.Resolver:
        """Raises dns.resolver.NoResolverConfiguration where the system names no server."""
        asker = dns.asyncresolver.Resolver(configure=self._nameserver is None)
        if self._nameserver is not None:
            host, asker.port = self._nameserver
            asker.nameservers = [host]
        asker.timeout, asker.lifetime = TRY_S, QUESTION_S
        asker.use_edns(0, 0, 1232)
        return asker


def _kept(values: tuple[Service, ...] | tuple[str, ...], until: float) -> Kept:
    return Kept(values, until, until + STALE_S)


def _host(target: dns.name.Name) -> str:
    """Lower-case, without the final dot: "" for the root, which says that there is no such service."""
    return target.to_text().rstrip(".").lower()


def _of_one_host(address: str) -> bool:
    found = ip_address(address)
    return not (found.is_unspecified or found.is_multicast)
