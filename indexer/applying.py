"""Entries -> rows in the Book, block by block; and the events that wait for a market that does not exist yet."""

from collections.abc import Iterable
from itertools import groupby

from django.db import DatabaseError

from indexer import undo
from indexer.decode import Contracts
from indexer.entries import Entry, read_stored
from indexer.handlers import DEFINITIONS, apply_event
from indexer.models import IndexedEvent, WaitingEvent
from indexer.prefetch import prefetch
from markets.book import Book, TransactionScratch
from markets.identity import row_id
from markets.projections import transaction_ended


class Waits:
    """Events that wait for a market, by key: those in hand, and stored ones when they are claimed."""

    def __init__(self, contracts: Contracts, *, undo_block: int | None) -> None:
        """`undo_block`: keep before-images of the stored rows that a claim changes, under this block."""
        self._contracts = contracts
        self._undo_block = undo_block
        self._new: dict[str, list[Entry]] = {}
        self.claimed: list[Entry] = []

    def add(self, keys: Iterable[str], entry: Entry) -> None:
        for key in keys:
            self._new.setdefault(key, []).append(entry)

    def claim(self, keys: list[str]) -> list[Entry]:
        """The events that wait under these keys, in chain order, each once; they wait no more."""
        waiting = WaitingEvent.objects.filter(key__in=keys)
        rows = list(IndexedEvent.objects.filter(waits__in=waiting).distinct().order_by("block_number", "log_index"))
        if rows and self._undo_block is not None:
            undo.capture(self._undo_block, WaitingEvent, waiting.values_list("id", flat=True))
            undo.capture(self._undo_block, IndexedEvent, [row.id for row in rows])
        waiting.delete()
        entries = list(read_stored(rows, self._contracts))
        self.claimed += entries
        new = {entry.row.id: entry for key in keys for entry in self._new.pop(key, [])}
        return entries + sorted(new.values(), key=lambda entry: (entry.at.block_number, entry.at.log_index))

    def rows(self) -> list[WaitingEvent]:
        """What still waits of the entries in hand."""
        return [
            WaitingEvent(id=row_id("waiting", key, entry.row.id), key=key, event=entry.row)
            for key, entries in self._new.items()
            for entry in entries
        ]


def apply_entries(book: Book, entries: list[Entry], waits: Waits) -> None:
    """Applies entries of whole blocks, in log order behind each block's definitions."""
    prefetch(book, [(entry.at, entry.event) for entry in entries if entry.event is not None])
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
    entry.succeed()
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
