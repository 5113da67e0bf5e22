"""How log lines look: an object of JSON each, or for people at a terminal. No secret leaves, and no line is forged."""

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from aurum.log_context import log_fields
from aurum.redaction import Redactor

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# Objects that libraries attach: they print headers and queries, and the message has what is of use.
NOT_SHOWN = frozenset({"request", "websocket"})
# What a terminal obeys, what ends a line for some reader, and what turns text around: C0 and C1 controls, line and
# paragraph separators, marks of direction; and halves of characters, which no stream takes.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
BRIEF = 14  # characters of a field that a terminal shows
_encode = json.JSONEncoder(allow_nan=False).encode


class Line:
    """A record's parts, without secrets: `message`, `fields` by name, and `trace` where there is a traceback."""

    __slots__ = ("fields", "message", "trace")

    def __init__(self, record: logging.LogRecord, redactor: Redactor, trace: str) -> None:
        self.message = redactor.text(_message(record))
        self.fields: dict[str, Any] = redactor.value(_fields(record))
        self.trace = redactor.text(trace)


class SafeFormatter(logging.Formatter):
    """What both have in common."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def _line(self, record: logging.LogRecord) -> Line:
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        if record.exc_text and not parts:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(record.stack_info)
        return Line(record, self._redactor, "\n".join(parts))


class JsonFormatter(SafeFormatter):
    """An object with level, message, timestamp and logger, then the context's fields and those of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        return (self._plain(record) or self._cleaned(record)).replace("\x7f", "\\u007f")

    def _plain(self, record: logging.LogRecord) -> str:
        """The line as nearly all are, at a fraction of the cost; empty where it needs a closer look."""
        if record.exc_info or record.stack_info:
            return ""
        try:
            text = _encode(_entry(record, record.getMessage(), _fields(record)))
        except Exception:
            return ""
        return "" if self._redactor.suspects(text) else text

    def _cleaned(self, record: logging.LogRecord) -> str:
        line = self._line(record)
        entry = _entry(record, line.message, line.fields)
        return _encode(entry | {"traceback": line.trace} if line.trace else entry)


class TerminalFormatter(SafeFormatter):
    """`12:00:00 INFO    indexer.runner: indexed 1 blocks to 7 [requestId=3f2a9c…]`, and tracebacks set in."""

    def format(self, record: logging.LogRecord) -> str:
        line = self._line(record)
        text = f"{_moment(record).astimezone():%H:%M:%S} {record.levelname:<7} {record.name}: {escaped(line.message)}"
        if line.fields:
            text += f" [{' '.join(f'{escaped(name)}={_brief(value)}' for name, value in line.fields.items())}]"
        return text + "".join(f"\n  | {escaped(each)}" for each in line.trace.split("\n") if line.trace)


def escaped(text: str) -> str:
    """The text with its control characters as `\\x1b` or `\\u2028`: what came from outside stays in its line."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def log_uncaught() -> None:
    """What ends the process or a thread is a log line too; without this, Python prints it as it is."""
    logger = logging.getLogger("aurum.uncaught")
    plain = sys.excepthook

    def at_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt) or not logging.getLogger().handlers:
            plain(kind, error, trace)
        else:
            logger.critical("the process ends", exc_info=(kind, error, trace))

    def at_threads_end(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread else ""
        error = arguments.exc_value or arguments.exc_type()
        logger.error("the thread %s ends", name, exc_info=(arguments.exc_type, error, arguments.exc_traceback))

    sys.excepthook = at_end
    threading.excepthook = at_threads_end
    logging.captureWarnings(True)


def _entry(record: logging.LogRecord, message: str, fields: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "level": "warn" if record.levelname == "WARNING" else record.levelname.lower(),
        "message": message,
        "timestamp": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "logger": record.name,
    }
    return {**entry, **fields, **entry}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The context's and those of `extra`."""
    given = {name: value for name, value in vars(record).items() if name not in STANDARD and name not in NOT_SHOWN}
    return {**log_fields(), **given}


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, tz=UTC)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # logging would print the arguments as they are
        return f"{record.msg!r} with arguments that do not fit it: {_safe_repr(record.args)}"


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _brief(value: Any) -> str:
    text = escaped(value if isinstance(value, str) else _encode(value))
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}…"
