"""PURE. Where a question stands at a given chain time, and when that changes.

Source: AurumOracle.sol and the periods of contracts.md. Times are UTC datetimes of blocks.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

COMMIT_PERIOD = timedelta(hours=24)
REVEAL_PERIOD = timedelta(hours=24)
STALE_AFTER = timedelta(days=7)


class State(StrEnum):
    """The states of a question. `disputed` is the moment of the dispute; voting opens with it."""

    REGISTERED = "registered"
    PROPOSED = "proposed"
    DISPUTED = "disputed"
    COMMITTING = "committing"
    REVEALING = "revealing"
    RESOLVABLE = "resolvable"
    RESOLVED = "resolved"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What events have said of a question so far; None is "not yet"."""

    proposed_at: datetime | None = None
    expires_at: datetime | None = None
    disputed_at: datetime | None = None
    resolved_at: datetime | None = None
    voided_at: datetime | None = None


def state_at(facts: Facts, now: datetime) -> State:
    """The state at chain time `now`. A stale proposal can't be finalised: the question waits for another one."""
    if facts.voided_at:
        return State.VOIDED
    if facts.resolved_at:
        return State.RESOLVED
    if is_stale(facts, now):
        return State.REGISTERED
    if facts.disputed_at:
        if now < later(facts.disputed_at, COMMIT_PERIOD):
            return State.COMMITTING
        revealed = later(facts.disputed_at, COMMIT_PERIOD + REVEAL_PERIOD)
        return State.REVEALING if now < revealed else State.RESOLVABLE
    if facts.expires_at:
        return State.PROPOSED if now < facts.expires_at else State.RESOLVABLE
    return State.REGISTERED


def is_stale(facts: Facts, now: datetime) -> bool:
    """Whether an unfinished proposal is too old to be finalised (AurumOracle.sol, isProposalStale)."""
    settled = facts.resolved_at or facts.voided_at
    return bool(facts.proposed_at and not settled and now > later(facts.proposed_at, STALE_AFTER))


def later(moment: datetime, span: timedelta) -> datetime:
    """`moment + span`, at most the last moment that there is: chains may say any time."""
    return moment + span if moment < datetime.max.replace(tzinfo=UTC) - span else datetime.max.replace(tzinfo=UTC)


def deadlines(facts: Facts) -> dict[str, datetime | None]:
    """When each period ends; None where it has not begun."""
    disputed, proposed = facts.disputed_at, facts.proposed_at
    return {
        "challenge": facts.expires_at,
        "commit": disputed and later(disputed, COMMIT_PERIOD),
        "reveal": disputed and later(disputed, COMMIT_PERIOD + REVEAL_PERIOD),
        "stale": proposed and later(proposed, STALE_AFTER),
    }


# What can be done in a state, by anybody with the stake, the vote or the role it needs.
ACTIONS: dict[State, tuple[str, ...]] = {
    State.REGISTERED: ("propose", "void"),
    State.PROPOSED: ("dispute", "void"),
    State.DISPUTED: ("commit", "void"),
    State.COMMITTING: ("commit", "void"),
    State.REVEALING: ("reveal", "void"),
    State.RESOLVABLE: ("finalize", "void"),
    State.RESOLVED: (),
    State.VOIDED: (),
}


def available_actions(facts: Facts, now: datetime) -> tuple[str, ...]:
    """What can be done now; a stale proposal can only be replaced or voided."""
    return ("propose", "void") if is_stale(facts, now) else ACTIONS[state_at(facts, now)]
