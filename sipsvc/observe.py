"""What the processes say: one structured line an event on standard error, JSON or for the eye."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("json", "console")


def _json(_logger: Any, _method: str, event: EventDict) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)


def _json_text(logger: Any, method: str, event: EventDict) -> str:
    return _json(logger, method, event).decode()


def configure(level: str, format: str) -> None:
    """Set up this process's log; `level` is one of LEVELS, `format` one of FORMATS. Raises ValueError.

    What libraries say through `logging` (uvicorn, alembic) comes out in the same form.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ValueError(f"log format {format!r} is none of {', '.join(FORMATS)}")
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    library_chain: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if format == "json":
        shared += [structlog.processors.format_exc_info]
        chain: list[Processor] = [*shared, _json]
        library_chain += [_json_text]
        factory: Any = structlog.BytesLoggerFactory(file=sys.stderr.buffer)
    else:
        console = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        )
        chain = [*shared, console]
        library_chain += [console]
        factory = structlog.PrintLoggerFactory(file=sys.stderr)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=library_chain,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries are chatty; what they say below a warning is of no use to an operator.
    root.setLevel(max(LEVELS[level], logging.WARNING))


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `room: name`; follows `configure` even when made before it."""
    return cast(FilteringBoundLogger, structlog.get_logger(room=name))
