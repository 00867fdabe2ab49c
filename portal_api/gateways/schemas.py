"""Gateways as they are shown (TG-1..6)."""

from __future__ import annotations

from pydantic import ConfigDict

from portal_api.schemas import View


class RewriteView(View):
    """A rule on the digits sent (SIP-30)."""

    pattern: str
    replacement: str


class GatewayView(View):
    """Units are in the names; rewrite rules in their order."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "carrier-a",
                    "name": "Carrier A",
                    "host": "192.0.2.80",
                    "port": 5060,
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
                    "rewrites": [{"pattern": "^44", "replacement": "0"}],
                }
            ]
        },
    )

    id: str
    name: str
    host: str
    port: int
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
    rewrites: list[RewriteView]
