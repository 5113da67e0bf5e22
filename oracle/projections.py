"""Events -> oracle rows. Each function is one event's effect; its keyword arguments are the event's fields.

What AurumOracle.sol does not let happen is noted (anomalies.py), and applied all the same. Only what has nothing to be
applied to fails: an event of a question that is not registered, or one of more outcomes than a condition can have.
"""

from functools import partial
from typing import Any

from markets.book import ApplyError, Book, LogPosition
from markets.chaintime import clamped, from_seconds
from markets.identity import event_row_id, row_id
from oracle import anomalies, feeds, lifecycle
from oracle.rows import Question, QuestionAnomaly, QuestionEvent, Vote, facts
from oracle.tally import Side, leading, weights_of

WRITE_ORDER = (Question, Vote, QuestionEvent, QuestionAnomaly)
MOST_OUTCOMES = 256  # of a condition
NOT_COMMITTED = "0x" + "00" * 32  # what the contract has for a voter without a commitment


def question_registered(
    book: Book, at: LogPosition, question_id: str, outcome_slot_count: int, is_binary: bool
) -> None:
    """Registered a second time, a question stays what it was first: its condition counts those outcomes."""
    if outcome_slot_count > MOST_OUTCOMES:
        raise ApplyError(f"{outcome_slot_count} outcome slots, where {MOST_OUTCOMES} is the most")
    question = book.get(Question, row_id("question", question_id))
    if question is not None:
        problems = anomalies.of_step("QuestionRegistered", _state(question, at))
        _stepped(book, at, question, "QuestionRegistered", problems)
        return
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
    _stepped(book, at, question, "QuestionRegistered", anomalies.of_registration(outcome_slot_count))


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
    problems = anomalies.of_step("OutcomeProposed", _state(question, at)) + anomalies.of_proposal(
        payouts,
        stake,
        outcomes=question.outcome_slot_count,
        is_binary=question.is_binary,
        proposed_at=at.timestamp,
        expires_at=expires_at,
    )
    question.proposer = proposer
    question.proposed_payouts = list(payouts)
    question.proposal_stake = stake
    question.proposed_at = at.timestamp
    question.expires_at = clamped(expires_at)
    question.disputer = question.disputed_payouts = question.dispute_stake = question.disputed_at = None
    _stepped(book, at, question, "OutcomeProposed", problems)


def proposal_disputed(
    book: Book, at: LogPosition, question_id: str, disputer: str, payouts: tuple[int, ...], stake: int
) -> None:
    question = _changing(book, at, question_id)
    problems = anomalies.of_step("ProposalDisputed", _state(question, at)) + anomalies.of_dispute(
        payouts,
        stake,
        disputer=disputer,
        outcomes=question.outcome_slot_count,
        proposer=question.proposer,
        proposed=question.proposed_payouts,
    )
    question.disputer = disputer
    question.disputed_payouts = list(payouts)
    question.dispute_stake = stake
    question.disputed_at = at.timestamp
    _stepped(book, at, question, "ProposalDisputed", problems)


def vote_committed(book: Book, at: LogPosition, question_id: str, voter: str, commit_hash: str) -> None:
    question = _changing(book, at, question_id)
    vote, is_new = _vote(book, at, question, voter)
    problems = anomalies.of_step("VoteCommitted", _state(question, at))
    problems += anomalies.of_commitment(is_committed=not is_new)
    vote.commit_hash, vote.committed_at = commit_hash, at.timestamp
    _stepped(book, at, question, "VoteCommitted", problems, vote)


def vote_revealed(
    book: Book, at: LogPosition, question_id: str, voter: str, payouts: tuple[int, ...], weight: int
) -> None:
    """The chain has counted the vote, committed or not; that the hash fits is the contract's check, by a salt that no
    event tells."""
    question = _changing(book, at, question_id)
    vote, is_new = _vote(book, at, question, voter)
    problems = anomalies.of_step("VoteRevealed", _state(question, at)) + anomalies.of_reveal(
        payouts,
        is_committed=not is_new,
        is_revealed=vote.revealed_at is not None,
        sides=(question.proposed_payouts, question.disputed_payouts),
    )
    vote.payouts = list(payouts)
    vote.weight = weight
    vote.revealed_at = at.timestamp
    _stepped(book, at, question, "VoteRevealed", problems, vote)


