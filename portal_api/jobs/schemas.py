"""Jobs as they are shown."""

from __future__ import annotations

from typing import Any

from portal_api.schemas import Instant, ResourceView, examples

EXAMPLE: dict[str, Any] = {
    "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e11",
    "version": 2,
    "created_at": "2026-11-22T23:23:05.120Z",
    "updated_at": "2026-11-22T23:23:06.010Z",
    "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
    "task": "apply",
    "import_id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e10",
    "status": "done",
    "percent": 100,
    "result": {"status": "applied", "new": 4, "changed": 0, "gone": 0, "same": 0},
    "error": "",
    "started_at": "2026-11-22T23:23:05.320Z",
    "finished_at": "2026-11-22T23:23:06.010Z",
}


class JobView(ResourceView):
    """`status` is queued, running, done or failed; `error` says why it failed."""

    model_config = ResourceView.model_config | examples(EXAMPLE)

    partner: str
    task: str
    import_id: str
    status: str
    percent: int
    result: dict[str, Any] | None
    error: str
    started_at: Instant | None
    finished_at: Instant | None
