"""Structured logs on stderr: JSON in production, readable text on a terminal.

One handler takes the worker's own events and those of libraries. Callers never log an identifier, a value or a token.
In case one does, the handler masks fields with such names, masks text that looks like one, and drops an exception's
message unless its type is known to hold none. Every line is bounded.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from itertools import islice
from types import TracebackType
from typing import Final, Literal
from urllib.parse import unquote

import structlog
from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from worker.masking import MASK

TEXT_MAX: Final = 2_000
"""Characters of one field's text. An exception may have four times as many."""
LINE_MAX: Final = 32_000
"""Characters of one line."""
LINE_SECONDS: Final = 60.0
"""The period in which one line of a kind is enough."""

_FRAMES_MAX: Final = 30
_SECRET_MIN: Final = 5
"""A shorter text is no secret, and stands in many lines by chance."""
_DEPTH_MAX: Final = 3
_ITEMS_MAX: Final = 100
_HEAD: Final = ("timestamp", "level", "event", "logger", "instance")

_PRIVATE: Final = frozenset(
    {
        *("token", "authorization", "password", "secret", "headers"),
        *("phone", "email", "client_user_id", "custom", "custom_identifiers", "identifier", "identifiers"),
        *("user", "user_key", "value", "values", "attributes", "properties"),
        *("body", "record_key", "record_value"),
    }
)
# One after the other. Each reads a text once: an address is looked for only where a run of its characters begins, and a
# match ends with such a run, so that no later address hides behind it.
_PRIVATE_TEXTS: Final = (
    re.compile(r"(?i:bearer)\s+[!-~]+"),  # a token
    re.compile(r"(?<![\w.+%-])[\w.+%-]++@[\w-]++\.[\w.+%@-]*"),  # an email address
    re.compile(r"\+\d{8,15}\b"),  # a phone number in E.164
)

# A name with a password before a host, and a query.
_URL_SECRETS: Final = re.compile(r"(//)[^/\s]*(?=@)|(\?)[^\s'\")]+")

# Our own exceptions, and Kafka's (from the C module of confluent_kafka): their messages hold no value.
_SAFE_EXCEPTIONS: Final = frozenset({"worker", "cimpl"})

# These log each request with its URL.
_TALKATIVE: Final = ("httpx", "httpcore", "httpx2", "httpcore2", "urllib3", "asyncio")


def instance_name() -> str:
    """This process's name among the replicas: the host's name, which is the pod's, and the pid, for its restarts."""
    return f"{socket.gethostname()}-{os.getpid()}"


def configure(
    level: Literal["debug", "info", "warning", "error"],
    format: Literal["auto", "json", "console"],  # noqa: A002 - the setting's own name
    instance: str,
) -> None:
    """Sets up logging for the whole process, both for structlog and the standard library.

    Args:
        level: The least severe level that is logged.
        format: `auto` means `console` if stderr is a terminal, else `json`.
        instance: The name of this replica, for every JSON line.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_exception_text),
        _private_masked,
    ]
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([_with_instance(instance), _json_line] if as_json else [_console()]),
        ],
    )
    handler.setFormatter(formatter)
    handler.addFilter(_SeldomTelemetry())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught


class LogLimiter:
    """Lets one line of each kind through per period. An outage would otherwise log hundreds of equal lines.

    Example:
        >>> limiter = LogLimiter(60.0)
        >>> if limiter.allows("commit refused", time.monotonic()):
        ...     log.warning("commit refused")
    """

    def __init__(self, seconds: float = LINE_SECONDS) -> None:
        self._seconds = seconds
        self._logged_at: dict[object, float] = {}

    def allows(self, kind: object, now: float) -> bool:
        """Whether to log a line of this kind now (monotonic seconds). Counts it as logged if so."""
        if now - self._logged_at.get(kind, -math.inf) < self._seconds:
            return False
        # Forget kinds whose period is over, so that a kind with a changing number in it cannot fill the memory.
        self._logged_at = {other: at for other, at in self._logged_at.items() if now - at < self._seconds}
        self._logged_at[kind] = now
        return True


class _SeldomTelemetry(logging.Filter):
    """Lets one line a minute of each of OpenTelemetry's loggers through: an absent collector is tried all the time.

    These lines repeat what they could not use of the collector's address, and of the headers, which hold a token.
    """

    def __init__(self) -> None:
        super().__init__()
        self._limit = LogLimiter()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != "opentelemetry":
            return True
        text = _URL_SECRETS.sub(rf"\1\2{MASK}", record.getMessage())
        for secret in _telemetry_secrets(os.environ):
            text = text.replace(secret, MASK)
        record.msg, record.args = text, ()
        return self._limit.allows(record.name, time.monotonic())


def _telemetry_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """What OTEL_EXPORTER_OTLP_HEADERS and its forms for one signal hold, as it stands there and as it is sent."""
    headers = (value for name, value in environ.items() if name.startswith("OTEL_") and name.endswith("_HEADERS"))
    for header in ",".join(headers).split(","):
        for text in (header, header.partition("=")[2]):
            for secret in (text.strip(), unquote(text).strip()):
                if len(secret) >= _SECRET_MIN:
                    yield secret


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Logs the exception without its message, which may hold a value. Python's own hook would print it."""
    structlog.get_logger("worker").error("uncaught_exception", exc_info=(kind, error, trace))


