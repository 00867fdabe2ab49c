"""Each call as a signed POST, until its receiver says that it has it (law 8).

Anything but 2xx is tried again, for ever; only 410 (Gone) says that this one call is not wanted any more. What has been
sent may come again, after a crash too, with the same `Idempotency-Key`, which is the call's cdr_id.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson

from sipsvc import __version__
from sipsvc.cdrsettings import WebhookSettings
from sipsvc.observe import get_logger
from sipsvc.out.document import document
from sipsvc.out.output import Failed, State
from sipsvc.store.models import Cdr

TIMEOUT_S = 10.0
# At the same time; a receiver far away takes as many more calls a second.
SENDERS = 8
GONE = 410
# Of an answer's body, which nobody needs.
MOST_BYTES = 16 * 1024
SIGNATURE = "Sipsvc-Signature"

log = get_logger("out")


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """`t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 with the secret over the timestamp, a full stop and the body."""
    signed = hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={signed}"


class Webhook:
    """State: None. `clock` is seconds since 1970."""

    batch = 64

    def __init__(self, settings: WebhookSettings, *, clock: Callable[[], float] = time.time) -> None:
        self.name = f"webhook:{settings.name}"
        self._settings = settings
        self._clock = clock
        self._client = httpx.Client(
            timeout=TIMEOUT_S,
            headers={"User-Agent": f"sipsvc/{__version__}", "Content-Type": "application/json"},
            limits=httpx.Limits(max_connections=SENDERS),
        )
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook")
        # Of the batch that is tried again: who has it need not get it twice from this process.
        self._sent: set[str] = set()

    def resume(self, state: State) -> None:
        """There is nothing to take back."""

    def hand_on(self, rows: Sequence[Cdr]) -> tuple[int, State]:
        wanted = [row for row in rows if row.cdr_id not in self._sent and self._settings.partner in ("", row.partner)]
        # The first one alone, until it is taken: a receiver that is down need not be asked eight times.
        faults = [self._send(row) for row in wanted[:1]]
        if not any(faults):
            faults += self._pool.map(self._send, wanted[1:])
        self._sent |= {row.cdr_id for row, fault in zip(wanted, faults, strict=False) if not fault}
        if reason := next(filter(None, faults), ""):
            raise Failed(reason)
        self._sent.clear()
        return len(rows), None

    def rest(self, state: State) -> State:
        return state

    def close(self) -> None:
        self._pool.shutdown()
        self._client.close()

    def _send(self, row: Cdr) -> str:
        """ "" when it is taken, else why not."""
        body = orjson.dumps(document(row))
        headers = {
            "Idempotency-Key": row.cdr_id,
            SIGNATURE: signature(self._settings.secret, int(self._clock()), body),
        }
        try:
            status = self._post(body, headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        if status == GONE:
            log.error("webhook_gone", output=self.name, cdr_id=row.cdr_id)
        elif not httpx.codes.is_success(status):
            return f"the receiver answered {status} to {row.cdr_id}"
        return ""

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status; of what comes with it only a little is read, so that the connection is good for the next call."""
        give_up = time.monotonic() + TIMEOUT_S
        with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
            read = 0
            for piece in answer.iter_raw():
                read += len(piece)
                if read > MOST_BYTES or time.monotonic() > give_up:
                    break
            return answer.status_code
