"""Log lines with the fields that they would be written with."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aurum.log_context import log_fields


class Hearing(logging.Handler):
    """Keeps message and fields of each record, as the formatter finds them: on the thread that logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.getMessage(), log_fields()))


@contextmanager
def hearing(name: str) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What this logger and those below it say while the body runs."""
    handler, logger = Hearing(), logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
