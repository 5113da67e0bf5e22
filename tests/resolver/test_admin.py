"""The resolver's pages: what they show, that hostile texts stay texts, and the way from a wish to a decision."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from markets.models import Market, MarketMetadata
from operators import audit
from operators.models import AuditEntry
from oracle.models import Question
from resolver.models import ActionState, ResolutionRequest, WalletSwitch
from tests import factories
from tests.aurum.test_admin import assert_inert
from tests.factories import HOSTILE, ORACLE, START, UNIT
from tests.resolver.staff import (
    UNTOUCHED,
    WALLET,
    FakeSimulator,
    make_action,
    make_request,
    make_transaction,
    person,
)

pytestmark = pytest.mark.django_db


def url(name: str, *args: object) -> str:
    return reverse(f"admin:resolver_{name}", args=args)


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> FakeSimulator:
    fake = FakeSimulator()
    monkeypatch.setattr("resolver.admin.configured_simulator", lambda: fake)
    return fake


@pytest.fixture
def question() -> Question:
    """Of a market whose every text is hostile."""
    question = factories.make_question(
        proposer=factories.address("proposer"),
        proposed_payouts=[UNIT, 0],
        proposal_stake=100 * UNIT,
        proposed_at=START,
        expires_at=START,
        disputer=factories.address("disputer"),
        disputed_payouts=[0, UNIT],
        dispute_stake=100 * UNIT,
        disputed_at=START,
    )
    market = factories.make_market(
        question_id=question.question_id, question=HOSTILE, outcomes=[HOSTILE, "No"], reserves=[4 * UNIT, UNIT]
    )
    MarketMetadata.objects.create(market=market, description=HOSTILE, resolution_source="javascript:alert(1)")
    factories.make_vote(question, payouts=[0, UNIT], weight=7 * UNIT)
    factories.make_checkpoint(block_timestamp=START)
    return question


WINS = {"winner": "0", "reason": "it happened"}


def sealed(page: Any, form: dict[str, str]) -> dict[str, str]:
    """The form of a preview, sent."""
    found = re.search(r'name="seen" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return {**form, "seen": found[1], "ask": "Ask"}


# --- asking


def test_the_questions_page_has_buttons_for_who_may_ask(question: Question) -> None:
    page = reverse("admin:oracle_question_change", args=[question.pk])
    propose, void = url("resolutionrequest_propose", question.pk), url("resolutionrequest_void", question.pk)
    for role, may in (("viewer", False), ("operator", True), ("resolver", True)):
        text = signed_in(person(role)).get(page).text
        assert (f'href="{propose}"' in text, f'href="{void}"' in text) == (may, may)
    Question.objects.update(resolved_at=START)
    assert propose not in signed_in(person("operator")).get(page).text


def test_the_form_shows_what_is_to_be_judged(question: Question, simulator: FakeSimulator) -> None:
    page = signed_in(person("operator")).get(url("resolutionrequest_propose", question.pk)).text
    assert_inert(page)
    assert "[U+202E]" in page
    for shown in ("80%", "20%", "javascript:alert(1)", question.proposer, question.disputer, "7 AURUM", "committing"):
        assert shown in page, shown
    assert 'href="javascript' not in page
    assert simulator.runs == []


def test_a_wish_is_previewed_and_then_asked_for(question: Question, simulator: FakeSimulator) -> None:
    client, address = signed_in(person("operator", "ada")), url("resolutionrequest_propose", question.pk)
    preview = client.post(address, WINS)
    assert preview.status_code == 200
    assert_inert(preview.text)
    for shown in (
        *("proposeOutcome(bytes32,uint256[])", question.question_id, f"{UNIT}, 0", ORACLE, WALLET),
        *("succeed", "1000000", "it happened", "100% of a unit", "Far from its price"),
    ):
        assert shown in preview.text, shown
    assert not ResolutionRequest.objects.exists()
    assert not AuditEntry.objects.exists()
    asked = client.post(address, sealed(preview, WINS))
    wish = ResolutionRequest.objects.get()
    assert asked["Location"] == url("resolutionrequest_change", wish.pk)
    assert (wish.payouts, wish.reason, wish.requested_by.username) == ([UNIT, 0], "it happened", "ada")
    assert "Somebody else must approve it." not in client.get(asked["Location"]).text  # it can be withdrawn
    assert "Withdraw" in client.get(asked["Location"]).text


def test_a_question_is_voided(question: Question, simulator: FakeSimulator) -> None:
    client, address = signed_in(person("operator")), url("resolutionrequest_void", question.pk)
    preview = client.post(address, {"reason": "nobody can know"})
    assert "voidQuestion(bytes32)" in preview.text
    assert "50% of a unit" in preview.text
    assert client.post(address, sealed(preview, {"reason": "nobody can know"})).status_code == 302
    wish = ResolutionRequest.objects.get()
    assert (wish.kind, wish.payouts) == ("void", None)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"winner": "0"}, "This field is required"),
        ({"winner": "", "reason": "r"}, "above 0"),
        ({"winner": "2", "reason": "r"}, "Select a valid choice"),
        ({"winner": "0", "payout_1": "1", "reason": "r"}, "not both"),
        ({"payout_0": "1/3", "payout_1": "0.5", "reason": "r"}, "18 decimals"),
        ({"payout_0": "<b>", "reason": "r"}, "Write a share"),
        ({"payout_0": "0.6", "payout_1": "50%", "reason": "r"}, "1.1"),
        ({"winner": "0", "reason": "a\x00b"}, "Null characters"),
        ({"winner": "0", "reason": "x" * 2001}, "at most 2000"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    question: Question, simulator: FakeSimulator, form: dict[str, str], why: str
) -> None:
    for more in ({}, {"ask": "Ask", "seen": "0" * 64}):
        page = signed_in(person("operator")).post(url("resolutionrequest_propose", question.pk), form | more)
        assert (page.status_code, why in page.text) == (200, True)
    assert not ResolutionRequest.objects.exists()
    assert simulator.runs == []


def test_payouts_are_exact(question: Question, simulator: FakeSimulator) -> None:
    client, address = signed_in(person("operator")), url("resolutionrequest_propose", question.pk)
    form = {"payout_0": "0.1", "payout_1": "0.000000000000000001", "reason": "r"}
    assert client.post(address, sealed(client.post(address, form), form)).status_code == 302
    assert ResolutionRequest.objects.get().payouts == [10**17, 1]


def test_a_form_goes_back_as_it_was(question: Question, simulator: FakeSimulator) -> None:
    page = signed_in(person("operator")).post(url("resolutionrequest_propose", question.pk), WINS | {"edit": "Change"})
    assert "it happened</textarea>" in page.text
    assert re.search(r'value="0"[^>]* checked', page.text)
    assert simulator.runs == []


def test_what_the_contract_would_refuse_can_not_be_asked_for(question: Question, simulator: FakeSimulator) -> None:
    simulator.overrides = {"error": f"ProposalPending({HOSTILE})"}
    client, address = signed_in(person("operator")), url("resolutionrequest_propose", question.pk)
    preview = client.post(address, WINS)
    assert "ProposalPending" in preview.text
    assert_inert(preview.text)
    assert 'name="ask"' not in preview.text
    assert "ProposalPending" in client.post(address, sealed(preview, WINS)).text
    assert not ResolutionRequest.objects.exists()


def test_without_a_node_nothing_can_be_asked_for(question: Question, simulator: FakeSimulator) -> None:
    client, address = signed_in(person("operator")), url("resolutionrequest_propose", question.pk)
    seen = sealed(client.post(address, WINS), WINS)
    simulator.away = "No node answers"
    for form in (WINS, seen):
        page = client.post(address, form)
        assert (page.status_code, "No node answers" in page.text, 'name="ask"' in page.text) == (200, True, False)
    assert not ResolutionRequest.objects.exists()


def test_what_changed_since_the_preview_is_shown_again(question: Question, simulator: FakeSimulator) -> None:
    client, address = signed_in(person("operator")), url("resolutionrequest_propose", question.pk)
    seen = sealed(client.post(address, WINS), WINS)
    simulator.overrides = {"standing": UNTOUCHED | {"proposer": "0x" + "11" * 20, "payouts": ["1", "0"]}}
    assert "has changed since the preview" in client.post(address, seen).text
    simulator.overrides = {}
    # Other payouts than those that were seen.
    assert "has changed since the preview" in client.post(address, seen | {"winner": "1"}).text
    assert not ResolutionRequest.objects.exists()


def test_a_second_request_is_refused(question: Question, simulator: FakeSimulator) -> None:
    make_request(person("operator"), question_id=question.question_id)
    client, address = signed_in(person("operator")), url("resolutionrequest_propose", question.pk)
    assert "decide on that first" in client.post(address, sealed(client.post(address, WINS), WINS)).text
    assert ResolutionRequest.objects.count() == 1


@pytest.mark.parametrize(
    ("source", "linked"),
    [
        ("https://example.org/a?b=c", True),
        ("http://example.org/", False),
        ("HTTPS://example.org/", True),
        ("javascript:alert(1)//https://example.org/", False),
        ("https://example.org/\u202e", False),
        ("https://ex\u0430mple.org/", False),
        ("see https://example.org/", False),
        ("https://example.org@evil.example/", False),
        ('https://example.org/"onmouseover="alert(1)', False),
    ],
)
def test_a_source_is_a_link_only_where_it_is_safe(
    question: Question, simulator: FakeSimulator, source: str, linked: bool
) -> None:
    MarketMetadata.objects.update(resolution_source=source)
    page = signed_in(person("operator")).get(url("resolutionrequest_propose", question.pk)).text
    links = re.findall(r'<a href="([^"]*)" rel="noopener noreferrer"', page)
    assert links == ([source] if linked else [])
    assert ' onmouseover="' not in page


# --- deciding


def test_who_may_decide_sees_then_and_now(question: Question, simulator: FakeSimulator) -> None:
    wish = make_request(person("operator", "ada"), question_id=question.question_id, reason=HOSTILE)
    simulator.overrides = {"block_number": 1_000_777}
    page = signed_in(person("resolver")).get(url("resolutionrequest_change", wish.pk)).text
    assert_inert(page)
    for shown in ("ada", "Simulated when it was asked for", "Simulated now", "1000777", 'value="Approve"'):
        assert shown in page, shown


@pytest.mark.parametrize(
    "overrides", [{"error": "AlreadyResolved(0x01)"}, {"standing": UNTOUCHED | {"proposer": "0x" + "11" * 20}}]
)
def test_what_can_not_be_approved_has_no_button(
    question: Question, simulator: FakeSimulator, overrides: dict[str, Any]
) -> None:
    wish = make_request(person("operator"), question_id=question.question_id)
    simulator.overrides = overrides
    client = signed_in(person("resolver"))
    page = client.get(url("resolutionrequest_change", wish.pk)).text
    assert ('value="Approve"' in page, 'value="Reject"' in page) == (False, True)
    assert client.post(url("resolutionrequest_approve", wish.pk), {"reason": "r"}).status_code == 200
    wish.refresh_from_db()
    assert wish.state == "pending"


def test_it_is_approved_by_another_one(question: Question, simulator: FakeSimulator) -> None:
    wish = make_request(person("operator"), question_id=question.question_id)
    client = signed_in(person("resolver", "bob"))
    assert client.post(url("resolutionrequest_approve", wish.pk), {"reason": "seen"}).status_code == 302
    wish.refresh_from_db()
    assert (wish.state, wish.decided_by and wish.decided_by.username) == ("approved", "bob")
    page = client.get(url("resolutionrequest_change", wish.pk)).text
    assert ("bob" in page, 'value="Approve"' in page, 'value="Reject"' in page) == (True, False, False)
    assert simulator.runs == [(wish.question_id, wish.calldata)]


def test_without_a_node_nothing_is_approved(question: Question, simulator: FakeSimulator) -> None:
    wish = make_request(person("operator"), question_id=question.question_id)
    simulator.away = "No node answers"
    client = signed_in(person("resolver"))
    page = client.post(url("resolutionrequest_approve", wish.pk), {"reason": "r"})
    assert (page.status_code, "No node answers" in page.text) == (200, True)
    assert 'value="Approve"' not in page.text
    # It can be rejected all the same.
    assert client.post(url("resolutionrequest_reject", wish.pk), {"reason": "r"}).status_code == 302


@pytest.mark.parametrize("step", ["approve", "reject", "withdraw"])
def test_a_reason_is_needed(question: Question, simulator: FakeSimulator, step: str) -> None:
    wish = make_request(person("operator"), question_id=question.question_id)
    page = signed_in(person("resolver")).post(url(f"resolutionrequest_{step}", wish.pk), {"reason": " "})
    assert (page.status_code, "This field is required" in page.text) == (200, True)
    wish.refresh_from_db()
    assert (wish.state, AuditEntry.objects.count()) == ("pending", 0)


def test_a_request_outlives_the_question_that_a_reindex_took_away(simulator: FakeSimulator) -> None:
    wish = make_request(person("operator"), question_id=factories.hex_id("gone"))
    page = signed_in(person("resolver")).get(url("resolutionrequest_change", wish.pk))
    assert (page.status_code, "which is not indexed" in page.text) == (200, True)


@pytest.mark.parametrize("pk", ["0", "x", "9" * 30, "-1"])
def test_a_request_that_does_not_exist(simulator: FakeSimulator, pk: str) -> None:
    client = signed_in(person("superuser"))
    assert client.get(f"/admin/resolver/resolutionrequest/{pk}/change/").status_code == 404


# --- the wallet


def test_an_action_shows_its_call_and_all_its_transactions_but_nothing_signed() -> None:
    action = make_action(ActionState.FAILED, error=HOSTILE, reason=HOSTILE, actor=HOSTILE[:100])
    first, second = make_transaction(action, error=HOSTILE), make_transaction(action, max_fee=4 * 10**9)
    client = signed_in(person("resolver"))
    listed = client.get(url("walletaction_changelist")).text
    page = client.get(url("walletaction_change", action.pk)).text
    one = client.get(url("wallettransaction_change", first.pk)).text
    lists = client.get(url("wallettransaction_changelist")).text
    for text in (listed, page, one, lists):
        assert_inert(text)
        assert "cafebabe" not in text.lower()
        assert "xbe" not in text
    for shown in (first.hash, second.hash, f"questionId = {action.subject}", "finalizeProposal(bytes32)", "4000000000"):
        assert shown in page, shown
    assert 'value="Try again"' in page
    assert 'value="Try again"' not in signed_in(person("operator")).get(url("walletaction_change", action.pk)).text


def test_actions_are_tried_again_and_cancelled() -> None:
    failed, queued = make_action(ActionState.FAILED), make_action()
    client = signed_in(person("resolver"))
    assert 'value="Cancel it"' in client.get(url("walletaction_change", queued.pk)).text
    client.post(url("walletaction_retry", failed.pk), {"reason": "again"})
    client.post(url("walletaction_cancel", queued.pk), {"reason": "no"})
    failed.refresh_from_db()
    queued.refresh_from_db()
    assert (failed.state, queued.state) == ("queued", "cancelled")
    told = client.post(url("walletaction_retry", failed.pk), {"reason": "again"}, follow=True).text
    assert "This is queued, and can&#x27;t become queued." in told
    assert "a reason is required" in client.post(url("walletaction_retry", failed.pk), follow=True).text
    assert AuditEntry.objects.count() == 2


def test_calldata_that_is_not_the_wallets_is_said_to_be_so() -> None:
    page = signed_in(person("viewer")).get(url("walletaction_change", make_action(calldata="0xdeadbeef").pk)).text
    assert "no call that the wallet makes" in page


PAGES = (
    "resolutionrequest_changelist",
    "walletaction_changelist",
    "wallettransaction_changelist",
    "walletswitch_changelist",
)


def test_the_switch_is_seen_on_every_page(simulator: FakeSimulator, question: Question) -> None:
    ada = person("operator")
    wish, action = make_request(ada, question_id=question.question_id), make_action()
    addresses = [
        *map(url, PAGES),
        *(url("resolutionrequest_change", wish.pk), url("walletaction_change", action.pk)),
        *(url("wallettransaction_change", make_transaction(action).pk), url("resolutionrequest_void", question.pk)),
    ]
    client = signed_in(ada)
    for address in addresses:
        assert "The wallet is running." in client.get(address).text, address
    WalletSwitch.objects.create(pk=1, stopped=True, reason=HOSTILE)
    for address in addresses:
        text = client.get(address).text
        assert "The wallet is <strong>stopped</strong>" in text, address
        assert_inert(text)


def test_an_operator_stops_and_a_resolver_releases() -> None:
    ada, bob = signed_in(person("operator", "ada")), signed_in(person("resolver", "bob"))
    page = url("walletswitch_changelist")
    assert 'value="Stop the wallet"' in ada.get(page).text
    assert "This field is required" in ada.post(url("walletswitch_stop")).text
    assert ada.post(url("walletswitch_stop"), {"reason": "it sends twice"})["Location"] == page
    assert ("ada" in ada.get(page).text, "it sends twice" in ada.get(page).text) == (True, True)
    assert 'value="Release the wallet"' not in ada.get(page).text
    assert "stopped already" in bob.post(url("walletswitch_stop"), {"reason": "r"}).text
    assert bob.post(url("walletswitch_release"), {"reason": "it is well"}).status_code == 302
    assert not WalletSwitch.objects.get().stopped


# --- the audit


def test_the_audit_of_a_question_and_its_market(question: Question) -> None:
    market_id = Market.objects.get().market_id
    for subject in (f"question:{question.question_id}", f"market:{market_id}", f"question:{factories.hex_id('other')}"):
        audit.record("resolver", "wallet.sent", subject, after={"hostile": HOSTILE}, reason=HOSTILE)
    client = signed_in(person("viewer"))
    page = client.get(reverse("admin:oracle_question_change", args=[question.pk])).text
    link = re.search(r'href="(/admin/operators/auditentry/\?[^"]*)"', page)
    assert link
    listed = client.get(link[1].replace("&amp;", "&"))
    assert len(listed.context["cl"].result_list) == 2
    assert_inert(listed.text)
    entry = AuditEntry.objects.first()
    assert entry
    assert_inert(client.get(reverse("admin:operators_auditentry_change", args=[entry.pk])).text)


@pytest.mark.parametrize(
    ("term", "count"),
    [
        ("ada", 1),
        ("ad", 0),
        ("req-1", 1),
        ("0x" + "AB" * 32, 2),
        ("question:0x" + "AB" * 32, 1),
        ("wallet:1", 1),
        ("a\x00", 0),
    ],
)
def test_the_audit_is_searched_exactly(term: str, count: int) -> None:
    for actor, subject, request_id in (
        ("ada", "question:0x" + "ab" * 32, "req-1"),
        ("resolver", "market:0x" + "ab" * 32, ""),
        ("bob", "wallet:1", "req-2"),
    ):
        AuditEntry.objects.create(actor=actor, action="a", subject=subject, request_id=request_id)
    listed = signed_in(person("viewer")).get(reverse("admin:operators_auditentry_changelist"), {"q": term})
    assert len(listed.context["cl"].result_list) == count if listed.status_code == 200 else count == 0