def question_resolved(book: Book, at: LogPosition, question_id: str, payouts: tuple[int, ...]) -> None:
    """Of a question that is settled already, the first payouts stand: ConditionalTokens takes no others."""
    question = _changing(book, at, question_id)
    problems = anomalies.of_step("QuestionResolved", _state(question, at)) + anomalies.of_resolution(
        payouts,
        standing=_standing_payouts(book, question),
        sides=(question.proposed_payouts, question.disputed_payouts),
    )
    if not _is_settled(question):
        question.payouts = list(payouts)
        question.resolved_at = at.timestamp
    _stepped(book, at, question, "QuestionResolved", problems)


def question_voided(book: Book, at: LogPosition, question_id: str) -> None:
    """Voided questions pay every outcome alike (AurumOracle.sol, voidQuestion)."""
    question = _changing(book, at, question_id)
    problems = anomalies.of_step("QuestionVoided", _state(question, at))
    if not _is_settled(question):
        if question.outcome_slot_count:
            question.payouts = [10**18 // question.outcome_slot_count] * question.outcome_slot_count
        question.voided_at = at.timestamp
    _stepped(book, at, question, "QuestionVoided", problems)


def _state(question: Question, at: LogPosition) -> lifecycle.State:
    """What the question is when the event comes."""
    return lifecycle.state_at(facts(question), from_seconds(at.timestamp))


def _is_settled(question: Question) -> bool:
    return question.resolved_at is not None or question.voided_at is not None


def _standing_payouts(book: Book, question: Question) -> list[int] | None:
    """What the question must be resolved with; None where nothing is proposed."""
    proposed, disputed, disputed_at = question.proposed_payouts, question.disputed_payouts, question.disputed_at
    if proposed is None or disputed is None or disputed_at is None:
        return proposed
    votes = [
        vote for vote in book.rows_of(Vote, "question_id", question.question_id) if vote.committed_at >= disputed_at
    ]
    side = leading(proposed, disputed, weights_of((vote.payouts, vote.weight) for vote in votes))
    return disputed if side is Side.DISPUTE else proposed


def _vote(book: Book, at: LogPosition, question: Question, voter: str) -> tuple[Vote, bool]:
    """The voter's vote, about to be changed, and whether it is new.

    It belongs to a dispute, so that a question that is disputed anew starts with none.
    """
    vote_id = row_id("vote", question.question_id, question.disputed_at, voter)
    vote = book.get(Vote, vote_id)
    if vote is not None:
        return book.change(vote), False
    new = Vote(
        id=vote_id,
        question_id=question.question_id,
        voter=voter,
        commit_hash=NOT_COMMITTED,
        committed_at=at.timestamp,
    )
    return book.add(new), True


def _changing(book: Book, at: LogPosition, question_id: str) -> Question:
    """The question, about to be changed."""
    question = book.get(Question, row_id("question", question_id))
    if question is None:
        raise ApplyError(f"no question {question_id} is registered")
    book.change(question).updated_at = at.timestamp
    return question


def _stepped(
    book: Book, at: LogPosition, question: Question, event: str, problems: list[str], vote: Vote | None = None
) -> None:
    """Puts the step that the question has made on its timeline, with what is wrong with it, and tells of it."""
    place = (at.block_number, at.log_index, at.transaction_hash)
    of: dict[str, Any] = {"question_id": question.question_id, "event": event} | at.emitted()
    book.append(QuestionEvent(id=event_row_id("question_event", *place), **of))
    for sequence, problem in enumerate(problems):
        anomaly_id = event_row_id("question_anomaly", *place, sequence)
        book.append(QuestionAnomaly(id=anomaly_id, **of, problem=problem))
    for channel, scope in feeds.channels_of(question.question_id):
        message = partial(feeds.oracle_update, question, event, vote, at.timestamp)
        book.publish(channel, lambda message=message, scope=scope: message() | scope, at)  # type: ignore[misc]
