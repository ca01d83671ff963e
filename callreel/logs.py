"""Log lines: one form for everything a process says, whether by structlog or by the standard library."""

from __future__ import annotations

import logging
import re
import sys

import structlog

from .settings import Settings

#: Where secrets stand in texts: addresses (tokens, signatures, passwords), headers, and the forms they have themselves.
_SECRETS = re.compile(
    r"""((?:token|signature|secret|password)(?:=|["']?: *["']?))(?:v1,)?[^&\s"'#,;\\]+"""
    r"|(bearer +)[^\s\"',\\]+"
    r"|(://[^/@\s:]*:)[^/@\s]+(?=@)"
    r"|(\b)(?:eyJ[\w-]+\.[\w-]+\.[\w-]*|whsec_[\w+/=]+|v1,[\w+/]{40,}=*)",
    re.IGNORECASE,
)

#: They bring handlers of their own, which would write what we have not looked through.
_LOUD = ("uvicorn", "uvicorn.error", "uvicorn.access", "rq.worker", "rq.queue", "rq.job", "rq.scheduler")


def redacted(text: str) -> str:
    """A text without its secrets: a log is read by many, kept for long, and copied into tickets."""
    return _SECRETS.sub(lambda match: f"{next(filter(None, match.groups()), '')}[redacted]", text)


def _with_context(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What the line belongs to, as far as that is known: request, call, recording, job."""
    known = structlog.contextvars.get_contextvars().items()
    return {**{name: value for name, value in known if value is not None}, **event}


def _redact(logger: object, method: str, rendered: str) -> str:
    """Behind the renderer, so that nothing is left out: fields, messages of others, tracebacks."""
    return redacted(rendered)


def configure_logs(settings: Settings) -> None:
    """Called once by each process that starts something; a library that logs needs nothing."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        _with_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if settings.log == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, _redact],  # type: ignore[list-item]  # behind a renderer it is a text
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    take_over()


def take_over() -> None:
    """Have what others would write by handlers of their own written by ours; what they keep silent stays so."""
    for name in _LOUD:
        loud = logging.getLogger(name)
        if loud.handlers:
            loud.handlers, loud.propagate = [], True
