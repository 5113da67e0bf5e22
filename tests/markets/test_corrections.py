"""What the API shows of corrections, hidden and featured markets; and without them, byte for byte what it did."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import WatchedMarket
from aurum.market_page import field_rows
from markets import snapshots
from markets.correctable import CORRECTABLE, BadValue
from markets.correcting import untold
from markets.corrections import chain_values, in_force
from markets.models import Market, MarketCorrection, MarketPlacement, Revision
from markets.pages import ETAG_NOW
from tests import factories
from tests.accounts.people import signed_in
from tests.factories import HOSTILE, START

pytestmark = pytest.mark.django_db
USER = "0x" + "ce" * 20
# Field: value, and what the market then shows.
CORRECTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "question": ("Will it rain?", {"question": "Will it rain?"}),
    "outcomes": (["Aye", "Nay"], {"outcomes": ["Aye", "Nay"]}),
    "resolutionTime": ("2026-01-01T12:00:00Z", {"resolutionTime": "2026-01-01T12:00:00Z", "status": "ended"}),
    "payouts": (["1", "0"], {"payouts": ["1", "0"], "resolved": True, "status": "resolved"}),
    "collateral": (
        {"symbol": "EURC", "decimals": 2},
        {"collateral": {"symbol": "EURC", "decimals": 2}},
    ),
}


@pytest.fixture
def market() -> Market:
    factories.make_checkpoint()
    factories.make_collateral()
    made = factories.make_market(block_number=1_500)
    factories.make_trade(made, trader=USER)
    factories.make_position(made, user_address=USER)
    return made


def get(client: Client, path: str, **query: object) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content[:500]
    return response.json()


def pages(client: Client, market: Market) -> dict[str, bytes]:
    """Every answer that says something of the market, byte for byte."""
    path = f"/api/markets/{market.market_id}"
    found = ["/api/markets", "/api/markets?status=open", "/api/markets?search=happen", path, f"{path}?asOfBlock=2000"]
    found += [f"{path}/{name}" for name in ("prices", "positions", "trades", "prices/history?interval=1h")]
    found += [f"/api/users/{USER}/{name}" for name in ("positions", "history", "portfolio")]
    found += ["/api/leaderboard", f"/api/prices?markets={market.market_id}"]
    answers = {each: client.get(each) for each in found}
    wrong = {each: answer.status_code for each, answer in answers.items() if answer.status_code != 200}
    assert wrong == {}
    bodies = {each: answer.content for each, answer in answers.items()}
    return bodies | {"snapshot": snapshots.read_markets([market.market_id])[market.market_id].encode()}


@pytest.mark.parametrize("field", CORRECTED)
def test_a_correction_is_laid_over_everywhere(client: Client, market: Market, field: str) -> None:
    value, expected = CORRECTED[field]
    path = f"/api/markets/{market.market_id}"
    before = get(client, path)
    factories.make_correction(market, field, value, expires_at=datetime(2100, 1, 1, tzinfo=UTC))
    entry = {
        "field": field,
        "chainValue": chain_values(market)[field],
        "value": value,
        "reason": "as agreed",
        "since": "2026-01-01T00:00:00Z",
        "expiresAt": "2100-01-01T00:00:00Z",
    }
    assert get(client, path) == before | expected | {"corrected": True, "corrections": [entry]}
    row = {name: value for name, value in before.items() if name != "corrections"} | expected | {"corrected": True}
    assert get(client, "/api/markets")["results"] == [row]
    snapshot = json.loads(snapshots.read_markets([market.market_id])[market.market_id])
    assert snapshot == row | {"corrections": [entry]}
    assert get(client, f"{path}?asOfBlock=2000")["corrections"] == [entry]
    assert get(client, f"{path}?asOfBlock=2000")[next(iter(expected))] == next(iter(expected.values()))
    user = User.objects.create_user("0x" + "11" * 20)
    WatchedMarket.objects.create(user=user, market=market)
    [watched] = client.get("/api/me/watchlist", **signed_in(user.username)).json()["results"]
    assert {name: watched[name] for name in expected} == expected
    # The ledger is the chain's.
    stored = Market.objects.get()
    assert (stored.question, stored.outcomes, stored.resolved) == (market.question, ["Yes", "No"], False)
    [position] = get(client, f"/api/users/{USER}/positions")["results"]
    assert position["outcome"] == ("Aye" if field == "outcomes" else "Yes")
    assert position["currentPrice"] == 0.65
    # Nobody's name.
    assert "first" not in client.get(path).text


def test_payouts_can_be_taken_back(client: Client, market: Market) -> None:
    resolved = factories.make_market(payouts=[0, 1])
    factories.make_correction(resolved, "payouts", None)
    shown = get(client, f"/api/markets/{resolved.market_id}")
    assert (shown["payouts"], shown["resolved"], shown["status"]) == (None, False, "open")
    assert [(each["chainValue"], each["value"]) for each in shown["corrections"]] == [(["0", "1"], None)]
    assert get(client, "/api/markets", status="resolved")["results"] == []


def test_filters_and_search_go_by_what_is_shown(client: Client, market: Market) -> None:
    def found(**query: object) -> list[str]:
        return [row["marketId"] for row in get(client, "/api/markets", **query)["results"]]

    other = factories.make_market(question="Something else")
    factories.make_correction(market, "resolutionTime", "2026-01-01T12:00:00Z")
    factories.make_correction(market, "question", "Will Zürich's lake freeze?")
    assert found(status="open") == [other.market_id]
    assert found(status="ended") == [market.market_id]
    assert found(search="zürich freeze") == [market.market_id]
    assert found(search="reeze") == [market.market_id]
    # By the chain's time: an index begins there.
    assert found(endsBefore="2026-02-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "end",
    [
        lambda rows: rows.update(revoked_at=timezone.now()),
        lambda rows: rows.update(expires_at=START + timedelta(days=1)),
        lambda rows: rows.update(since=None, approved_by=None),
    ],
    ids=["revoked", "expired", "pending"],
)
def test_without_one_in_force_every_answer_is_the_byte_it_was(
    client: Client, market: Market, end: Callable[[Any], int]
) -> None:
    before = pages(client, market)
    for field, (value, _) in CORRECTED.items():
        factories.make_correction(market, field, value)
    MarketPlacement.objects.create(market=market, featured=True, reason="r", changed_by="o")
    during = pages(client, market)
    same = {name for name in before if before[name] == during[name]}
    path = f"/api/markets/{market.market_id}"
    ledger = {f"{path}/prices", f"{path}/trades", f"{path}/prices/history?interval=1h"}
    ledger |= {f"/api/users/{USER}/history", f"/api/users/{USER}/portfolio", "/api/leaderboard"}
    assert same == ledger | {f"/api/prices?markets={market.market_id}"}
    end(MarketCorrection.objects.all())
    MarketPlacement.objects.all().delete()
    assert pages(client, market) == before


def test_every_change_gives_answers_another_version(client: Client, market: Market) -> None:
    def version() -> str:
        return client.get("/api/markets")["ETag"]

    versions = [version()]
    correction = factories.make_correction(market, "question", "Another?")
    versions.append(version())
    MarketCorrection.objects.update(revoked_at=timezone.now())
    versions.append(version())
    MarketPlacement.objects.create(market=market, hidden=True, reason="r", changed_by="o")
    versions.append(version())
    assert len(set(versions)) == 4
    number = Revision.objects.get().number
    MarketCorrection.objects.filter(pk=correction.pk).update(told=True)
    assert (Revision.objects.get().number, version()) == (number, versions[-1])


def test_an_expiry_gives_answers_another_version_without_a_write(client: Client, market: Market) -> None:
    """`now()` is the transaction's: two corrections, one of which has expired already, stand for two moments."""

    def asked() -> tuple[str, float | None]:
        with connection.cursor() as cursor:
            cursor.execute(ETAG_NOW)
            return cursor.fetchone()

    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        [now] = cursor.fetchone()
    assert asked() == (client.get("/api/markets")["ETag"], None)
    lasting = factories.make_correction(market, "question", "Another?", expires_at=now + timedelta(seconds=30))
    etag, seconds = asked()
    assert (etag, seconds) == (client.get("/api/markets")["ETag"], 30.0)
    number = Revision.objects.get().number
    MarketCorrection.objects.filter(pk=lasting.pk).update(expires_at=now)
    Revision.objects.update(number=number)  # as if nothing had been written, and the time had come
    assert asked() == (client.get("/api/markets")["ETag"], None)
    assert asked()[0] != etag
    assert not get(client, f"/api/markets/{market.market_id}")["corrected"]


