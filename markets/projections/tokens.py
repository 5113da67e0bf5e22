"""Outcome tokens: who holds how many, and why they came and went.

Balances come from token transfers and from nothing else; splits, merges and redemptions say why tokens moved.
"""

from collections.abc import Sequence
from typing import Any

from markets.book import ApplyError, Book, LogPosition
from markets.ctf import is_full_partition
from markets.identity import row_id
from markets.projections.lookups import MAX_AMOUNT, ZERO_ADDRESS, amm_at, bounded, market_of, position_of, remember
from markets.rows import Market, OutcomeToken, Position


def outcome_token_moved(
    book: Book, at: LogPosition, operator: str, sender: str, receiver: str, id: int, value: int
) -> None:
    _move(book, at, sender, receiver, ((id, value),))


def outcome_tokens_moved(
    book: Book,
    at: LogPosition,
    operator: str,
    sender: str,
    receiver: str,
    ids: tuple[int, ...],
    values: tuple[int, ...],
) -> None:
    if len(ids) != len(values):
        raise ApplyError(f"{len(ids)} ids and {len(values)} values")
    _move(book, at, sender, receiver, tuple(zip(ids, values, strict=True)))


def outcome_token_moved_6909(
    book: Book, at: LogPosition, caller: str, sender: str, receiver: str, id: int, amount: int
) -> None:
    _move(book, at, sender, receiver, ((id, amount),))


def _move(book: Book, at: LogPosition, sender: str, receiver: str, moves: Sequence[tuple[int, int]]) -> None:
    sends_pool, receives_pool = amm_at(book, sender) is not None, amm_at(book, receiver) is not None
    moved = False
    for sequence, (position_id, amount) in enumerate(moves):
        if not amount or (book.only is not None and f"position:{position_id}" not in book.only):
            continue
        token = book.get(OutcomeToken, row_id("outcome_token", position_id))
        if token is None:
            book.waits.add(f"position:{position_id}")
            continue
        moved = True
        if sender == ZERO_ADDRESS:
            _mint(book, token, receiver, amount)
        else:
            _debit(book, at, token, sender, amount)
        if receiver == ZERO_ADDRESS:
            _mint(book, token, sender, -amount)
        else:
            _credit(book, at, token, receiver, amount, is_pool=receives_pool)
        if not (sends_pool or receives_pool or ZERO_ADDRESS in (sender, receiver)):
            _remember_direct_transfer(book, at, token, sender, receiver, amount, sequence)
    if moved and sends_pool:
        book.scratch.moved_amms[sender] = at, 1
    if moved and receives_pool:
        book.scratch.moved_amms[receiver] = at, 0


def _mint(book: Book, token: OutcomeToken, holder: str, amount: int) -> None:
    """Counts what appears, or where it is negative disappears; the reason is another event's."""
    book.change(token).supply += amount
    unexplained = book.scratch.unexplained
    key = (holder, token.market_id, token.outcome_index)
    unexplained[key] = unexplained.get(key, 0) + amount


def _debit(book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int) -> None:
    position = position_of(book, token.market_id, token.outcome_index, holder)
    if position is None or position.amount < amount:
        held = position.amount if position else 0
        raise ApplyError(f"{holder} sends {amount} of {token.market_id}[{token.outcome_index}], but holds {held}")
    book.change(position)
    position.amount -= amount
    position.updated_at = at.timestamp


def _credit(book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int, *, is_pool: bool) -> None:
    position = position_of(book, token.market_id, token.outcome_index, holder)
    if position is None:
        position = book.add(
            Position(
                id=row_id("position", token.market_id, token.outcome_index, holder),
                user_address=holder,
                market_id=token.market_id,
                outcome_index=token.outcome_index,
                amount=0,
                is_amm=is_pool,
                created_at=at.timestamp,
                updated_at=at.timestamp,
            )
        )
    book.change(position)
    position.amount = bounded(position.amount + amount, MAX_AMOUNT, "tokens of one holder")
    position.updated_at = at.timestamp


