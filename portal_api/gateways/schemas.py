"""Gateways as they are shown and as they are set (TG-1..6)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from portal_api.schemas import OWNER, ResourceView, View, examples, patch_of
from sipsvc.store.sections import GatewayFields, Rewrite
from sipsvc.store.values import Section

MOST_REWRITES = 50

SET: dict[str, Any] = {
    "name": "Carrier A",
    "host": "192.0.2.80",
    "port": 5060,
    "transport": "udp",
    "tcp_if_large": False,
    "currency": "USD",
    "priority": 100,
    "enabled": True,
    "trusted": False,
    "remote_party_id": False,
    "p_asserted_identity": True,
    "caller_prefix": "",
    "caller_prefix_in": ["from", "pai", "rpid"],
    "uri_prefix": "9#",
    "uri_prefix_escaped": True,
    "hunt_codes": [500, 502, 503, 504],
    "provisional_timeout_ms": 4000,
    "ring_timeout_s": 185,
    "auth_username": "",
    "auth_realm": "",
    "plus_in_caller": False,
    "diversion": False,
    "max_channels": 120,
    "max_cps": 20,
    "weight": 1,
    "schedule": ["mon-fri 08:00-20:00 Europe/Berlin"],
    "ping_interval_s": 30,
    "down_after": 3,
    "up_after": 2,
    "registration": False,
    "registration_expires_s": 3600,
    "rewrites": [{"pattern": "^44", "replacement": "0"}],
}


class RewriteView(View):
    """A rule on the digits sent (SIP-30)."""

    pattern: str
    replacement: str


class GatewayView(ResourceView):
    """Units are in the names; rewrite rules in their order.

    `host` is an IP address or a name that is looked up when a call needs it; port 0, with a name only, is the one DNS
    says. With `tcp_if_large` a request too large for UDP goes by TCP. Challenges are answered as `auth_username`, those
    of `auth_realm` only where it is set; its password is never shown. `max_channels` and `max_cps` 0 are unlimited; no
    schedule is always; `weight` is its share where a list draws by weight, 0 for none as long as there are others.
    It is pinged every `ping_interval_s`, 0 never; `down_after` failures in a row take it out, `up_after` successes
    bring it back. With `registration` we register there, for `registration_expires_s` at a time.
    """

    model_config = ResourceView.model_config | examples(
        {
            "id": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e01",
            "version": 3,
            "created_at": "2026-11-22T23:23:05.120Z",
            "updated_at": "2026-11-23T08:00:00.000Z",
            "partner": "0198f3c2-7a10-7c44-8f0e-5b1d2a9c6e02",
            **SET,
        }
    )

    partner: str
    name: str
    host: str
    port: int
    transport: str
    tcp_if_large: bool
    currency: str
    priority: int
    enabled: bool
    trusted: bool
    remote_party_id: bool
    p_asserted_identity: bool
    caller_prefix: str
    caller_prefix_in: list[str]
    uri_prefix: str
    uri_prefix_escaped: bool
    hunt_codes: list[int]
    provisional_timeout_ms: int
    ring_timeout_s: int
    auth_username: str
    auth_realm: str
    plus_in_caller: bool
    diversion: bool
    max_channels: int
    max_cps: int
    weight: int
    schedule: list[str]
    ping_interval_s: int
    down_after: int
    up_after: int
    registration: bool
    registration_expires_s: int
    rewrites: list[RewriteView]


class HealthView(View):
    """How a gateway does, as the SIP worker has found (SIP-34).

    `state` is `up`, `down` or `unknown`, `since` when, null where nothing is known; `failures` are in a row.
    `registration` is `registered`, `failing`, or empty where none is wanted, `registered_until` when it ends.
    """

    model_config = View.model_config | examples(
        {
            "state": "down",
            "since": "2026-11-25T08:00:00.000Z",
            "reason": "no answer to OPTIONS",
            "failures": 3,
            "registration": "registered",
            "registered_until": "2026-11-25T09:00:00.000Z",
        }
    )

    state: str
    since: str | None
    reason: str
    failures: int
    registration: str
    registered_until: str | None


class GatewaySettable(GatewayFields):
    """What may be set. `auth_password` goes with `auth_username` and is never shown; both are "" for none."""

    rewrites: Annotated[list[Rewrite], Field(max_length=MOST_REWRITES)] = []


class GatewayCreate(GatewaySettable):
    """A gateway as it is made."""

    model_config = Section.model_config | examples(SET)

    partner: OWNER = None


GatewayPatch = patch_of(GatewaySettable, "GatewayPatch", {"priority": 50, "enabled": False})
