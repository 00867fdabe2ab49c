"""What a customer and its trunk may use at once, a second and for how much money (SIP-27)."""

from __future__ import annotations

from typing import Any

from sipsvc.directory import Customer, Trunk
from sipsvc.rating import text
from sipsvc.routing.live import Live


def limited(customer: Customer, trunk: Trunk | None, live: Live, trace: list[tuple[Any, ...]]) -> str:
    """The code of the first limit that keeps a call out, "" for none. What is unlimited leaves no trace."""
    if customer.max_channels:
        trace.append(("channels", live.channels, customer.max_channels))
        if live.channels >= customer.max_channels:
            return "channels_full"
    if trunk is not None and trunk.max_channels:
        trace.append(("trunk_channels", trunk.id, live.trunk, trunk.max_channels))
        if live.trunk >= trunk.max_channels:
            return "trunk_full"
    if customer.max_cps:
        trace.append(("cps", customer.max_cps, "exceeded" if live.over_cps else "within"))
        if live.over_cps:
            return "cps_exceeded"
    if live.spent is not None:
        windows = (("hour", live.spent.hour, customer.spend_cap_hour), ("day", live.spent.day, customer.spend_cap_day))
        for window, spent, cap in windows:
            if cap is not None:
                trace.append(("spend", window, text(spent), text(cap), "reached" if spent >= cap else "below"))
                if spent >= cap:
                    return "spend_cap"
    return ""
