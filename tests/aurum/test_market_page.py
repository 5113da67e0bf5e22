"""A market's page in the admin: what it shows, of how many statements, and who may reconcile."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from aurum import market_page
from markets.models import Market
from operators.models import AuditEntry
from tests import factories
from tests.aurum.test_operations import person
from tests.factories import HOSTILE, UNIT

pytestmark = pytest.mark.django_db


def page_of(market: Market, name: str = "change") -> str:
    return f"/admin/markets/market/{market.pk}/{name}/"


@pytest.fixture
def market() -> Market:
    factories.make_checkpoint()
    factories.make_collateral()
    return factories.make_market()


def test_holders_and_trades(market: Market) -> None:
    for number in range(25):
        factories.make_position(market, amount=(number + 1) * 10**6)
        factories.make_trade(market, amount=10**6 * (number + 1))
    shown = person("vera", "viewer").get(page_of(market)).context
    assert [holder["is_amm"] for holder in shown["holders"]][:3] == [True, True, False]
    assert (len(shown["holders"]), shown["holders"][2]["amount"]) == (20, "25")
    assert (len(shown["trades"]), shown["trades"][0]["amount"]) == (20, "25")


def test_one_timeline_of_everything(market: Market) -> None:
    """Newest first, whatever it is of."""
    question = factories.make_question(question_id=market.question_id, block_number=1_000)
    factories.make_question_event(question, event="OutcomeProposed", block_number=400_000)
    factories.make_history_entry(market, type="buy", block_number=300_000)
    factories.make_event(processed=False, error="e", address=market.amm_address, block_number=1_500)
    factories.make_correction(market, "question", "Will it?", since=factories.START + timedelta(days=300))
    AuditEntry.objects.create(actor="olga", action="market.hide", subject=f"market:{market.market_id}", reason="spam")
    AuditEntry.objects.create(actor="olga", action="market.hide", subject="market:0x00", reason="another's")
    steps = person("vera", "viewer").get(page_of(market)).context["timeline"]
    assert [step.at for step in steps] == sorted((step.at for step in steps), reverse=True)
    assert {step.kind for step in steps} == {"chain", "oracle", "failed", "correction", "audit"}
    said = [step.what for step in steps]
    assert said[0].startswith("question: Will it? (in force)") or said[0] == "market.hide: spam"
    assert said.index("OutcomeProposed") < next(place for place, what in enumerate(said) if what.startswith("buy "))
    assert [what for what in said if "another" in what] == []


@pytest.mark.parametrize(
    ("also", "kinds"),
    [
        ([], {"chain"}),
        (["view_auditentry"], {"chain", "audit"}),
        (["view_indexedevent", "view_marketcorrection"], {"chain", "failed", "correction"}),
    ],
)
def test_the_timeline_has_what_its_reader_may_see(market: Market, also: list[str], kinds: set[str]) -> None:
    factories.make_event(processed=False, error="e", address=market.amm_address)
    factories.make_correction(market, "question", "Will it?")
    AuditEntry.objects.create(actor="olga", action="market.hide", subject=f"market:{market.market_id}")
    client = person("otto")
    User.objects.get(username="otto").user_permissions.set(
        Permission.objects.filter(codename__in=["view_market", *also])
    )
    assert {step.kind for step in client.get(page_of(market)).context["timeline"]} == kinds


def test_a_step_leads_to_its_event(market: Market) -> None:
    event = factories.make_event()
    at = {"block_number": event.block_number, "log_index": event.log_index, "transaction_hash": event.transaction_hash}
    factories.make_history_entry(market, **at)
    steps = market_page.timeline(market, User(is_superuser=True))
    assert f"/admin/indexer/indexedevent/{event.pk}/change/" in [step.url for step in steps]


def test_the_page_is_bounded(market: Market) -> None:
    client = person("vera", "viewer")
    question = factories.make_question(question_id=market.question_id)
    counts = []
    for rows in (2, 70):
        for _ in range(rows):
            factories.make_position(market)
            factories.make_trade(market)
            factories.make_history_entry(market)
            factories.make_question_event(question)
            factories.make_event(processed=False, error="e", address=market.amm_address)
            AuditEntry.objects.create(actor="o", action="a", subject=f"market:{market.market_id}")
        with CaptureQueriesContext(connection) as captured:
            shown = client.get(page_of(market)).context
        counts.append(len(captured))
    assert counts[0] == counts[1]
    assert (len(shown["timeline"]), len(shown["holders"]), len(shown["trades"])) == (60, 20, 20)


def test_corrected_values_stand_beside_the_stored_ones(market: Market) -> None:
    factories.make_correction(market, "payouts", ["1", "0"])
    rows = {row.field: row for row in person("vera", "viewer").get(page_of(market)).context["fields"]}
    assert [*rows] == ["question", "outcomes", "resolutionTime", "payouts", "collateral"]
    assert (rows["payouts"].stored, rows["payouts"].corrected) == ("none", '["1", "0"]')
    assert (rows["question"].stored, rows["question"].corrected) == (market.question, "")


def test_the_charts_candles_are_the_apis(market: Market, client: Client) -> None:
    factories.make_block(block_number=market.block_number)
    chart = person("vera", "viewer").get(page_of(market)).context["chart"]
    answer = client.get(chart["url"])
    assert (answer.status_code, answer.json()["interval"]) == (200, chart["interval"])
    assert len(answer.json()["series"][0]["candles"]) > 1


@pytest.mark.parametrize("outcomes", [1, 2, 256])
@pytest.mark.parametrize("days", [0, 1, 400, 30_000])
def test_they_are_never_more_than_the_api_gives(client: Client, outcomes: int, days: int) -> None:
    factories.make_checkpoint(block_timestamp=factories.START + timedelta(days=days))
    market = factories.make_market(
        outcomes=[str(number) for number in range(outcomes)], reserves=[UNIT] * outcomes, created_at=factories.START
    )
    chart = person("vera", "viewer").get(page_of(market)).context["chart"]
    assert client.get(chart["url"]).status_code == 200
    assert (len(chart["names"]), chart["left_out"]) == (min(outcomes, 8), max(0, outcomes - 8))


@pytest.mark.parametrize(("group", "may"), [("viewer", False), ("operator", True), ("resolver", True)])
def test_who_reconciles(market: Market, group: str, may: bool, settings: Any) -> None:
    settings.RPC_URLS = []
    client = person("somebody", group)
    assert ('value="Reconcile"' in client.get(page_of(market)).text) == may
    answer = client.post(page_of(market, "reconcile"))
    assert answer.status_code == (302 if may else 403)
    assert AuditEntry.objects.count() == may


def test_neither_by_get_nor_without_a_token_nor_by_strangers(market: Market, client: Client) -> None:
    guarded = person("olga", "operator")
    guarded.handler.enforce_csrf_checks = True
    assert guarded.get(page_of(market, "reconcile"))["Location"] == page_of(market)
    assert guarded.post(page_of(market, "reconcile")).status_code == 403
    assert client.post(page_of(market, "reconcile"))["Location"].startswith("/admin/login/")
    assert not AuditEntry.objects.exists()


def test_hostile_texts_are_inert() -> None:
    factories.make_checkpoint()
    factories.make_collateral(symbol=HOSTILE[:60])
    market = factories.make_market(question=HOSTILE, outcomes=[HOSTILE, "=1+1"], suspect_since=factories.START)
    Market.objects.update(suspect_reason=HOSTILE)
    factories.make_trade(market)
    factories.make_correction(market, "question", "javascript:alert(1)", reason=HOSTILE)
    AuditEntry.objects.create(actor=HOSTILE, action="a", subject=f"market:{market.market_id}", reason=HOSTILE)
    text = person("vera", "viewer").get(page_of(market)).text
    assert ("<script>alert" in text, "<img src=x" in text, 'href="javascript:' in text) == (False, False, False)
    assert "\u202e" not in text