def _remember_direct_transfer(
    book: Book, at: LogPosition, token: OutcomeToken, sender: str, receiver: str, amount: int, sequence: int
) -> None:
    """A transfer between two users is history of both; mints, burns and what an AMM moves belong to other events."""
    for offset, (type_, user, counterparty) in enumerate(
        (("transfer_out", sender, receiver), ("transfer_in", receiver, sender))
    ):
        remember(
            book,
            at,
            type=type_,
            user_address=user,
            market_id=token.market_id,
            outcome=token.outcome_index,
            amount=amount,
            counterparty=counterparty,
            sequence=2 * sequence + offset,
        )


# --- splits, merges, redemptions --------------------------------------------------------------------------------------


def position_split(
    book: Book,
    at: LogPosition,
    stakeholder: str,
    collateral_token: str,
    parent_collection_id: str,
    condition_id: str,
    partition: tuple[int, ...],
    amount: int,
) -> None:
    market = market_of(book, condition_id, collateral_token, parent_collection_id)
    _explain(book, at, "split", stakeholder, market, partition, amount)


def position_merged(
    book: Book,
    at: LogPosition,
    stakeholder: str,
    collateral_token: str,
    parent_collection_id: str,
    condition_id: str,
    partition: tuple[int, ...],
    amount: int,
) -> None:
    market = market_of(book, condition_id, collateral_token, parent_collection_id)
    _explain(book, at, "merge", stakeholder, market, partition, amount)


def _explain(
    book: Book,
    at: LogPosition,
    type_: str,
    stakeholder: str,
    market: Market | None,
    partition: tuple[int, ...],
    amount: int,
) -> None:
    """Why the stakeholder's tokens were just minted or burnt; an AMM's are part of a trade.

    All outcomes of a market at once are one entry, against as much collateral. Our tokens also come and go by other
    partitions, and by splits under other conditions: then each outcome is an entry, `split` where tokens appeared and
    `merge` where they went, without collateral.
    """
    moved = book.scratch.explained(stakeholder)
    if amm_at(book, stakeholder) is not None:
        return
    entry: dict[str, Any] = {"user_address": stakeholder, "type": type_}
    if market is not None and is_full_partition(partition, len(market.outcomes)):
        remember(book, at, market_id=market.market_id, amount=amount, collateral_amount=amount, **entry)
        for outcome in range(len(market.outcomes)):
            moved.pop((market.market_id, outcome), None)
    for sequence, ((market_id, outcome), change) in enumerate(_moved(moved), start=1):
        entry["type"] = "split" if change > 0 else "merge"
        remember(book, at, market_id=market_id, outcome=outcome, amount=abs(change), sequence=sequence, **entry)


def _moved(unexplained: dict[tuple[str, int], int]) -> list[tuple[tuple[str, int], int]]:
    """What is left of it, in a fixed order."""
    return sorted(item for item in unexplained.items() if item[1])


def payout_redeemed(
    book: Book,
    at: LogPosition,
    redeemer: str,
    collateral_token: str,
    parent_collection_id: str,
    condition_id: str,
    index_sets: tuple[int, ...],
    payout: int,
) -> None:
    """One entry per outcome redeemed, at what that outcome pays (ConditionalTokens.sol, redeemPositions)."""
    moved = book.scratch.explained(redeemer)
    market = market_of(book, condition_id, collateral_token, parent_collection_id)
    if market is not None and market.payouts is None:
        raise ApplyError(f"{redeemer} redeems from {market.market_id}, which is not resolved")
    for sequence, ((market_id, outcome), change) in enumerate(_moved(moved)):
        paid = None
        if change < 0 and market is not None and market.payouts is not None and market_id == market.market_id:
            paid = -change * market.payouts[outcome] // sum(market.payouts)
        entry: dict[str, Any] = {
            "market_id": market_id,
            "outcome": outcome,
            "amount": abs(change),
            "sequence": sequence,
        }
        # A deeper redemption pays in the tokens of the level above, which may be ours.
        type_ = "redeem" if change < 0 else "split"
        remember(book, at, type=type_, user_address=redeemer, collateral_amount=paid, **entry)
