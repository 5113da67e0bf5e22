"""The log format: one JSON object a line, with level, message, timestamp, requestId and whatever `extra` gave."""

import json
import logging
from datetime import UTC, datetime

from aurum.request_id import current_request_id

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON; `extra={"marketId": …}` becomes a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "level": "warn" if record.levelname == "WARNING" else record.levelname.lower(),
            "message": record.getMessage(),
            "timestamp": datetime.fromtimestamp(record.created, tz=UTC).isoformat().replace("+00:00", "Z"),
            "logger": record.name,
        }
        if current_request_id.get():
            entry["requestId"] = current_request_id.get()
        entry |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
