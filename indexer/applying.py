"""Entries -> rows in the Book, block by block; and the events that wait for a market that does not exist yet."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from django.db import DatabaseError

from indexer import undo
from indexer.decode import Contracts
from indexer.entries import Entry, read_stored
from indexer.events import ChainEvent
from indexer.handlers import DEFINITIONS, apply_event
from indexer.models import IndexedEvent, WaitingEvent
from indexer.prefetch import prefetch
from indexer.rows import StoredLog
from indexer.rows import WaitingEvent as WaitingRow
from markets.book import Book, TransactionScratch
from markets.identity import row_id
from markets.projections import batch_ended, transaction_ended


class Waits:
    """Events that wait for a market, by key: those in hand, and stored ones when they are claimed."""

    def __init__(self, contracts: Contracts, *, undo_block: int | None) -> None:
        """`undo_block`: keep before-images of the stored rows that a claim changes, under this block."""
        self._contracts = contracts
        self._undo_block = undo_block
        self._new: dict[str, list[Entry]] = {}
        self._some_are_stored: bool | None = None  # not known yet: most blocks claim nothing
        self.claimed: dict[str, Entry] = {}
        self.in_block: list[Entry] = []  # what the current block has claimed

    def add(self, keys: Iterable[str], entry: Entry) -> None:
        for key in keys:
            self._new.setdefault(key, []).append(entry)

    def claim(self, keys: list[str]) -> list[Entry]:
        """The events that wait under these keys, in chain order, each once; they wait no more."""
        waiting = WaitingEvent.objects.filter(key__in=keys)
        if self._some_are_stored is None:
            self._some_are_stored = WaitingEvent.objects.exists()
        ids = list(waiting.values_list("id", "event_id")) if self._some_are_stored else []
        if ids:
            events = sorted({str(event) for _, event in ids})
            if self._undo_block is not None:
                undo.capture(self._undo_block, {WaitingEvent: [str(row_id) for row_id, _ in ids], IndexedEvent: events})
            waiting.delete()
            # An event may wait for several markets: it is one entry, which says what came of it in all.
            missing = [event for event in events if event not in self.claimed]
            for entry in read_stored(StoredLog.table.load("id = ANY(%s::uuid[])", missing), self._contracts):
                self.claimed[entry.row.id] = entry
            found = {event: self.claimed[event] for event in events}
        else:
            found = {}
        found |= {entry.row.id: entry for key in keys for entry in self._new.pop(key, [])}
        entries = sorted(found.values(), key=lambda entry: (entry.at.block_number, entry.at.log_index))
        self.in_block += entries
        return entries

    def rows(self) -> list[WaitingRow]:
        """What still waits of the entries in hand."""
        return [
            WaitingRow(id=row_id("waiting", key, entry.row.id), key=key, event_id=entry.row.id)
            for key, entries in self._new.items()
            for entry in entries
        ]


def apply_entries(book: Book, entries: list[Entry], waits: Waits) -> Iterator[list[Entry]]:
    """Applies entries of whole blocks, in log order behind each block's definitions; yields each block that it has."""
    prefetch(book, entries)
    for _, block in groupby(entries, key=lambda entry: entry.at.block_number):
        in_block, waits.in_block = list(block), []
        defining = [entry for entry in in_block if isinstance(entry.event, DEFINITIONS)]
        for definition in DEFINITIONS if defining else ():
            for entry in defining:
                if isinstance(entry.event, definition):
                    _apply_one(book, entry, waits)
        _apply_transactions(book, in_block, waits, applied=DEFINITIONS if defining else ())
        yield in_block
    if entries:
        batch_ended(book, entries[-1].at)


def _apply_transactions(
    book: Book, entries: list[Entry], waits: Waits, *, applied: tuple[type[ChainEvent], ...] = ()
) -> None:
    """Applies entries transaction by transaction, all but those of the classes `applied`."""
    for transaction_hash, in_transaction in groupby(entries, key=lambda entry: entry.at.transaction_hash):
        for entry in in_transaction:
            if not applied or not isinstance(entry.event, applied):
                _apply_one(book, entry, waits)
        transaction_ended(book, transaction_hash)


def _apply_one(book: Book, entry: Entry, waits: Waits) -> None:
    if entry.event is None:
        return
    try:
        apply_event(book, entry.at, entry.event)
    except DatabaseError:
        raise
    except Exception as error:
        entry.fail(error)
        return
    if book.only is None:
        entry.succeed()  # what a market claims later can fail still, and then it has
    if book.waits:
        waits.add(book.waits, entry)
    if book.claims:
        _apply_claimed(book, waits.claim(book.claims), frozenset(book.claims), waits)


def _apply_claimed(book: Book, claimed: list[Entry], keys: frozenset[str], waits: Waits) -> None:
    """Applies what waited for a market that is there now, as if it had been there; only its own rows move."""
    scratch, book.scratch, book.only = book.scratch, TransactionScratch(), keys
    _apply_transactions(book, claimed, waits)
    book.scratch, book.only = scratch, None
