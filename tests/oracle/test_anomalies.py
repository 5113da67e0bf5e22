"""What the contract does not let happen is noted, applied, and undone like everything else."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from indexer import events
from indexer.handlers import WRITE_ORDER, apply_event
from indexer.ledger import rewind
from indexer.models import IndexedEvent
from markets.book import ApplyError, Book, LogPosition
from markets.chaintime import from_seconds
from markets.models import Checkpoint
from oracle.lifecycle import TRANSITIONS, State, state_at
from oracle.models import Question, QuestionAnomaly, Vote
from oracle.serializers import facts
from tests import factories
from tests.batches import LEDGER, append, empty, from_scratch, header_of
from tests.factories import hex_id
from tests.fakes import FakeChain
from tests.faults.world import AURUM_ORACLE, log
from tests.snapshots import FEED, database

pytestmark = pytest.mark.django_db

ONE, HOUR, DAY, WEEK = 10**18, 3600, 86_400, 7 * 86_400
STAKE = 100 * ONE
QUESTION = hex_id("question", 7)
PROPOSER, DISPUTER, VOTER, OTHER = (factories.address("actor", number) for number in range(4))
YES, NO = (ONE, 0), (0, ONE)
HASH = hex_id("commitment", 1)
ZEROS = "0x" + "00" * 32

REGISTERED = events.QuestionRegistered(QUESTION, 2, True)
PROPOSED = events.OutcomeProposed(QUESTION, PROPOSER, YES, STAKE, 2 * HOUR)
DISPUTED = events.ProposalDisputed(QUESTION, DISPUTER, NO, STAKE)
COMMITTED = events.VoteCommitted(QUESTION, VOTER, HASH)
FOR, AGAINST = events.VoteRevealed(QUESTION, VOTER, YES, 5), events.VoteRevealed(QUESTION, VOTER, NO, 5)
YES_IT_IS, NO_IT_IS = events.QuestionResolved(QUESTION, YES), events.QuestionResolved(QUESTION, NO)
VOIDED = events.QuestionVoided(QUESTION)

Step = tuple[int, events.ChainEvent]  # seconds behind the proposal, event
OPEN: list[Step] = [(-1, REGISTERED)]
PENDING: list[Step] = [*OPEN, (0, PROPOSED)]
VOTING: list[Step] = [*PENDING, (HOUR, DISPUTED)]
COUNTED: list[Step] = [*VOTING, (2 * HOUR, COMMITTED), (26 * HOUR, AGAINST)]
DONE: list[Step] = [*PENDING, (2 * HOUR, YES_IT_IS)]


def out_of_place(event: str, state: str, *places: str) -> str:
    return f"{event} of a question that is {state}, not {' or '.join(places)}"


# A history as the contract gives it; one event more; what is wrong with that one.
TRUTH: list[tuple[str, list[Step], Step, list[str]]] = [
    ("registered", [], (0, REGISTERED), []),
    ("registered twice", OPEN, (0, REGISTERED), [out_of_place("QuestionRegistered", "registered", "not registered")]),
    ("of one outcome", [], (0, events.QuestionRegistered(QUESTION, 1, False)), ["1 outcomes"]),
    ("proposed", OPEN, (0, PROPOSED), []),
    ("proposed twice", PENDING, (1, events.OutcomeProposed(QUESTION, OTHER, NO, STAKE, 1 + 2 * HOUR)),
     [out_of_place("OutcomeProposed", "proposed", "registered")]),
    ("proposed anew, the first being stale", PENDING,
     (WEEK + 1, events.OutcomeProposed(QUESTION, OTHER, NO, STAKE, WEEK + 1 + 2 * HOUR)), []),
    ("proposed a second too early for that", PENDING,
     (WEEK, events.OutcomeProposed(QUESTION, OTHER, NO, STAKE, WEEK + 2 * HOUR)),
     [out_of_place("OutcomeProposed", "resolvable", "registered")]),
    ("proposed when it is resolved", DONE, (DAY, events.OutcomeProposed(QUESTION, OTHER, NO, STAKE, DAY + 2 * HOUR)),
     [out_of_place("OutcomeProposed", "resolved", "registered")]),
    ("the period of another kind of question", OPEN, (0, events.OutcomeProposed(QUESTION, PROPOSER, YES, STAKE, DAY)),
     ["a challenge period of 86400 s, where 7200 s is a binary question's"]),
    ("it ended before it began", OPEN, (HOUR, events.OutcomeProposed(QUESTION, PROPOSER, YES, STAKE, 0)),
     ["a challenge period of -3600 s, where 7200 s is a binary question's"]),
    ("too many payouts, too much, too little stake", OPEN,
     (0, events.OutcomeProposed(QUESTION, PROPOSER, (ONE, 1, 0), 1, 2 * HOUR)),
     ["3 payouts for 2 outcomes", f"payouts that add up to {ONE + 1}, where 1 to {ONE} is allowed",
      f"a stake of 1, where {STAKE} is asked for"]),
    ("no payout", OPEN, (0, events.OutcomeProposed(QUESTION, PROPOSER, (0, 0), STAKE, 2 * HOUR)),
     [f"payouts that add up to 0, where 1 to {ONE} is allowed"]),
    ("disputed at the last second", PENDING, (2 * HOUR - 1, DISPUTED), []),
    ("disputed a second later", PENDING, (2 * HOUR, DISPUTED),
     [out_of_place("ProposalDisputed", "resolvable", "proposed")]),
    ("disputed twice", VOTING, (HOUR + 1, events.ProposalDisputed(QUESTION, OTHER, NO, STAKE)),
     [out_of_place("ProposalDisputed", "committing", "proposed")]),
    ("disputed by the proposer", PENDING, (1, events.ProposalDisputed(QUESTION, PROPOSER, NO, STAKE)),
     ["the proposer disputes the own proposal"]),
    ("disputed for the same", PENDING, (1, events.ProposalDisputed(QUESTION, DISPUTER, YES, STAKE)),
     ["a dispute for the same payouts as the proposal's"]),
    ("disputed before there is a proposal", OPEN, (1, DISPUTED),
     [out_of_place("ProposalDisputed", "registered", "proposed")]),
    ("committed", VOTING, (HOUR + DAY - 1, COMMITTED), []),
    ("committed a second too late", VOTING, (HOUR + DAY, COMMITTED),
     [out_of_place("VoteCommitted", "revealing", "committing")]),
    ("committed where nothing is disputed", PENDING, (1, COMMITTED),
     [out_of_place("VoteCommitted", "proposed", "committing")]),
    ("committed twice", [*VOTING, (HOUR + 1, COMMITTED)], (HOUR + 2, COMMITTED),
     ["the voter has committed already; this commitment replaces that one"]),
    ("revealed", [*VOTING, (HOUR, COMMITTED)], (HOUR + DAY, FOR), []),
    ("revealed at the last second", [*VOTING, (HOUR, COMMITTED)], (HOUR + 2 * DAY - 1, FOR), []),
    ("revealed too early", [*VOTING, (HOUR, COMMITTED)], (HOUR + DAY - 1, FOR),
     [out_of_place("VoteRevealed", "committing", "revealing")]),
    ("revealed too late", [*VOTING, (HOUR, COMMITTED)], (HOUR + 2 * DAY, FOR),
     [out_of_place("VoteRevealed", "resolvable", "revealing")]),
    ("revealed, not committed", VOTING, (HOUR + DAY, FOR), ["a vote is revealed that was not committed"]),
    ("revealed twice", COUNTED, (27 * HOUR, FOR), ["the voter has revealed already; this vote replaces that one"]),
    ("revealed for neither", [*VOTING, (HOUR, COMMITTED)],
     (HOUR + DAY, events.VoteRevealed(QUESTION, VOTER, (1, 1), 5)),
     ["a vote for payouts that are neither the proposal's nor the dispute's"]),
    ("resolved", PENDING, (2 * HOUR, YES_IT_IS), []),
    ("resolved too early", PENDING, (2 * HOUR - 1, YES_IT_IS),
     [out_of_place("QuestionResolved", "proposed", "resolvable")]),
    ("resolved out of nothing", OPEN, (DAY, YES_IT_IS),
     [out_of_place("QuestionResolved", "registered", "resolvable")]),
    ("resolved when stale", PENDING, (WEEK + 1, YES_IT_IS),
     [out_of_place("QuestionResolved", "registered", "resolvable")]),
    ("resolved otherwise", PENDING, (2 * HOUR, NO_IT_IS),
     ["resolved with payouts that are neither the proposal's nor the dispute's"]),
    ("resolved as the votes say", COUNTED, (HOUR + 2 * DAY, NO_IT_IS), []),
    ("resolved against the votes", COUNTED, (HOUR + 2 * DAY, YES_IT_IS),
     ["resolved with the payouts of the side that the votes are against"]),
    ("resolved without votes: a tie", VOTING, (HOUR + 2 * DAY, YES_IT_IS), []),
    ("a tie that the dispute wins", VOTING, (HOUR + 2 * DAY, NO_IT_IS),
     ["resolved with the payouts of the side that the votes are against"]),
    ("resolved with neither", COUNTED, (HOUR + 2 * DAY, events.QuestionResolved(QUESTION, (1, 1))),
     ["resolved with payouts that are neither the proposal's nor the dispute's"]),
    ("resolved twice", DONE, (2 * HOUR + 1, YES_IT_IS), [out_of_place("QuestionResolved", "resolved", "resolvable")]),
    ("resolved when voided", [*PENDING, (1, VOIDED)], (2 * HOUR, YES_IT_IS),
     [out_of_place("QuestionResolved", "voided", "resolvable")]),
    ("voided", OPEN, (0, VOIDED), []),
    ("voided when stale", PENDING, (WEEK + 1, VOIDED), []),
    ("voided when disputed", VOTING, (DAY, VOIDED), []),
    ("voided when resolved", DONE, (DAY, VOIDED), [out_of_place(
        "QuestionVoided", "resolved",
        "registered", "proposed", "disputed", "committing", "revealing", "resolvable")]),
]  # fmt: skip
START = 1_700_000_000


class _NoIds:
    def load(self, markets: Any) -> None:
        pass


def told(steps: list[Step]) -> None:
    """Applies the events, each in a block of its own, as a batch does."""
    book = Book(lambda number: "final", _NoIds(), amms=())  # type: ignore[arg-type]
    for number, (seconds, event) in enumerate(steps):
        if isinstance(event, events.OutcomeProposed):
            ends = max(0, START + event.expires_at)
            event = events.OutcomeProposed(event.question_id, event.proposer, event.payouts, event.stake, ends)
        at = LogPosition(
            number, hex_id("block", number), START + seconds, hex_id("transaction", number), 0, AURUM_ORACLE
        )
        apply_event(book, at, event)
    book.write(WRITE_ORDER)


def problems() -> list[tuple[int, str]]:
    return list(QuestionAnomaly.objects.order_by("block_number", "id").values_list("block_number", "problem"))


@pytest.mark.parametrize(("before", "step", "wrong"), [case[1:] for case in TRUTH], ids=[case[0] for case in TRUTH])
def test_what_is_wrong_with_an_event(before: list[Step], step: Step, wrong: list[str]) -> None:
    told([*before, step])
    assert problems() == [(len(before), problem) for problem in wrong]
    steps = Question.objects.get().timeline.order_by("block_number").values_list("event", flat=True)  # type: ignore[attr-defined]
    assert list(steps) == [type(event).__name__ for _, event in (*before, step)]


@pytest.mark.parametrize(
    ("before", "step"), [case[1:3] for case in TRUTH if not case[3]], ids=[case[0] for case in TRUTH if not case[3]]
)
def test_the_table_says_what_the_question_is_next(before: list[Step], step: Step) -> None:
    told([*before, step])
    seconds, event = step
    now = state_at(facts(Question.objects.get()), from_seconds(START + seconds))
    assert now in TRANSITIONS[type(event).__name__].values()


def test_every_event_of_the_oracle_has_its_row() -> None:
    ours = {event.__name__ for (contract, _), event in events.EVENTS.items() if contract == events.AURUM_ORACLE}
    assert set(TRANSITIONS) == ours


def test_the_first_settlement_stands() -> None:
    told([*DONE, (DAY, NO_IT_IS), (2 * DAY, VOIDED)])
    question = Question.objects.get()
    assert (question.payouts, question.voided_at) == (list(YES), None)
    assert question.resolved_at == from_seconds(START + 2 * HOUR)


def test_resolved_out_of_nothing_is_resolved() -> None:
    told([*OPEN, (DAY, NO_IT_IS)])
    question = Question.objects.get()
    assert (question.payouts, question.proposer) == (list(NO), None)
    assert state_at(facts(question), question.resolved_at) is State.RESOLVED  # type: ignore[arg-type]


def test_a_vote_that_nobody_saw_committed_counts_as_the_chain_has_counted_it(client: Client) -> None:
    told([*VOTING, (HOUR + DAY, AGAINST)])
    vote = Vote.objects.get()
    assert (vote.commit_hash, vote.committed_at, vote.revealed_at, vote.weight) == (
        ZEROS, from_seconds(START + HOUR + DAY), from_seconds(START + HOUR + DAY), 5,
    )  # fmt: skip
    body = client.get(f"/api/oracle/questions/{QUESTION}").json()
    assert body["tally"] == [{"payouts": ["0", str(ONE)], "weight": "5", "side": "dispute"}]
    assert body["leading"] == "dispute"
    assert body["anomalies"] == [
        {
            "event": "VoteRevealed",
            "problem": "a vote is revealed that was not committed",
            "blockNumber": 3,
            "transactionHash": hex_id("transaction", 3),
            "logIndex": 0,
            "timestamp": "2023-11-15T23:13:20Z",
        }
    ]


@pytest.mark.parametrize("event", [PROPOSED, DISPUTED, COMMITTED, FOR, YES_IT_IS, VOIDED])
def test_of_an_unknown_question_nothing_can_be_applied(event: events.ChainEvent) -> None:
    with pytest.raises(ApplyError, match="no question 0x"):
        told([(0, event)])


def test_more_outcomes_than_a_condition_has() -> None:
    with pytest.raises(ApplyError, match="257 outcome slots"):
        told([(0, events.QuestionRegistered(QUESTION, 257, False))])


# --- blocks that are replaced -----------------------------------------------------------------------------------------

DECLARED = {
    "register": "QuestionRegistered(bytes32 indexed questionId, uint256 outcomeSlotCount, bool isBinary)",
    "propose": "OutcomeProposed(bytes32 indexed questionId, address indexed proposer, uint256[] payouts, "
    "uint256 stake, uint256 expiresAt)",
    "dispute": "ProposalDisputed(bytes32 indexed questionId, address indexed disputer, uint256[] payouts, "
    "uint256 stake)",
    "reveal": "VoteRevealed(bytes32 indexed questionId, address indexed voter, uint256[] payouts, uint256 weight)",
    "resolve": "QuestionResolved(bytes32 indexed questionId, uint256[] payouts)",
}
VALUES: dict[str, Any] = {
    "questionId": QUESTION, "outcomeSlotCount": 2, "isBinary": True, "proposer": PROPOSER, "disputer": PROPOSER,
    "voter": VOTER, "payouts": [ONE, 0], "stake": 1, "expiresAt": 2**256 - 1, "weight": 2**256 - 1,
}  # fmt: skip


def mine(chain: FakeChain, *names: str) -> None:
    """Each event in a block of its own."""
    for name in names:
        chain.append([[log(AURUM_ORACLE, DECLARED[name], **VALUES)]])


def sizes(size: int) -> Iterator[int]:
    while True:
        yield size


def test_replaced_blocks_take_their_anomalies_along() -> None:
    chain = FakeChain()
    empty()
    mine(chain, "register", "propose", "dispute", "reveal", "register")
    append(chain, 5, finalized=0)
    before = problems()
    assert [number for number, _ in before] == [2, 2, 3, 3, 3, 4, 4, 5]
    chain.reorg(3, [])
    with transaction.atomic():
        rewind(Checkpoint.objects.select_for_update().get(), header_of(chain.blocks[2]))
    assert problems() == before[:2]
    mine(chain, "resolve", "resolve", "dispute")
    append(chain, 3, finalized=0)
    assert [number for number, _ in problems()] == [2, 2, 3, 4, 5, 5, 5, 5]
    assert IndexedEvent.objects.filter(processed=False).count() == 0
    lived = database(without=FEED)
    assert from_scratch(chain, 5, sizes(1), sizes(0)) == lived
    assert from_scratch(chain, 5, sizes(9), sizes(5)) == lived
    LEDGER.replay()
    assert database(without=FEED) == lived
    LEDGER.reset(to_block=2)
    assert problems() == before[:2]
