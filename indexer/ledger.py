"""Fetched batch -> database, in one transaction: events stored, applied, and the checkpoint moved."""

import logging
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from django.db import DatabaseError, transaction

from indexer.chain import Log
from indexer.decode import Contracts, DecodeError, decode, event_class_of
from indexer.events import ChainEvent, event_data
from indexer.fetch import Batch
from indexer.handlers import DEFINITIONS, WRITE_ORDER, apply_event
from indexer.models import IndexedBlock, IndexedEvent, WaitingEvent
from indexer.position_ids import stored_position_ids
from indexer.prefetch import prefetch
from markets.book import Book, LogPosition, TransactionScratch
from markets.chaintime import from_seconds
from markets.identity import row_id
from markets.models import Checkpoint
from markets.projections import transaction_ended

logger = logging.getLogger(__name__)
WRITE_SIZE = 1000  # rows a statement


class CheckpointMoved(Exception):
    """Another process has written since this one read the checkpoint: read it again."""


@dataclass(slots=True)
class Entry:
    """One event on its way in: its row, and its decoded form where it has one."""

    row: IndexedEvent
    at: LogPosition
    event: ChainEvent | None


def commit_batch(batch: Batch, *, after: Checkpoint) -> Checkpoint:
    """Stores and applies a batch that follows `after`, and returns the new checkpoint.

    Raises CheckpointMoved, with nothing written, where the stored checkpoint is no longer `after`.
    """
    with transaction.atomic():
        checkpoint = Checkpoint.objects.select_for_update().get()
        if (checkpoint.block_number, checkpoint.block_hash) != (after.block_number, after.block_hash):
            raise CheckpointMoved(f"the checkpoint is at block {checkpoint.block_number}, not {after.block_number}")
        if batch.first != checkpoint.block_number + 1:
            raise ValueError(f"block {batch.first} does not follow checkpoint {checkpoint.block_number}")
        entries = list(_read(batch))
        book = Book(checkpoint.finality, stored_position_ids)
        waits = _apply(book, entries, batch.contracts)
        _write(batch, entries, waits, book)
        checkpoint.block_number = batch.last.number
        checkpoint.block_hash = batch.last.hash
        checkpoint.block_timestamp = from_seconds(batch.last.timestamp)
        checkpoint.event_count += len(entries)
        checkpoint.save(update_fields=["block_number", "block_hash", "block_timestamp", "event_count"])
    return checkpoint


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(batch: Batch) -> Iterator[Entry]:
    """Decodes the batch's logs. One that does not fit its event is an entry without an event, and says why."""
    for log in batch.logs:
        event_class = event_class_of(log, batch.contracts)
        if event_class is None:
            continue
        at = _position(log, batch.headers[log.block_number].timestamp)
        row = _row(log, at, event_class.stored_name)
        event = None
        try:
            event = decode(log, event_class)
            row.event_data = event_data(event)
        except DecodeError as error:
            _failed(row, error)
        yield Entry(row=row, at=at, event=event)


def _position(log: Log, timestamp: int) -> LogPosition:
    return LogPosition(
        block_number=log.block_number,
        block_hash=log.block_hash,
        timestamp=timestamp,
        transaction_hash=log.transaction_hash,
        log_index=log.log_index,
        address=log.address,
    )


def _row(log: Log, at: LogPosition, name: str) -> IndexedEvent:
    return IndexedEvent(
        id=row_id("event", log.transaction_hash, log.log_index),
        block_number=log.block_number,
        block_hash=log.block_hash,
        block_timestamp=at.time,
        transaction_hash=log.transaction_hash,
        transaction_index=log.transaction_index,
        log_index=log.log_index,
        address=log.address,
        event_name=name,
        event_data={},
        topics=list(log.topics),
        data=log.data,
    )


def _stored_entry(row: IndexedEvent, contracts: Contracts) -> Entry:
    """A stored event, decoded again from the log that it was."""
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
    return Entry(row=row, at=_position(log, int(row.block_timestamp.timestamp())), event=decode(log, event_class))


# --- applying ---------------------------------------------------------------------------------------------------------


