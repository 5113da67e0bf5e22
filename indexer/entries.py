"""Logs and stored rows -> entries: an event's row, its place in the chain, and its decoded form."""

import logging
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from indexer.chain import Log
from indexer.decode import Contracts, DecodeError, decode, event_class_of
from indexer.events import ChainEvent, event_data
from indexer.fetch import Batch
from indexer.models import IndexedEvent
from markets.book import LogPosition
from markets.chaintime import from_seconds, to_seconds
from markets.identity import row_id

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """One event on its way in. `event` is None where the log can't be read; the row then says why."""

    row: IndexedEvent
    at: LogPosition
    event: ChainEvent | None = None
    stored: tuple[bool, str, Any] | None = None

    @property
    def outcome(self) -> tuple[bool, str, Any]:
        """What decoding and applying leave on the row."""
        return self.row.processed, self.row.error, self.row.event_data

    def fail(self, error: Exception) -> None:
        """Keeps the event with what went wrong, for an operator; the others go on."""
        self.row.processed = False
        self.row.error = "".join(traceback.format_exception(error)).replace("\x00", "")
        logger.error(
            "event kept but not applied: %s in transaction %s, log %d: %s",
            self.row.event_name,
            self.row.transaction_hash,
            self.row.log_index,
            error,
        )

    def succeed(self) -> None:
        self.row.processed, self.row.error = True, ""


def read_batch(batch: Batch) -> Iterator[Entry]:
    """The entries of a fetched batch's logs that are ours, in its order."""
    for log in batch.logs:
        event_class = event_class_of(log, batch.contracts)
        if event_class is None:
            continue
        row = IndexedEvent(
            id=row_id("event", log.transaction_hash, log.log_index),
            block_number=log.block_number,
            block_hash=log.block_hash,
            block_timestamp=from_seconds(batch.headers[log.block_number].timestamp),
            transaction_hash=log.transaction_hash,
            transaction_index=log.transaction_index,
            log_index=log.log_index,
            address=log.address,
            event_name=event_class.stored_name,
            event_data={},
            topics=list(log.topics),
            data=log.data,
        )
        yield _decoded(row, log, event_class)


def read_stored(rows: Iterable[IndexedEvent], contracts: Contracts) -> Iterator[Entry]:
    """The entries of stored rows, decoded again from the logs that they were. Raises ValueError for foreign rows."""
    for row in rows:
        log = Log(
            address=row.address,
            topics=tuple(row.topics),
            data=bytes(row.data),
            block_number=row.block_number,
            block_hash=row.block_hash,
            transaction_hash=row.transaction_hash,
            transaction_index=row.transaction_index,
            log_index=row.log_index,
        )
        event_class = event_class_of(log, contracts)
        if event_class is None:
            raise ValueError(f"{row} is no event of this deployment")
        stored = (row.processed, row.error, row.event_data)
        entry = _decoded(row, log, event_class)
        entry.stored = stored
        yield entry


def _decoded(row: IndexedEvent, log: Log, event_class: type[ChainEvent]) -> Entry:
    at = LogPosition(
        block_number=log.block_number,
        block_hash=log.block_hash,
        timestamp=to_seconds(row.block_timestamp),
        transaction_hash=log.transaction_hash,
        log_index=log.log_index,
        address=log.address,
    )
    entry = Entry(row, at)
    try:
        entry.event = decode(log, event_class)
        row.event_data = event_data(entry.event)
    except DecodeError as error:
        entry.fail(error)
    return entry
