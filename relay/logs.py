"""Log lines that a machine can read in production and a person at a terminal, with no secret in them."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_NAMES = ("secret", "secrets", "token", "password", "authorization", "api_key", "key", "headers", "body")
HIDDEN = "[hidden]"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces the value of whatever is named like a secret, at any depth of mappings."""
    return {name: HIDDEN if _is_secret(name) else _redacted(value) for name, value in event.items()}


def configure(level: str, stream: TextIO | None = None) -> None:
    """One configuration for structlog and the standard library's loggers (arq, uvicorn, alembic) alike."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    is_terminal = stream.isatty()
    # Plain: a traceback with local variables would show secrets.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    last: list[Processor] = (
        [console] if is_terminal else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # arq tells of every tick of its cron.
    for noisy in ("uvicorn.access", "alembic.runtime.plugins", "arq.worker"):
        logging.getLogger(noisy).setLevel("WARNING")
    for own in ("uvicorn", "uvicorn.error"):
        logging.getLogger(own).handlers[:] = []
        logging.getLogger(own).propagate = True


def _is_secret(name: str) -> bool:
    return name.lower() in SECRET_NAMES


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return {name: HIDDEN if _is_secret(str(name)) else _redacted(inner) for name, inner in value.items()}
    return value
