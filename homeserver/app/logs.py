"""The log on standard error: lines for people or JSON, with the id of the request that wrote them.

Whatever is bound with `structlog.contextvars` (the request id, the user) appears on every line below it. Messages of
libraries that use the standard library's logging take the same road.
"""

import logging
import sys
from typing import Any, cast

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from homeserver.app.config import Logging

# What a library says at "info" is detail to an operator.
_QUIETER = ("asyncio", "aiohttp", "asyncpg", "twisted")


def set_up_logs(config: Logging) -> None:
    """Once, before anything logs."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers = _renderers(config.format)
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIETER:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _renderers(form: str) -> list[Processor]:
    if form == "json":
        return [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(serializer=_dump),
        ]
    # Other tracebacks are slow to draw, and show what variables held: passwords and tokens too.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _dump(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=cast(Any, repr), option=orjson.OPT_NON_STR_KEYS).decode()
