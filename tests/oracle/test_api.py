"""REST of oracle questions."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from oracle.models import Question
from tests import factories
from tests.factories import START
from tests.problems import problem_of

pytestmark = pytest.mark.django_db

PATH = "/api/oracle/questions"
QUESTION_ID = "0x" + "9e" * 32
PROPOSER = "0x" + "b1" * 20
DISPUTER = "0x" + "b2" * 20
FIRST_VOTER = "0x" + "01" * 20
SECOND_VOTER = "0x" + "02" * 20
THIRD_VOTER = "0x" + "03" * 20
TRANSACTION = "0x" + "7a" * 32
HOUR = timedelta(hours=1)


def get(client: Client, path: str, **query: object) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content[:500]
    return response.json()


@pytest.fixture
def disputed() -> Question:
    """Proposed at START, disputed an hour later; two votes revealed alike, one against, all in the reveal period."""
    question = factories.make_question(
        question_id=QUESTION_ID,
        registered_at=START,
        updated_at=START + 26 * HOUR,
        block_number=1_000,
        proposer=PROPOSER,
        proposed_payouts=[10**18, 0],
        proposal_stake=100 * 10**18,
        proposed_at=START,
        expires_at=START + 2 * HOUR,
        disputer=DISPUTER,
        disputed_payouts=[0, 10**18],
        dispute_stake=100 * 10**18,
        disputed_at=START + HOUR,
    )
    for voter, payouts, weight in ((SECOND_VOTER, [0, 1], 5), (FIRST_VOTER, [0, 1], 6), (THIRD_VOTER, [1, 0], 2**256)):
        factories.make_vote(
            question,
            voter=voter,
            commit_hash="0x" + "cc" * 32,
            committed_at=START + 2 * HOUR,
            payouts=payouts,
            weight=weight,
            revealed_at=START + 26 * HOUR,
        )
    # Not revealed, and one on an earlier proposal that was replaced.
    factories.make_vote(question, voter="0x" + "04" * 20, committed_at=START + 3 * HOUR)
    factories.make_vote(question, voter="0x" + "05" * 20, committed_at=START, payouts=[1, 0], weight=10**30)
    return question


def test_a_disputed_question(client: Client, disputed: Question) -> None:
    market = factories.make_market(question_id=QUESTION_ID)
    factories.make_checkpoint(block_timestamp=START + 26 * HOUR)
    body = get(client, f"{PATH}/{QUESTION_ID}")
    timeline = disputed.timeline.get()
    votes = body.pop("votes")
    assert body == {
        "id": str(disputed.id),
        "questionId": QUESTION_ID,
        "marketId": market.market_id,
        "market": {
            "marketId": market.market_id,
            "question": market.question,
            "outcomes": ["Yes", "No"],
            "metadata": {"category": "", "description": "", "imageUrl": "", "resolutionSource": ""},
        },
        "outcomeSlotCount": 2,
        "isBinary": True,
        "state": "revealing",
        "proposal": {
            "proposer": PROPOSER,
            "payouts": ["1000000000000000000", "0"],
            "stake": "100000000000000000000",
            "proposedAt": "2026-01-01T00:00:00Z",
            "expiresAt": "2026-01-01T02:00:00Z",
        },
        "dispute": {
            "disputer": DISPUTER,
            "payouts": ["0", "1000000000000000000"],
            "stake": "100000000000000000000",
            "disputedAt": "2026-01-01T01:00:00Z",
        },
        "tally": [
            {"payouts": ["1", "0"], "weight": str(2**256), "side": None},
            {"payouts": ["0", "1"], "weight": "11", "side": None},
        ],
        "leading": "proposal",
        "payouts": None,
        "deadlines": {
            "challenge": "2026-01-01T02:00:00Z",
            "commit": "2026-01-02T01:00:00Z",
            "reveal": "2026-01-03T01:00:00Z",
            "stale": "2026-01-08T00:00:00Z",
        },
        "availableActions": ["reveal", "void"],
        "actors": [
            {"action": "reveal", "who": "committed_voters", "stake": None},
            {"action": "void", "who": "oracle_admin", "stake": None},
        ],
        "anomalies": [],
        "timeline": [
            {
                "event": "QuestionRegistered",
                "blockNumber": 1_000,
                "transactionHash": timeline.transaction_hash,
                "logIndex": 0,
                "timestamp": "2026-01-01T00:00:00Z",
            }
        ],
        "registeredAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-02T02:00:00Z",
    }
    assert [vote["voter"] for vote in votes] == [FIRST_VOTER, SECOND_VOTER, THIRD_VOTER, "0x" + "04" * 20]
    assert votes[0] == {
        "voter": FIRST_VOTER,
        "commitHash": "0x" + "cc" * 32,
        "payouts": ["0", "1"],
        "weight": "6",
        "committedAt": "2026-01-01T02:00:00Z",
        "revealedAt": "2026-01-02T02:00:00Z",
    }
    assert (votes[3]["payouts"], votes[3]["weight"], votes[3]["revealedAt"]) == (None, None, None)


def test_a_question_of_which_nothing_is_known_yet(client: Client) -> None:
    question = factories.make_question()
    body = get(client, f"{PATH}/{question.question_id}")
    nothing = ("marketId", "market", "leading", "proposal", "dispute", "payouts")
    assert {name: body[name] for name in nothing} == dict.fromkeys(nothing)
    assert (body["state"], body["votes"], body["tally"]) == ("registered", [], [])
    assert body["deadlines"] == {"challenge": None, "commit": None, "reveal": None, "stale": None}
    assert body["availableActions"] == ["propose", "void"]


def test_the_timeline_is_in_chain_order(client: Client) -> None:
    question = factories.make_question(block_number=1_000)
    for event, block_number, log_index in (
        ("QuestionResolved", 1_200, 0),
        ("ProposalDisputed", 1_100, 9),
        ("OutcomeProposed", 1_100, 2),
    ):
        factories.make_question_event(question, event=event, block_number=block_number, log_index=log_index)
    steps = [step["event"] for step in get(client, f"{PATH}/{question.id}")["timeline"]]
    assert steps == ["QuestionRegistered", "OutcomeProposed", "ProposalDisputed", "QuestionResolved"]


@pytest.mark.parametrize(
    ("after", "state", "actions"),
    [
        (timedelta(0), "proposed", ["dispute", "void"]),
        (2 * HOUR - timedelta(seconds=1), "proposed", ["dispute", "void"]),
        (2 * HOUR, "resolvable", ["finalize", "void"]),
        (timedelta(days=8), "registered", ["propose", "void"]),
    ],
)
def test_the_state_is_that_of_the_indexed_blocks_time(
    client: Client, after: timedelta, state: str, actions: list[str]
) -> None:
    question = factories.make_question(
        proposer=PROPOSER, proposed_payouts=[1, 0], proposal_stake=1, proposed_at=START, expires_at=START + 2 * HOUR
    )
    factories.make_checkpoint(block_timestamp=START + after)
    body = get(client, f"{PATH}/{question.id}")
    assert (body["state"], body["availableActions"]) == (state, actions)
    for candidate in ("registered", "proposed", "committing", "revealing", "resolvable", "resolved", "voided"):
        found = get(client, PATH, state=candidate)["results"]
        assert len(found) == (candidate == state)


def test_a_question_is_found_by_either_id_in_any_case(client: Client) -> None:
    question = factories.make_question(question_id=QUESTION_ID)
    for name in (str(question.id), str(question.id).upper(), QUESTION_ID, "0x" + QUESTION_ID[2:].upper()):
        assert get(client, f"{PATH}/{name}")["id"] == str(question.id)


@pytest.mark.parametrize("name", ["1", "0x", QUESTION_ID[:-2], "0x" + "zz" * 32, "a%00b"])
def test_a_malformed_id_is_400(client: Client, name: str) -> None:
    assert set(problem_of(client.get(f"{PATH}/{name}"), 400)["errors"]) == {"id"}


@pytest.mark.parametrize("name", [QUESTION_ID, "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_question_is_404(client: Client, name: str) -> None:
    problem_of(client.get(f"{PATH}/{name}"), 404)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("state=open", "state"),
        ("state=proposed&state=voided", "state"),
        ("market=0x12", "market"),
        ("market=a%00b", "market"),
        ("limit=201", "limit"),
        ("cursor=abc", "cursor"),
        ("question=1", "question"),
    ],
)
def test_a_bad_parameter_is_400(client: Client, query: str, name: str) -> None:
    assert set(problem_of(client.get(f"{PATH}?{query}"), 400)["errors"]) == {name}


def test_a_question_takes_no_parameters(client: Client) -> None:
    factories.make_question(question_id=QUESTION_ID)
    assert set(problem_of(client.get(f"{PATH}/{QUESTION_ID}?state=voided"), 400)["errors"]) == {"state"}


def test_by_market(client: Client) -> None:
    question = factories.make_question()
    market = factories.make_market(question_id=question.question_id)
    other = factories.make_question()
    found = get(client, PATH, market=market.market_id.upper().replace("X", "x"))["results"]
    assert [(row["id"], row["marketId"]) for row in found] == [(str(question.id), market.market_id)]
    assert get(client, PATH, market=other.question_id)["results"] == []


def test_the_newest_first_and_page_by_page(client: Client) -> None:
    made = [str(factories.make_question(block_number=2_000, log_index=index).id) for index in range(5)]
    pages = []
    url: str | None = f"{PATH}?limit=2"
    while url and len(pages) <= 3:
        page = get(client, url)
        pages.append([row["id"] for row in page["results"]])
        url = page["next"]
    assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_405(client: Client, method: str) -> None:
    for path in (PATH, f"{PATH}/{QUESTION_ID}"):
        problem_of(getattr(client, method)(path, data="{}", content_type="application/json"), 405)


def test_a_page_of_200_costs_a_few_queries(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    factories.make_checkpoint()
    for _ in range(200):
        question = factories.make_question(disputed_at=START)
        factories.make_vote(question)
        factories.make_market(question_id=question.question_id, reserves=None)
    with django_assert_num_queries(10):
        rows = get(client, PATH, limit=200)["results"]
    assert len(rows) == 200
    assert all(len(row["votes"]) == len(row["timeline"]) == 1 and row["marketId"] for row in rows)
