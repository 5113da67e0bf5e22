"""The rows that the oracle's projections write: the columns of the models of the same names."""

from datetime import datetime

from markets.chaintime import from_seconds
from markets.rows import Emitted
from markets.table import Row, table_of
from oracle import lifecycle, models


@table_of(models.Question)
class Question(Row, gc=False):
    question_id: str
    outcome_slot_count: int
    is_binary: bool
    registered_at: int
    block_number: int
    log_index: int
    updated_at: int
    proposer: str | None = None
    proposed_payouts: list[int] | None = None
    proposal_stake: int | None = None
    proposed_at: int | None = None
    expires_at: int | None = None
    disputer: str | None = None
    disputed_payouts: list[int] | None = None
    dispute_stake: int | None = None
    disputed_at: int | None = None
    payouts: list[int] | None = None
    resolved_at: int | None = None
    voided_at: int | None = None


@table_of(models.Vote)
class Vote(Row, gc=False):
    question_id: str
    voter: str
    commit_hash: str
    committed_at: int
    payouts: list[int] | None = None
    weight: int | None = None
    revealed_at: int | None = None


@table_of(models.QuestionEvent)
class QuestionEvent(Emitted, gc=False):
    question_id: str
    event: str


@table_of(models.QuestionAnomaly)
class QuestionAnomaly(Emitted, gc=False):
    question_id: str
    event: str
    problem: str


def facts(row: Question) -> lifecycle.Facts:
    """What lifecycle.py needs of a row."""
    return lifecycle.Facts(
        proposed_at=_moment(row.proposed_at),
        expires_at=_moment(row.expires_at),
        disputed_at=_moment(row.disputed_at),
        resolved_at=_moment(row.resolved_at),
        voided_at=_moment(row.voided_at),
    )


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else from_seconds(seconds)
