"""The rows that one batch touches: loaded once, changed in plain Python, written once.

A projection gets the Book and one event. `event()` makes each event all or nothing: where its projection fails, every
row it changed is what it was before.
"""

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, models

from markets.chaintime import from_seconds
from markets.copying import insert, upsert
from markets.identity import row_id
from markets.models import Channel, Market, OutboxMessage

Row = TypeVar("Row", bound=models.Model)


class ApplyError(Exception):
    """The event can't be applied: it contradicts what earlier events said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """Where an event stands in the chain; `timestamp` is the block's, in Unix seconds."""

    block_number: int
    block_hash: str
    timestamp: int
    transaction_hash: str
    log_index: int
    address: str

    @property
    def time(self) -> datetime:
        return from_seconds(self.timestamp)

    def emitted(self) -> dict[str, Any]:
        """The columns of `Emitted`."""
        return {
            "block_number": self.block_number,
            "block_hash": self.block_hash,
            "transaction_hash": self.transaction_hash,
            "log_index": self.log_index,
            "timestamp": self.time,
        }


@dataclass(slots=True)
class TransactionScratch:
    """What events of one transaction leave for later events of the same one."""

    # holder -> (market, outcome) -> tokens minted, or burnt where negative, that no event has explained yet
    unexplained: dict[str, dict[tuple[str, int], int]] = field(default_factory=dict)
    funded: dict[str, UUID] = field(default_factory=dict)  # AMM -> its last add_liquidity entry
    moved_amms: dict[str, LogPosition] = field(default_factory=dict)  # AMM -> last change without a price point

    def copied(self) -> "TransactionScratch":
        unexplained = {holder: dict(moved) for holder, moved in self.unexplained.items()}
        return TransactionScratch(unexplained, dict(self.funded), dict(self.moved_amms))