def _with_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Adds the ids of the current span, if there is one and it is sampled: others lead nowhere."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid and context.trace_flags.sampled:
        event["trace_id"], event["span_id"] = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return event


def _with_instance(instance: str) -> Processor:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["instance"] = instance
        return event

    return add


def _console() -> Processor:
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=40)

    def line(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return _cut(str(render(logger, method, event)), LINE_MAX)

    return line


def _json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Renders one line. If it is too long, only the head is kept, so that the line is still JSON."""
    head = {key: event[key] for key in _HEAD if key in event}
    line = json.dumps({**head, **event}, ensure_ascii=False, default=_type_name)
    if len(line) > LINE_MAX:
        line = json.dumps({**head, "cut_from_characters": len(line)}, ensure_ascii=False, default=_type_name)
    return line


def _type_name(value: object) -> str:
    """Stands for any other object: its text may hold a value."""
    return f"<{type(value).__name__}>"


def _private_masked(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key == "exception":
            event[key] = _cut(str(value), 4 * TEXT_MAX)
        elif not key.startswith("_"):
            event[key] = _clean(key, value, 0)
    return event


def _clean(key: str, value: object, depth: int) -> object:
    if value is not None and key.lower() in _PRIVATE:
        cleaned: object = MASK
    elif value is None or isinstance(value, bool | int):
        cleaned = value
    elif isinstance(value, str):
        cleaned = _clean_text(value)
    elif isinstance(value, float):
        cleaned = value if math.isfinite(value) else str(value)  # JSON has no NaN
    elif isinstance(value, BaseException):
        cleaned = _message(value)
    elif isinstance(value, Mapping) and depth < _DEPTH_MAX:
        items = islice(value.items(), _ITEMS_MAX)
        cleaned = {str(inner): _clean(str(inner), item, depth + 1) for inner, item in items}
    elif isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH_MAX:
        cleaned = [_clean(key, item, depth + 1) for item in islice(value, _ITEMS_MAX)]
    else:
        cleaned = _type_name(value)
    return cleaned


def _clean_text(text: str) -> str:
    # Cut before the search too: a search through megabytes takes long, and what is cut is not shown anyway.
    masked = text[: 2 * TEXT_MAX]
    for private in _PRIVATE_TEXTS:
        masked = private.sub(MASK, masked)
    return _cut(masked, TEXT_MAX)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _message(error: BaseException) -> str:
    """The exception's type, and its message if it holds no value: ours, Kafka's, the operating system's."""
    name = type(error).__name__
    if type(error).__module__.partition(".")[0] in _SAFE_EXCEPTIONS:
        return f"{name}: {_clean_text(str(error))}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name


def _exception_text(exc_info: ExcInfo) -> str:
    """The chain of exceptions with their frames, latest first, because the end of the line may be cut."""
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None and len(parts) < _DEPTH_MAX:
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
        places = "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames))
        parts.append(f"{_message(error)}{places}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhile handling ".join(parts)
