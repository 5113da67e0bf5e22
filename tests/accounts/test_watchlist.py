"""A user's markets."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import watchlist
from accounts.models import WatchedMarket
from markets.models import Amm, Market, OutcomeToken, Position, PricePoint
from tests import factories
from tests.accounts.people import signed_in
from tests.problems import problem_of

WATCHLIST = "/api/me/watchlist"
NOWHERE = "0x" + "00" * 31 + "01"

pytestmark = pytest.mark.django_db


def entry(market: Market | str) -> str:
    return f"{WATCHLIST}/{market if isinstance(market, str) else market.market_id}"


def watched(client: Client, headers: dict[str, Any], **query: object) -> list[str]:
    answer = client.get(WATCHLIST, query, **headers)
    assert answer.status_code == 200, answer.content
    return [row["marketId"] for row in answer.json()["results"]]


def test_markets_are_put_on_and_taken_off(client: Client) -> None:
    headers = signed_in()
    first, second = factories.make_market(), factories.make_market()
    for market in (first, second, first):
        answer = client.put(entry(market), **headers)
        assert (answer.status_code, answer.content) == (204, b"")
    assert watched(client, headers) == [second.market_id, first.market_id]
    assert client.get("/api/me", **headers).json()["watchlistCount"] == 2
    for _ in range(2):
        assert client.delete(entry(second), **headers).status_code == 204
    assert watched(client, headers) == [first.market_id]


def test_a_market_is_shown_as_everywhere(client: Client) -> None:
    factories.make_checkpoint()
    factories.make_collateral()
    headers = signed_in()
    market = factories.make_market()
    factories.make_trade(market)
    client.put(entry(market), **headers)
    answer = client.get(WATCHLIST, **headers)
    assert (answer["Cache-Control"], answer["X-Indexed-Block"]) == ("no-store", "1000000")
    assert set(answer.json()) == {"results", "next", "previous"}
    (row,) = answer.json()["results"]
    added_at = WatchedMarket.objects.get().added_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    (listed,) = client.get("/api/markets").json()["results"]
    assert row == listed | {"addedAt": added_at}


def test_by_uuid_and_in_upper_case(client: Client) -> None:
    headers = signed_in()
    market = factories.make_market()
    for name in (str(market.id), "0x" + market.market_id[2:].upper()):
        assert client.put(entry(name), **headers).status_code == 204
        assert watched(client, headers) == [market.market_id]
        assert client.delete(entry(name), **headers).status_code == 204
        assert watched(client, headers) == []


@pytest.mark.parametrize("method", ["put", "delete"])
@pytest.mark.parametrize(
    ("name", "status"),
    [
        (NOWHERE, 404),
        ("00000000-0000-0000-0000-000000000001", 404),
        ("0x12", 400),
        ("bogus", 400),
        ("%00", 400),
    ],
)
def test_a_market_that_is_not_there(client: Client, method: str, name: str, status: int) -> None:
    problem_of(getattr(client, method)(entry(name), **signed_in()), status)


def test_an_entry_outlives_a_reindex(client: Client) -> None:
    headers = signed_in()
    market = factories.make_market()
    client.put(entry(market), **headers)
    for model in (Position, PricePoint, OutcomeToken, Amm):
        model.objects.all().delete()
    Market.objects.all().delete()
    assert watched(client, headers) == []
    assert client.get("/api/me", **headers).json()["watchlistCount"] == 1
    factories.make_market(market_id=market.market_id)
    assert watched(client, headers) == [market.market_id]


def test_a_market_that_is_gone_is_taken_off(client: Client) -> None:
    headers = signed_in()
    WatchedMarket.objects.create(user=User.objects.get(), market_id=NOWHERE)
    assert client.delete(entry(NOWHERE), **headers).status_code == 204
    problem_of(client.delete(entry(NOWHERE), **headers), 404)


def test_a_list_has_pages_and_a_bound(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = signed_in()
    markets = [factories.make_market(reserves=None) for _ in range(4)]
    monkeypatch.setattr(watchlist, "LONGEST_WATCHLIST", 3)
    for market in markets[:3]:
        client.put(entry(market), **headers)
    problem = problem_of(client.put(entry(markets[3]), **headers), 409)
    assert problem["detail"] == "A watchlist holds at most 3 markets."
    assert client.put(entry(markets[0]), **headers).status_code == 204
    page = client.get(WATCHLIST, {"limit": 2}, **headers).json()
    assert [row["marketId"] for row in page["results"]] == [markets[2].market_id, markets[1].market_id]
    page = client.get(page["next"], **headers).json()
    assert ([row["marketId"] for row in page["results"]], page["next"]) == ([markets[0].market_id], None)
    problem_of(client.get(WATCHLIST, {"limit": 201}, **headers), 400)
    problem_of(client.get(WATCHLIST, {"user": 1}, **headers), 400)
    problem_of(client.put(f"{entry(markets[0])}?user=1", **headers), 400)


def test_many_entries_cost_what_one_does(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    headers = signed_in()
    user = User.objects.get()
    for number in (1, 3):
        for _ in range(number):
            WatchedMarket.objects.create(user=user, market=factories.make_market())
        with django_assert_num_queries(2):
            watched(client, headers)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.django_db(transaction=True)
def test_the_bound_holds_at_the_same_time(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = signed_in()
    markets = [factories.make_market(reserves=None) for _ in range(8)]
    monkeypatch.setattr(watchlist, "LONGEST_WATCHLIST", 3)
    start = Barrier(8)

    def put(market: Market) -> int:
        try:
            start.wait(timeout=30)
            return Client().put(entry(market), **headers).status_code
        finally:
            connection.close()

    assert sorted(threads.map(put, markets)) == [204] * 3 + [409] * 5
    assert WatchedMarket.objects.count() == 3
