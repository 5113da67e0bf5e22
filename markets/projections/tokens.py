"""Outcome tokens: who holds how many, and why they came and went.

Balances come from token transfers and from nothing else; splits, merges and redemptions say why tokens moved.
"""

from collections.abc import Sequence

from markets import pnl
from markets.book import ApplyError, Book, Key, LogPosition
from markets.ctf import is_full_partition, position_id, single_outcome
from markets.identity import row_id
from markets.projections.arrivals import find, pay_for
from markets.projections.lookups import (
    MAX_AMOUNT,
    ZERO_ADDRESS,
    ZERO_BYTES32,
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
    for sequence, (id_, amount) in enumerate(moves):
        if not amount or (book.only is not None and f"position:{id_}" not in book.only):
            continue
        token = book.get(OutcomeToken, row_id("outcome_token", id_))
        if token is None:
            book.waits.add(f"position:{id_}")
            continue
        moved = True
        key = (token.market_id, token.outcome_index)
        gone = pnl.Gone()
        if sender != ZERO_ADDRESS:
            gone = _debit(book, at, token, sender, amount, is_direct=is_direct)
        else:
            book.change(token).supply += amount
        if is_direct:
            _remember_direct_transfer(book, at, token, sender, receiver, gone, sequence)
        if receiver == ZERO_ADDRESS:
            book.change(token).supply -= amount
        else:
            _credit(book, at, token, receiver, amount, gone if is_direct else pnl.Gone())
        if is_direct:
            continue
        if not sends_pool and sender != ZERO_ADDRESS:
            book.scratch.release((sender, *key), gone, receiver, at, sequence)
        elif not receives_pool and receiver != ZERO_ADDRESS:
            book.scratch.arrive((receiver, *key), amount, sender, at, sequence)
    if moved and sends_pool:
        book.scratch.moved_amms[sender] = at, 1
    if moved and receives_pool:
        book.scratch.moved_amms[receiver] = at, 0


def _debit(book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int, *, is_direct: bool) -> pnl.Gone:
    """Takes tokens from a holder. Where no user gets them, the cost is lost until an event says what came of it."""
    position = position_of(book, token.market_id, token.outcome_index, holder)
    if position is None or position.amount < amount:
        held = position.amount if position else 0
        raise ApplyError(f"{holder} sends {amount} of {token.market_id}[{token.outcome_index}], but holds {held}")
    book.change(position)
    gone = pnl.Gone(amount, pnl.take_cost(position, amount), pnl.take_untracked(position, amount))
    if not is_direct:
        position.realized_pnl -= gone.cost
    position.amount -= amount
    position.updated_at = at.timestamp
    return gone


def _credit(book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int, carried: pnl.Gone) -> None:
    position = holding_of(book, at, token.market_id, token.outcome_index, holder)
    book.change(position)
    position.amount = bounded(position.amount + amount, MAX_AMOUNT, "tokens of one holder")
    position.cost += carried.cost
    position.untracked_amount += carried.untracked
    position.acquired_amount += carried.amount - carried.untracked
    position.acquired_cost += carried.cost
    position.updated_at = at.timestamp


def _remember_direct_transfer(
    book: Book, at: LogPosition, token: OutcomeToken, sender: str, receiver: str, gone: pnl.Gone, sequence: int
) -> None:
    """A transfer between two users is history of both, and carries what the tokens had cost. Call before they come."""
    left = position_of(book, token.market_id, token.outcome_index, sender)
    entries = remember_transfer(
        book,
        at,
        sender,
        receiver,
        gone.cost,
        market_id=token.market_id,
        outcome=token.outcome_index,
        amount=gone.amount,
        untracked_amounts=[gone.untracked] if gone.untracked else None,
        sequence=2 * sequence,
    )
    held = gone.amount + (left.amount if left else 0)
    book.scratch.pass_on((token.market_id, token.outcome_index), sender, receiver, gone.amount, held, *entries)


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
    """All outcomes of a market at once are one entry, against as much collateral: each counts the same part of it.

    Our tokens also come by other partitions, and go by splits under other conditions: then each outcome is an entry,
    `split` where tokens appeared and `merge` where they went, without collateral.
    """
    if amm_at(book, stakeholder) is not None:
        return  # a part of a trade
    market = market_of(book, condition_id, collateral_token, parent_collection_id)
    if market is None:
        for key in _parent(book, stakeholder, collateral_token, parent_collection_id):
            _leave(book, at, key, amount, 1)
    elif is_full_partition(partition, len(market.outcomes)):
        parts = enumerate(pnl.even_parts(amount, len(market.outcomes)) if amount else ())
        keys = [((stakeholder, market.market_id, outcome), part) for outcome, part in parts]
        change = pnl.total(pay_for(book, at, key, amount, part) for key, part in keys)
        _remember_sets(book, at, "split", stakeholder, market, amount, amount, change)
    else:
        if _is_whole(partition, market):
            _remember_sets(book, at, "split", stakeholder, market, 0, amount, pnl.Change(0, 0))
        for sequence, outcome in enumerate(_single_outcomes(partition, market), start=1):
            _come(book, at, (stakeholder, market.market_id, outcome), amount, sequence)


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
    """As a split, the other way round: complete sets are sold, each outcome for its part of the collateral."""
    if amm_at(book, stakeholder) is not None:
        return
    market = market_of(book, condition_id, collateral_token, parent_collection_id)
    if market is None:
        for key in _parent(book, stakeholder, collateral_token, parent_collection_id):
            _come(book, at, key, amount, 1)
    elif is_full_partition(partition, len(market.outcomes)):
        _merge_sets(book, at, stakeholder, market, amount)
    else:
        for sequence, outcome in enumerate(_single_outcomes(partition, market), start=1):
            _leave(book, at, (stakeholder, market.market_id, outcome), amount, sequence)
        if _is_whole(partition, market):
            change = _cover(book, stakeholder, market, partition, amount)
            _remember_sets(book, at, "merge", stakeholder, market, 0, amount, change)


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
    """One entry per outcome redeemed, at what that outcome pays (ConditionalTokens.sol, redeemPositions: each index set
    is rounded down by itself), and one without an outcome for what several together pay."""
    market = market_of(book, condition_id, collateral_token, parent_collection_id)
    if market is None:
        # A deeper redemption pays in the tokens of the level above, which may be ours.
        for key in _parent(book, redeemer, collateral_token, parent_collection_id):
            _come(book, at, key, payout, 1)
        return
    if market.payouts is None:
        raise ApplyError(f"{redeemer} redeems from {market.market_id}, which is not resolved")
    rest = payout
    for sequence, outcome in enumerate(_single_outcomes(index_sets, market), start=1):
        key = (redeemer, market.market_id, outcome)
        amount = book.scratch.released_amount(key, ZERO_ADDRESS)
        if amount:
            paid = amount * market.payouts[outcome] // sum(market.payouts)
            rest -= paid
            _redeem_outcome(book, at, key, amount, paid, sequence)
    if rest > 0 and any(single_outcome(index_set) is None for index_set in index_sets):
        change = _cover(book, redeemer, market, index_sets, rest)
        _remember_sets(book, at, "redeem", redeemer, market, 0, rest, change)


# --- complete sets ----------------------------------------------------------------------------------------------------


def _merge_sets(book: Book, at: LogPosition, holder: str, market: Market, amount: int) -> None:
    changes, untracked = [], []
    for outcome, part in enumerate(pnl.even_parts(amount, len(market.outcomes)) if amount else ()):
        gone = book.scratch.take_released((holder, market.market_id, outcome), ZERO_ADDRESS, amount)
        position = book.change(holding_of(book, at, market.market_id, outcome, holder))
        changes.append(pnl.sell(position, gone, amount, part))
        untracked.append(gone.untracked)
    _remember_sets(book, at, "merge", holder, market, amount, amount, pnl.total(changes), untracked)


def _remember_sets(
    book: Book,
    at: LogPosition,
    type_: str,
    holder: str,
    market: Market,
    amount: int,
    collateral_amount: int,
    change: pnl.Change,
    untracked: Sequence[int] = (),
) -> None:
    """Sets against collateral: `amount` of complete ones, or 0 of others, whose tokens are not all followed."""
    remember(
        book,
        at,
        type=type_,
        user_address=holder,
        market_id=market.market_id,
        amount=amount,
        collateral_amount=collateral_amount,
        untracked_amounts=list(untracked) if any(untracked) else None,
        **change._asdict(),
    )


# --- what is not followed: several outcomes in one token, and sets below our outcomes ---------------------------------


def _parent(book: Book, holder: str, collateral_token: str, parent_collection_id: str) -> list[Key]:
    """The outcome of ours, if it is one, that sets of another condition are made of."""
    if parent_collection_id == ZERO_BYTES32:
        return []
    above = position_id(collateral_token, int(parent_collection_id, 16))
    token = book.get(OutcomeToken, row_id("outcome_token", above))
    return [(holder, token.market_id, token.outcome_index)] if token is not None else []


def _single_outcomes(index_sets: tuple[int, ...], market: Market) -> list[int]:
    found = (single_outcome(index_set) for index_set in index_sets)
    return sorted({outcome for outcome in found if outcome is not None and outcome < len(market.outcomes)})


def _is_whole(partition: tuple[int, ...], market: Market) -> bool:
    """Whether the sets are made of collateral, and not of a token that stands for some outcomes."""
    return sum(partition) == (1 << len(market.outcomes)) - 1


def _come(book: Book, at: LogPosition, key: Key, amount: int, sequence: int) -> None:
    arrival = book.scratch.explain(key, amount)
    if arrival is not None:
        find(book, at, key, arrival, sequence=sequence)


def _leave(book: Book, at: LogPosition, key: Key, amount: int, sequence: int) -> None:
    gone = book.scratch.take_released(key, ZERO_ADDRESS, amount)
    if gone.amount:
        position = book.change(holding_of(book, at, *key[1:], key[0]))
        _remember_outcome(book, at, "merge", key, gone, pnl.go_away(position, gone), None, sequence)


def _redeem_outcome(book: Book, at: LogPosition, key: Key, amount: int, paid: int, sequence: int) -> None:
    gone = book.scratch.take_released(key, ZERO_ADDRESS, amount)
    position = book.change(holding_of(book, at, *key[1:], key[0]))
    _remember_outcome(book, at, "redeem", key, gone, pnl.sell(position, gone, amount, paid), paid, sequence)


def _remember_outcome(
    book: Book,
    at: LogPosition,
    type_: str,
    key: Key,
    gone: pnl.Gone,
    change: pnl.Change,
    paid: int | None,
    sequence: int,
) -> None:
    """Tokens of one outcome that went, for `paid` or for nothing."""
    holder, market_id, outcome = key
    remember(
        book,
        at,
        type=type_,
        user_address=holder,
        market_id=market_id,
        outcome=outcome,
        amount=gone.amount,
        collateral_amount=paid,
        untracked_amounts=[gone.untracked] if gone.untracked else None,
        sequence=sequence,
        **change._asdict(),
    )


def _cover(book: Book, holder: str, market: Market, index_sets: tuple[int, ...], paid: int) -> pnl.Change:
    """What sets of several outcomes bring covers first what these outcomes' tokens had cost that are away."""
    covered = 0
    for outcome in range(len(market.outcomes)):
        position = position_of(book, market.market_id, outcome, holder)
        if position is not None and any(index_set >> outcome & 1 for index_set in index_sets):
            covered += pnl.cover(book.change(position), paid - covered)
    return pnl.Change(covered, 0)
