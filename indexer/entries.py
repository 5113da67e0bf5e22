"""Logs and stored rows -> entries: an event's row, its place in the chain, and its decoded form."""

import logging
import traceback
from collections.abc import Iterable, Iterator

import msgspec

from indexer.chain import Log
from indexer.decode import Contracts, DecodeError, decode, event_class_of
from indexer.events import ChainEvent, event_json
from indexer.fetch import Batch
from indexer.rows import IndexedEvent, StoredLog
from markets.book import LogPosition
from markets.identity import event_row_id

logger = logging.getLogger(__name__)


class Entry(msgspec.Struct, gc=False):
    """One event on its way in. `event` is None where the log can't be read; the row then says why.

    `stored` is what the row said before, where it stands in the table already: processed, error.
    """

    row: StoredLog
    at: LogPosition
    event: ChainEvent | None = None
    stored: tuple[bool, str] | None = None

    @property
    def is_new(self) -> bool:
        return self.stored is None

    @property
    def has_changed(self) -> bool:
        """Whether the row in the table says something else of what came of the event."""
        return self.stored is not None and self.stored != (self.row.processed, self.row.error)

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
            extra={"transactionHash": self.row.transaction_hash, "logIndex": self.row.log_index},
        )

    def succeed(self) -> None:
        self.row.processed, self.row.error = True, ""


def read_batch(batch: Batch) -> Iterator[Entry]:
    """The entries of a fetched batch's logs that are ours, in its order."""
    contracts, headers = batch.contracts, batch.headers
    for log in batch.logs:
        event_class = event_class_of(log, contracts)
        if event_class is None:
            continue
        row = IndexedEvent(
            id=event_row_id("event", log.block_number, log.log_index, log.transaction_hash),
            block_number=log.block_number,
            block_hash=log.block_hash,
            block_timestamp=headers[log.block_number].timestamp,
            transaction_hash=log.transaction_hash,
            transaction_index=log.transaction_index,
            log_index=log.log_index,
            address=log.address,
            event_name=event_class.stored_name,
            topics=log.topics,
            data=log.data,
        )
        entry = _decoded(row, log, event_class)
        if entry.event is not None:
            row.event_data = event_json(entry.event)
        yield entry


def read_stored(rows: Iterable[StoredLog], contracts: Contracts) -> Iterator[Entry]:
    """The entries of stored rows, decoded again from the logs that they were. Raises ValueError for foreign rows."""
    for row in rows:
        log = Log(
            address=row.address,
            topics=tuple(row.topics),
            data=row.data,
            block_number=row.block_number,
            block_hash=row.block_hash,
            transaction_hash=row.transaction_hash,
            transaction_index=row.transaction_index,
            log_index=row.log_index,
        )
        event_class = event_class_of(log, contracts)
        if event_class is None:
            raise ValueError(f"event {row.id} is none of this deployment")
        stored = (row.processed, row.error)
        entry = _decoded(row, log, event_class)
        entry.stored = stored
        yield entry


def _decoded(row: StoredLog, log: Log, event_class: type[ChainEvent]) -> Entry:
    at = LogPosition(
        log.block_number, log.block_hash, row.block_timestamp, log.transaction_hash, log.log_index, log.address
    )
    entry = Entry(row, at)
    try:
        entry.event = decode(log, event_class)
    except DecodeError as error:
        entry.fail(error)
    return entry