def test_a_list_that_does_not_fit_is_not_shown(client: Client, market: Market) -> None:
    """A reorganisation may bring the market back with other outcomes."""
    factories.make_correction(market, "outcomes", ["one", "two", "three"])
    factories.make_correction(market, "payouts", ["1"])
    shown = get(client, f"/api/markets/{market.market_id}")
    assert (shown["outcomes"], shown["payouts"], shown["corrected"], shown["corrections"]) == (
        *(["Yes", "No"], None, False),
        [],
    )
    # Nor to subscribers, nor in the admin.
    assert in_force([market]) == {}
    assert {row.corrected for row in field_rows(market)} == {""}
    market.outcomes = ["1", "2", "3"]
    assert in_force([market]) == {market.market_id: {"outcomes": ["one", "two", "three"]}}


def test_what_is_announced_and_what_is_shown_end_at_one_moment(market: Market) -> None:
    """The transaction's, which began before this one expired: else it would be told of as ended, and still shown."""
    factories.make_correction(market, "question", "Another?", told=True, expires_at=timezone.now())
    assert (untold(), in_force([market])) == (False, {market.market_id: {"question": "Another?"}})


def test_hostile_values_are_json_and_nothing_else(client: Client, market: Market) -> None:
    value = HOSTILE.replace("\u202e", "").replace("\u202c", "") + "\\ %s {} $1"
    factories.make_correction(market, "question", value, reason=value)
    factories.make_correction(market, "outcomes", [value, "No"])
    shown = get(client, f"/api/markets/{market.market_id}")
    assert (shown["question"], shown["outcomes"]) == (value, [value, "No"])
    assert {each["reason"] for each in shown["corrections"]} == {value, "as agreed"}


