"""The writes: append a batch, replace a branch, rebuild from stored events. Each is one transaction, under one lock."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from django.db import models, transaction

from aurum.database import pipelined
from indexer import undo
from indexer.applying import Waits, apply_entries
from indexer.breaches import Found, Sums, ask_for_repairs, mark_breaches, mark_unbalanced, touched
from indexer.chain import Header
from indexer.counters import BatchRecord
from indexer.decode import Contracts
from indexer.entries import Entry, read_batch, read_stored
from indexer.events import event_data
from indexer.fetch import Batch
from indexer.handlers import WRITE_ORDER
from indexer.models import IndexedEvent, RecentBlock, Reorganisation, UndoImage, WaitingEvent
from indexer.position_ids import StoredPositionIds
from indexer.reorg import BelowFinality
from indexer.rows import IndexedBlock as BlockRow
from indexer.rows import IndexedEvent as EventRow
from indexer.rows import RecentBlock as RecentRow
from indexer.rows import StoredLog
from indexer.rows import WaitingEvent as WaitingRow
from markets import outbox
from markets.book import Book, LogPosition
from markets.chaintime import from_seconds
from markets.correcting import announce_corrections, untold
from markets.invariants import unbalanced
from markets.models import Channel, Checkpoint, IndexedBlock, Market, Position, RankedUser, Ranking, Revision
from markets.reverting import announce_reverted, reverted_by
from oracle.models import Question
from oracle.reverting import announce_questions, questions_touched

logger = logging.getLogger(__name__)
READ_SIZE = 1000  # stored events that are fetched at once
FEW_EVENTS = 100  # up to which the round trips of a write cost more than doing without COPY: most blocks at the head
REPLAY_SIZE = 5000  # events in memory at once, give or take a block
# How far below finality a block's messages are still sent: six hours of blocks on Base. What an indexer that was away
# for longer has to tell is no news, and its subscribers start anew from a snapshot.
NEWS_BLOCKS = 10_800

# What follows from events alone. A channel's seq is not: it says what subscribers have been told.
PROJECTIONS = tuple(kind.table.model for kind in WRITE_ORDER if kind.table.model is not Channel)
UNDOABLE: tuple[type[models.Model], ...] = (*PROJECTIONS, WaitingEvent, IndexedEvent)


class CheckpointMoved(Exception):
    """Another process has written since this one read the checkpoint: read it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Writes for a deployment. `may_write` is called in each transaction, and raises where this process must not.

    `record` is told what came of the events, and where the time goes; `sums` knows which were compared when.
    """

    contracts: Contracts
    may_write: Callable[[], None]
    record: BatchRecord = field(default_factory=BatchRecord)
    sums: Sums = field(default_factory=Sums)

    def append(self, batch: Batch, *, after: Checkpoint) -> Checkpoint:
        """Stores and applies a batch that follows `after`, and returns the new checkpoint.

        Raises CheckpointMoved, with nothing written, where the stored checkpoint is no longer `after`.
        """
        with transaction.atomic():
            checkpoint = self._locked(after)
            self.sums.moved(_extend(checkpoint, batch, self.record))
        self._compare_sums(checkpoint)
        self.record.lap("write")
        return checkpoint

    def replace_branch(self, batch: Batch, *, fork: Header, after: Checkpoint) -> Checkpoint:
        """Undoes what stands above `fork` and applies the branch that replaces it: readers never see neither.

        Raises BelowFinality where the way back is not kept, CheckpointMoved as `append`.
        """
        with transaction.atomic():
            checkpoint = self._locked(after)
            Reorganisation.note(depth=checkpoint.block_number - fork.number, fork_block=fork.number)
            rewind(checkpoint, fork)
            self.sums.moved(_extend(checkpoint, batch, self.record))
        self._compare_sums(checkpoint)
        self.record.lap("write")
        return checkpoint

    def replay(self) -> int:
        """Builds every projection anew from the stored events, and returns how many there are. Sends no messages."""
        with transaction.atomic():
            checkpoint = self._locked(None)
            contracts = self.contracts.with_amms(known_amms())
            _forget_projections()
            for entries in _stored_blocks(contracts):
                _apply_and_write(checkpoint, entries, contracts, self.record)
        return checkpoint.event_count

    def tell_of_corrections(self) -> None:
        """Tells subscribers of the markets of which a correction came into force or ended since they were last told."""
        if not untold():
            return
        with transaction.atomic():
            checkpoint = self._locked(None)
            book = Book(checkpoint.finality, StoredPositionIds(), amms=())
            announce_corrections(book, checkpoint)
            book.write(WRITE_ORDER)
            outbox.wake()

    def reset(self, to_block: int | None) -> None:
        """Forgets what was indexed above `to_block` (all, when None); the next run reads it again."""
        with transaction.atomic():
            checkpoint = self._locked(None)
            kept = checkpoint.start_block - 1 if to_block is None else min(to_block, checkpoint.block_number)
            if kept < checkpoint.start_block - 1:
                raise ValueError(f"indexing starts at block {checkpoint.start_block}")
            _forget_projections()
            _forget_events(checkpoint, above=kept)
            if kept != checkpoint.block_number:
                block = IndexedBlock.objects.filter(number=kept).first()
                _move(checkpoint, kept, block.hash if block else "", block.timestamp if block else None)
            contracts = self.contracts.with_amms(known_amms())
            for entries in _stored_blocks(contracts):
                _apply_and_write(checkpoint, entries, contracts, self.record)

    def _compare_sums(self, checkpoint: Checkpoint) -> None:
        """Behind the commit, which nobody should wait for because a market has many holders."""
        due = self.sums.due()
        if due and unbalanced(due):
            with transaction.atomic():
                mark_unbalanced(self._locked(checkpoint), due)
        self.sums.compared(due)

    def _locked(self, after: Checkpoint | None) -> Checkpoint:
        checkpoint = Checkpoint.objects.select_for_update().get()
        self.may_write()
        if after is not None and _place(checkpoint) != _place(after):
            raise CheckpointMoved(f"the checkpoint is at block {checkpoint.block_number}, not {after.block_number}")
        return checkpoint


# --- forwards ---------------------------------------------------------------------------------------------------------


def _extend(checkpoint: Checkpoint, batch: Batch, record: BatchRecord) -> set[str]:
    """Applies a batch right behind the checkpoint, and moves it. Returns the markets whose sums are to be compared."""
    if batch.first != checkpoint.block_number + 1:
        raise ValueError(f"block {batch.first} does not follow checkpoint {checkpoint.block_number}")
    record.lap("write")  # the transaction's begin, the lock, and what a new branch takes back
    entries = list(read_batch(batch))
    if any(checkpoint.published_block < entry.at.block_number < _news_from(checkpoint) for entry in entries):
        outbox.break_off()
    record.lap("decode")
    final = [entry for entry in entries if entry.at.block_number <= checkpoint.finalized_block]
    found = _apply_and_write(checkpoint, final, batch.contracts, record)
    # The sums of final blocks are not compared: catching up may cost what a batch is, not what the markets are.
    found.touched.clear()
    # Block by block where a block may be replaced: its images must be of the moment before it.
    for _, block in groupby(entries[len(final) :], key=lambda entry: entry.at.block_number):
        found |= _apply_and_write(checkpoint, list(block), batch.contracts, record)
    ask_for_repairs(found.breaches, block_number=batch.last.number)
    _store_headers(batch, {entry.at.block_number for entry in entries}, checkpoint.finalized_block)
    checkpoint.event_count += len(entries)
    checkpoint.published_block = max(checkpoint.published_block, batch.last.number)
    _move(checkpoint, batch.last.number, batch.last.hash, from_seconds(batch.last.timestamp))
    return found.touched


def _store_headers(batch: Batch, with_events: set[int], finalized_block: int) -> None:
    """Those of blocks with events for good; of all that may be replaced until they are final, as what undoes them."""
    recent = [batch.headers[number] for number in sorted(batch.headers) if number > finalized_block]
    with pipelined() if max(len(recent), len(with_events)) <= FEW_EVENTS else nullcontext():
        BlockRow.table.insert([block_row(batch.headers[number]) for number in sorted(with_events)])
        RecentRow.table.insert([RecentRow(number=header.number, hash=header.hash) for header in recent])
        RecentBlock.objects.filter(number__lte=finalized_block).delete()
        undo.forget_final(finalized_block)


def _apply_and_write(checkpoint: Checkpoint, entries: list[Entry], contracts: Contracts, record: BatchRecord) -> Found:
    """Applies entries of whole blocks and writes what they change; of blocks that may be replaced, with images."""
    if not entries:
        return Found()
    block_number = entries[-1].at.block_number
    undo_block = block_number if block_number > checkpoint.finalized_block else None
    book = Book(
        checkpoint.finality,
        StoredPositionIds(),
        amms=contracts.amms,
        published_block=checkpoint.published_block,
        kept_from=_news_from(checkpoint),
    )
    waits = Waits(contracts, undo_block=undo_block)
    found = Found()
    for block in apply_entries(book, entries, waits):
        found.breaches += mark_breaches(book, block, waits, entries, contracts)
    found.touched = touched(book)
    record.events += len(entries)
    record.failed += sum(not entry.row.processed for entry in entries)
    record.lap("apply")
    with pipelined() if len(entries) <= FEW_EVENTS else nullcontext():
        _write(book, entries, waits, undo_block)
    record.lap("write")
    return found


def _write(book: Book, entries: list[Entry], waits: Waits, undo_block: int | None) -> None:
    if undo_block is not None:
        kinds = [kind for kind in WRITE_ORDER if kind.table.model in PROJECTIONS]
        undo.capture(undo_block, {kind.table.model: book.changed_ids(kind) for kind in kinds})
    EventRow.table.insert([entry.row for entry in entries if entry.is_new])
    for entry in (*entries, *waits.claimed.values()):
        if entry.has_changed:
            _note_outcome(entry)
    WaitingRow.table.insert(waits.rows())
    book.write(WRITE_ORDER)


def _news_from(checkpoint: Checkpoint) -> int:
    """The first block whose messages are sent."""
    return checkpoint.finalized_block - NEWS_BLOCKS


def _note_outcome(entry: Entry) -> None:
    """Says on the stored row what came of the event this time, which is not what came of it before."""
    reading = {} if entry.event is None else {"event_data": event_data(entry.event)}
    IndexedEvent.objects.filter(id=entry.row.id).update(processed=entry.row.processed, error=entry.row.error, **reading)


def _stored_blocks(contracts: Contracts) -> Iterator[list[Entry]]:
    """Stored events in chain order, in portions of whole blocks: large ones, and single blocks that may be replaced."""
    finalized = Checkpoint.objects.values_list("finalized_block", flat=True).get()
    stored = StoredLog.table.stream("true ORDER BY block_number, log_index", size=READ_SIZE)
    portion: list[Entry] = []
    for number, rows in groupby(stored, key=lambda row: row.block_number):
        if portion and (len(portion) >= REPLAY_SIZE or number > finalized):
            yield portion
            portion = []
        portion += read_stored(rows, contracts)
    yield portion


# --- backwards --------------------------------------------------------------------------------------------------------


def rewind(checkpoint: Checkpoint, fork: Header) -> None:
    """Undoes every block above `fork`, and tells subscribers what is no longer true.

    Raises BelowFinality where images of those blocks are not kept.
    """
    if fork.number < checkpoint.finalized_block:
        raise BelowFinality(f"block {fork.number} is below {checkpoint.finalized_block}, which is final")
    told = checkpoint.published_block
    reverted = reverted_by(fork.number, undo.touched(fork.number, Market), undo.touched(fork.number, Position))
    questions = questions_touched(undo.touched(fork.number, Question))
    undo.restore(fork.number, UNDOABLE)
    _forget_events(checkpoint, above=fork.number)
    book = Book(checkpoint.finality, StoredPositionIds(), amms=())
    at = LogPosition(fork.number, fork.hash, fork.timestamp, "", 0, "")
    announce_reverted(book, reverted, at, published_block=told)
    if fork.number < told:
        announce_questions(book, questions, at)
    book.write(WRITE_ORDER)
    checkpoint.published_block = min(told, fork.number)
    _move(checkpoint, fork.number, fork.hash, from_seconds(fork.timestamp))


def _forget_events(checkpoint: Checkpoint, *, above: int) -> None:
    orphaned = IndexedEvent.objects.filter(block_number__gt=above)
    WaitingEvent.objects.filter(event__in=orphaned).delete()
    count, _ = orphaned.delete()
    IndexedBlock.objects.filter(number__gt=above).delete()
    RecentBlock.objects.filter(number__gt=above).delete()
    checkpoint.event_count -= count


def _forget_projections() -> None:
    """Empties every table that follows from events. Not by TRUNCATE: readers keep what they see until the commit.

    What is built in their place may differ at the same block, so that answers get another version.
    """
    Revision.move()
    emptied: tuple[type[models.Model], ...] = (WaitingEvent, UndoImage, Ranking, RankedUser, *reversed(PROJECTIONS))
    for model in emptied:
        rows = model._default_manager.all()
        rows._raw_delete(rows.db)  # one statement; delete() would collect what refers to it


def known_amms(*, before: int | None = None) -> frozenset[str]:
    """The AMMs that stored events announce, in blocks below `before`: those whose logs are read from there on.

    Also those whose announcement could not be applied, so that their logs count in whatever batch they come.
    """
    announcements = IndexedEvent.objects.filter(event_name="AMMDeployed")
    if before is not None:
        announcements = announcements.filter(block_number__lt=before)
    return frozenset(announcements.values_list("event_data__amm", flat=True)) - {None}


# --- shared -----------------------------------------------------------------------------------------------------------


def _move(checkpoint: Checkpoint, number: int, block_hash: str, timestamp: datetime | None) -> None:
    checkpoint.block_number, checkpoint.block_hash, checkpoint.block_timestamp = number, block_hash, timestamp
    checkpoint.save(update_fields=["block_number", "block_hash", "block_timestamp", "event_count", "published_block"])
    outbox.wake()


def _place(checkpoint: Checkpoint) -> tuple[int, str]:
    return checkpoint.block_number, checkpoint.block_hash


def block_row(header: Header) -> BlockRow:
    return BlockRow(number=header.number, hash=header.hash, parent_hash=header.parent_hash, timestamp=header.timestamp)


def known_blocks(checkpoint: Checkpoint) -> dict[int, str]:
    """Hashes by height of what may tell where a branch parts: the blocks above finality, the highest one below it that
    has events, and the checkpoint."""
    floor = checkpoint.finalized_block
    below: Iterable[IndexedBlock] = IndexedBlock.objects.filter(number__lte=floor).order_by("-number")[:1]
    known = {block.number: block.hash for block in (*below, *IndexedBlock.objects.filter(number__gt=floor))}
    known |= {block.number: block.hash for block in RecentBlock.objects.filter(number__gt=floor)}
    if checkpoint.block_hash:
        known[checkpoint.block_number] = checkpoint.block_hash
    return known
