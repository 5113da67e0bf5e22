"""Outcome tokens: who holds how many, and why they came and went.

Balances come from token transfers and from nothing else; splits, merges and redemptions say why tokens moved.
"""

from collections.abc import Sequence

from markets import pnl
from markets.book import ApplyError, Book, LogPosition
from markets.ctf import is_full_partition
from markets.identity import row_id
from markets.projections.lookups import (
    MAX_AMOUNT,
    ZERO_ADDRESS,
    amm_at,
    bounded,
    holding_of,
    market_of,
    position_of,
    remember,
    remember_transfer,
)
from markets.rows import Market, OutcomeToken


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
    # Mints, burns and what an AMM moves belong to other events; a transfer between users is what it is.
    is_direct = not (sends_pool or receives_pool or ZERO_ADDRESS in (sender, receiver))
    moved = False
    for sequence, (position_id, amount) in enumerate(moves):
        if not amount or (book.only is not None and f"position:{position_id}" not in book.only):
            continue
        token = book.get(OutcomeToken, row_id("outcome_token", position_id))
        if token is None:
            book.waits.add(f"position:{position_id}")
            continue
        moved = True
        cost = untracked = 0
        if sender == ZERO_ADDRESS:
            _mint(book, token, receiver, amount)
        else:
            cost, untracked = _debit(book, at, token, sender, amount, is_direct=is_direct)
        if receiver == ZERO_ADDRESS:
            _mint(book, token, sender, -amount)
        elif is_direct:
            _credit(book, at, token, receiver, amount, cost, untracked)
        else:
            _credit(book, at, token, receiver, amount)
        if is_direct:
            _remember_direct_transfer(book, at, token, sender, receiver, amount, cost, sequence)
        elif not sends_pool and sender != ZERO_ADDRESS:
            key = (sender, token.market_id, token.outcome_index)
            book.scratch.release(key, amount, cost, at, receiver, sequence)
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


def _debit(
    book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int, *, is_direct: bool
) -> tuple[int, int]:
    """Takes tokens from a holder. Returns what they had cost, and how many of them are untracked.

    Where no user gets them, the cost is lost until an event says what came of it.
    """
    position = position_of(book, token.market_id, token.outcome_index, holder)
    if position is None or position.amount < amount:
        held = position.amount if position else 0
        raise ApplyError(f"{holder} sends {amount} of {token.market_id}[{token.outcome_index}], but holds {held}")
    book.change(position)
    cost, untracked = pnl.take_cost(position, amount), pnl.take_untracked(position, amount)
    if not is_direct:
        position.realized_pnl -= cost
    position.amount -= amount
    position.updated_at = at.timestamp
    return cost, untracked


def _credit(
    book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int, cost: int = 0, untracked: int = 0
) -> None:
    position = holding_of(book, at, token.market_id, token.outcome_index, holder)
    book.change(position)
    position.amount = bounded(position.amount + amount, MAX_AMOUNT, "tokens of one holder")
    position.cost += cost
    position.untracked_amount += untracked
    position.updated_at = at.timestamp


def _remember_direct_transfer(
    book: Book, at: LogPosition, token: OutcomeToken, sender: str, receiver: str, amount: int, cost: int, sequence: int
) -> None:
    """A transfer between two users is history of both, and carries what the tokens had cost."""
    remember_transfer(
        book,
        at,
        sender,
        receiver,
        cost,
        market_id=token.market_id,
        outcome=token.outcome_index,
        amount=amount,
        sequence=2 * sequence,
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
    if market is not None and is_full_partition(partition, len(market.outcomes)):
        change = _exchange_sets(book, at, type_, stakeholder, market, amount)
        remember(
            book,
            at,
            type=type_,
            user_address=stakeholder,
            market_id=market.market_id,
            amount=amount,
            collateral_amount=amount,
            **change._asdict(),
        )
        for outcome in range(len(market.outcomes)):
            moved.pop((market.market_id, outcome), None)
    for sequence, ((market_id, outcome), moved_amount) in enumerate(_moved(moved), start=1):
        _remember_outcome(book, at, stakeholder, market_id, outcome, moved_amount, "merge", sequence)


def _exchange_sets(book: Book, at: LogPosition, type_: str, holder: str, market: Market, amount: int) -> pnl.Change:
    """Books complete sets against as much collateral: each outcome's token counts the same part of it."""
    realized = cost_change = 0
    for outcome, part in enumerate(pnl.even_parts(amount, len(market.outcomes)) if amount else ()):
        position = book.change(holding_of(book, at, market.market_id, outcome, holder))
        if type_ == "split":
            change = pnl.pay(position, part)
        else:
            cost = book.scratch.released_cost((holder, market.market_id, outcome), amount)
            position.realized_pnl += part
            change = pnl.Change(part - cost, -cost)
        realized += change.realized_pnl
        cost_change += change.cost_change
    return pnl.Change(realized, cost_change)


def _remember_outcome(
    book: Book,
    at: LogPosition,
    holder: str,
    market_id: str,
    outcome: int,
    moved: int,
    burnt_as: str,
    sequence: int,
    paid: int | None = None,
) -> None:
    """An outcome's tokens that came without a known cost (`moved` > 0), or that went, for `paid` or for nothing."""
    position = book.change(holding_of(book, at, market_id, outcome, holder))
    change = pnl.Change(0, 0)
    if moved > 0:
        pnl.find_untracked(position, moved)
    else:
        cost = book.scratch.released_cost((holder, market_id, outcome), -moved)
        position.realized_pnl += paid or 0
        change = pnl.Change((paid or 0) - cost, -cost)
    remember(
        book,
        at,
        type="split" if moved > 0 else burnt_as,
        user_address=holder,
        market_id=market_id,
        outcome=outcome,
        amount=abs(moved),
        collateral_amount=paid,
        sequence=sequence,
        **change._asdict(),
    )


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
        # A deeper redemption pays in the tokens of the level above, which may be ours.
        _remember_outcome(book, at, redeemer, market_id, outcome, change, "redeem", sequence, paid)
