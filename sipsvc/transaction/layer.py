"""Matching: which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3), and merged requests (§8.2.2.2)."""

from __future__ import annotations

from collections.abc import Callable

from sipsvc.directory import Timing
from sipsvc.effects import Flow, Now
from sipsvc.ladder import Ladder
from sipsvc.message import Message
from sipsvc.timers import TimerHeap
from sipsvc.transaction.client import ClientTransaction, ClientUser
from sipsvc.transaction.server import Key, ServerTransaction
from sipsvc.transaction.tables import Event, times

COOKIE = "z9hG4bK"
# Where our branches name their call.
BEFORE, BEHIND = len(COOKIE), len(COOKIE) + 16


class Layer:
    """All transactions. `send(data, flow, ref)` hands a message out.

    `times` are those of new transactions over UDP, `reliable` of those over any other transport. `ladders` are those of
    the calls there are, by what the branches of a call have behind the cookie.
    """

    def __init__(self, timers: TimerHeap, timing: Timing, send: Callable[[bytes, Flow, str], None]) -> None:
        self.timers = timers
        self.send = send
        self.use(timing)
        self.retransmitted = 0
        self.ladders: dict[str, Ladder] = {}
        self._clients: dict[str, ClientTransaction] = {}
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._merged: dict[tuple[str, str, int, str], ServerTransaction] = {}
        # Those on streams, by peer and by connection, so that the loss of one finds its own without looking at all.
        self._to_peer: dict[tuple[str, str, int, int], dict[str, ClientTransaction]] = {}
        self._on_conn: dict[int, dict[Key, ServerTransaction]] = {}

    @property
    def t1(self) -> int:
        return self.times.t1

    def use(self, timing: Timing) -> None:
        """Transactions that begin from now on take these times."""
        self.times = times(timing, reliable=False)
        self.reliable = times(timing, reliable=True)

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def new_client(
        self, branch: str, method: str, request: bytes, flow: Flow, user: ClientUser, now: Now
    ) -> ClientTransaction:
        """Send `request`, whose top Via carries `branch`, and see to its retransmission."""
        key = f"{branch} {method}"
        ladder = self.ladders.get(branch[BEFORE:BEHIND])
        client = ClientTransaction(self, key, method == "INVITE", request, flow, user, ladder)
        self._clients[key] = client
        if client.stream:
            self._to_peer.setdefault(flow[:4], {})[key] = client
        client.start(now)
        return client

    def client_for(self, response: Message) -> ClientTransaction | None:
        return self._clients.get(f"{response.via.branch} {response.method}")

    def failed(self, key: str, now: Now) -> None:
        """The transport could not send the request of this transaction."""
        client = self._clients.get(key)
        if client is not None:
            client.run(Event.ERROR, None, now)

    def flow_lost(self, flow: Flow, now: Now) -> None:
        """A connection ended, or could not be opened: what was asked over it and not heard of yet has failed.

        An INVITE that got a provisional response goes on: its peer has it, and owes the rest by a connection of its
        own (RFC 3261 §18.2.2).
        """
        for client in list(self._to_peer.get(flow[:4], {}).values()):
            if client.flow.conn in (0, flow.conn):
                client.run(Event.ERROR, None, now)

    def servers_on(self, conn: int) -> list[ServerTransaction]:
        """Those whose request came by this connection, and whose answers may have to take another way."""
        return list(self._on_conn.get(conn, {}).values())

    def server_for(self, request: Message) -> ServerTransaction | None:
        """The transaction a request repeats."""
        return self._servers.get(self._key(request, request.method))

    def invite_for(self, request: Message) -> ServerTransaction | None:
        """The INVITE that an ACK or CANCEL is about (RFC 3261 §9.2, §17.2.3)."""
        return self._servers.get(self._key(request, "INVITE"))

    def new_server(self, request: Message, flow: Flow) -> ServerTransaction:
        key = self._key(request, request.method)
        server = ServerTransaction(self, key, request, flow)
        self._servers[key] = server
        if flow.conn:
            self._on_conn.setdefault(flow.conn, {})[key] = server
        return server

    def remember_merged(self, server: ServerTransaction) -> None:
        """Let copies of this request that took another way be known (SIP-11)."""
        server.merge_key = self._merge_key(server.request)
        self._merged[server.merge_key] = server

    def is_merged(self, request: Message) -> bool:
        """Whether the same request came by another way already."""
        return self._merge_key(request) in self._merged

    def forget_client(self, client: ClientTransaction) -> None:
        self._clients.pop(client.key, None)
        if client.stream:
            peer = client.flow[:4]
            others = self._to_peer.get(peer)
            if others is not None:
                others.pop(client.key, None)
                if not others:
                    del self._to_peer[peer]

    def forget_server(self, server: ServerTransaction) -> None:
        self._servers.pop(server.key, None)
        if server.conn:
            others = self._on_conn.get(server.conn)
            if others is not None:
                others.pop(server.key, None)
                if not others:
                    del self._on_conn[server.conn]
        if server.merge_key is not None:
            self._merged.pop(server.merge_key, None)

    @staticmethod
    def _merge_key(request: Message) -> tuple[str, str, int, str]:
        return (request.call_id, request.from_.tag, request.cseq, request.uri)

    @staticmethod
    def _key(request: Message, method: str) -> tuple[str, str, str]:
        via = request.via
        if via.branch.startswith(COOKIE) and len(via.branch) > len(COOKIE):
            return (via.branch, via.sent_by, method)
        # RFC 2543 peers, and a cookie with nothing behind it (RFC 4475 §3.2.1): what identifies the request itself,
        # To tag aside, for an ACK carries ours.
        return (
            f"{request.call_id}\n{request.from_.tag}\n{request.cseq}\n{request.uri}\n{via.branch}",
            via.sent_by,
            method,
        )
