"""Asking, deciding and the wallet's switch: two people, one effect, and an audit of each step."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction

from operators.models import AuditEntry
from resolver import requests
from resolver.actions import calldata_of
from resolver.models import ActionState, ResolutionRequest, WalletAction, WalletSwitch
from resolver.requests import Refused
from tests import factories
from tests.factories import START, UNIT, hex_id
from tests.resolver.staff import UNTOUCHED, make_action, make_request, person, request_of, simulation

pytestmark = pytest.mark.django_db

WINS = [UNIT, 0]
State = ResolutionRequest.State


def wish_of(
    user: Any, question_id: str, payouts: Any = WINS, *, kind: str = "propose", **said: Any
) -> ResolutionRequest:
    call = said.pop("call", None) or calldata_of(kind, question_id, payouts)
    return requests.ask(request_of(user), question_id, kind, payouts, "it happened", simulation(call, **said))


def last_step() -> dict[str, Any]:
    entry = AuditEntry.objects.order_by("-id").first()
    assert entry is not None
    return {"actor": entry.actor, "action": entry.action, "subject": entry.subject, "reason": entry.reason}


# --- asking


def test_asking_makes_a_pending_request_and_says_so() -> None:
    ada, question = person("operator", "ada"), factories.make_question()
    wish = wish_of(ada, question.question_id)
    wish.refresh_from_db()
    assert (wish.state, wish.payouts, wish.requested_by, wish.decided_by) == (State.PENDING, WINS, ada, None)
    assert wish.calldata == calldata_of("propose", question.question_id, WINS)
    assert (wish.simulation["block_number"], wish.simulation["standing"]) == (1_000_000, UNTOUCHED)
    subject = f"question:{question.question_id}"
    assert last_step() == {"actor": "ada", "action": "resolution.ask", "subject": subject, "reason": "it happened"}
    assert AuditEntry.objects.get().after["payouts"] == [str(UNIT), "0"]


@pytest.mark.parametrize(
    ("payouts", "said", "why"),
    [
        ([UNIT], {}, "2 outcomes"),
        ([UNIT, 0, 0], {}, "2 outcomes"),
        ([0, 0], {}, "above 0"),
        ([UNIT, 1], {}, "at most 1"),
        ([UNIT + 1, 0], {}, "from 0 to 1"),
        (None, {}, "A proposal has payouts"),
        (WINS, {"error": "ProposalPending(0x01)"}, r"ProposalPending\(0x01\)"),
        (WINS, {"call": "0x00"}, "Another transaction"),
    ],
)
def test_what_would_fail_is_refused(payouts: Any, said: dict[str, Any], why: str) -> None:
    question = factories.make_question()
    said = {"call": "0x", **said} if payouts is None else said
    with pytest.raises(Refused, match=why):
        wish_of(person("operator"), question.question_id, payouts, **said)
    assert not ResolutionRequest.objects.exists()
    assert not AuditEntry.objects.exists()


def test_unknown_and_settled_questions_are_refused() -> None:
    ada = person("operator")
    with pytest.raises(Refused, match="not indexed"):
        wish_of(ada, hex_id("nowhere"))
    for settled in ({"resolved_at": START}, {"voided_at": START}):
        with pytest.raises(Refused, match="settled"):
            wish_of(ada, factories.make_question(**settled).question_id)
    assert not ResolutionRequest.objects.exists()


def test_a_question_has_one_pending_request() -> None:
    question = factories.make_question()
    first = wish_of(person("operator"), question.question_id)
    with pytest.raises(Refused, match="already"):
        wish_of(person("resolver"), question.question_id, None, kind="void")
    requests.reject(request_of(person("resolver")), first.pk, "no")
    wish_of(person("resolver"), question.question_id, None, kind="void")
    assert ResolutionRequest.objects.filter(state=State.PENDING).count() == 1


# --- deciding


@pytest.mark.parametrize("role", ["resolver", "superuser"])
def test_nobody_approves_what_they_asked_for(role: str) -> None:
    eve = person(role)
    wish = make_request(eve)
    with pytest.raises(Refused, match="Somebody else"):
        requests.approve(request_of(eve), wish.pk, "quickly", simulation(wish.calldata))
    with pytest.raises(Refused, match="withdraw"):
        requests.reject(request_of(eve), wish.pk, "quickly")
    wish.refresh_from_db()
    assert (wish.state, wish.decided_by) == (State.PENDING, None)
    assert not AuditEntry.objects.exists()


def test_the_database_itself_wants_two_people() -> None:
    eve = person("superuser")
    wish = make_request(eve)
    for decided_by in (eve, None):
        with pytest.raises(IntegrityError, match="resolution_by_two_people"), transaction.atomic():
            ResolutionRequest.objects.filter(pk=wish.pk).update(state=State.APPROVED, decided_by=decided_by)


def test_another_one_approves_and_that_is_audited() -> None:
    wish, bob = make_request(person("operator", "ada")), person("resolver", "bob")
    requests.approve(request_of(bob), wish.pk, "I saw it too", simulation(wish.calldata, block_number=1_000_001))
    wish.refresh_from_db()
    assert (wish.state, wish.decided_by, wish.decision_reason) == (State.APPROVED, bob, "I saw it too")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.reason) == ("bob", "resolution.approve", "I saw it too")
    assert (entry.before["state"], entry.after["state"]) == ("pending", "approved")
    assert (entry.after["requestedBy"], entry.after["simulation"]["block_number"]) == ("ada", 1_000_001)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"standing": UNTOUCHED | {"proposer": "0x" + "11" * 20}}, "not as it was"),
        ({"standing": UNTOUCHED | {"resolved": True}}, "not as it was"),
        ({"error": "AlreadyResolved(0x01)"}, "AlreadyResolved"),
        ({"chain_id": 1}, "does not fit"),
        ({"contract": "0x" + "99" * 20}, "does not fit"),
        ({"calldata": "0x00"}, "Another transaction"),
    ],
)
def test_what_has_changed_since_is_not_approved(overrides: dict[str, Any], why: str) -> None:
    wish = make_request(person("operator"))
    with pytest.raises(Refused, match=why):
        requests.approve(request_of(person("resolver")), wish.pk, "yes", simulation(wish.calldata, **overrides))
    wish.refresh_from_db()
    assert (wish.state, AuditEntry.objects.count()) == (State.PENDING, 0)


@pytest.mark.parametrize("settled", [{"resolved_at": START}, {"voided_at": START}])
def test_a_question_that_was_settled_since_is_not_approved(settled: dict[str, Any]) -> None:
    wish = make_request(person("operator"), question_id=factories.make_question(**settled).question_id)
    with pytest.raises(Refused, match="settled"):
        requests.approve(request_of(person("resolver")), wish.pk, "yes", simulation(wish.calldata))


def test_calldata_that_is_not_the_requests_is_not_approved() -> None:
    wish = make_request(person("operator"))
    other = calldata_of("propose", wish.question_id, [0, UNIT])
    ResolutionRequest.objects.update(calldata=other)
    with pytest.raises(Refused, match="does not fit"):
        requests.approve(request_of(person("resolver")), wish.pk, "yes", simulation(other))


def test_who_asked_withdraws_and_nobody_else() -> None:
    ada = person("operator")
    wish = make_request(ada)
    with pytest.raises(Refused, match="Only who asked"):
        requests.withdraw(request_of(person("superuser")), wish.pk, "no")
    requests.withdraw(request_of(ada), wish.pk, "I was wrong")
    wish.refresh_from_db()
    assert (wish.state, wish.decided_by, wish.decision_reason) == (State.WITHDRAWN, ada, "I was wrong")


def test_a_decision_is_final() -> None:
    ada, bob, eve = person("operator"), person("resolver"), person("resolver")
    wish = make_request(ada)
    requests.reject(request_of(bob), wish.pk, "no")
    steps: list[Callable[[], object]] = [
        lambda: requests.approve(request_of(eve), wish.pk, "yes", simulation(wish.calldata)),
        lambda: requests.reject(request_of(eve), wish.pk, "no"),
        lambda: requests.withdraw(request_of(ada), wish.pk, "no"),
    ]
    for step in steps:
        with pytest.raises(Refused, match="rejected already"):
            step()
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_every_step_needs_a_reason(reason: str) -> None:
    wish, bob = make_request(person("operator")), person("resolver")
    failed, queued = make_action(ActionState.FAILED), make_action()
    request = request_of(bob)
    steps: list[Callable[[], object]] = [
        lambda: requests.approve(request, wish.pk, reason, simulation(wish.calldata)),
        lambda: requests.reject(request, wish.pk, reason),
        lambda: requests.stop_wallet(request, reason),
        lambda: requests.retry_action(request, failed.pk, reason),
        lambda: requests.cancel_action(request, queued.pk, reason),
    ]
    for step in steps:
        with pytest.raises(Refused, match="reason"):
            step()
    assert not AuditEntry.objects.exists()
    assert not ResolutionRequest.objects.exclude(state=State.PENDING).exists()
    assert set(WalletAction.objects.values_list("state", flat=True)) == {"failed", "queued"}
    assert not WalletSwitch.objects.filter(stopped=True).exists()


def at_once(*steps: Callable[[], object]) -> list[str]:
    """Takes the steps in threads of their own, and says how each ended."""
    barrier, ends = threading.Barrier(len(steps)), []

    def take(step: Callable[[], object]) -> None:
        barrier.wait()
        try:
            step()
            ends.append("done")
        except Refused as error:
            ends.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(ends)


@pytest.mark.django_db(transaction=True)
def test_of_decisions_at_once_one_counts() -> None:
    wish = make_request(person("operator"))
    people = [person("resolver") for _ in range(6)]
    steps = [
        *(
            lambda bob=bob: requests.approve(request_of(bob), wish.pk, "yes", simulation(wish.calldata))
            for bob in people[:3]
        ),
        *(lambda bob=bob: requests.reject(request_of(bob), wish.pk, "no") for bob in people[3:]),
    ]
    ends = at_once(*steps)
    assert ends.count("done") == 1
    assert AuditEntry.objects.count() == 1
    wish.refresh_from_db()
    assert all(end in ("done", f"It is {wish.get_state_display()} already.") for end in ends)


@pytest.mark.django_db(transaction=True)
def test_of_requests_at_once_one_counts() -> None:
    question = factories.make_question()
    people = [person("operator") for _ in range(4)]
    ends = at_once(*(lambda ada=ada: wish_of(ada, question.question_id) for ada in people))
    assert (ends.count("done"), ResolutionRequest.objects.count(), AuditEntry.objects.count()) == (1, 1, 1)


# --- the wallet


def test_the_switch() -> None:
    ada, bob = person("operator", "ada"), person("resolver", "bob")
    requests.stop_wallet(request_of(ada), "it sends twice")
    switch = WalletSwitch.objects.get()
    assert (switch.stopped, switch.reason, switch.changed_by) == (True, "it sends twice", "ada")
    with pytest.raises(Refused, match="stopped already"):
        requests.stop_wallet(request_of(bob), "again")
    with pytest.raises(PermissionDenied):
        requests.release_wallet(request_of(ada), "I think it is well")
    requests.release_wallet(request_of(bob), "it is well")
    switch.refresh_from_db()
    assert (switch.stopped, switch.changed_by) == (False, "bob")
    steps = list(AuditEntry.objects.order_by("id").values_list("actor", "action", "subject", "before", "after"))
    assert steps == [
        ("ada", "wallet.stop", "wallet:31337", {"stopped": False}, {"stopped": True}),
        ("bob", "wallet.release", "wallet:31337", {"stopped": True}, {"stopped": False}),
    ]


def test_failed_actions_are_tried_again_and_queued_ones_cancelled() -> None:
    bob = request_of(person("resolver"))
    failed, queued = make_action(ActionState.FAILED, attempts=5, error="NoProposal"), make_action(kind="resolve")
    requests.retry_action(bob, failed.pk, "the node was wrong")
    requests.cancel_action(bob, queued.pk, "not now")
    failed.refresh_from_db()
    queued.refresh_from_db()
    assert (failed.state, failed.attempts, failed.error) == ("queued", 0, "NoProposal")
    assert queued.state == "cancelled"
    steps = list(AuditEntry.objects.order_by("id").values_list("action", "subject", "reason"))
    assert steps == [
        ("wallet.retry", f"question:{failed.subject}", "the node was wrong"),
        ("wallet.cancel", f"market:{queued.subject}", "not now"),
    ]


@pytest.mark.parametrize("state", ActionState.values)
@pytest.mark.parametrize("asked_for", [True, False])
def test_in_which_states_an_action_is_tried_again_or_cancelled(state: str, asked_for: bool) -> None:
    wish = make_request(person("operator")) if asked_for else None
    retried = {"failed"} if asked_for else {"failed", "cancelled"}
    for step, states, target in (
        (requests.retry_action, retried, "queued"),
        (requests.cancel_action, {"queued", "failed"}, "cancelled"),
    ):
        WalletAction.objects.all().delete()
        action, bob = make_action(state, request=wish), request_of(person("resolver"))
        if state in states:
            step(bob, action.pk, "now")
        else:
            with pytest.raises(Refused, match="can't become"):
                step(bob, action.pk, "now")
        action.refresh_from_db()
        assert action.state == (target if state in states else state)
    assert AuditEntry.objects.count() == (state in retried) + (state in {"queued", "failed"})


# --- who


STEPS: dict[str, Callable[[Any, dict[str, int]], object]] = {
    "ask": lambda user, rows: wish_of(user, hex_id("question", 0)),
    "approve": lambda user, rows: requests.approve(request_of(user), rows["wish"], "r", simulation("0x")),
    "reject": lambda user, rows: requests.reject(request_of(user), rows["wish"], "r"),
    "withdraw": lambda user, rows: requests.withdraw(request_of(user), rows["wish"], "r"),
    "stop": lambda user, rows: requests.stop_wallet(request_of(user), "r"),
    "release": lambda user, rows: requests.release_wallet(request_of(user), "r"),
    "retry": lambda user, rows: requests.retry_action(request_of(user), rows["action"], "r"),
    "cancel": lambda user, rows: requests.cancel_action(request_of(user), rows["action"], "r"),
}
MAY_NOT = {
    "anonymous": set(STEPS),
    "user": set(STEPS),
    "viewer": set(STEPS),
    "operator": {"approve", "reject", "release", "retry", "cancel"},
}


@pytest.mark.parametrize(("role", "step"), [(role, step) for role in MAY_NOT for step in sorted(MAY_NOT[role])])
def test_the_functions_ask_for_the_permission_themselves(role: str, step: str) -> None:
    rows = {"wish": make_request(person("operator")).pk, "action": make_action(ActionState.FAILED).pk}
    with pytest.raises(PermissionDenied):
        STEPS[step](person(role), rows)
    assert not AuditEntry.objects.exists()
