"""What the demo asks of the API: call records by Call-ID. Standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CREDENTIALS = "demo-credentials.json"


class DemoError(Exception):
    """Something the person at the terminal can put right; the text says how."""


class ApiAway(DemoError):
    """The API does not answer; it may be starting."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What `serve` wrote for the demo at its first start. `sip` is host:port."""

    username: str
    password: str
    api_token: str
    api_url: str
    sip: str

    @property
    def server(self) -> tuple[str, int]:
        host, _, port = self.sip.rpartition(":")
        return host.strip("[]"), int(port)

    @classmethod
    def read(cls, data: Path) -> Credentials:
        """Raises DemoError where there are none."""
        path = data / CREDENTIALS
        try:
            given = json.loads(path.read_text())
            return cls(*(str(given[name]) for name in cls.__slots__))
        except FileNotFoundError:
            raise DemoError(
                f"no {path}: the demo server never ran here. Start it with `make run` in another "
                f"terminal and try again."
            ) from None
        except PermissionError:
            raise DemoError(f"{path} cannot be read by this user; it belongs to who started the server.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DemoError(f"{path} is damaged ({error!r}): delete it and start the server again.") from None


class Api:
    """A client of `/api/v1`. Every method blocks; call it in a thread."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Raises ApiAway when nobody answers and DemoError when the API refuses."""
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise ApiAway(f"GET {url}: {error.code}; it may be stopping or starting.") from None
            raise DemoError(f"GET {url}: {error.code} {error.read(2000).decode(errors='replace')}") from None
        except OSError as error:
            raise ApiAway(f"the API at {self.url} does not answer ({error}).") from None

    def cdrs(self, call_id: str) -> list[dict[str, Any]]:
        """Every record of one Call-ID."""
        page = self.get("/api/v1/cdrs", {"filter[call_id][eq]": call_id})
        return list(page["data"])

    def ended_cdrs(self, call_id: str, seconds: float = 10.0, count: int = 1) -> list[dict[str, Any]]:
        """The records of one Call-ID whose calls are over, waiting for the delivery of `count` of them.

        Fewer when they do not come in time. Raises ApiAway when then nobody answers.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                found = [one for one in self.cdrs(call_id) if one["state"] == "ended"]
                if len(found) >= count or time.monotonic() > end:
                    return found
            except ApiAway:
                if time.monotonic() > end:
                    raise
            time.sleep(0.2)

    def ended_cdr(self, call_id: str, seconds: float = 10.0) -> dict[str, Any] | None:
        """The record of a call that is over, waiting for its delivery; None when it does not come in time."""
        return next(iter(self.ended_cdrs(call_id, seconds)), None)
