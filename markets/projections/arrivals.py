"""Tokens that have come: what they have cost, told by an event behind the transfer.

A contract is called with the tokens in between, and may have passed them on: each holder since then gets the share of
the cost that would have gone with them, had it been known, and the history of the transfers says so.
"""

from markets import pnl
from markets.book import Arrival, Book, Key, LogPosition, Passed
from markets.projections.lookups import amm_at, holding_of, remember
from markets.rows import HistoryEntry


def pay_for(book: Book, at: LogPosition, key: Key, amount: int, cost: int) -> pnl.Change:
    """Books what `amount` tokens have cost that came to a holder."""
    holder, market_id, outcome = key
    position = book.change(holding_of(book, at, market_id, outcome, holder))
    position.acquired_amount += amount
    position.acquired_cost += cost
    return _spread(book, at, key, book.scratch.explain(key, amount), cost, 0)


def find(book: Book, at: LogPosition, key: Key, arrival: Arrival, type_: str = "split", sequence: int = 0) -> None:
    """Books tokens that came without a payment that is known: those that were away are back, others are untracked."""
    holder, market_id, outcome = key
    position = book.change(holding_of(book, at, market_id, outcome, holder))
    back = pnl.come_back(position, arrival.amount)
    change = _spread(book, at, key, arrival, back.cost, back.untracked)
    remember(
        book,
        at,
        type=type_,
        user_address=holder,
        market_id=market_id,
        outcome=outcome,
        amount=arrival.amount,
        untracked_amounts=[back.untracked] if back.untracked else None,
        counterparty=arrival.sender if type_ == "transfer_in" else None,
        sequence=sequence,
        **pnl.total([change, pnl.Change(back.cost, 0)])._asdict(),
    )


def find_what_is_left(book: Book) -> None:
    """What came in a transaction and no event of it has explained."""
    for key, arrivals in book.scratch.arrivals.items():
        for arrival in arrivals:
            type_ = "transfer_in" if amm_at(book, arrival.sender) else "split"
            find(book, arrival.at, key, arrival, type_, 2 * arrival.sequence + 1)


def _spread(book: Book, at: LogPosition, key: Key, arrival: Arrival | None, cost: int, untracked: int) -> pnl.Change:
    """Books cost, and how many tokens are untracked, where the tokens are now. Returns what the holder's own entry
    says of it; what went on is in the entries of the transfers."""
    holder, market_id, outcome = key
    shares = {holder: (cost, untracked)}
    entries: dict[str, str] = {}  # user -> the last transfer to them
    for passed in book.scratch.passed_since((market_id, outcome), arrival) if arrival else ():
        if passed.sender in shares:
            _pass_on(book, at, key, shares, passed)
            entries[passed.receiver] = passed.in_
    own = pnl.Change(0, 0)
    for user, (of_cost, of_untracked) in shares.items():
        position = book.change(holding_of(book, at, market_id, outcome, user))
        paid = pnl.total([pnl.pay(position, of_cost), pnl.find_untracked(position, of_untracked)])
        if user == holder:
            own = pnl.Change(paid.realized_pnl, cost + paid.cost_change - of_cost)
        else:
            _amend(book, entries[user], pnl.Change(paid.realized_pnl, paid.cost_change - of_cost))
    return own


def _pass_on(book: Book, at: LogPosition, key: Key, shares: dict[str, tuple[int, int]], passed: Passed) -> None:
    """Moves the share of what the sender has that goes with the tokens: cost rounded down, and untracked tokens up, as
    of those that were untracked before they have been rounded down."""
    cost, untracked = shares[passed.sender]
    cost, untracked = cost * passed.amount // passed.held, -(-untracked * passed.amount // passed.held)
    for user, entry_id, sign in ((passed.sender, passed.out, -1), (passed.receiver, passed.in_, 1)):
        before = shares.get(user, (0, 0))
        shares[user] = before[0] + sign * cost, before[1] + sign * untracked
        _amend(book, entry_id, pnl.Change(0, sign * cost), untracked)
    receiver = book.change(holding_of(book, at, *key[1:], passed.receiver))
    receiver.acquired_amount -= untracked
    receiver.acquired_cost += cost


def _amend(book: Book, entry_id: str, change: pnl.Change, untracked: int = 0) -> None:
    """Adds to what the entry of a transfer says."""
    entry = book.get(HistoryEntry, entry_id)
    if entry is None or not (any(change) or untracked):
        return
    book.change(entry)
    entry.realized_pnl += change.realized_pnl
    entry.cost_change += change.cost_change
    if untracked:
        entry.untracked_amounts = [sum(entry.untracked_amounts or ()) + untracked]
