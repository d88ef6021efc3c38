"""Log lines that a machine can read in production and a person at a terminal, with no secret in them."""

import logging
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_NAMES = ("secret", "secrets", "token", "password", "authorization", "api_key", "key", "headers", "body")
# Signing secrets, private keys, API keys and signatures tell themselves, wherever they stand, also in a traceback.
SECRET_VALUES = re.compile(r"\b((?:whsec_|whsk_|rl_|Bearer )[A-Za-z0-9+/=_.~-]{2})[A-Za-z0-9+/=_.~-]{6,}")
# These tell the parameters of statements, or of arq's cron every tick, when they are asked for everything.
# And alembic says the same two lines whenever somebody asks for the revision.
TALKATIVE = ("aiosqlite", "sqlalchemy.engine", "uvicorn.access", "alembic.runtime", "arq.worker")
HIDDEN = "[hidden]"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces the value of whatever is named like a secret, at any depth of mappings."""
    return {name: HIDDEN if _is_secret(name) else _redacted(value) for name, value in event.items()}


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cuts what looks like a secret of ours to its first characters, in every text of the line."""
    return {
        name: SECRET_VALUES.sub(r"\1…", value) if isinstance(value, str) else value for name, value in event.items()
    }


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
    shown = console if is_terminal else structlog.processors.JSONRenderer()
    last: list[Processor] = [structlog.processors.format_exc_info, scrub, shown]
    structlog.configure(
        # First of all: a line that nobody will see costs next to nothing then.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
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
    for noisy in TALKATIVE:
        logging.getLogger(noisy).setLevel("WARNING")
    for own in ("uvicorn", "uvicorn.error", "arq"):
        logging.getLogger(own).handlers[:] = []
        logging.getLogger(own).propagate = True


def _is_secret(name: str) -> bool:
    return name.lower() in SECRET_NAMES


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return {name: HIDDEN if _is_secret(str(name)) else _redacted(inner) for name, inner in value.items()}
    return value