class Book:
    """Rows by model and id. Ids follow from what a row is about (identity.py), so that each is found by its id."""

    def __init__(
        self,
        finality: Callable[[int], str],
        position_ids: Callable[[str, str, int], tuple[int, ...]],
        *,
        published_block: int = -1,
    ) -> None:
        """`finality` of a block number; `position_ids` of (collateral token, condition id, number of outcomes).

        Messages of blocks up to `published_block` are out already and are not sent again.
        """
        self._published_block = published_block
        self._finality = finality
        self.position_ids = position_ids
        self._rows: dict[type[models.Model], dict[UUID, models.Model | None]] = {}
        self._written: dict[type[models.Model], set[UUID]] = {}
        self._journal: list[tuple[type[models.Model], UUID, dict[str, Any] | None]] = []
        self._journaled: set[UUID] = set()
        self._markets_by_condition: dict[str, list[UUID]] = {}
        self.messages: list[OutboxMessage] = []
        self.scratch = TransactionScratch()
        # Keys under which the current event waits, and keys that it settles; the ledger acts on both.
        self.waits: set[str] = set()
        self.claims: list[str] = []
        # While a waiting event is applied again, only what was claimed may move.
        self.only: frozenset[str] | None = None

    # --- reading ---------------------------------------------------------------------------------------------------

    def load(self, model: type[Row], ids: Iterable[UUID]) -> None:
        """Fetches the rows that are not here yet, in one query; remembers those that do not exist."""
        rows = self._rows.setdefault(model, {})
        missing = [row_id for row_id in set(ids) if row_id not in rows]
        if missing:
            found = model._default_manager.in_bulk(missing)
            rows.update({row_id: found.get(row_id) for row_id in missing})

    def get(self, model: type[Row], row_id: UUID) -> Row | None:
        """A row to read, or None. A row that was not prefetched costs a query."""
        rows = self._rows.setdefault(model, {})
        if row_id not in rows:
            self.load(model, [row_id])
        return rows[row_id]  # type: ignore[return-value]

    def load_markets_of_conditions(self, condition_ids: Iterable[str]) -> None:
        """Fetches the markets of these conditions, in one query."""
        missing = [
            condition_id for condition_id in set(condition_ids) if condition_id not in self._markets_by_condition
        ]
        if not missing:
            return
        self._markets_by_condition |= {condition_id: [] for condition_id in missing}
        rows = self._rows.setdefault(Market, {})
        for market in Market.objects.filter(condition_id__in=missing):
            rows.setdefault(market.id, market)
            self.index_market(market)

    def index_market(self, market: Market) -> None:
        """Lets `markets_of_condition` find a market; one that is undone is not found."""
        self.load_markets_of_conditions([market.condition_id])
        known = self._markets_by_condition[market.condition_id]
        if market.id not in known:
            known.append(market.id)

    def markets_of_condition(self, condition_id: str) -> list[Market]:
        """Every market that uses a condition: one for each collateral."""
        self.load_markets_of_conditions([condition_id])
        found = (self.get(Market, market_id) for market_id in self._markets_by_condition[condition_id])
        return [market for market in found if market is not None]

    # --- changing --------------------------------------------------------------------------------------------------

    def change(self, row: Row) -> Row:
        """Call before changing `row`: notes what it was, and that it must be written."""
        model = type(row)
        if row.pk not in self._journaled:
            self._journaled.add(row.pk)
            self._journal.append((model, row.pk, copy.copy(row.__dict__)))
        self._written.setdefault(model, set()).add(row.pk)
        return row

    def add(self, row: Row) -> Row:
        """Takes a new row. Raises ApplyError where one with its id exists."""
        if self.get(type(row), row.pk) is not None:
            raise ApplyError(f"{type(row).__name__} {row.pk} exists already")
        return self.append(row)

    def append(self, row: Row) -> Row:
        """Takes a new row that is one log's alone: the log was not applied before, so nothing need be looked up."""
        model = type(row)
        self._rows.setdefault(model, {})[row.pk] = row
        self._journaled.add(row.pk)
        self._journal.append((model, row.pk, None))
        self._written.setdefault(model, set()).add(row.pk)
        return row

    @contextmanager
    def event(self) -> Iterator[None]:
        """One event: on an exception, all that it changed here is undone, and the exception goes on."""
        self._journal, self._journaled = [], set()
        self.waits, self.claims = set(), []
        message_count = len(self.messages)
        scratch = self.scratch.copied()
        try:
            yield
        except Exception:
            for model, pk, before in reversed(self._journal):
                if before is None:
                    self._rows[model][pk] = None
                    self._written[model].discard(pk)
                else:
                    row = self._rows[model][pk]
                    row.__dict__.clear()
                    row.__dict__.update(before)
            del self.messages[message_count:]
            self.scratch = scratch
            raise

    # --- feed ------------------------------------------------------------------------------------------------------

    def publish(self, channel: str, message: dict[str, Any], at: LogPosition) -> None:
        """Adds a message to a channel's feed, with the next `seq` of the channel."""
        if at.block_number <= self._published_block:
            return
        row = self.get(Channel, row_id("channel", channel))
        if row is None:
            row = self.add(Channel(id=row_id("channel", channel), name=channel))
        self.change(row).seq += 1
        payload = message | {
            "seq": row.seq,
            "blockNumber": at.block_number,
            "transactionHash": at.transaction_hash,
            "logIndex": at.log_index,
            "finality": self._finality(at.block_number),
        }
        self.messages.append(
            OutboxMessage(
                channel=channel,
                seq=row.seq,
                payload=json.dumps(payload, separators=(",", ":"), ensure_ascii=False),
                block_number=at.block_number,
            )
        )

    def changed_ids(self, model: type[models.Model]) -> set[UUID]:
        """The rows of `model` that `write` will write."""
        return self._written.get(model, set())

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(self, order: Iterable[type[models.Model]]) -> None:
        """Writes every changed row, tables in `order` (referred ones first), then the messages.

        Runs in the caller's transaction, and tells listeners on `outbox` at its commit.
        """
        for model in order:
            ids = self._written.pop(model, set())
            upsert(model, [self._rows[model][pk] for pk in sorted(ids)])  # type: ignore[misc]
        if any(self._written.values()):
            raise RuntimeError(f"tables missing from the write order: {[model.__name__ for model in self._written]}")
        if self.messages:
            insert(OutboxMessage, self.messages)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify('outbox', '')")
        self.messages = []
