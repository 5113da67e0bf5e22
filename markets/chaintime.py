"""PURE. Chain seconds as UTC datetimes."""

from datetime import UTC, datetime
from functools import lru_cache

# 9999-12-31T23:59:59Z, the last that a Python datetime holds; a contract's uint256 may lie far beyond.
LAST_SECOND = 253_402_300_799


def clamped(seconds: int) -> int:
    """`seconds` after 1970, or the last one that can be stored as a time."""
    return min(seconds, LAST_SECOND)


@lru_cache(maxsize=4096)  # every event of a block asks for the same one
def from_seconds(seconds: int) -> datetime:
    """The time `seconds` after 1970, clamped to the year 9999."""
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), tz=UTC)


def to_seconds(moment: datetime) -> int:
    """Unix seconds of a datetime, rounded down."""
    return int(moment.timestamp())


def rfc3339(moment: datetime) -> str:
    """A time as REST writes it, in whole seconds, UTC: 2026-03-01T00:00:00Z."""
    return f"{moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"