def test_one_statement_stays_one(
    client: Client, market: Market, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(2):
        for path in ("/api/markets", f"/api/markets/{market.market_id}", f"/api/users/{USER}/positions"):
            with django_assert_num_queries(1):
                client.get(path)
        if not number:
            factories.make_correction(market, "question", "Another?")


def test_markets_that_share_an_id_of_another_chain_are_not_touched(client: Client, market: Market) -> None:
    other = factories.make_market()
    factories.make_correction(market, "question", "Another?")
    assert get(client, f"/api/markets/{other.market_id}")["corrected"] is False
    assert in_force([market, other]) == {market.market_id: {"question": "Another?"}}


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["outcomes", "resolutionTime", "payouts", "collateral"])
@pytest.mark.parametrize("approver", ["nobody", "first"])
def test_the_database_itself_wants_two_people(market: Market, field: str, approver: str) -> None:
    by = None if approver == "nobody" else User.objects.get_or_create(username="first")[0]
    with pytest.raises(IntegrityError, match="correction_by_two_people"), transaction.atomic():
        factories.make_correction(market, field, CORRECTED[field][0], approved_by=by)
    assert not MarketCorrection.objects.exists()


def test_one_of_a_field_is_in_force_and_one_waits(market: Market) -> None:
    factories.make_correction(market, "question", "A?")
    factories.make_correction(market, "question", "B?", since=None)
    with pytest.raises(IntegrityError, match="correction_one_in_force"), transaction.atomic():
        factories.make_correction(market, "question", "C?")
    with pytest.raises(IntegrityError, match="correction_one_pending"), transaction.atomic():
        factories.make_correction(market, "question", "D?", since=None)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("question", "  Will it?  ", "Will it?"),
        ("question", "日本語 🎲 <b>", "日本語 🎲 <b>"),
        ("outcomes", "Aye\r\n\nNay\n", ["Aye", "Nay"]),
        ("resolutionTime", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("resolutionTime", "2026-03-01T01:30:00.5+01:30", "2026-03-01T00:00:00Z"),
        ("payouts", "1, 0", ["1", "0"]),
        ("payouts", f"0 {2**256 - 1}", ["0", str(2**256 - 1)]),
        ("payouts", " None ", None),
        ("collateral", "USD Coin 6", {"symbol": "USD Coin", "decimals": 6}),
    ],
)
def test_what_a_form_says_becomes_a_value_and_back(field: str, text: str, value: Any) -> None:
    correctable = CORRECTABLE[field]
    assert correctable.read(text, 2) == value
    assert correctable.read(correctable.write(value), 2) == value


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("question", "   ", "The question must not be empty."),
        ("question", "x" * 1_001, "The question must have at most 1,000 characters; it has 1,001."),
        ("question", "two\nlines", "The question must not contain U+000A."),
        ("question", "a\u202eb", "The question must not contain U+202E."),
        ("question", "a\x00b", "The question must not contain U+0000."),
        ("outcomes", "Yes", "The market has 2 outcomes; 1 lines are written."),
        ("outcomes", "Yes\n Yes ", "Two outcomes must not have one name."),
        ("outcomes", "Yes\n" + "x" * 201, "An outcome must have at most 200 characters; it has 201."),
        ("resolutionTime", "tomorrow", "The time must be like 2026-03-01T00:00:00Z."),
        ("resolutionTime", "2026-03-01T00:00:00", "The time must say its zone: end it with Z for UTC."),
        ("resolutionTime", "1969-12-31T23:59:59Z", "The time must not be before 1970."),
        ("resolutionTime", "9999-12-31T23:59:59-01:00", "The time must be like 2026-03-01T00:00:00Z."),
        ("payouts", "1", "The market has 2 outcomes; 1 numerators are written."),
        ("payouts", "0 0", "One numerator at least must be above zero."),
        ("payouts", "-1 2", "Numerators must be whole numbers from 0 to 2^256-1."),
        ("payouts", f"1 {2**256}", "Numerators must be whole numbers from 0 to 2^256-1."),
        ("payouts", "\u0661 0", "Numerators must be whole numbers from 0 to 2^256-1."),
        ("collateral", "USDC", "Write the symbol, a space, and the decimals (0 to 77), such as: USDC 6"),
        ("collateral", "USDC 78", "Write the symbol, a space, and the decimals (0 to 77), such as: USDC 6"),
        ("collateral", " 6", "Write the symbol, a space, and the decimals (0 to 77), such as: USDC 6"),
    ],
)
def test_what_is_no_value_says_why(field: str, text: str, said: str) -> None:
    with pytest.raises(BadValue) as raised:
        CORRECTABLE[field].read(text, 2)
    assert str(raised.value).startswith(said) or (field, text) == ("collateral", " 6")


