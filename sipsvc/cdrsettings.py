"""Settings of the call log: how large it may be, and where calls are handed on to (docs/cdr-output.md)."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FilesSettings(Section):
    """A file of calls a day, of each format, in `dir`; "" is none."""

    dir: str = ""
    formats: list[Literal["csv", "jsonl"]] = ["csv", "jsonl"]

    @field_validator("formats")
    @classmethod
    def _check_formats(cls, value: list[str]) -> list[str]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must name csv, jsonl or both, each once")
        return value


class WebhookSettings(Section):
    """Each call is sent to `url`, signed with `secret`; with `partner` only its calls. `name` is the position's."""

    name: str
    url: str
    secret: str
    partner: str = ""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", value):
            raise ValueError("must be 1 to 64 of a-z 0-9 . _ -, a letter or digit first")
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#]+\S*", value):
            raise ValueError("must begin with https:// or http://")
        try:
            _ = urlsplit(value).port
        except ValueError:
            # What it says of it may be part of a password.
            raise ValueError("is no URL: host or port is wrong, or a / in a password is not written %2F") from None
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: str) -> str:
        if len(value) < 16:
            raise ValueError("must have at least 16 characters")
        return value


class StreamSettings(Section):
    """A Redis Stream; `url` "" is none. It is cut to about `max_length` entries, the oldest first."""

    url: str = ""
    stream: str = Field("sipsvc:cdrs", min_length=1)
    max_length: int = Field(1_000_000, ge=1)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if value and not re.match(r"(redis|rediss|unix)://", value):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        if value:
            # It is slow to import, and most have none.
            import redis

            try:
                redis.Redis.from_url(value)
                whole = "@" in urlsplit(value).netloc or "@" not in value
            except ValueError:
                whole = False
            if not whole:
                # What the library says of it may be part of a password.
                raise ValueError("is no Redis URL: host or port is wrong, or a / or @ is not written %2F or %40")
        return value


class CdrSettings(Section):
    """How much of the call log there may be, how long calls are kept (0 for ever), and where they are handed on to."""

    max_mb: int = Field(10_240, ge=1)
    keep_days: int = Field(0, ge=0, le=36_500)
    files: FilesSettings = FilesSettings()
    webhook: list[WebhookSettings] = []
    redis: StreamSettings = StreamSettings()

    @field_validator("webhook")
    @classmethod
    def _check_webhooks(cls, value: list[WebhookSettings]) -> list[WebhookSettings]:
        names = [one.name for one in value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the name {min(twice)!r} stands twice")
        return value

    @property
    def max_bytes(self) -> int:
        return self.max_mb * 1024 * 1024

    @property
    def handed_on(self) -> bool:
        """Whether there is anything for `sipsvc out` to do."""
        return bool(self.files.dir or self.webhook or self.redis.url or self.keep_days)
