"""Each call as an entry of a Redis Stream; after a crash some may stand there twice, with the same cdr_id (law 8)."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import redis
from redis.typing import EncodableT, FieldT

from sipsvc.cdrsettings import StreamSettings
from sipsvc.out.document import document
from sipsvc.out.output import Failed, State
from sipsvc.store.models import Cdr

TIMEOUT_S = 10.0


class Stream:
    """State: None. An entry's fields: `cdr_id`, `partner`, `customer`, and `cdr`, which is the JSON."""

    name = "redis"
    batch = 500

    def __init__(self, settings: StreamSettings) -> None:
        self._stream = settings.stream
        self._most = settings.max_length
        self._client = redis.Redis.from_url(
            settings.url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, health_check_interval=30
        )

    def resume(self, state: State) -> None:
        """What was begun stays there."""

    def hand_on(self, rows: Sequence[Cdr]) -> tuple[int, State]:
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for row in rows:
                    fields: dict[FieldT, EncodableT] = {
                        "cdr_id": row.cdr_id,
                        "partner": row.partner,
                        "customer": row.customer,
                        "cdr": orjson.dumps(document(row)),
                    }
                    pipe.xadd(self._stream, fields, maxlen=self._most, approximate=True)
                pipe.execute()
        except (redis.RedisError, OSError) as error:
            raise Failed(f"{type(error).__name__}: {error}") from error
        return len(rows), None

    def rest(self, state: State) -> State:
        return state

    def close(self) -> None:
        self._client.close()
