"""PURE. What events say that AurumOracle.sol does not let happen, in words for an operator.

An anomaly stops nothing: what the event says is applied, for the chain's later state follows from it. Each function
takes what the question was before the event, and returns what is wrong with the event; an empty list is the rule.
Times are Unix seconds, stakes base units of AURUM, payouts fractions of 1e18 by outcome.
"""

from collections.abc import Collection, Sequence

from oracle.lifecycle import PAYOUT_UNIT, STAKE, TRANSITIONS, State, challenge_period

LEAST_OUTCOMES = 2


def of_step(event: str, state: State | None) -> list[str]:
    """The event comes where it has no place; `state` is the question's at the block's time, None before it has one."""
    allowed = TRANSITIONS[event]
    if state in allowed:
        return []
    places = " or ".join("not registered" if place is None else place.value for place in allowed)
    return [f"{event} of a question that is {state.value if state else 'not registered'}, not {places}"]


def of_registration(outcome_slot_count: int) -> list[str]:
    return [f"{outcome_slot_count} outcomes"] if outcome_slot_count < LEAST_OUTCOMES else []


def of_proposal(
    payouts: Sequence[int], stake: int, *, outcomes: int, is_binary: bool, proposed_at: int, expires_at: int
) -> list[str]:
    found = _of_payouts(payouts, outcomes) + _of_stake(stake)
    period = int(challenge_period(is_binary).total_seconds())
    if expires_at != proposed_at + period:
        kind = "binary" if is_binary else "categorical"
        found.append(f"a challenge period of {expires_at - proposed_at} s, where {period} s is a {kind} question's")
    return found


def of_dispute(
    payouts: Sequence[int],
    stake: int,
    *,
    disputer: str,
    outcomes: int,
    proposer: str | None,
    proposed: Sequence[int] | None,
) -> list[str]:
    found = _of_payouts(payouts, outcomes) + _of_stake(stake)
    if disputer == proposer:
        found.append("the proposer disputes the own proposal")
    if proposed is not None and list(payouts) == list(proposed):
        found.append("a dispute for the same payouts as the proposal's")
    return found


def of_commitment(*, is_committed: bool) -> list[str]:
    return ["the voter has committed already; this commitment replaces that one"] if is_committed else []


def of_reveal(
    payouts: Sequence[int], *, is_committed: bool, is_revealed: bool, sides: Collection[Sequence[int] | None]
) -> list[str]:
    found = []
    if not is_committed:
        found.append("a vote is revealed that was not committed")
    if is_revealed:
        found.append("the voter has revealed already; this vote replaces that one")
    if list(payouts) not in [side and list(side) for side in sides]:
        found.append("a vote for payouts that are neither the proposal's nor the dispute's")
    return found


def of_resolution(
    payouts: Sequence[int], *, standing: Sequence[int] | None, sides: Collection[Sequence[int] | None]
) -> list[str]:
    """`standing` are the payouts that the proposal, or the dispute's votes, come to; None where nothing is proposed."""
    if standing is None or list(payouts) == list(standing):
        return []
    if list(payouts) in [side and list(side) for side in sides]:
        return ["resolved with the payouts of the side that the votes are against"]
    return ["resolved with payouts that are neither the proposal's nor the dispute's"]


def _of_payouts(payouts: Sequence[int], outcomes: int) -> list[str]:
    found = []
    if len(payouts) != outcomes:
        found.append(f"{len(payouts)} payouts for {outcomes} outcomes")
    if not 0 < sum(payouts) <= PAYOUT_UNIT:
        found.append(f"payouts that add up to {sum(payouts)}, where 1 to {PAYOUT_UNIT} is allowed")
    return found


def _of_stake(stake: int) -> list[str]:
    return [] if stake == STAKE else [f"a stake of {stake}, where {STAKE} is asked for"]
