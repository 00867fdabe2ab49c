"""Errors that carry what the peer or the operator should be told."""

from __future__ import annotations


class SipsvcError(Exception):
    """Base of every error raised on purpose."""


class SipError(SipsvcError):
    """A request that is to be answered with `status` (RFC 3261 §21).

    `reason` becomes the reason phrase and the Warning text, so it names the header at fault.
    """

    def __init__(self, status: int, reason: str, code: str = "malformed") -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.code = code


class MessageDropped(SipsvcError):
    """A datagram that cannot be answered (SIP-3); `code` is the name of the counter."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ConfigError(SipsvcError):
    """One or more faults in a configuration or bundle, each as `(where, value, reason)`.

    `where` names the key (`gateway[1].port`) or file, row and column (`prices.csv row 3 rate`).
    """

    def __init__(self, faults: list[tuple[str, object, str]]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{where} = {value!r}: {reason}" for where, value, reason in faults))
