"""What the events of one transaction must say of each other: a log that a node left out shows by those that it served.

Tokens do not move without a reason, and no reason comes without its tokens. What moved is compared with what the other
events say must have moved; complete sets that a pool makes or ends, and its LP shares, are treated like tokens.
Partial partitions, redemptions and splits below our outcomes are reasons too, so that none of them is an alarm.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import connection

ZERO_ADDRESS = "0x" + "00" * 20

# Positions and supplies are two readings of the same transfers; where they differ, rows were changed past the ledger.
UNBALANCED = """
    SELECT token.market_id, token.outcome_index, token.supply, coalesce(sum(held.amount), 0)
    FROM outcome_tokens token LEFT JOIN positions held
        ON held.market_id = token.market_id AND held.outcome_index = token.outcome_index
    WHERE token.market_id = ANY(%s)
    GROUP BY token.id HAVING token.supply <> coalesce(sum(held.amount), 0)
    ORDER BY token.market_id, token.outcome_index
"""


class Move(NamedTuple):
    """An amount of `what` (an outcome's tokens, complete sets, or a pool's shares) from one address to another."""

    market_id: str
    what: str
    sender: str
    receiver: str
    amount: int

    def __str__(self) -> str:
        return f"{self.amount} of {self.what} from {self.sender} to {self.receiver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """A PayoutRedemption. `outcomes` are those that it redeems alone; `combined`, whether it redeems others together.

    `payout` is in base units of the collateral.
    """

    market_id: str
    redeemer: str
    outcomes: tuple[int, ...]
    combined: bool
    payout: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Events of a market that contradict each other. What is missing stands in `from_block` or later.

    `time` is the block's, in Unix seconds.
    """

    market_id: str
    reason: str
    time: int
    from_block: int


# How often each move happened. The keys are a Move's parts, which cost half of what a Move does.
Moves = dict[tuple[str, str, str, str, int], int]


@dataclass(slots=True)
class Transaction:
    """What one transaction moved, what its events say that it moved, and what they may have moved besides."""

    moved: Moves = field(default_factory=dict)
    said: Moves = field(default_factory=dict)
    possible: Moves = field(default_factory=dict)
    redemptions: list[Redemption] = field(default_factory=list)
    pools: set[str] = field(default_factory=set)  # their tokens leave for a reason alone


def outcome(index: int) -> str:
    """`Move.what` of an outcome's tokens."""
    return OUTCOMES[index] if index < len(OUTCOMES) else f"outcome {index}"


OUTCOMES = [f"outcome {index}" for index in range(256)]
COMPLETE_SETS = "complete sets"


def contradictions(transaction: Transaction, payouts: Mapping[str, Sequence[int] | None]) -> Iterator[tuple[str, str]]:
    """(market id, what is wrong) of one transaction, in an order that follows from its events alone.

    `payouts` has the payout numerators of the markets that are resolved.
    """
    if transaction.moved == transaction.said and not transaction.redemptions:
        return
    left = _less(_less(transaction.moved, transaction.said), transaction.possible)
    for move in _elements(_less(transaction.said, transaction.moved)):
        yield move.market_id, f"events say that there were {move}, and no transfer does"
    yield from _redeemed(transaction.redemptions, left, payouts)
    for move in _elements(left):
        if ZERO_ADDRESS in (move.sender, move.receiver) or move.sender in transaction.pools:
            yield move.market_id, f"no event says why there were {move}"


def _less(moves: Moves, others: Moves) -> Moves:
    """`moves` without those of `others`, each as often as it is there."""
    return {move: left for move, count in moves.items() if (left := count - others.get(move, 0)) > 0}


def _elements(moves: Moves) -> list[Move]:
    return [Move(*move) for move, count in sorted(moves.items()) for _ in range(count)]


def _redeemed(
    redemptions: Iterable[Redemption], left: Moves, payouts: Mapping[str, Sequence[int] | None]
) -> Iterator[tuple[str, str]]:
    """Takes what was burnt for payouts out of `left`. An outcome that pays nothing may be burnt without a trace."""
    by_redeemer: dict[tuple[str, str], list[Redemption]] = {}
    for redemption in redemptions:
        by_redeemer.setdefault((redemption.market_id, redemption.redeemer), []).append(redemption)
    for (market_id, redeemer), its in sorted(by_redeemer.items()):
        numerators = payouts.get(market_id)
        if not numerators:
            yield market_id, f"{redeemer} redeems, and no event resolves the market"
            continue
        paid = 0
        for index in sorted({index for redemption in its for index in redemption.outcomes}):
            for move in [move for move in left if move[:4] == (market_id, outcome(index), redeemer, ZERO_ADDRESS)]:
                # The contract rounds each index set's payout down by itself.
                paid += left.pop(move) * (move[4] * numerators[index] // sum(numerators))
        payout = sum(redemption.payout for redemption in its)
        combined = any(redemption.combined for redemption in its)
        if paid > payout or (paid < payout and not combined):
            yield market_id, f"{redeemer} is paid {payout} for what was worth {paid}"


def unbalanced(market_ids: Iterable[str]) -> list[tuple[str, str]]:
    """(market id, what is wrong) of stored rows whose balances do not add up to the supply. One query."""
    with connection.cursor() as cursor:
        cursor.execute(UNBALANCED, [sorted(market_ids)])
        return [
            (market_id, f"balances of outcome {index} add up to {held}, and its supply is {supply}")
            for market_id, index, supply, held in cursor.fetchall()
        ]
