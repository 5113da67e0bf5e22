"""PURE. Where a question stands at a given chain time, and when that changes.

Source: AurumOracle.sol and the periods of contracts.md. Times are UTC datetimes of blocks.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

BINARY_CHALLENGE_PERIOD = timedelta(hours=2)
CATEGORICAL_CHALLENGE_PERIOD = timedelta(hours=24)
COMMIT_PERIOD = timedelta(hours=24)
REVEAL_PERIOD = timedelta(hours=24)
STALE_AFTER = timedelta(days=7)
STAKE = 100 * 10**18  # base units of AURUM
PAYOUT_UNIT = 10**18  # payouts are fractions of it


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


# What an event finds a question to be, at its block's time, and what it makes of it; None is "not registered". The
# contract refuses everything else: what comes nevertheless is an anomaly (anomalies.py).
TRANSITIONS: dict[str, dict[State | None, State]] = {
    "QuestionRegistered": {None: State.REGISTERED},
    "OutcomeProposed": {State.REGISTERED: State.PROPOSED},
    "ProposalDisputed": {State.PROPOSED: State.COMMITTING},
    "VoteCommitted": {State.COMMITTING: State.COMMITTING},
    "VoteRevealed": {State.REVEALING: State.REVEALING},
    "QuestionResolved": {State.RESOLVABLE: State.RESOLVED},
    "QuestionVoided": {state: State.VOIDED for state in State if state not in (State.RESOLVED, State.VOIDED)},
}


def challenge_period(is_binary: bool) -> timedelta:
    """How long a proposal can be disputed. What counts is the event's own `expiresAt`: this checks it."""
    return BINARY_CHALLENGE_PERIOD if is_binary else CATEGORICAL_CHALLENGE_PERIOD


class Who(StrEnum):
    """Who can do something."""

    ANYBODY = "anybody"
    ANYBODY_BUT_PROPOSER = "anybody_but_proposer"
    TOKEN_HOLDERS = "token_holders"  # noqa: S105 - anybody may, but without AURUM a vote weighs nothing
    COMMITTED_VOTERS = "committed_voters"
    ORACLE_ADMIN = "oracle_admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who can do something, and what it must stake, in base units of AURUM."""

    who: Who
    stake: int = 0


ACTORS: dict[str, Actor] = {
    "propose": Actor(who=Who.ANYBODY, stake=STAKE),
    "dispute": Actor(who=Who.ANYBODY_BUT_PROPOSER, stake=STAKE),
    "commit": Actor(who=Who.TOKEN_HOLDERS),
    "reveal": Actor(who=Who.COMMITTED_VOTERS),
    "finalize": Actor(who=Who.ANYBODY),
    "void": Actor(who=Who.ORACLE_ADMIN),
}

# What can be done in a state, by whoever ACTORS says.
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
