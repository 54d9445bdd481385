"""Log set-up of every service: one JSON object a line on stdout, or readable lines where that is a terminal.

A log event is a fixed `noun_verb` name plus fields, never prose:

    log.info("alert_refused", code="invalid_action", status=422)
"""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Final, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from libs.common.telemetry.spans import current_span
from libs.common.telemetry.subject import TRACE_ID, current_subject

Logger = structlog.typing.FilteringBoundLogger

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Libraries that say at `info` what our own events say better.
_QUIET: Final = ("uvicorn", "uvicorn.error", "httpx", "httpcore", "asyncio")

_NEVER_TAKEN: Final = "Future exception was never retrieved"


def configure_logs(
    service: str,
    *,
    level: str = "info",
    mask: Callable[[str], str] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        service: Stands on every line.
        level: The least that is written, one of `LEVELS`.
        mask: Takes known secrets out of every text on a line.
        stream: Where lines go; stdout unless told otherwise.
    """
    out = sys.stdout if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add("service", service),
        _add_subject,
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    if mask is not None:
        shared.append(_masking(mask))
    renderer: Processor
    if out.isatty():
        # Tracebacks are texts by now, so that they too went through the mask.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        renderer = _render_json
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    _configure_standard(shared, renderer, LEVELS[level], out)


def get_logger(**fields: Any) -> Logger:
    """Return a logger; `fields` stand on each of its lines."""
    return cast("Logger", structlog.get_logger(**fields))


def _configure_standard(shared: list[Processor], renderer: Processor, level: int, out: TextIO) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.setLevel(max(level, logging.WARNING))
        logger.handlers = []
        logger.propagate = True
    # Set anew, since a process may configure its logs twice.
    logging.getLogger("asyncio").filters = [_is_news]


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for a failed connection whose caller gave up before: it has told of that itself.

    A name that is being looked up cannot be called back, so a connection that times out there leaves an error that nobody
    takes, at every attempt while the other side is away.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and record.getMessage().startswith(_NEVER_TAKEN))


def _add(key: str, value: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event[key] = value
        return event

    return add


def _add_subject(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    subject = current_subject()
    if subject is not None:
        for name, value in subject.log_fields().items():
            event.setdefault(name, value)
    return event


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = current_span().context
    if context is not None:
        event.setdefault(TRACE_ID, context.trace_id)
    return event


def _masking(mask: Callable[[str], str]) -> Processor:
    def masking(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = mask(value)
            elif not isinstance(value, (int, float, type(None))):
                event[key] = mask(str(value))
        return event

    return masking


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Half a surrogate pair or a very long number: a log call must not fail for it.
        return json.dumps(event, default=str)
