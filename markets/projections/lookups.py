"""What the projections share: the rows an event speaks of, and bounds on what it says."""

from typing import Any

from markets.book import ApplyError, Book, LogPosition
from markets.identity import event_row_id, row_id
from markets.rows import Amm, HistoryEntry, LiquidityShare, Market, Position

ZERO_ADDRESS = "0x" + "00" * 20
ZERO_BYTES32 = "0x" + "00" * 32
MAX_OUTCOMES = 256  # ConditionalTokens.sol, prepareCondition
MAX_AMOUNT = 2**256 - 1


def bounded(value: int, maximum: int, what: str) -> int:
    if value > maximum:
        raise ApplyError(f"{value} {what}, where {maximum} is the most")
    return value


def known_market(book: Book, market_id: str) -> Market:
    market = book.get(Market, row_id("market", market_id))
    if market is None:
        raise ApplyError(f"no market {market_id}")
    return market


def market_of(book: Book, condition_id: str, collateral_token: str, parent_collection_id: str) -> Market | None:
    """The market whose tokens a split, merge or redemption concerns; waits for it where there is none yet.

    The same condition serves other collaterals and deeper collections: those are no outcomes of ours.
    """
    key = f"condition:{condition_id}"
    if parent_collection_id != ZERO_BYTES32 or not is_claimed(book, key):
        return None
    markets = book.markets_of_condition(condition_id)
    found = next((market for market in markets if market.collateral_token == collateral_token), None)
    if found is None:
        book.waits.add(key)
    return found


def is_claimed(book: Book, key: str) -> bool:
    return book.only is None or key in book.only


def announced_amm(book: Book, at: LogPosition) -> Amm:
    amm = amm_at(book, at.address)
    if amm is None:
        raise ApplyError(f"AMM {at.address} was not announced")
    return amm


def amm_at(book: Book, address: str) -> Amm | None:
    if address not in book.amms:
        return None
    return book.get(Amm, row_id("amm", address))


def position_of(book: Book, market_id: str, outcome: int, holder: str) -> Position | None:
    return book.get(Position, row_id("position", market_id, outcome, holder))


def holding_of(book: Book, at: LogPosition, market_id: str, outcome: int, holder: str) -> Position:
    """The position, made if there is none yet: cash can be paid for no tokens at all."""
    return position_of(book, market_id, outcome, holder) or book.add(
        Position(
            id=row_id("position", market_id, outcome, holder),
            user_address=holder,
            market_id=market_id,
            outcome_index=outcome,
            amount=0,
            is_amm=amm_at(book, holder) is not None,
            created_at=at.timestamp,
            updated_at=at.timestamp,
        )
    )


def shares_of(book: Book, amm: Amm, holder: str) -> LiquidityShare | None:
    return book.get(LiquidityShare, row_id("liquidity_share", amm.address, holder))


def remember(book: Book, at: LogPosition, *, type: str, sequence: int = 0, **columns: Any) -> HistoryEntry:
    entry_id = event_row_id(type, at.block_number, at.log_index, at.transaction_hash, sequence)
    return book.append(HistoryEntry(id=entry_id, type=type, sequence=sequence, **columns, **at.emitted()))


def remember_transfer(
    book: Book, at: LogPosition, sender: str, receiver: str, cost: int, *, sequence: int = 0, **columns: Any
) -> tuple[str, str]:
    """A transfer that is history of both its users; with the tokens goes what they had cost. Returns both ids."""
    out: dict[str, Any] = {"user_address": sender, "counterparty": receiver, "cost_change": -cost}
    in_: dict[str, Any] = {"user_address": receiver, "counterparty": sender, "cost_change": cost}
    left = remember(book, at, type="transfer_out", sequence=sequence, **out, **columns)
    came = remember(book, at, type="transfer_in", sequence=sequence + 1, **in_, **columns)
    return left.id, came.id
