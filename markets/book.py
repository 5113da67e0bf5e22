"""The rows that one batch touches: loaded once, changed in plain Python, written once.

A projection gets the Book and one event. Between `begin` and `undo` each event is all or nothing: where its projection
fails, every row it changed is what it was before.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from markets.identity import row_id
from markets.pnl import Gone
from markets.rows import Channel, Market, Message
from markets.table import Row

T = TypeVar("T", bound=Row)
SHARES = -1  # in place of an outcome, where LP shares are meant


class ApplyError(Exception):
    """The event can't be applied: it contradicts what earlier events said."""


class LogPosition(msgspec.Struct, frozen=True, gc=False):
    """Where an event stands in the chain; `timestamp` is the block's, in Unix seconds."""

    block_number: int
    block_hash: str
    timestamp: int
    transaction_hash: str
    log_index: int
    address: str

    def emitted(self) -> dict[str, Any]:
        """The columns of `Emitted`."""
        return {
            "block_number": self.block_number,
            "block_hash": self.block_hash,
            "transaction_hash": self.transaction_hash,
            "log_index": self.log_index,
            "timestamp": self.timestamp,
        }


Key = tuple[str, str, int]  # holder, market and outcome; or holder, AMM and SHARES


class Released(NamedTuple):
    """Tokens or shares that a user gave to a pool or burnt. `at` and `sequence` name the transfer."""

    gone: Gone
    at: LogPosition
    sequence: int


class Arrival(NamedTuple):
    """Tokens that came from a pool or were minted, before the event that says why. `passed` is the last transfer of
    this token between users that the transaction had until then."""

    amount: int
    sender: str
    at: LogPosition
    sequence: int
    passed: "Passed | None"


class Passed(NamedTuple):
    """A transfer between users: `amount` of `held` tokens; `out` and `in_` are the ids of its history entries.
    `before` is the transfer before it: a transaction may have very many."""

    sender: str
    receiver: str
    amount: int
    held: int
    out: str
    in_: str
    before: "Passed | None"


