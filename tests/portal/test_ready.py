"""GET /readyz where requests cannot be served (SIP-38)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sipsvc.store.database import downgrade, migrate
from tests.portal.process import prepared, serving


@pytest.mark.rule("SIP-38")
def test_a_database_of_another_version_is_not_ready(tmp_path: Path) -> None:
    settings, _ = prepared(tmp_path)
    with serving(settings) as (_, port):

        def ready() -> httpx.Response:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60)

        assert ready().status_code == 200
        downgrade(settings.data.url, "-1")
        answer = ready()
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("Not ready: the schema is at revision ")
        migrate(settings.data.url)
        assert ready().status_code == 200
