"""Events against each other, while they are applied: marks markets whose events do not fit, and has them repaired."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from time import monotonic

from indexer import events, undo
from indexer.applying import Waits
from indexer.decode import Contracts
from indexer.entries import Entry, read_stored
from indexer.models import RepairRequest
from indexer.position_ids import StoredPositionIds
from indexer.prefetch import moves
from indexer.rows import StoredLog
from markets.book import Book, LogPosition
from markets.ctf import position_id, single_outcome
from markets.identity import row_id
from markets.invariants import (
    COMPLETE_SETS,
    ZERO_ADDRESS,
    Breach,
    Moves,
    Redemption,
    Transaction,
    contradictions,
    outcome,
    unbalanced,
)
from markets.models import Checkpoint
from markets.projections.lookups import amm_at
from markets.rows import Amm, Market, OutcomeToken, Position

logger = logging.getLogger(__name__)

NO_PARENT = "0x" + "00" * 32
PAUSE = 60.0  # seconds between two looks at the sums of one market


@dataclass(slots=True)
class Found:
    """What a batch leaves to do: markets that its rows touched, and those that it made suspect."""

    touched: set[str] = field(default_factory=set)
    breaches: list[Breach] = field(default_factory=list)

    def __ior__(self, other: "Found") -> "Found":
        self.touched |= other.touched
        self.breaches += other.breaches
        return self


def mark_breaches(
    book: Book, block: list[Entry], waits: Waits, entries: list[Entry], contracts: Contracts
) -> list[Breach]:
    """Checks the transactions of the block that was just applied, and those of which it claimed events, and marks their
    markets in the book. `entries` is all that is in hand.

    A mark follows from the events alone, block by block: it is undone and rebuilt like every column beside it.
    """
    found = []
    for transaction in (*_claimed_transactions(waits, entries, contracts), *_transactions(block)):
        for breach in _breaches(book, transaction):
            market = book.get(Market, row_id("market", breach.market_id))
            if market is not None and market.suspect_since is None:
                book.change(market)
                market.suspect_since, market.suspect_reason = breach.time, breach.reason
                found.append(breach)
    return found


def ask_for_repairs(breaches: Iterable[Breach], *, block_number: int) -> None:
    """Of what the batch up to `block_number` found, whose rows are written."""
    _store(
        [
            RepairRequest(
                from_block=breach.from_block, to_block=block_number, market_id=breach.market_id, reason=breach.reason
            )
            for breach in breaches
        ]
    )


def mark_unbalanced(checkpoint: Checkpoint, market_ids: Iterable[str]) -> None:
    """Compares the sums of stored markets, marks those that differ, and asks for their repair. Call as the writer."""
    block_number = checkpoint.block_number
    book = Book(checkpoint.finality, StoredPositionIds(), amms=())
    requests = {}
    for market_id, reason in unbalanced(market_ids):
        market = book.get(Market, row_id("market", market_id))
        if market is not None and market.suspect_since is None:
            undo.capture(block_number, {Market.table.model: [market.id]})
            book.change(market)
            market.suspect_since, market.suspect_reason = market.updated_at, reason
            requests[market_id] = RepairRequest(
                from_block=market.block_number, to_block=block_number, market_id=market_id, reason=reason, replay=True
            )
    book.write((Market,))
    _store(list(requests.values()))


def _store(requests: list[RepairRequest]) -> None:
    for request in requests:
        logger.error(
            "market %s is suspect: %s", request.market_id, request.reason, extra={"marketId": request.market_id}
        )
    RepairRequest.objects.bulk_create(requests)


class Sums:
    """Whose sums are to be compared, which costs what a market has holders: each market that moved at once, and then
    at most once in PAUSE seconds, however often it moves. `clock` counts seconds."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._moved: set[str] = set()
        self._compared: dict[str, float] = {}  # in the last PAUSE seconds: market -> when

    def moved(self, market_ids: Iterable[str]) -> None:
        self._moved.update(market_ids)

    def due(self) -> set[str]:
        """The markets whose turn it is, until they are `compared`."""
        since = self._clock() - PAUSE
        self._compared = {market_id: at for market_id, at in self._compared.items() if at > since}
        return self._moved - self._compared.keys()

    def compared(self, market_ids: Iterable[str]) -> None:
        self._moved.difference_update(market_ids)
        self._compared |= dict.fromkeys(market_ids, self._clock())


def touched(book: Book) -> set[str]:
    """The markets whose balances or supplies the book changes. Call before it is written."""
    tokens = [book.get(OutcomeToken, pk) for pk in book.changed_ids(OutcomeToken)]
    positions = [book.get(Position, pk) for pk in book.changed_ids(Position)]
    return {row.market_id for row in (*tokens, *positions) if row is not None}


# --- transactions -----------------------------------------------------------------------------------------------------


