"""Log lines of all three programs: events with fields, to standard error.

- JSON lines, unless somebody sits at a terminal. Times are ISO 8601 UTC.
- Secrets don't reach the stream: fields with a secret's name; within texts, traces and documents passwords in URLs,
  what follows a secret's name or `Bearer`, Muster's own keys and tokens. In doubt too much is blotted out.
- The standard library's loggers (uvicorn, redis, ...) go the same way.
- Nothing happens at import; before `configure`, structlog's defaults hold.
"""

import logging
import re
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

__all__ = ["configure", "get", "scrub", "without_secrets"]

HIDDEN = "***"
FIRST_FIELDS = ("at", "level", "service", "event", "logger")
SECRET_WORDS = frozenset(
    {"password", "passwd", "token", "key", "apikey", "secret", "auth", "authorization", "credentials", "cookie"}
)
#: cheap to look for: no other secret than a URL's password stands in a text without one of these
HINT = re.compile(r"pass|token|key|secret|auth|credential|cookie|bearer|sig|m[kta]_|sk-", re.IGNORECASE)
#: passwords may hold `/` and `@`, so it ends at the last `@`
URL_PASSWORD = re.compile(r"""(\b[a-z][a-z0-9+.-]*://[^\s:/@"']*):[^\s"']+@""", re.IGNORECASE)
OWN_SECRET = re.compile(r"\b(m[kta]_|sk-)[A-Za-z0-9_-]{8,}")
BEARER = re.compile(r"""\b(Bearer|Basic)(\s+)[^\s"',;)}]{8,}""", re.IGNORECASE)
NAME_OF_ONE = r"""(?:password|passwd|token|key|secret|auth|authorization|credentials|cookie|signature|sig)"""
#: `token=x` as in queries and in the `repr` of objects, with or without quotes
ASSIGNED = re.compile(rf"""({NAME_OF_ONE}\s*=\s*)(?:"[^"]*"|'[^']*'|[^\s"',;&)}}]+)""", re.IGNORECASE)
#: `"token": "x"` as in JSON and in the `repr` of documents
MAPPED = re.compile(rf"""({NAME_OF_ONE}\\?["']\s*:\s*b?)(?:\\?"[^"]*"|'[^']*')""", re.IGNORECASE)
#: `Authorization: Basic x` as in heads of requests
HEADER = re.compile(r"\b((?:proxy-)?authorization|cookie|x-api-key)(:\s*)[^\r\n]+", re.IGNORECASE)
#: A line for every request they make is no news.
CHATTY_LIBRARIES = ("httpx2", "httpcore2")
#: They come with handlers of their own, which would write each line twice and in another form.
LOUD_LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar")


def configure(
    service: str,
    *,
    json: bool | None = None,
    level: str = "info",
    stream: TextIO | None = None,
    witness: Processor | None = None,
) -> None:
    """Send every log line of this process to one stream, in one form.

    Args:
        service: `hub`, `agent` or `cli`; stands in every line.
        json: None for JSON unless the stream is a terminal.
        level: `debug`, `info`, `warning` or `error`.
        stream: standard error when not given.
        witness: sees every event that becomes a line, without its secrets.
    """
    target = sys.stderr if stream is None else stream
    as_json = not target.isatty() if json is None else json
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*first_steps(service), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )
    route_standard_logging(formatter(service, as_json=as_json, witness=witness), number, target)


def get(name: str) -> FilteringBoundLogger:
    """A module's logger; its methods take an event's name and its fields: `log.info("job.claimed", job_id=...)`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The event without secrets, at any depth; the fields that every line has come first."""
    ordered = {key: event[key] for key in FIRST_FIELDS if key in event} | dict(event)
    return {key: clean(key, value) for key, value in ordered.items()}


def clean(key: str, value: object) -> object:
    """The value as JSON can hold it, or `***` where its name says that it is a secret."""
    if value is None or isinstance(value, bool):
        return value
    if is_secret(key):
        return HIDDEN
    if isinstance(value, int | float):
        return value
    if isinstance(value, dict):
        return {str(inner): clean(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean("", item) for item in value]
    return without_secrets(value if isinstance(value, str) else repr(value))


def without_secrets(text: str) -> str:
    """The text with secrets blotted out."""
    if "@" in text:
        text = URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    if HINT.search(text) is None:
        return text
    for pattern in (HEADER, BEARER):
        text = pattern.sub(rf"\1\2{HIDDEN}", text)
    for pattern in (ASSIGNED, MAPPED, OWN_SECRET):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def is_secret(key: str) -> bool:
    """Whether the last word of a field's name is a secret's (`api_key`, `apiKey`, `Authorization`; not `key_id`)."""
    words = re.split(r"[_\-.]|(?<=[a-z0-9])(?=[A-Z])", key)
    return words[-1].lower() in SECRET_WORDS


def first_steps(service: str) -> list[Processor]:
    """What is done to every event, ours or the standard library's."""

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        add_service,
    ]


def formatter(service: str, *, as_json: bool, witness: Processor | None = None) -> structlog.stdlib.ProcessorFormatter:
    """How an event becomes a line. Tracebacks are text (no values of local variables) before they are scrubbed."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=first_steps(service),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            scrub,
            *([witness] if witness else []),
            renderer,
        ],
    )


def route_standard_logging(form: logging.Formatter, level: int, stream: TextIO) -> None:
    """One handler at the root, none elsewhere."""
    to_stream = logging.StreamHandler(stream)
    to_stream.setFormatter(form)
    root = logging.getLogger()
    root.handlers = [to_stream]
    root.setLevel(level)
    for name in LOUD_LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.disabled = False
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