@dataclass(slots=True)
class TransactionScratch:
    """What events of one transaction leave for later events of the same one."""

    arrivals: dict[Key, tuple[Arrival, ...]] = field(default_factory=dict)  # what no event has explained yet
    # (market, outcome) -> the last of what users passed on while something was not explained yet
    passed: dict[tuple[str, int], Passed] = field(default_factory=dict)
    funded: dict[str, str] = field(default_factory=dict)  # AMM -> id of its last add_liquidity entry
    # AMM -> its last change without a price point, and which of the log's two AMMs it is: 0 receives, 1 sends
    moved_amms: dict[str, tuple[LogPosition, int]] = field(default_factory=dict)
    # what left whom, and to whom -> what no history entry tells of yet
    released: dict[tuple[Key, str], Released] = field(default_factory=dict)

    def copied(self) -> "TransactionScratch":
        return TransactionScratch(
            self.arrivals.copy(), self.passed.copy(), self.funded.copy(), self.moved_amms.copy(), self.released.copy()
        )

    def arrive(self, key: Key, amount: int, sender: str, at: LogPosition, sequence: int) -> None:
        """Notes what came to a holding, until an event says what for."""
        arrival = Arrival(amount, sender, at, sequence, self.passed.get(key[1:]))
        self.arrivals[key] = (*self.arrivals.get(key, ()), arrival)

    def pass_on(
        self, token: tuple[str, int], sender: str, receiver: str, amount: int, held: int, out: str, in_: str
    ) -> None:
        """Notes a transfer between users; it matters only while something is not explained."""
        if self.arrivals:
            self.passed[token] = Passed(sender, receiver, amount, held, out, in_, self.passed.get(token))

    def explain(self, key: Key, amount: int) -> Arrival | None:
        """Takes out the last arrival of so many tokens: calls that are nested end from the inside."""
        waiting = self.arrivals.get(key, ())
        place = next((place for place in reversed(range(len(waiting))) if waiting[place].amount == amount), None)
        if place is None:
            return None
        left = waiting[:place] + waiting[place + 1 :]
        if left:
            self.arrivals[key] = left
        else:
            del self.arrivals[key]
        return waiting[place]

    def passed_since(self, token: tuple[str, int], arrival: Arrival) -> list[Passed]:
        """The transfers of a token behind an arrival, oldest first."""
        found, passed = [], self.passed.get(token)
        while passed is not None and passed is not arrival.passed:
            found.append(passed)
            passed = passed.before
        return found[::-1]

    def release(self, key: Key, gone: Gone, receiver: str, at: LogPosition, sequence: int = 0) -> None:
        """Notes what left a holding, until an event says what for."""
        before = self.released.get((key, receiver))
        if before is not None:
            gone = Gone(*(one + other for one, other in zip(gone, before.gone, strict=True)))
        self.released[key, receiver] = Released(gone, at, sequence)

    def take_released(self, key: Key, receiver: str, amount: int) -> Gone:
        """Takes out `amount` of what left a holding, with its share of the cost, rounded down; or what there is."""
        found = self.released.pop((key, receiver), None)
        if found is None:
            return Gone()
        gone = found.gone
        if gone.amount <= amount:
            return gone
        taken = Gone(amount, gone.cost * amount // gone.amount, gone.untracked * amount // gone.amount)
        left = Gone(*(whole - part for whole, part in zip(gone, taken, strict=True)))
        self.released[key, receiver] = found._replace(gone=left)
        return taken

    def released_amount(self, key: Key, receiver: str) -> int:
        found = self.released.get((key, receiver))
        return found.gone.amount if found else 0

    def __bool__(self) -> bool:
        return bool(self.arrivals or self.moved_amms or self.funded or self.released or self.passed)


class PositionIds(Protocol):
    """The position ids of a market's outcomes, as its deployment computes them."""

    def load(self, markets: Iterable[Any]) -> None:
        """Prepares for these MarketCreated events."""

    def __call__(self, collateral_token: str, condition_id: str, outcome_count: int) -> tuple[int, ...]: ...


class Book:
    """Rows by class and id. Ids follow from what a row is about (identity.py), so that each is found by its id."""

    def __init__(
        self,
        finality: Callable[[int], str],
        position_ids: PositionIds,
        *,
        amms: Collection[str],
        published_block: int = -1,
        kept_from: int = 0,
    ) -> None:
        """`finality` of a block number.

        `amms` are the addresses that can be an AMM at all. Messages of blocks up to `published_block` are out already
        and are not sent again; those of blocks below `kept_from` are older than any that is kept (outbox.py).
        """
        self.amms = amms
        self.position_ids = position_ids
        self._published_block = published_block
        self._kept_from = kept_from
        self._finality = finality
        self._rows: defaultdict[type[Row], dict[str, Row | None]] = defaultdict(dict)
        # Ids in the order in which events touched their rows, so that rows lie in the table as in the chain.
        self._written: defaultdict[type[Row], dict[str, None]] = defaultdict(dict)
        self._new: set[str] = set()  # of what is written, what the table does not have
        self._journal: list[tuple[type[Row], str, Row | None]] = []
        self._journaled: set[str] = set()
        self._markets_by_condition: dict[str, list[str]] = {}
        self._scratch_before: TransactionScratch | None = None
        self._message_count = 0
        self.messages: list[Message] = []
        self.scratch = TransactionScratch()
        # Keys under which the current event waits, and keys that it settles; the ledger acts on both.
        self.waits: set[str] = set()
        self.claims: list[str] = []
        # While a waiting event is applied again, only what was claimed may move.
        self.only: frozenset[str] | None = None

    # --- reading ---------------------------------------------------------------------------------------------------

    def load(self, kind: type[Row], ids: Iterable[str]) -> None:
        """Fetches the rows that are not here yet, in one query; remembers those that do not exist."""
        rows = self._rows[kind]
        missing = [row_id for row_id in set(ids) if row_id not in rows]
        if missing:
            rows.update(dict.fromkeys(missing) | kind.table.by_id(missing))

    def get(self, kind: type[T], row_id: str) -> T | None:
        """A row to read, or None. A row that was not prefetched costs a query."""
        try:
            return self._rows[kind][row_id]  # type: ignore[return-value]
        except KeyError:
            self.load(kind, [row_id])
            return self._rows[kind][row_id]  # type: ignore[return-value]

    def load_markets_of_conditions(self, condition_ids: Iterable[str]) -> None:
        """Fetches the markets of these conditions, in one query."""
        missing = [
            condition_id for condition_id in set(condition_ids) if condition_id not in self._markets_by_condition
        ]
        if not missing:
            return
        self._markets_by_condition |= {condition_id: [] for condition_id in missing}
        rows = self._rows[Market]
        for market in Market.table.load("condition_id = ANY(%s) ORDER BY block_number, log_index", missing):
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
        if condition_id not in self._markets_by_condition:
            self.load_markets_of_conditions([condition_id])
        found = (self.get(Market, market_id) for market_id in self._markets_by_condition[condition_id])
        return [market for market in found if market is not None]

    def rows_of(self, kind: type[T], column: str, value: str) -> list[T]:
        """Every row with this value in a column: the table's, as the Book has them, and new ones; in a fixed order."""
        rows = self._rows[kind]
        stored = kind.table.load(f"{column} = %s", value)
        for row in stored:
            rows.setdefault(row.id, row)
        # A row that is not written is as the table has it.
        ids = {row.id for row in stored} | self._written[kind].keys()
        found = [row for key in ids if (row := rows[key]) is not None and getattr(row, column) == value]
        return sorted(found, key=lambda row: row.id)  # type: ignore[arg-type]

    # --- changing --------------------------------------------------------------------------------------------------

    def change(self, row: T) -> T:
        """Call before changing `row`: notes what it was, and that it must be written."""
        key = row.id
        if key not in self._journaled:
            kind = type(row)
            self._journaled.add(key)
            self._journal.append((kind, key, row.__copy__()))  # type: ignore[attr-defined]  # what copy.copy calls
            self._written[kind][key] = None
        return row

    def add(self, row: T) -> T:
        """Takes a new row. Raises ApplyError where one with its id exists."""
        if self.get(type(row), row.id) is not None:
            raise ApplyError(f"{type(row).__name__} {row.id} exists already")
        return self.append(row)

    def append(self, row: T) -> T:
        """Takes a new row that is one log's alone: the log was not applied before, so nothing need be looked up."""
        kind, key = type(row), row.id
        rows = self._rows[kind]
        self._journaled.add(key)
        self._journal.append((kind, key, rows.get(key)))
        rows[key] = row
        self._written[kind][key] = None
        # An event that waited was applied before, as far as it went then: its row may be there.
        if self.only is None:
            self._new.add(key)
        return row

    def begin(self) -> None:
        """Starts an event: what it changes from here on can be undone."""
        if self._journal:
            self._journal.clear()
            self._journaled.clear()
        if self.waits or self.claims:
            self.waits, self.claims = set(), []
        self._message_count = len(self.messages)
        self._scratch_before = self.scratch.copied() if self.scratch else None

    def undo(self) -> None:
        """Everything is again as it was when the event began."""
        for kind, key, before in reversed(self._journal):
            if before is not None:
                self._rows[kind][key] = before
                continue
            # Nobody looked whether the table has it.
            self._rows[kind].pop(key, None)
            self._written[kind].pop(key, None)
            self._new.discard(key)
        del self.messages[self._message_count :]
        self.scratch = self._scratch_before or TransactionScratch()

    # --- feed ------------------------------------------------------------------------------------------------------

    def publishes(self, block_number: int) -> bool:
        """Whether messages of this block go out at all."""
        return block_number > self._published_block and block_number >= self._kept_from

    def publish(self, channel: str, message: Callable[[], dict[str, Any]], at: LogPosition) -> None:
        """Adds what an event did to a channel's feed, with the next `seq` of the channel."""
        if self.publishes(at.block_number):
            self._add_message(
                channel,
                message(),
                at.block_number,
                {"transactionHash": at.transaction_hash, "logIndex": at.log_index},
            )

    def publish_state(self, channel: str, message: dict[str, Any], block_number: int) -> None:
        """Adds what something is like at the end of a block, whichever events made it so."""
        self._add_message(channel, message, block_number, {})

    def _add_message(self, channel: str, message: dict[str, Any], block_number: int, place: dict[str, Any]) -> None:
        channel_id = row_id("channel", channel)
        row = self.get(Channel, channel_id) or self.add(Channel(id=channel_id, name=channel))
        self.change(row).seq += 1
        where = {"seq": row.seq, "blockNumber": block_number, **place, "finality": self._finality(block_number)}
        text = msgspec.json.encode(message | where).decode()
        self.messages.append(Message(channel=channel, seq=row.seq, payload=text, block_number=block_number))

    def changed(self, kind: type[T]) -> list[T]:
        """The rows of `kind` that `write` will write, as they are now."""
        rows = self._rows[kind]
        return [rows[key] for key in self._written[kind]]  # type: ignore[misc]

    def changed_ids(self, kind: type[Row]) -> Collection[str]:
        """The rows of `kind` that `write` will write."""
        return self._written[kind].keys()

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(self, order: Iterable[type[Row]]) -> None:
        """Writes every changed row, tables in `order` (referred ones first), then the messages, in the caller's
        transaction.
        """
        for kind in order:
            ids = self._written.pop(kind, {})
            rows = self._rows[kind]
            kind.table.insert([rows[key] for key in ids if key in self._new])  # type: ignore[misc]
            kind.table.upsert([rows[key] for key in ids if key not in self._new])  # type: ignore[misc]
            self._new.difference_update(ids)
        if any(self._written.values()):
            raise RuntimeError(f"tables missing from the write order: {[kind.__name__ for kind in self._written]}")
        if self.messages:
            Message.table.insert(self.messages)
        self.messages = []
