"""Events -> oracle rows. Each function is one event's effect; its keyword arguments are the event's fields."""

from functools import partial

from markets.book import ApplyError, Book, LogPosition
from markets.chaintime import clamped
from markets.identity import event_row_id, row_id
from oracle import feeds
from oracle.rows import Question, QuestionEvent, Vote

WRITE_ORDER = (Question, Vote, QuestionEvent)


def question_registered(
    book: Book, at: LogPosition, question_id: str, outcome_slot_count: int, is_binary: bool
) -> None:
    if outcome_slot_count > 256:
        raise ApplyError(f"{outcome_slot_count} outcome slots, where 256 is the most")
    question = book.add(
        Question(
            id=row_id("question", question_id),
            question_id=question_id,
            outcome_slot_count=outcome_slot_count,
            is_binary=is_binary,
            registered_at=at.timestamp,
            block_number=at.block_number,
            log_index=at.log_index,
            updated_at=at.timestamp,
        )
    )
    _stepped(book, at, question, "QuestionRegistered")


def outcome_proposed(
    book: Book,
    at: LogPosition,
    question_id: str,
    proposer: str,
    payouts: tuple[int, ...],
    stake: int,
    expires_at: int,
) -> None:
    """A proposal; one that replaces a stale one also ends that one's dispute and votes."""
    question = _changing(book, at, question_id)
    question.proposer = proposer
    question.proposed_payouts = list(payouts)
    question.proposal_stake = stake
    question.proposed_at = at.timestamp
    question.expires_at = clamped(expires_at)
    question.disputer = question.disputed_payouts = question.dispute_stake = question.disputed_at = None
    _stepped(book, at, question, "OutcomeProposed")


def proposal_disputed(
    book: Book, at: LogPosition, question_id: str, disputer: str, payouts: tuple[int, ...], stake: int
) -> None:
    question = _changing(book, at, question_id)
    question.disputer = disputer
    question.disputed_payouts = list(payouts)
    question.dispute_stake = stake
    question.disputed_at = at.timestamp
    _stepped(book, at, question, "ProposalDisputed")


def vote_committed(book: Book, at: LogPosition, question_id: str, voter: str, commit_hash: str) -> None:
    question = _changing(book, at, question_id)
    vote_id = _vote_id(question, voter)
    vote = book.get(Vote, vote_id)
    if vote is None:
        vote = Vote(
            id=vote_id, question_id=question_id, voter=voter, commit_hash=commit_hash, committed_at=at.timestamp
        )
        book.add(vote)
    else:
        book.change(vote)
        vote.commit_hash, vote.committed_at = commit_hash, at.timestamp
    _stepped(book, at, question, "VoteCommitted", vote)


def vote_revealed(
    book: Book, at: LogPosition, question_id: str, voter: str, payouts: tuple[int, ...], weight: int
) -> None:
    question = _changing(book, at, question_id)
    vote = book.get(Vote, _vote_id(question, voter))
    if vote is None:
        raise ApplyError(f"{voter} reveals a vote on {question_id} that was not committed")
    book.change(vote)
    vote.payouts = list(payouts)
    vote.weight = weight
    vote.revealed_at = at.timestamp
    _stepped(book, at, question, "VoteRevealed", vote)


def question_resolved(book: Book, at: LogPosition, question_id: str, payouts: tuple[int, ...]) -> None:
    question = _changing(book, at, question_id)
    question.payouts = list(payouts)
    question.resolved_at = at.timestamp
    _stepped(book, at, question, "QuestionResolved")


def question_voided(book: Book, at: LogPosition, question_id: str) -> None:
    """Voided questions pay every outcome alike (AurumOracle.sol, voidQuestion)."""
    question = _changing(book, at, question_id)
    if question.outcome_slot_count:
        question.payouts = [10**18 // question.outcome_slot_count] * question.outcome_slot_count
    question.voided_at = at.timestamp
    _stepped(book, at, question, "QuestionVoided")


def _vote_id(question: Question, voter: str) -> str:
    """A vote belongs to a dispute, so that a question disputed anew starts with none."""
    return row_id("vote", question.question_id, question.disputed_at, voter)


def _changing(book: Book, at: LogPosition, question_id: str) -> Question:
    """The question, about to be changed."""
    question = book.get(Question, row_id("question", question_id))
    if question is None:
        raise ApplyError(f"no question {question_id} is registered")
    book.change(question).updated_at = at.timestamp
    return question


def _stepped(book: Book, at: LogPosition, question: Question, event: str, vote: Vote | None = None) -> None:
    """Puts the step that the question has made on its timeline, and tells of it."""
    entry_id = event_row_id("question_event", at.block_number, at.log_index, at.transaction_hash)
    book.append(QuestionEvent(id=entry_id, question_id=question.question_id, event=event, **at.emitted()))
    for channel, scope in feeds.channels_of(question.question_id):
        message = partial(feeds.oracle_update, question, event, vote, at.timestamp)
        book.publish(channel, lambda message=message, scope=scope: message() | scope, at)  # type: ignore[misc]