# --- hidden and featured ----------------------------------------------------------------------------------------------


def test_a_hidden_market_is_in_no_list_and_answers_by_its_id(client: Client, market: Market) -> None:
    other = factories.make_market()
    MarketPlacement.objects.create(market=market, hidden=True, featured=True, reason="r", changed_by="o")
    for query in ({}, {"search": "happen"}, {"featured": "true"}, {"ordering": "-volume"}, {"status": "open"}):
        found = [row["marketId"] for row in get(client, "/api/markets", **query)["results"]]
        assert market.market_id not in found, query
    assert [row["marketId"] for row in get(client, "/api/markets")["results"]] == [other.market_id]
    shown = get(client, f"/api/markets/{market.market_id}")
    assert (shown["hidden"], shown["featured"], shown["marketId"]) == (True, True, market.market_id)
    # Its holders still find what they have.
    assert len(get(client, f"/api/users/{USER}/positions")["results"]) == 1


def test_featured_markets_are_asked_for(client: Client, market: Market) -> None:
    factories.make_market()
    MarketPlacement.objects.create(market=market, featured=True, reason="r", changed_by="o")
    rows = get(client, "/api/markets", featured="true")["results"]
    assert [(row["marketId"], row["featured"], row["hidden"]) for row in rows] == [(market.market_id, True, False)]
    assert sorted(row["featured"] for row in get(client, "/api/markets")["results"]) == [False, True]
    assert client.get("/api/markets?featured=false").status_code == 400


def test_chain_time_is_what_status_goes_by(client: Client, market: Market) -> None:
    factories.make_correction(market, "resolutionTime", (START + timedelta(days=2)).isoformat()[:19] + "Z")
    assert get(client, f"/api/markets/{market.market_id}")["status"] == "open"
