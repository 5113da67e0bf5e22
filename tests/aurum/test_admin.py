"""Every page of the admin, on rows as a hostile chain leaves them."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiSession, WatchedMarket
from aurum.admin import MOST_COUNTED, EstimatingPaginator, shortened, visible
from indexer.models import IndexedEvent, IndexerStatus, Reorganisation, RepairRequest
from markets.models import (
    Amm,
    Checkpoint,
    CollateralToken,
    Condition,
    HistoryEntry,
    IndexedBlock,
    Market,
    MarketCorrection,
    MarketMetadata,
    MarketPlacement,
    MetadataEdit,
    OutboxMessage,
    OutcomeToken,
    Position,
    PricePoint,
    Trade,
)
from operators import audit
from operators.models import AuditEntry
from oracle.models import Question, QuestionAnomaly
from resolver.models import ResolutionRequest, WalletAction, WalletStatus, WalletSwitch, WalletTransaction
from tests import factories
from tests.factories import HOSTILE, MAX_UINT256, UNIT
from tests.resolver.staff import make_action, make_request, make_transaction
from tests.test_pure_modules import APPS

pytestmark = pytest.mark.django_db

READ_ONLY = (
    Market,
    Position,
    Trade,
    HistoryEntry,
    PricePoint,
    Amm,
    OutcomeToken,
    Condition,
    Checkpoint,
    OutboxMessage,
    CollateralToken,
    Question,
    QuestionAnomaly,
    IndexedEvent,
    IndexedBlock,
    IndexerStatus,
    Reorganisation,
    RepairRequest,
    MetadataEdit,
    MarketCorrection,
    MarketPlacement,
    ApiSession,
    WatchedMarket,
    AuditEntry,
    ResolutionRequest,
    WalletAction,
    WalletTransaction,
    WalletStatus,
    WalletSwitch,
)
REGISTERED = (*READ_ONLY, MarketMetadata)
# What an operator pastes into each search box: a hash, an address, or a number of the row.
SEARCHED: dict[type, Callable[[Any], object]] = {
    Market: lambda row: row.market_id,
    MarketMetadata: lambda row: row.pk,
    Position: lambda row: row.user_address,
    Trade: lambda row: row.transaction_hash,
    HistoryEntry: lambda row: row.transaction_hash,
    PricePoint: lambda row: row.transaction_hash,
    Amm: lambda row: row.address,
    OutcomeToken: lambda row: row.position_id,
    Condition: lambda row: row.condition_id,
    OutboxMessage: lambda row: row.channel,
    CollateralToken: lambda row: row.address,
    Question: lambda row: row.question_id,
    QuestionAnomaly: lambda row: row.question_id,
    IndexedEvent: lambda row: row.transaction_hash,
    IndexedBlock: lambda row: row.hash,
    RepairRequest: lambda row: row.market_id,
    MetadataEdit: lambda row: row.market_id,
    MarketCorrection: lambda row: row.market_id,
    MarketPlacement: lambda row: row.pk,
    ApiSession: lambda row: row.id,
    WatchedMarket: lambda row: row.market_id,
    AuditEntry: lambda row: row.subject.partition(":")[2],
    ResolutionRequest: lambda row: row.question_id,
    WalletAction: lambda row: row.subject,
    WalletTransaction: lambda row: row.hash,
}


def changelist(model: type) -> str:
    return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist")


def change_page(row: Any) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=[row.pk])


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator", password="a long enough password"))
    return client


@pytest.fixture
def rows() -> dict[type, Any]:
    """One row of each model, with every text that a chain or a node can choose as bad as it gets."""
    market = factories.make_market(
        question=HOSTILE + "x" * 10_000, outcomes=[HOSTILE, "No"], reserves=[MAX_UINT256, 1], volume=MAX_UINT256
    )
    question = factories.make_question(
        question_id=market.question_id,
        proposer=factories.address("proposer"),
        proposed_payouts=[1, 0],
        proposal_stake=MAX_UINT256,
        proposed_at=factories.START,
        expires_at=factories.START,
        disputed_at=factories.START,
    )
    factories.make_vote(question, payouts=[0, 1], weight=MAX_UINT256)
    message = OutboxMessage.objects.create(
        channel=f"market:{market.market_id}", seq=1, payload=HOSTILE, block_number=market.block_number
    )
    event = factories.make_event(
        processed=False, error=f"Traceback\n{HOSTILE}", event_data={"question": HOSTILE, "amount": str(MAX_UINT256)}
    )
    user = User.objects.create_user("0x" + "11" * 20)
    action = make_action(reason=HOSTILE, error=HOSTILE, actor=HOSTILE[:100])
    return {
        AuditEntry: audit.record(
            HOSTILE[:100], HOSTILE[:60], f"market:{market.market_id}", after=HOSTILE, reason=HOSTILE
        ),
        ResolutionRequest: make_request(user, question_id=question.question_id, reason=HOSTILE),
        WalletAction: action,
        WalletTransaction: make_transaction(action, error=HOSTILE),
        WalletStatus: WalletStatus.objects.create(
            heartbeat_at=factories.START, signer=factories.address("signer"), balance=MAX_UINT256, hindrance=HOSTILE
        ),
        WalletSwitch: WalletSwitch.objects.create(stopped=True, reason=HOSTILE),
        Market: market,
        MetadataEdit: MetadataEdit.objects.create(
            market=market, edited_by=user.username, before={"description": ""}, after={"description": HOSTILE}
        ),
        MarketCorrection: factories.make_correction(market, "question", HOSTILE, reason=HOSTILE),
        MarketPlacement: MarketPlacement.objects.create(market=market, hidden=True, reason=HOSTILE, changed_by="o"),
        ApiSession: ApiSession.objects.create(user=user, refresh_id="r", expires_at=factories.START),
        WatchedMarket: WatchedMarket.objects.create(user=user, market=market),
        MarketMetadata: MarketMetadata.objects.create(market=market, category="Sport", description=HOSTILE),
        Position: factories.make_position(market),
        Trade: factories.make_trade(market),
        HistoryEntry: factories.make_history_entry(market),
        PricePoint: PricePoint.objects.get(),
        Amm: Amm.objects.get(),
        OutcomeToken: OutcomeToken.objects.get(outcome_index=0),
        Condition: Condition.objects.get(),
        Checkpoint: factories.make_checkpoint(),
        OutboxMessage: message,
        CollateralToken: factories.make_collateral(symbol=HOSTILE[:64]),
        Question: question,
        QuestionAnomaly: factories.make_anomaly(question, problem=HOSTILE),
        IndexedEvent: event,
        IndexedBlock: factories.make_block(),
        IndexerStatus: factories.make_status(last_error=HOSTILE),
        Reorganisation: Reorganisation.objects.create(depth=3, fork_block=1_000_000),
        RepairRequest: RepairRequest.objects.create(
            from_block=1, to_block=2, market_id=market.market_id, reason=HOSTILE, error=HOSTILE
        ),
    }


def assert_inert(body: str) -> None:
    assert "<script>alert" not in body
    assert "<img src=x" not in body
    assert "{{ 7*7 }}" in body or "7*7" not in body
    assert " 49 " not in body


def test_every_model_is_registered() -> None:
    ours = {model for model in admin.site._registry if model.__module__.partition(".")[0] in APPS}
    assert ours == set(REGISTERED)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_list_and_page_of_a_hostile_row(operator: Client, rows: dict[type, Any], model: type) -> None:
    listed = operator.get(changelist(model))
    page = operator.get(change_page(rows[model]))
    assert (listed.status_code, page.status_code) == (200, 200)
    assert_inert(listed.text)
    assert_inert(page.text)
    assert "Aurum operations" in page.text


@pytest.mark.parametrize("model", SEARCHED, ids=lambda model: model.__name__)
@pytest.mark.parametrize(
    "written", [str, lambda value: str(value).replace("a", "A").replace("b", "B")], ids=["", "upper"]
)
def test_search_finds_the_row_alone(
    operator: Client, rows: dict[type, Any], model: type, written: Callable[[object], str]
) -> None:
    term = written(SEARCHED[model](rows[model]))
    if model is OutboxMessage:
        term = term.replace("mArket", "market")
    found = operator.get(changelist(model), {"q": term}).context["cl"].result_list
    assert [row.pk for row in found] == [rows[model].pk]
    nothing = operator.get(changelist(model), {"q": factories.hex_id("nowhere")}).context["cl"].result_list
    assert list(nothing) == []


@pytest.mark.parametrize(
    ("term", "count"),
    [("happen", 2), ("HAPPEN", 2), ("100%", 1), ("50%", 0), ("  ", 3), ("'; --", 0), ("0x12", 0)],
)
def test_search_within_questions(operator: Client, term: str, count: int) -> None:
    factories.make_market(question="Will it happen?")
    factories.make_market(question="Can this HAPPEN?")
    factories.make_market(question="100% sure?")
    assert len(operator.get(changelist(Market), {"q": term}).context["cl"].result_list) == count


def test_a_row_is_found_by_its_uuid(operator: Client, rows: dict[type, Any]) -> None:
    for model in (Market, Trade, IndexedEvent, Question):
        found = operator.get(changelist(model), {"q": str(rows[model].pk).upper()}).context["cl"].result_list
        assert [row.pk for row in found] == [rows[model].pk]
        assert not operator.get(changelist(model), {"q": str(uuid.uuid4())}).context["cl"].result_list


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_chain_rows_cannot_be_written(operator: Client, rows: dict[type, Any], model: type) -> None:
    before = list(model._default_manager.order_by("pk").values())
    page = change_page(rows[model])
    base = changelist(model)
    for url in (page, f"{base}add/", page.replace("/change/", "/delete/")):
        assert operator.post(url, {"question": "changed", "post": "yes"}).status_code == 403
    operator.post(base, {"action": "delete_selected", "_selected_action": [str(rows[model].pk)], "post": "yes"})
    assert list(model._default_manager.order_by("pk").values()) == before


def test_metadata_is_edited_and_the_market_stays(operator: Client, rows: dict[type, Any]) -> None:
    market = rows[Market]
    form = {
        "category": "Politics",
        "description": "d",
        "image_url": "https://img.example/a.png",
        "resolution_source": "",
    }
    sent = form | {"market": "0x00", "reason": "from the desk"}
    assert operator.post(change_page(rows[MarketMetadata]), sent).status_code == 302
    assert AuditEntry.objects.get(action="metadata.edit").reason == "from the desk"
    metadata = MarketMetadata.objects.get()
    assert (metadata.pk, metadata.category, metadata.image_url) == (
        market.pk and market.market_id,
        "Politics",
        form["image_url"],
    )


def test_metadata_is_added_from_the_market_page(operator: Client) -> None:
    market = factories.make_market()
    add = f"{changelist(MarketMetadata)}add/?market={market.market_id}"
    assert add in operator.get(change_page(market)).text
    assert market.market_id in operator.get(add).text
    assert operator.post(add, {"market": market.market_id, "category": "Sport"}).status_code == 302
    assert MarketMetadata.objects.get().market == market


def test_metadata_refuses_a_script_as_image(operator: Client, rows: dict[type, Any]) -> None:
    response = operator.post(change_page(rows[MarketMetadata]), {"image_url": "javascript:alert(1)"})
    assert response.status_code == 200
    assert MarketMetadata.objects.get().image_url == ""


def test_metadata_of_a_market_that_a_reindex_took_away(operator: Client) -> None:
    metadata = MarketMetadata.objects.create(market_id=factories.hex_id("gone"), category="Sport")
    assert "the market is not indexed" in operator.get(changelist(MarketMetadata)).text
    assert operator.get(change_page(metadata)).status_code == 200


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_strangers_are_sent_to_the_login(client: Client, model: type) -> None:
    response = client.get(changelist(model))
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def test_staff_without_permission_sees_nothing(client: Client, rows: dict[type, Any]) -> None:
    client.force_login(User.objects.create_user("visitor", is_staff=True))
    for model in REGISTERED:
        assert client.get(changelist(model)).status_code == 403
        assert client.get(change_page(rows[model])).status_code == 403


def test_big_integers_are_exact(operator: Client, rows: dict[type, Any]) -> None:
    for model in (Market, Question, IndexedEvent):
        assert str(MAX_UINT256) in operator.get(change_page(rows[model])).text
    assert str(MAX_UINT256 + 65 * UNIT // 10) in operator.get(changelist(Market)).text


def test_long_questions_are_short_in_lists_and_whole_on_their_page(operator: Client, rows: dict[type, Any]) -> None:
    assert "x" * 100 not in operator.get(changelist(Market)).text
    assert "x" * 10_000 in operator.get(change_page(rows[Market])).text
    assert "x" * 100 not in operator.get(changelist(Position)).text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", "plain <b>"),
        ("\u202eevil", "[U+202E]evil"),
        ("\u2066a\u2069\u200f\ufeff\x07", "[U+2066]a[U+2069][U+200F][U+FEFF][U+0007]"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("中文 ü 🎲", "中文 ü 🎲"),
    ],
)
def test_invisible_marks_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_shortened_counts_the_characters_of_the_text() -> None:
    assert shortened("a" * 80) == "a" * 80
    assert shortened("a" * 81) == "a" * 80 + "…"


def test_market_page_links_to_what_belongs_to_it(operator: Client, rows: dict[type, Any]) -> None:
    market = rows[Market]
    other = factories.make_market()
    factories.make_trade(other)
    factories.make_position(other)
    page = operator.get(change_page(market)).text
    for model, mine in ((Position, 3), (Trade, 1), (HistoryEntry, 1), (PricePoint, 1)):
        link = f"{changelist(model)}?market__exact={market.market_id}"
        assert f'href="{link}"' in page
        assert len(operator.get(link).context["cl"].result_list) == mine
    assert change_page(rows[MarketMetadata]) in page


def test_failed_events_are_found_and_say_why(operator: Client) -> None:
    failed = factories.make_event(
        processed=False, error="Traceback (most recent call last):\n  …\nApplyError: no market"
    )
    factories.make_event()
    listed = operator.get(changelist(IndexedEvent), {"processed__exact": "0"})
    assert [row.pk for row in listed.context["cl"].result_list] == [failed.pk]
    assert "ApplyError: no market" in listed.text
    assert "Traceback (most recent call last)" in operator.get(change_page(failed)).text
    assert "0x00ff" in operator.get(change_page(failed)).text


def try_again(client: Client, *events: IndexedEvent, **more: str) -> Any:
    form = {"action": "try_again", "_selected_action": [str(event.pk) for event in events], **more}
    return client.post(changelist(IndexedEvent), form, follow=True)


def test_failed_events_are_tried_again_by_the_indexer(operator: Client) -> None:
    failed = [factories.make_event(processed=False, error=f"error {number}") for number in range(2)]
    response = try_again(operator, *failed, factories.make_event())
    request = RepairRequest.objects.get()
    blocks = [event.block_number for event in failed]
    assert (request.from_block, request.to_block, request.replay) == (min(blocks), max(blocks), True)
    assert (request.reason, request.done_at) == ("operator tries 2 failed events again", None)
    # Nothing is applied by the web process.
    assert IndexedEvent.objects.filter(processed=False).count() == 2
    assert change_page(request) in response.text
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id, entry.change_message) == (
        "operator",
        str(request.pk),
        request.reason,
    )
    assert operator.get(change_page(request)).status_code == 200


def test_why_they_are_tried_again_is_in_the_audit(operator: Client) -> None:
    event = factories.make_event(processed=False, error="error")
    assert 'name="reason"' in operator.get(changelist(IndexedEvent)).text
    assert not RepairRequest.objects.exists()
    try_again(operator, event, reason="x" * 1_001)
    assert not RepairRequest.objects.exists()
    try_again(operator, event, reason=" the decoder is mended ")
    assert RepairRequest.objects.get().reason == AuditEntry.objects.get().reason == "the decoder is mended"


def test_events_that_did_not_fail_are_not_tried_again(operator: Client) -> None:
    assert "None of these events failed" in try_again(operator, factories.make_event()).text
    assert not RepairRequest.objects.exists()


@pytest.mark.parametrize(("permission", "allowed"), [("view_indexedevent", False), ("change_indexedevent", True)])
def test_trying_again_needs_the_permission_to_change(client: Client, permission: str, allowed: bool) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_indexedevent", permission]))
    client.force_login(user)
    try_again(client, factories.make_event(processed=False, error="error"))
    assert RepairRequest.objects.exists() == allowed
    assert ("Try again" in client.get(changelist(IndexedEvent)).text) == allowed


def test_suspect_markets_are_found_and_say_why(operator: Client) -> None:
    suspect = factories.make_market(suspect_since=factories.START, suspect_reason="no event says why")
    factories.make_market()
    listed = operator.get(changelist(Market), {"suspect": "yes"}).context["cl"].result_list
    assert [row.pk for row in listed] == [suspect.pk]
    assert len(operator.get(changelist(Market), {"suspect": "no"}).context["cl"].result_list) == 1
    assert "no event says why" in operator.get(change_page(suspect)).text


@pytest.mark.parametrize(("state", "count"), [("open", 1), ("done", 1), ("failed", 1)])
def test_repairs_are_filtered_by_state(operator: Client, state: str, count: int) -> None:
    RepairRequest.objects.create(from_block=1, to_block=2, reason="r")
    RepairRequest.objects.create(from_block=3, to_block=4, reason="r", error="e", done_at=factories.START)
    assert len(operator.get(changelist(RepairRequest), {"state": state}).context["cl"].result_list) == count


def test_events_are_filtered_by_name(operator: Client) -> None:
    merge = factories.make_event(event_name="PositionMerge")
    factories.make_event()
    listed = operator.get(changelist(IndexedEvent), {"event": "PositionMerge"}).context["cl"].result_list
    assert [row.pk for row in listed] == [merge.pk]


def test_question_shows_its_state_at_chain_time(operator: Client, rows: dict[type, Any]) -> None:
    assert "committing" not in operator.get(change_page(rows[Question])).text
    Checkpoint.objects.update(block_timestamp=factories.START)
    assert "committing" in operator.get(change_page(rows[Question])).text
    assert len(operator.get(changelist(Question), {"state": "committing"}).context["cl"].result_list) == 1
    assert len(operator.get(changelist(Question), {"state": "resolvable"}).context["cl"].result_list) == 0


def test_question_page_has_votes_and_timeline(operator: Client, rows: dict[type, Any]) -> None:
    page = operator.get(change_page(rows[Question])).text
    assert "QuestionRegistered" in page
    assert rows[Question].votes.get().voter in page


def test_lists_cost_the_same_with_fifty_rows(operator: Client, rows: dict[type, Any]) -> None:
    def costs() -> dict[str, int]:
        counts = {}
        for model in REGISTERED:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert operator.get(changelist(model)).status_code == 200
            counts[model.__name__] = len(queries)
        return counts

    with_one = costs()
    for _ in range(50):
        market = factories.make_market()
        MarketMetadata.objects.create(market=market)
        factories.make_trade(market)
        factories.make_history_entry(market)
        factories.make_question()
        factories.make_event()
        factories.make_block()
    assert costs() == with_one
    assert max(with_one.values()) <= 8


def test_a_big_table_is_estimated_and_a_filtered_one_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        factories.make_block()
    narrowed = IndexedBlock.objects.filter(number__gte=0).order_by("pk")
    assert EstimatingPaginator(IndexedBlock.objects.order_by("pk"), 50).count == 3
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_class SET reltuples = 5000000 WHERE relname = 'indexed_blocks'")
    assert EstimatingPaginator(IndexedBlock.objects.order_by("pk"), 50).count == 5_000_000
    assert EstimatingPaginator(narrowed, 50).count == 3
    monkeypatch.setattr("aurum.admin.MOST_COUNTED", 2)
    assert EstimatingPaginator(narrowed, 50).count == 2
    assert MOST_COUNTED == 10_000


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Market, "status=bogus"),
        (Question, "state=bogus"),
        (IndexedEvent, "event=bogus"),
        (IndexedEvent, "event=%00"),
        (Position, "market__exact=a%00b"),
        (Market, "q=a%00b"),
    ],
)
def test_a_filter_that_does_not_exist_leads_back_to_the_list(operator: Client, model: type, query: str) -> None:
    response = operator.get(f"{changelist(model)}?{query}")
    assert (response.status_code, response["Location"]) == (302, f"{changelist(model)}?e=1")


def test_autocomplete_survives_nul(operator: Client) -> None:
    market = factories.make_market(question="Will it happen?")
    asked = {"app_label": "markets", "model_name": "marketmetadata", "field_name": "market", "term": "\x00happen"}
    assert operator.get("/admin/autocomplete/", asked).json()["results"] == [
        {"id": market.market_id, "text": "Will it happen?"}
    ]
