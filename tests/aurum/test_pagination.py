"""Cursors over rows that tie and rows that arrive: each row once, forwards and backwards, and nothing forged."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from aurum.cursors import DEFAULT_LIMIT, MAX_LIMIT
from markets.models import Market
from tests import factories
from tests.factories import START
from tests.problems import problem_of

pytestmark = pytest.mark.django_db

PATH = "/api/markets"
MOST_PAGES = 40
USER = "0x" + "ce" * 20
# Every ordering, with what makes rows tie in it.
ORDERINGS = [
    sign + name
    for name in ("volume", "volume24h", "liquidity", "traders", "createdAt", "resolutionTime")
    for sign in ("", "-")
]


def tied_markets(count: int = 33) -> list[Market]:
    """Markets in three groups; within one, every figure ties."""
    return [
        factories.make_market(
            reserves=None,
            created_at=START + timedelta(days=number % 3),
            resolution_time=START + timedelta(days=1000 + number % 3),
            volume=number % 3 * 10**70,
            liquidity=number % 3 * 10**70,
            trader_count=number % 3,
        )
        for number in range(count)
    ]


def page(client: Client, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.content
    return response.json()


def walk(client: Client, url: str | None, direction: str = "next") -> list[list[str]]:
    """Pages of ids, following links to the end."""
    pages = []
    while url:
        body = page(client, url)
        pages.append([row["id"] for row in body["results"]])
        url = body[direction]
        assert len(pages) <= MOST_PAGES, "the links lead in a circle"
    return pages


def last_page(client: Client, url: str) -> str:
    """The address of the last page."""
    for _ in range(MOST_PAGES):
        following = page(client, url)["next"]
        if not following:
            return url
        url = following
    pytest.fail("the links lead in a circle")


def flat(pages: list[list[str]]) -> list[str]:
    return [identity for ids in pages for identity in ids]


def cursor_of(url: str) -> list[Any]:
    raw = url.partition("cursor=")[2].partition("&")[0]
    return json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_ties_are_walked_once_each_way(client: Client, ordering: str) -> None:
    made = {str(market.id) for market in tied_markets()}
    whole = flat(walk(client, f"{PATH}?ordering={ordering}&limit=200"))
    assert len(whole) == 33
    assert set(whole) == made
    forwards = walk(client, f"{PATH}?ordering={ordering}&limit=5")
    assert [len(ids) for ids in forwards] == [5] * 6 + [3]
    assert flat(forwards) == whole

    backwards = walk(client, last_page(client, f"{PATH}?ordering={ordering}&limit=5"), "previous")
    assert flat(reversed(backwards)) == whole


def test_rows_that_arrive_shift_nothing(client: Client) -> None:
    """Forwards: what stood there at the start comes exactly once; so does what arrives ahead, and nothing behind."""
    made = {str(market.id) for market in tied_markets(30)}
    seen: list[str] = []
    behind, ahead = [], []
    url: str | None = f"{PATH}?limit=4"
    while url and len(seen) <= 33:
        body = page(client, url)
        seen += [row["id"] for row in body["results"]]
        behind.append(str(factories.make_market(reserves=None, created_at=START + timedelta(days=30)).id))
        if len(ahead) < 3:
            ahead.append(str(factories.make_market(reserves=None, created_at=START - timedelta(days=1)).id))
        url = body["next"]
    assert len(seen) == len(set(seen)) == 33
    assert set(seen) == made | set(ahead)
    assert not set(seen) & set(behind)


def test_walking_back_over_rows_that_arrived(client: Client) -> None:
    made = {str(market.id) for market in tied_markets(30)}
    seen: list[str] = []
    back: str | None = last_page(client, f"{PATH}?limit=4")
    while back and len(seen) <= 30:
        body = page(client, back)
        seen += [row["id"] for row in body["results"]]
        # Behind the page that is being read: not seen again on the way back.
        factories.make_market(reserves=None, created_at=START - timedelta(days=1))
        back = body["previous"]
    assert len(seen) == len(set(seen)) == 30
    assert set(seen) == made


def test_forwards_after_backwards_is_the_same_page(client: Client) -> None:
    tied_markets(12)
    first = page(client, f"{PATH}?limit=4")
    second = page(client, first["next"])
    assert page(client, second["previous"])["results"] == first["results"]
    assert page(client, page(client, second["previous"])["next"])["results"] == second["results"]


@pytest.mark.parametrize(
    ("count", "limit", "pages"), [(0, 5, [0]), (1, 5, [1]), (5, 5, [5]), (6, 5, [5, 1]), (3, 1, [1, 1, 1])]
)
def test_ends(client: Client, count: int, limit: int, pages: list[int]) -> None:
    tied_markets(count)
    first = page(client, f"{PATH}?limit={limit}")
    assert first["previous"] is None
    assert [len(ids) for ids in walk(client, f"{PATH}?limit={limit}")] == pages


def test_limits(client: Client) -> None:
    for _ in range(MAX_LIMIT + 1):
        factories.make_market(reserves=None)
    assert len(page(client, PATH)["results"]) == DEFAULT_LIMIT == 50
    assert len(page(client, f"{PATH}?limit={MAX_LIMIT}")["results"]) == MAX_LIMIT == 200
    assert len(page(client, f"{PATH}?limit=007")["results"]) == 7
    problem_of(client.get(f"{PATH}?limit=201"), 400)


def test_links_keep_the_query(client: Client) -> None:
    tied_markets(6)
    url = page(client, f"{PATH}?status=open&search=happen&limit=2&ordering=-volume")["next"]
    assert url.startswith("http://testserver/api/markets?")
    assert {"status=open", "search=happen", "limit=2", "ordering=-volume"} < set(url.partition("?")[2].split("&"))


def test_another_limit_may_go_on_with_a_cursor(client: Client) -> None:
    tied_markets(10)
    url = page(client, f"{PATH}?limit=2")["next"]
    assert [len(ids) for ids in walk(client, url.replace("limit=2", "limit=7"))] == [7, 1]


@pytest.mark.parametrize(
    "other",
    [
        f"{PATH}?status=open",
        f"{PATH}?ordering=volume",
        f"{PATH}?search=happen",
        "/api/oracle/questions?",
        f"/api/users/{USER}/positions?",
        f"/api/users/{USER}/history?",
    ],
)
def test_a_cursor_of_another_query_is_400(client: Client, other: str) -> None:
    tied_markets(3)
    cursor = page(client, f"{PATH}?limit=2")["next"].partition("cursor=")[2].partition("&")[0]
    problem = problem_of(client.get(f"{other}&cursor={cursor}"), 400)
    assert problem["errors"] == {"cursor": ["Not a cursor of this query."]}


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "abc",
        "!!!",
        "%00",
        "%F0%9F%8E%B2",
        "a" * 5000,
        encoded(None),
        encoded([]),
        encoded({}),
        encoded(1),
        encoded("abc"),
        encoded(["x", False, ["a", "b"]]),
        encoded(["x", 0, ["a", "b"]]),
        encoded([[], {}, None]),
        encoded([1, 2, 3]),
        base64.urlsafe_b64encode(b"[" * 20_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_garbage_is_no_cursor(client: Client, cursor: str) -> None:
    tied_markets(1)
    problem = problem_of(client.get(f"{PATH}?cursor={cursor}"), 400)
    assert problem["errors"] in ({"cursor": ["Not a cursor of this query."]}, {"cursor": ["Must not contain NUL."]})


@pytest.mark.parametrize(
    "forge",
    [
        lambda signature, backwards, values: [signature, not backwards, values],
        lambda signature, backwards, values: [signature, backwards, ["9999-12-31T23:59:59+00:00", values[1]]],
        lambda signature, backwards, values: [signature, backwards, [*values, values[0]]],
        lambda signature, backwards, values: [signature, backwards, values[:1]],
        lambda signature, backwards, values: [signature, backwards, []],
        lambda signature, backwards, values: [signature, backwards, None],
        lambda signature, backwards, values: [signature[:-1], backwards, values],
        lambda signature, backwards, values: ["", backwards, values],
        lambda signature, backwards, values: ["\u00e4" * 24, backwards, values],
    ],
)
def test_a_cursor_that_was_changed_is_400(client: Client, forge: Any) -> None:
    tied_markets(3)
    cursor = cursor_of(page(client, f"{PATH}?limit=2")["next"])
    assert client.get(f"{PATH}?limit=2&cursor={encoded(cursor)}").status_code == 200
    problem = problem_of(client.get(f"{PATH}?limit=2&cursor={encoded(forge(*cursor))}"), 400)
    assert problem["errors"] == {"cursor": ["Not a cursor of this query."]}


def test_trades_of_one_block_are_walked_by_their_place_in_it(client: Client) -> None:
    market = factories.make_market()
    made = [
        str(factories.make_trade(market, block_number=2_000 + number // 5, log_index=number).id) for number in range(33)
    ]
    path = f"/api/markets/{market.market_id}/trades"
    assert flat(walk(client, f"{path}?limit=4")) == made[::-1]


def test_history_entries_of_one_log_are_walked_by_their_sequence(client: Client) -> None:
    market = factories.make_market()
    log = {"block_number": 2_000, "log_index": 3, "transaction_hash": "0x" + "7a" * 32, "user_address": USER}
    made = [
        str(factories.make_history_entry(market, type="transfer_in", sequence=sequence, **log).id)
        for sequence in range(33)
    ]
    assert flat(walk(client, f"/api/users/{USER}/history?limit=4")) == made[::-1]


def test_holders_with_equal_amounts_are_walked_once(client: Client) -> None:
    market = factories.make_market(reserves=None)
    made = {str(factories.make_position(market, amount=7).id) for _ in range(33)}
    seen = flat(walk(client, f"/api/markets/{market.market_id}/positions?limit=4"))
    assert len(seen) == 33
    assert set(seen) == made
