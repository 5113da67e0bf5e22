"""PURE. What a dispute's votes weigh, and which side they favour.

Source: AurumOracle.sol, revealVote and finalizeProposal. Payouts are fractions of 1e18 by outcome; weights are AURUM
balances in base units.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

Payouts = tuple[int, ...]


class Side(StrEnum):
    PROPOSAL = "proposal"
    DISPUTE = "dispute"


def weights_of(votes: Iterable[tuple[Sequence[int] | None, int | None]]) -> dict[Payouts, int]:
    """The revealed weight by payouts, the heaviest first, of (payouts, weight) pairs; those not revealed are None."""
    weights: dict[Payouts, int] = {}
    for payouts, weight in votes:
        if payouts is not None:
            weights[tuple(payouts)] = weights.get(tuple(payouts), 0) + (weight or 0)
    return dict(sorted(weights.items(), key=lambda item: (-item[1], item[0])))


def leading(proposed: Sequence[int], disputed: Sequence[int], weights: Mapping[Payouts, int]) -> Side:
    """Whose payouts stand if nobody else reveals. A tie, no votes at all included, leaves the proposal standing."""
    against, for_ = weights.get(tuple(disputed), 0), weights.get(tuple(proposed), 0)
    return Side.DISPUTE if against > for_ else Side.PROPOSAL