def _transactions(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    for _, in_transaction in groupby(entries, key=lambda entry: entry.at.transaction_hash):
        yield list(in_transaction)


def _claimed_transactions(waits: Waits, entries: list[Entry], contracts: Contracts) -> Iterator[list[Entry]]:
    """Whole transactions, of which some events waited for a market that is there now."""
    hashes = {entry.at.transaction_hash for entry in waits.in_block}
    if not hashes:
        return
    in_hand = [entry for entry in entries if entry.at.transaction_hash in hashes]
    stored = hashes - {entry.at.transaction_hash for entry in in_hand}
    blocks = sorted({entry.at.block_number for entry in waits.in_block if entry.at.transaction_hash in stored})
    if blocks:
        logs = StoredLog.table.load("block_number = ANY(%s) ORDER BY block_number, log_index", blocks)
        rows = [row for row in logs if row.transaction_hash in stored]
        yield from _transactions(waits.claimed.get(entry.row.id, entry) for entry in read_stored(rows, contracts))
    yield from _transactions(in_hand)


def _breaches(book: Book, entries: list[Entry]) -> Iterator[Breach]:
    """What is wrong in one transaction: first what its events say of each other, then those that can't be true."""
    read = Transaction()
    failed = False
    for entry in entries:
        if entry.event is not None:
            failed = failed or not entry.row.processed
            reader = READERS.get(type(entry.event))
            if reader is not None:
                reader(read, book, entry.at, entry.event)
    if read.moved == read.said and not read.redemptions and not failed:
        return
    at = entries[0].at
    markets = {redemption.market_id for redemption in read.redemptions}
    rows = {market_id: book.get(Market, row_id("market", market_id)) for market_id in markets}
    payouts = {market_id: row.payouts for market_id, row in rows.items() if row is not None}
    for market_id, reason in contradictions(read, payouts):
        reason = f"transaction {at.transaction_hash}: {reason}"
        yield Breach(market_id=market_id, reason=reason, time=at.timestamp, from_block=at.block_number)
    for entry in entries:
        if entry.event is not None and not entry.row.processed:
            yield from _failed(book, entry)


def _failed(book: Book, entry: Entry) -> Iterator[Breach]:
    """The chain did it, so that what was indexed before is wrong: somebody sends tokens that nobody gave them."""
    last_line = entry.row.error.strip().rpartition("\n")[2]
    reason = f"{entry.row.event_name} in transaction {entry.at.transaction_hash} can't be true: {last_line}"
    for market in _concerned(book, entry):
        yield Breach(market_id=market.market_id, reason=reason, time=entry.at.timestamp, from_block=market.block_number)


def _concerned(book: Book, entry: Entry) -> list[Market]:
    event = entry.event
    tokens = [book.get(OutcomeToken, row_id("outcome_token", id_)) for id_, _ in moves(event)] if event else []
    market_ids = {token.market_id for token in tokens if token is not None}
    amm = _pool(book, entry.at.address, entry.at)
    market_ids |= {amm.market_id} if amm else set()
    market_ids |= {getattr(event, "market_id", "")} - {""}
    markets = [book.get(Market, row_id("market", market_id)) for market_id in sorted(market_ids)]
    if isinstance(event, events.PositionSplit | events.PositionMerge | events.PayoutRedemption):
        markets.append(_market(book, event))
    return [market for market in markets if market is not None]


# --- events -----------------------------------------------------------------------------------------------------------

SetEvent = events.PositionSplit | events.PositionMerge | events.PayoutRedemption


def _market(book: Book, event: SetEvent) -> Market | None:
    """The market whose tokens an event of complete or partial sets concerns directly."""
    if event.parent_collection_id != NO_PARENT:
        return None
    markets = book.markets_of_condition(event.condition_id)
    return next((market for market in markets if market.collateral_token == event.collateral_token), None)


def _pool(book: Book, address: str, at: LogPosition) -> Amm | None:
    """The AMM at an address, if it was announced by then."""
    amm = amm_at(book, address)
    return amm if amm is not None and amm.block_number <= at.block_number else None


def _note(moves: Moves, market_id: str, what: str, sender: str, receiver: str, amount: int) -> None:
    if amount > 0:
        move = (market_id, what, sender, receiver, amount)
        moves[move] = moves.get(move, 0) + 1


def _transfer(
    read: Transaction,
    book: Book,
    at: LogPosition,
    event: events.TransferSingle | events.TransferBatch | events.OutcomeTransfer,
) -> None:
    for id_, amount in moves(event):
        token = book.get(OutcomeToken, row_id("outcome_token", id_))
        if token is not None:
            what = outcome(token.outcome_index)
            _note(read.moved, token.market_id, what, event.sender, event.receiver, amount)
    if _pool(book, event.sender, at):
        read.pools.add(event.sender)


def _sets(read: Transaction, book: Book, at: LogPosition, event: events.PositionSplit | events.PositionMerge) -> None:
    made = isinstance(event, events.PositionSplit)
    holder = event.stakeholder
    if event.parent_collection_id != NO_PARENT:
        _nested(read, book, event, holder, event.amount, minted=not made)
        return
    market = _market(book, event)
    if market is None:
        return
    ends = (ZERO_ADDRESS, holder) if made else (holder, ZERO_ADDRESS)
    for index in map(single_outcome, event.partition):
        if index is not None:
            _note(read.said, market.market_id, outcome(index), *ends, event.amount)
    if _pool(book, holder, at):
        _note(read.moved, market.market_id, COMPLETE_SETS, *ends, event.amount)


def _nested(read: Transaction, book: Book, event: SetEvent, holder: str, amount: int, *, minted: bool) -> None:
    """Sets below one of our outcomes are made of its tokens, unless they are made of other sets there."""
    parent = position_id(event.collateral_token, int(event.parent_collection_id, 16))
    token = book.get(OutcomeToken, row_id("outcome_token", parent))
    if token is not None:
        ends = (ZERO_ADDRESS, holder) if minted else (holder, ZERO_ADDRESS)
        _note(read.possible, token.market_id, outcome(token.outcome_index), *ends, amount)


def _redemption(read: Transaction, book: Book, at: LogPosition, event: events.PayoutRedemption) -> None:
    if event.parent_collection_id != NO_PARENT:
        _nested(read, book, event, event.redeemer, event.payout, minted=True)
        return
    market = _market(book, event)
    if market is None:
        return
    singles = [index for index in map(single_outcome, event.index_sets) if index is not None]
    read.redemptions.append(
        Redemption(
            market_id=market.market_id,
            redeemer=event.redeemer,
            outcomes=tuple(index for index in singles if index < len(market.outcomes)),
            combined=len(singles) < len(event.index_sets),
            payout=event.payout,
        )
    )


def _buy(read: Transaction, book: Book, at: LogPosition, event: events.FPMMBuy) -> None:
    amm = _pool(book, at.address, at)
    if amm is None:
        return
    sets = event.investment_amount - event.fee_amount
    bought = outcome(event.outcome_index)
    _note(read.said, amm.market_id, COMPLETE_SETS, ZERO_ADDRESS, amm.address, sets)
    _note(read.said, amm.market_id, bought, amm.address, event.buyer, event.outcome_tokens_bought)


def _sell(read: Transaction, book: Book, at: LogPosition, event: events.FPMMSell) -> None:
    amm = _pool(book, at.address, at)
    if amm is None:
        return
    sets = event.return_amount + event.fee_amount
    sold = outcome(event.outcome_index)
    _note(read.said, amm.market_id, COMPLETE_SETS, amm.address, ZERO_ADDRESS, sets)
    _note(read.said, amm.market_id, sold, event.seller, amm.address, event.outcome_tokens_sold)


def _funding_added(read: Transaction, book: Book, at: LogPosition, event: events.FPMMFundingAdded) -> None:
    """The pool makes as many sets as it takes of the outcome that it takes most of, and sends the rest back."""
    amm = _pool(book, at.address, at)
    if amm is None:
        return
    sets = max(event.amounts_added, default=0)
    _note(read.said, amm.market_id, COMPLETE_SETS, ZERO_ADDRESS, amm.address, sets)
    for index, amount in enumerate(event.amounts_added):
        _note(read.said, amm.market_id, outcome(index), amm.address, event.funder, sets - amount)
    _note(read.said, amm.market_id, _shares(amm), ZERO_ADDRESS, event.funder, event.shares_minted)


def _funding_removed(read: Transaction, book: Book, at: LogPosition, event: events.FPMMFundingRemoved) -> None:
    amm = _pool(book, at.address, at)
    if amm is None:
        return
    for index, amount in enumerate(event.amounts_removed):
        _note(read.said, amm.market_id, outcome(index), amm.address, event.funder, amount)
    _note(read.said, amm.market_id, _shares(amm), event.funder, ZERO_ADDRESS, event.shares_burnt)


def _share_transfer(read: Transaction, book: Book, at: LogPosition, event: events.ShareTransfer) -> None:
    amm = _pool(book, at.address, at)
    if amm is not None:
        _note(read.moved, amm.market_id, _shares(amm), event.sender, event.receiver, event.value)


def _shares(amm: Amm) -> str:
    return f"shares of {amm.address}"


READERS: dict[type[events.ChainEvent], Callable[..., None]] = {
    events.TransferSingle: _transfer,
    events.TransferBatch: _transfer,
    events.OutcomeTransfer: _transfer,
    events.PositionSplit: _sets,
    events.PositionMerge: _sets,
    events.PayoutRedemption: _redemption,
    events.FPMMBuy: _buy,
    events.FPMMSell: _sell,
    events.FPMMFundingAdded: _funding_added,
    events.FPMMFundingRemoved: _funding_removed,
    events.ShareTransfer: _share_transfer,
}