class Waits:
    """Events that wait for a market, by key: those of this batch, and those of earlier ones when they are claimed."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self._new: dict[str, list[Entry]] = {}
        self.claimed_before: list[IndexedEvent] = []

    def add(self, keys: Iterable[str], entry: Entry) -> None:
        for key in keys:
            self._new.setdefault(key, []).append(entry)

    def claim(self, keys: list[str]) -> list[Entry]:
        """The events that wait under these keys, in chain order, each once; they wait no more."""
        stored = WaitingEvent.objects.filter(key__in=keys)
        rows = list(IndexedEvent.objects.filter(waits__in=stored).distinct().order_by("block_number", "log_index"))
        stored.delete()
        self.claimed_before += rows
        entries = [_stored_entry(row, self._contracts) for row in rows]
        new = {entry.row.id: entry for key in keys for entry in self._new.pop(key, [])}
        return entries + sorted(new.values(), key=lambda entry: (entry.at.block_number, entry.at.log_index))

    def rows(self) -> list[WaitingEvent]:
        """What still waits of this batch."""
        return [
            WaitingEvent(id=row_id("waiting", key, entry.row.id), key=key, event=entry.row)
            for key, entries in self._new.items()
            for entry in entries
        ]


def _apply(book: Book, entries: list[Entry], contracts: Contracts) -> Waits:
    """Applies decoded entries block by block, in log order behind the block's definitions."""
    prefetch(book, [(entry.at, entry.event) for entry in entries if entry.event is not None])
    waits = Waits(contracts)
    for _, block in groupby(entries, key=lambda entry: entry.at.block_number):
        in_block = list(block)
        for definition in DEFINITIONS:
            for entry in in_block:
                if isinstance(entry.event, definition):
                    _apply_one(book, entry, waits)
        for _, in_transaction in groupby(in_block, key=lambda entry: entry.at.transaction_hash):
            for entry in in_transaction:
                if not isinstance(entry.event, DEFINITIONS):
                    _apply_one(book, entry, waits)
            transaction_ended(book)
    return waits


def _apply_one(book: Book, entry: Entry, waits: Waits) -> None:
    if entry.event is None:
        return
    try:
        apply_event(book, entry.at, entry.event)
    except DatabaseError:
        raise
    except Exception as error:
        _failed(entry.row, error)
        return
    entry.row.processed = True
    waits.add(book.waits, entry)
    if book.claims:
        _apply_claimed(book, waits.claim(book.claims), frozenset(book.claims), waits)


def _apply_claimed(book: Book, claimed: list[Entry], keys: frozenset[str], waits: Waits) -> None:
    """Applies what waited for a market that is there now, as if it had been there; only its own rows move."""
    scratch, book.scratch, book.only = book.scratch, TransactionScratch(), keys
    for _, in_transaction in groupby(claimed, key=lambda entry: entry.at.transaction_hash):
        for entry in in_transaction:
            _apply_one(book, entry, waits)
        transaction_ended(book)
    book.scratch, book.only = scratch, None


def _failed(row: IndexedEvent, error: Exception) -> None:
    """Keeps the event with what went wrong, for an operator; the others go on."""
    row.processed = False
    row.error = "".join(traceback.format_exception(error)).replace("\x00", "")
    logger.error(
        "event kept but not applied: %s in transaction %s, log %d: %s",
        row.event_name,
        row.transaction_hash,
        row.log_index,
        error,
    )


# --- writing ----------------------------------------------------------------------------------------------------------


def _write(batch: Batch, entries: list[Entry], waits: Waits, book: Book) -> None:
    blocks = [
        IndexedBlock(
            number=header.number,
            hash=header.hash,
            parent_hash=header.parent_hash,
            timestamp=from_seconds(header.timestamp),
        )
        for header in (batch.headers[number] for number in sorted({entry.at.block_number for entry in entries}))
    ]
    IndexedBlock.objects.bulk_create(blocks, batch_size=WRITE_SIZE)
    IndexedEvent.objects.bulk_create([entry.row for entry in entries], batch_size=WRITE_SIZE)
    IndexedEvent.objects.bulk_update(waits.claimed_before, ["processed", "error"], batch_size=WRITE_SIZE)
    WaitingEvent.objects.bulk_create(waits.rows(), batch_size=WRITE_SIZE)
    book.write(WRITE_ORDER)
