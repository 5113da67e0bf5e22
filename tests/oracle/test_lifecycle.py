"""States of a question at every boundary, in Python and in SQL."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from oracle.lifecycle import ACTIONS, Facts, State, available_actions, deadlines, is_stale, state_at
from oracle.models import Question
from oracle.serializers import facts as facts_of
from tests import factories
from tests.factories import START

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# A proposal at START with a challenge period of two hours; a dispute one hour later.
EXPIRES = START + 2 * HOUR
DISPUTED = START + HOUR
LAST = datetime(9999, 12, 31, 23, 59, 57, tzinfo=UTC)
PROPOSAL = {"proposed_at": START, "expires_at": EXPIRES}
DISPUTE = PROPOSAL | {"disputed_at": DISPUTED}

TRUTH: list[tuple[str, dict[str, datetime], datetime, State]] = [
    ("nothing said", {}, START, State.REGISTERED),
    ("nothing said for years", {}, START + 4000 * DAY, State.REGISTERED),
    ("just proposed", PROPOSAL, START, State.PROPOSED),
    ("a second before the period ends", PROPOSAL, EXPIRES - SECOND, State.PROPOSED),
    ("the period has ended", PROPOSAL, EXPIRES, State.RESOLVABLE),
    ("a moment before it is stale", PROPOSAL, START + 7 * DAY, State.RESOLVABLE),
    ("stale: it waits for another proposal", PROPOSAL, START + 7 * DAY + SECOND, State.REGISTERED),
    ("stale while disputed", DISPUTE, START + 7 * DAY + SECOND, State.REGISTERED),
    ("proposed in the chain's last days", {"proposed_at": LAST, "expires_at": LAST}, LAST, State.RESOLVABLE),
    ("disputed in the chain's last days", {"proposed_at": LAST, "disputed_at": LAST}, LAST, State.COMMITTING),
    ("just disputed", DISPUTE, DISPUTED, State.COMMITTING),
    ("disputed, challenge period over", DISPUTE, EXPIRES, State.COMMITTING),
    ("a second before commits end", DISPUTE, DISPUTED + DAY - SECOND, State.COMMITTING),
    ("commits have ended", DISPUTE, DISPUTED + DAY, State.REVEALING),
    ("a second before reveals end", DISPUTE, DISPUTED + 2 * DAY - SECOND, State.REVEALING),
    ("reveals have ended", DISPUTE, DISPUTED + 2 * DAY, State.RESOLVABLE),
    ("resolved", PROPOSAL | {"resolved_at": EXPIRES}, EXPIRES, State.RESOLVED),
    ("resolved after a dispute", DISPUTE | {"resolved_at": EXPIRES}, EXPIRES, State.RESOLVED),
    ("resolved without a proposal", {"resolved_at": START}, START, State.RESOLVED),
    ("voided", {"voided_at": START}, START, State.VOIDED),
    ("voided while disputed", DISPUTE | {"voided_at": EXPIRES}, EXPIRES, State.VOIDED),
    ("voided and resolved", {"voided_at": START, "resolved_at": START}, START, State.VOIDED),
]
CASES = pytest.mark.parametrize(
    ("known", "now", "state"), [case[1:] for case in TRUTH], ids=[case[0] for case in TRUTH]
)


@CASES
def test_state_at(known: dict[str, datetime], now: datetime, state: State) -> None:
    assert state_at(Facts(**known), now) is state


@pytest.mark.django_db
@CASES
def test_the_query_agrees(known: dict[str, Any], now: datetime, state: State) -> None:
    factories.make_question(**known)
    found = [candidate for candidate in State if Question.objects.in_state(candidate, now).exists()]
    assert found == [state]


@pytest.mark.django_db
@CASES
def test_a_market_shows_the_state_of_its_question(
    client: Client, known: dict[str, Any], now: datetime, state: State
) -> None:
    question = factories.make_question(**known)
    market = factories.make_market(question_id=question.question_id)
    factories.make_checkpoint(block_timestamp=now)
    assert client.get(f"/api/markets/{market.market_id}").json()["oracleState"] == state


@pytest.mark.django_db
def test_the_query_agrees_for_all_questions_at_all_boundaries() -> None:
    """Each question is in exactly the state that Python says, at each time that matters to any."""
    for _, known, _, _ in TRUTH:
        factories.make_question(**known)
    boundaries = {now + shift for _, _, now, _ in TRUTH for shift in (-SECOND, timedelta(0), SECOND)}
    questions = list(Question.objects.all())
    assert len(questions) == len(TRUTH)
    for now in boundaries:
        expected: dict[State, set[Any]] = {state: set() for state in State}
        for question in questions:
            expected[state_at(facts_of(question), now)].add(question.pk)
        found = {state: set(Question.objects.in_state(state, now).values_list("pk", flat=True)) for state in State}
        assert found == expected


@pytest.mark.parametrize(
    ("known", "now", "stale"),
    [
        ({}, START + 30 * DAY, False),
        (PROPOSAL, START + 7 * DAY, False),
        (PROPOSAL, START + 7 * DAY + SECOND, True),
        (DISPUTE, START + 7 * DAY + SECOND, True),
        (PROPOSAL | {"resolved_at": EXPIRES}, START + 8 * DAY, False),
        (PROPOSAL | {"voided_at": EXPIRES}, START + 8 * DAY, False),
    ],
)
def test_is_stale(known: dict[str, datetime], now: datetime, stale: bool) -> None:
    assert is_stale(Facts(**known), now) is stale


def test_deadlines_of_what_has_not_begun() -> None:
    assert deadlines(Facts()) == {"challenge": None, "commit": None, "reveal": None, "stale": None}


def test_deadlines_of_a_dispute() -> None:
    assert deadlines(Facts(**DISPUTE)) == {
        "challenge": EXPIRES,
        "commit": DISPUTED + DAY,
        "reveal": DISPUTED + 2 * DAY,
        "stale": START + 7 * DAY,
    }


@pytest.mark.parametrize(
    ("known", "now", "actions"),
    [
        ({}, START, ("propose", "void")),
        (PROPOSAL, START, ("dispute", "void")),
        (PROPOSAL, EXPIRES, ("finalize", "void")),
        (DISPUTE, DISPUTED, ("commit", "void")),
        (DISPUTE, DISPUTED + DAY, ("reveal", "void")),
        (DISPUTE, DISPUTED + 2 * DAY, ("finalize", "void")),
        (PROPOSAL, START + 7 * DAY + SECOND, ("propose", "void")),
        (PROPOSAL | {"resolved_at": EXPIRES}, START + 30 * DAY, ()),
        ({"voided_at": START}, START, ()),
    ],
)
def test_available_actions(known: dict[str, datetime], now: datetime, actions: tuple[str, ...]) -> None:
    assert available_actions(Facts(**known), now) == actions


def test_every_state_has_its_actions() -> None:
    assert set(ACTIONS) == set(State)
