"""The WebSocket channels of oracle questions and their messages (markets/feeds.py says what all messages have).

What a message says of a question has REST's names and forms.
"""

from datetime import datetime
from typing import Any

from markets.chaintime import from_seconds
from oracle import lifecycle
from oracle.rows import Question, Vote, facts

ORACLE_CHANNEL = "oracle"  # all questions; its messages have `all`, which tells its `seq` from that of one question


def question_channel(question_id: str) -> str:
    """One question."""
    return f"oracle:{question_id}"


def channels_of(question_id: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The channels that a question's messages go to, and what they have there beside the rest."""
    return (question_channel(question_id), {}), (ORACLE_CHANNEL, {"all": True})


def oracle_update(row: Question, event: str | None, vote: Vote | None, timestamp: int) -> dict[str, Any]:
    """Where a question stands behind `event`, and the vote that it is about; no event where blocks were replaced."""
    standing = facts(row)
    return {
        "type": "oracle_update",
        "channel": ORACLE_CHANNEL,
        "questionId": row.question_id,
        "event": event,
        "state": lifecycle.state_at(standing, from_seconds(timestamp)),
        "proposal": _proposal(row),
        "dispute": _dispute(row),
        "vote": _vote(vote),
        "payouts": _texts(row.payouts),
        "deadlines": {name: _time(moment) for name, moment in lifecycle.deadlines(standing).items()},
        "timestamp": timestamp,
    }


def oracle_reverted(question_id: str, timestamp: int) -> dict[str, Any]:
    """A reorganisation took the question off the chain. It may be registered again: then `oracle_update` follows."""
    return {"type": "oracle_reverted", "channel": ORACLE_CHANNEL, "questionId": question_id, "timestamp": timestamp}


def _proposal(row: Question) -> dict[str, Any] | None:
    if row.proposer is None:
        return None
    return {
        "proposer": row.proposer,
        "payouts": _texts(row.proposed_payouts),
        "stake": str(row.proposal_stake),
        "proposedAt": _time(_moment(row.proposed_at)),
        "expiresAt": _time(_moment(row.expires_at)),
    }


def _dispute(row: Question) -> dict[str, Any] | None:
    if row.disputer is None:
        return None
    return {
        "disputer": row.disputer,
        "payouts": _texts(row.disputed_payouts),
        "stake": str(row.dispute_stake),
        "disputedAt": _time(_moment(row.disputed_at)),
    }


def _vote(vote: Vote | None) -> dict[str, Any] | None:
    if vote is None:
        return None
    return {
        "voter": vote.voter,
        "commitHash": vote.commit_hash,
        "payouts": _texts(vote.payouts),
        "weight": None if vote.weight is None else str(vote.weight),
        "committedAt": _time(_moment(vote.committed_at)),
        "revealedAt": _time(_moment(vote.revealed_at)),
    }


def _texts(numbers: list[int] | None) -> list[str] | None:
    return None if numbers is None else [str(number) for number in numbers]


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else from_seconds(seconds)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
