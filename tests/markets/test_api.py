"""REST of markets and users, against rows as the projections leave them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from markets.models import IndexedBlock, Market, MarketMetadata, OutcomeToken
from tests import factories
from tests.factories import COLLATERAL, HOSTILE, MAX_UINT256, START, UNIT
from tests.problems import problem_of

pytestmark = pytest.mark.django_db

MARKET_ID = "0x" + "ab" * 32
USER = "0x" + "ce" * 20
AMM = "0x" + "a3" * 20
TRANSACTION = "0x" + "7a" * 32
NOWHERE = "0x" + "00" * 31 + "01"
OF_MARKET = ("", "/positions", "/prices", "/trades")
LISTS = (
    "/api/markets",
    f"/api/markets/{MARKET_ID}/positions",
    f"/api/markets/{MARKET_ID}/trades",
    f"/api/users/{USER}/positions",
    f"/api/users/{USER}/history",
)


def get(client: Client, path: str, **query: object) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content[:500]
    assert response["Content-Type"] == "application/json"
    return response.json()


def ids(client: Client, path: str, **query: object) -> list[str]:
    return [row["id"] for row in get(client, path, **query)["results"]]


@pytest.fixture
def market() -> Market:
    return factories.make_market(
        market_id=MARKET_ID,
        question_id="0x" + "01" * 32,
        condition_id="0x" + "02" * 32,
        creator="0x" + "03" * 20,
        amm_address=AMM,
        question="Will it rain?",
        resolution_time=datetime(2099, 1, 1, tzinfo=UTC),
        block_number=1_500,
        transaction_hash=TRANSACTION,
        log_index=7,
    )


# --- one object, whole ------------------------------------------------------------------------------------------------


def test_a_market(client: Client, market: Market) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    factories.make_checkpoint(block_number=1_600, safe_block=1_550, finalized_block=1_499, block_timestamp=now)
    factories.make_collateral()
    MarketMetadata.objects.create(market=market, category="Weather", image_url="https://img.example/rain.png")
    factories.make_trade(market, timestamp=now - timedelta(hours=25))
    factories.make_trade(market, timestamp=now - timedelta(hours=1))
    OutcomeToken.objects.filter(market=market).update(supply=1000 * UNIT)
    assert get(client, f"/api/markets/{MARKET_ID}") == {
        "id": str(market.id),
        "marketId": MARKET_ID,
        "questionId": "0x" + "01" * 32,
        "conditionId": "0x" + "02" * 32,
        "creator": "0x" + "03" * 20,
        "collateralToken": COLLATERAL,
        "collateral": {"symbol": "USDC", "decimals": 6},
        "ammAddress": AMM,
        "fee": "20000000000000000",
        "question": "Will it rain?",
        "outcomes": ["Yes", "No"],
        "resolutionTime": "2099-01-01T00:00:00Z",
        "resolutionTimestamp": "4070908800",
        "status": "open",
        "resolved": False,
        "payouts": None,
        "oracleState": None,
        "prices": [0.65, 0.35],
        "reserves": ["350000000000000000000", "650000000000000000000"],
        "volume": "13000000000000000000",
        "volume24h": "6500000000000000000",
        "liquidity": "455000000000000000000",
        "openInterest": "650000000000000000000",
        "feesCollected": "0",
        "tradingFees": "260000000000000000",
        "traders": 2,
        "tradeCount": 2,
        "metadata": {
            "category": "Weather",
            "description": "",
            "imageUrl": "https://img.example/rain.png",
            "resolutionSource": "",
        },
        "corrected": False,
        "hidden": False,
        "featured": False,
        "corrections": [],
        "finality": "safe",
        "blockNumber": 1_500,
        "transactionHash": TRANSACTION,
        "logIndex": 7,
        "createdAt": "2026-01-01T00:16:40Z",
        "updatedAt": "2026-01-01T00:16:40Z",
    }


def test_the_last_24_hours_end_to_the_second(client: Client) -> None:
    now = START + timedelta(days=2)
    factories.make_checkpoint(block_timestamp=now)
    market = factories.make_market()
    for amount, seconds in enumerate((-1, 0, 0, 1, 1, 86_400)):
        at = now - timedelta(hours=24) + timedelta(seconds=seconds)
        factories.make_trade(market, timestamp=at, collateral_amount=10**amount)
    assert get(client, f"/api/markets/{market.id}")["volume24h"] == "111000"


def test_the_block_at_a_time() -> None:
    for number, seconds in ((5, 10), (7, 12), (8, 12), (9, 14)):
        factories.make_block(block_number=number, timestamp=START + timedelta(seconds=seconds))
    found = {s: IndexedBlock.number_at(START + timedelta(seconds=s)) for s in (9.9, 10, 11, 12, 13, 14, 10**6)}
    assert found == {9.9: -1, 10: 5, 11: 5, 12: 8, 13: 8, 14: 9, 10**6: 9}


def test_a_market_of_which_little_is_known(client: Client) -> None:
    """No AMM, no metadata, an unknown token, nothing indexed yet."""
    market = factories.make_market(reserves=None)
    body = get(client, f"/api/markets/{market.id}")
    unknown = ("collateral", "ammAddress", "fee", "payouts", "prices", "reserves")
    assert {name: body[name] for name in unknown} == dict.fromkeys(unknown)
    assert body["metadata"] == {"category": "", "description": "", "imageUrl": "", "resolutionSource": ""}
    assert (body["volume"], body["volume24h"], body["liquidity"], body["openInterest"]) == ("0", "0", "0", "0")
    assert (body["traders"], body["tradeCount"], body["finality"]) == (0, 0, "pending")


def test_a_resolved_market(client: Client) -> None:
    market = factories.make_market(payouts=[MAX_UINT256, 0])
    body = get(client, f"/api/markets/{market.market_id}")
    assert (body["status"], body["resolved"], body["payouts"]) == ("resolved", True, [str(MAX_UINT256), "0"])


def test_an_emptied_pool_has_no_price(client: Client) -> None:
    market = factories.make_market(reserves=[0, 0])
    assert get(client, f"/api/markets/{market.id}")["prices"] is None
    assert get(client, f"/api/markets/{market.id}/prices")["prices"] is None
    position = factories.make_position(market, user_address=USER)
    row = get(client, f"/api/users/{USER}/positions")["results"][0]
    assert (row["id"], row["currentPrice"], row["value"]) == (str(position.id), None, None)


def test_prices(client: Client, market: Market) -> None:
    factories.make_price_point(market, block_number=1_700)
    assert get(client, f"/api/markets/{MARKET_ID}/prices") == {
        "marketId": MARKET_ID,
        "prices": [0.65, 0.35],
        "reserves": ["350000000000000000000", "650000000000000000000"],
        "timestamp": "2026-01-01T00:23:20Z",
        "blockNumber": 1_700,
    }


def test_prices_without_a_pool(client: Client) -> None:
    market = factories.make_market(reserves=None)
    assert get(client, f"/api/markets/{market.market_id}/prices") == {
        "marketId": market.market_id,
        "prices": None,
        "reserves": None,
        "timestamp": None,
        "blockNumber": None,
    }


def test_a_position(client: Client, market: Market) -> None:
    position = factories.make_position(
        market,
        user_address=USER,
        outcome_index=1,
        amount=3 * UNIT,
        cost=12 * UNIT // 10,
        realized_pnl=-7,
        untracked_amount=5,
    )
    expected = {
        "id": str(position.id),
        "userAddress": USER,
        "marketId": MARKET_ID,
        "outcomeIndex": 1,
        "outcome": "No",
        "amount": "3000000000000000000",
        "isAmm": False,
        "currentPrice": 0.35,
        "value": "1050000000000000000",
        "averageCost": 0.4,
        "cost": "1200000000000000002",
        "realizedPnl": "-7",
        "unrealizedPnl": "-150000000000000002",
        "untrackedAmount": "5",
        "status": "open",
        "createdAt": "2026-01-01T00:16:40Z",
        "updatedAt": "2026-01-01T00:16:40Z",
    }
    assert get(client, f"/api/users/{USER}/positions") == {"results": [expected], "next": None, "previous": None}
    assert expected in get(client, f"/api/markets/{MARKET_ID}/positions")["results"]


def test_a_position_in_a_resolved_market_is_worth_its_payout(client: Client) -> None:
    market = factories.make_market(payouts=[3, 1])
    factories.make_position(market, user_address=USER, outcome_index=0, amount=10)
    row = get(client, f"/api/users/{USER}/positions")["results"][0]
    assert (row["currentPrice"], row["value"]) == (0.75, "7")


@pytest.mark.parametrize(
    ("market", "held", "expected"),
    [
        # value, cost, realised, unrealised, average cost
        ({"payouts": [3, 1]}, {"amount": 10, "cost": 9}, ("7", "9", "0", "-2", 0.9)),
        # nobody has redeemed it, and it is lost all the same
        ({"payouts": [0, 1]}, {"amount": 10, "cost": 9, "realized_pnl": 4}, ("0", "0", "-5", "0", 0.9)),
        ({}, {"amount": 0, "realized_pnl": -4}, ("0", "0", "-4", "0", None)),
        # closed: the average of all that it has ever had
        ({}, {"amount": 0, "acquired_amount": 8, "acquired_cost": 6}, ("0", "0", "0", "0", 0.75)),
        # of some tokens nobody knows the cost: 4 of them are worth 4 * 0.65, rounded down
        ({}, {"amount": 10, "cost": 3, "untracked_amount": 4}, ("6", "6", "0", "0", 0.5)),
        ({}, {"amount": 10, "untracked_amount": 10}, ("6", "6", "0", "0", None)),
        ({"reserves": None}, {"amount": 10, "cost": 9}, (None, "9", "0", None, 0.9)),
        ({"reserves": [0, 0]}, {"amount": 10, "cost": 0}, (None, "0", "0", None, 0.0)),
    ],
)
def test_what_a_position_has_cost_and_earned(
    client: Client, market: dict[str, Any], held: dict[str, int], expected: tuple[Any, ...]
) -> None:
    factories.make_position(factories.make_market(**market), user_address=USER, **held)
    [row] = get(client, f"/api/users/{USER}/positions")["results"]
    names = ("value", "cost", "realizedPnl", "unrealizedPnl", "averageCost")
    assert tuple(row[name] for name in names) == expected


def test_a_trade(client: Client, market: Market) -> None:
    factories.make_checkpoint(finalized_block=2_000)
    trade = factories.make_trade(
        market, trader=USER, side="sell", outcome=1, block_number=1_800, log_index=4, transaction_hash=TRANSACTION
    )
    assert get(client, f"/api/markets/{MARKET_ID}/trades")["results"] == [
        {
            "id": str(trade.id),
            "marketId": MARKET_ID,
            "trader": USER,
            "side": "sell",
            "outcome": 1,
            "amount": "10000000000000000000",
            "collateralAmount": "6500000000000000000",
            "feeAmount": "130000000000000000",
            "price": 0.65,
            "finality": "final",
            "blockNumber": 1_800,
            "transactionHash": TRANSACTION,
            "logIndex": 4,
            "timestamp": "2026-01-01T00:26:40Z",
        }
    ]


def test_a_history_entry(client: Client, market: Market) -> None:
    entry = factories.make_history_entry(
        market,
        user_address=USER,
        block_number=1_800,
        log_index=4,
        transaction_hash=TRANSACTION,
        realized_pnl=-2,
        cost_change=65 * UNIT // 10,
    )
    assert get(client, f"/api/users/{USER}/history")["results"] == [
        {
            "id": str(entry.id),
            "type": "buy",
            "marketId": MARKET_ID,
            "outcome": 0,
            "amount": "10000000000000000000",
            "collateralAmount": "6500000000000000000",
            "outcomeAmounts": None,
            "price": 0.65,
            "counterparty": AMM,
            "realizedPnl": "-2",
            "costChange": "6500000000000000000",
            "finality": "pending",
            "blockNumber": 1_800,
            "transactionHash": TRANSACTION,
            "logIndex": 4,
            "timestamp": "2026-01-01T00:26:40Z",
        }
    ]


def test_liquidity_in_history_has_no_price(client: Client, market: Market) -> None:
    factories.make_history_entry(
        market, user_address=USER, type="remove_liquidity", outcome=None, outcome_amounts=[0, MAX_UINT256]
    )
    row = get(client, f"/api/users/{USER}/history")["results"][0]
    assert (row["price"], row["outcome"], row["outcomeAmounts"]) == (None, None, ["0", str(MAX_UINT256)])


def test_the_largest_amounts_keep_their_digits(client: Client) -> None:
    market = factories.make_market(reserves=[MAX_UINT256, 1], volume=10**80, fee=MAX_UINT256)
    trade = factories.make_trade(market, amount=1, collateral_amount=MAX_UINT256)
    body = get(client, f"/api/markets/{market.id}")
    assert body["reserves"] == [str(MAX_UINT256), "1"]
    assert body["volume"] == str(10**80 + MAX_UINT256)
    assert body["fee"] == str(MAX_UINT256)
    row = get(client, f"/api/markets/{market.id}/trades")["results"][0]
    assert (row["id"], row["collateralAmount"]) == (str(trade.id), str(MAX_UINT256))
    assert row["price"] == pytest.approx(1.157920892373162e77)


def test_hostile_strings_come_back_intact(client: Client) -> None:
    question = HOSTILE + "長" * 10_000
    market = factories.make_market(question=question, outcomes=[HOSTILE, "\u2028"])
    response = client.get(f"/api/markets/{market.id}")
    assert json.loads(response.content)["question"] == question
    assert response.json()["outcomes"] == [HOSTILE, "\u2028"]
    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"


# --- ids in paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", OF_MARKET)
def test_a_market_is_found_by_either_id_in_any_case(client: Client, market: Market, suffix: str) -> None:
    written = (str(market.id), str(market.id).upper(), MARKET_ID, "0x" + MARKET_ID[2:].upper())
    answers = [get(client, f"/api/markets/{name}{suffix}") for name in written]
    assert answers == [answers[0]] * 4


@pytest.mark.parametrize("suffix", OF_MARKET)
@pytest.mark.parametrize(
    "name",
    ["1", "0x", MARKET_ID[:-1], MARKET_ID + "0", "0x" + "zz" * 32, "0X" + "ab" * 32, "a%00b", "%F0%9F%8E%B2", "{}"],
)
def test_a_malformed_market_id_is_400(client: Client, name: str, suffix: str) -> None:
    assert set(problem_of(client.get(f"/api/markets/{name}{suffix}"), 400)["errors"]) == {"id"}


@pytest.mark.parametrize("suffix", OF_MARKET)
@pytest.mark.parametrize("name", [NOWHERE, "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_market_is_404(client: Client, market: Market, name: str, suffix: str) -> None:
    problem_of(client.get(f"/api/markets/{name}{suffix}"), 404)


@pytest.mark.parametrize("suffix", ["positions", "history"])
def test_an_address_in_any_case(client: Client, market: Market, suffix: str) -> None:
    factories.make_position(market, user_address=USER)
    factories.make_history_entry(market, user_address=USER)
    assert len(get(client, f"/api/users/0x{USER[2:].upper()}/{suffix}")["results"]) == 1


@pytest.mark.parametrize("suffix", ["positions", "history"])
def test_an_address_that_did_nothing_has_empty_lists(client: Client, suffix: str) -> None:
    assert get(client, f"/api/users/{USER}/{suffix}") == {"results": [], "next": None, "previous": None}


@pytest.mark.parametrize("suffix", ["positions", "history"])
@pytest.mark.parametrize("name", ["me", "0x", USER[:-1], USER + "0", "0x" + "zz" * 20, MARKET_ID, "vitalik.eth"])
def test_a_malformed_address_is_400(client: Client, name: str, suffix: str) -> None:
    assert set(problem_of(client.get(f"/api/users/{name}/{suffix}"), 400)["errors"]) == {"address"}


# --- query parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*LISTS, f"/api/markets/{MARKET_ID}", f"/api/markets/{MARKET_ID}/prices"])
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("offset=5", "offset"),
        ("Limit=5", "Limit"),
        ("page=2&sort=x", "page"),
        ("=1", ""),
        ("status%00=open", "status\x00"),
    ],
)
def test_an_unknown_parameter_is_400(client: Client, market: Market, path: str, query: str, named: str) -> None:
    assert problem_of(client.get(f"{path}?{query}"), 400)["errors"][named] == ["Unknown parameter."]


def test_an_unknown_parameter_is_named_as_it_was_written(client: Client) -> None:
    problem = problem_of(client.get("/api/markets?created_at=1"), 400)
    assert problem["detail"] == "created_at: Unknown parameter."


@pytest.mark.parametrize("path", LISTS)
def test_a_parameter_given_twice_is_400(client: Client, market: Market, path: str) -> None:
    assert problem_of(client.get(f"{path}?limit=1&limit=2"), 400)["errors"] == {"limit": ["Given more than once."]}


@pytest.mark.parametrize(
    ("path", "name"),
    [("/api/markets", "search"), ("/api/markets", "category"), (LISTS[2], "trader"), (LISTS[4], "market")],
)
def test_nul_in_a_parameter_is_400(client: Client, market: Market, path: str, name: str) -> None:
    assert problem_of(client.get(f"{path}?{name}=a%00b"), 400)["errors"] == {name: ["Must not contain NUL."]}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "201", "1.5", "ten", "", "٣", "1e2", "9" * 400, " 5"])
def test_a_limit_out_of_bounds_is_400(client: Client, market: Market, path: str, limit: str) -> None:
    assert set(problem_of(client.get(path, {"limit": limit}), 400)["errors"]) == {"limit"}


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/api/markets", "status", "closed"),
        ("/api/markets", "status", "Open"),
        ("/api/markets", "creator", "0x12"),
        ("/api/markets", "collateralToken", MARKET_ID),
        ("/api/markets", "endsBefore", "tomorrow"),
        ("/api/markets", "endsAfter", "2026-13-01"),
        ("/api/markets", "ordering", "id"),
        ("/api/markets", "ordering", "--volume"),
        ("/api/markets", "ordering", "volume,createdAt"),
        ("/api/markets", "search", "x" * 201),
        (LISTS[1], "outcome", "-1"),
        (LISTS[1], "outcome", "256"),
        (LISTS[1], "outcome", "1.5"),
        (LISTS[1], "outcome", "NaN"),
        (LISTS[1], "outcome", "Yes"),
        (LISTS[2], "outcome", "0.1"),
        (LISTS[2], "side", "BUY"),
        (LISTS[2], "trader", "0x"),
        (LISTS[3], "status", "ended"),
        (LISTS[3], "market", USER),
        (LISTS[4], "type", "trade"),
        (LISTS[4], "market", "1"),
    ],
)
def test_a_bad_value_is_400_and_named(client: Client, market: Market, path: str, name: str, value: str) -> None:
    problem = problem_of(client.get(path, {name: value}), 400)
    assert set(problem["errors"]) == {name}
    assert problem["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-01-01", "2026-01-01T00:00"]
)
def test_extreme_times_are_answered(client: Client, market: Market, moment: str) -> None:
    assert client.get("/api/markets", {"endsBefore": moment}).status_code in (200, 400)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("path", [*LISTS, f"/api/markets/{MARKET_ID}", f"/api/markets/{MARKET_ID}/prices"])
def test_other_methods_are_405(client: Client, market: Market, path: str, method: str) -> None:
    response = getattr(client, method)(path, data="{}", content_type="application/json")
    problem_of(response, 405)
    assert "GET" in response["Allow"]


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nothing", "/api/markets/", f"/api/markets/{MARKET_ID}/", "/x%00y"]
)
def test_an_unknown_path_is_a_404_problem(client: Client, market: Market, path: str) -> None:
    problem_of(client.get(path), 404)


@pytest.mark.parametrize("path", ["/api/markets", "/api/oracle/questions"])
@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json", "image/png"])
def test_a_browser_gets_json_too(client: Client, accept: str, path: str) -> None:
    response = client.get(path, headers={"Accept": accept})
    assert response["Content-Type"] == "application/json"
    assert response.json() == {"results": [], "next": None, "previous": None}


# --- filters and orderings --------------------------------------------------------------------------------------------


def test_status(client: Client) -> None:
    open_, ended, resolved = (
        factories.make_market(),
        factories.make_market(resolution_time=START),
        factories.make_market(resolution_time=START, payouts=[1, 0]),
    )
    assert ids(client, "/api/markets", status="open") == [str(open_.id)]
    assert ids(client, "/api/markets", status="ended") == [str(ended.id)]
    assert ids(client, "/api/markets", status="resolved") == [str(resolved.id)]
    assert len(ids(client, "/api/markets")) == 3


@pytest.mark.parametrize(
    ("term", "found"), [("rain", 1), ("RAIN", 1), ("%", 1), ("_", 0), ("100%", 1), ("\\", 0), ("'", 0), ("ü", 1)]
)
def test_search(client: Client, term: str, found: int) -> None:
    factories.make_market(question="Will it rain?")
    factories.make_market(question="100% Übermut?")
    assert len(ids(client, "/api/markets", search=term)) == found


def test_category_creator_collateral_and_time(client: Client) -> None:
    market = factories.make_market(creator=USER, collateral_token="0x" + "dd" * 20, resolution_time=START)
    MarketMetadata.objects.create(market=market, category="Sport")
    factories.make_market()
    for query in (
        {"category": "Sport"},
        {"creator": "0x" + USER[2:].upper()},
        {"collateralToken": "0x" + "DD" * 20},
        {"endsBefore": "2026-01-01T00:00:01Z"},
        {"endsAfter": "2025-12-31T23:59:59Z", "endsBefore": "2026-01-01T01:00:01+01:00"},
    ):
        assert ids(client, "/api/markets", **query) == [str(market.id)]
    for query in ({"category": "sport"}, {"endsBefore": "2026-01-01T00:00:00Z"}, {"creator": "0x" + "11" * 20}):
        assert ids(client, "/api/markets", **query) == []


@pytest.mark.parametrize("name", ["volume", "volume24h", "liquidity", "traders", "createdAt", "resolutionTime"])
def test_orderings(client: Client, name: str) -> None:
    """Five markets whose every figure rises together; the ordering's opposite reverses them."""
    markets = []
    for rank in range(5):
        market = factories.make_market(
            created_at=START + timedelta(days=rank),
            resolution_time=START + timedelta(days=10 + rank),
            reserves=[10 + rank, 10 + rank],
        )
        for _ in range(rank):
            factories.make_trade(market, timestamp=datetime.now(tz=UTC))
        markets.append(str(market.id))
    assert ids(client, "/api/markets", ordering=name) == markets
    assert ids(client, "/api/markets", ordering=f"-{name}") == markets[::-1]
    paged = []
    url: str | None = f"/api/markets?ordering={name}&limit=2"
    while url and len(paged) <= 5:
        page = client.get(url).json()
        paged += [row["id"] for row in page["results"]]
        url = page["next"]
    assert paged == markets


def test_markets_of_one_second_come_in_the_order_of_the_chain(client: Client) -> None:
    places = [(2_000 + block, index) for block in range(3) for index in (3, 7, 12)]
    made = {
        place: str(factories.make_market(created_at=START, block_number=place[0], log_index=place[1]).id)
        for place in sorted(places, key=lambda place: place[1])
    }
    assert ids(client, "/api/markets") == [made[place] for place in sorted(places, reverse=True)]
    assert ids(client, "/api/markets", ordering="createdAt") == [made[place] for place in sorted(places)]


def test_markets_are_newest_first(client: Client) -> None:
    first, second = factories.make_market(), factories.make_market()
    assert ids(client, "/api/markets") == [str(second.id), str(first.id)]


def test_holders_are_largest_first_with_the_amm_marked_and_nobody_with_nothing(client: Client, market: Market) -> None:
    holder = factories.make_position(market, amount=400 * UNIT)
    factories.make_position(market, amount=0)
    rows = get(client, f"/api/markets/{MARKET_ID}/positions")["results"]
    assert [(row["amount"], row["isAmm"]) for row in rows] == [
        (str(650 * UNIT), True),
        (str(400 * UNIT), False),
        (str(350 * UNIT), True),
    ]
    assert ids(client, f"/api/markets/{MARKET_ID}/positions", outcome=0)[0] == str(holder.id)
    assert len(ids(client, f"/api/markets/{MARKET_ID}/positions", outcome=1)) == 1


def test_what_an_amm_holds_has_a_value_and_neither_cost_nor_pnl(client: Client, market: Market) -> None:
    names = ("isAmm", "currentPrice", "value", "averageCost", "cost", "realizedPnl", "unrealizedPnl")
    rows = get(client, f"/api/markets/{MARKET_ID}/positions")["results"]
    assert [tuple(row[name] for name in names) for row in rows] == [
        (True, 0.35, str(350 * 650 * UNIT // 1000), None, "0", "0", "0"),
        (True, 0.65, str(650 * 350 * UNIT // 1000), None, "0", "0", "0"),
    ]


def test_trades_are_filtered_and_newest_first(client: Client, market: Market) -> None:
    path = f"/api/markets/{MARKET_ID}/trades"
    buy = factories.make_trade(market, trader=USER, block_number=2_000, log_index=1)
    sell = factories.make_trade(market, side="sell", outcome=1, block_number=2_000, log_index=2)
    factories.make_trade(factories.make_market())
    assert ids(client, path) == [str(sell.id), str(buy.id)]
    assert ids(client, path, trader=USER) == [str(buy.id)]
    assert ids(client, path, side="sell") == [str(sell.id)]
    assert ids(client, path, outcome=0) == [str(buy.id)]
    assert ids(client, path, outcome=0, side="sell") == []


def test_user_positions_are_filtered(client: Client, market: Market) -> None:
    path = f"/api/users/{USER}/positions"
    held = factories.make_position(market, user_address=USER)
    closed = factories.make_position(factories.make_market(), user_address=USER, amount=0)
    assert ids(client, path, status="open") == [str(held.id)]
    assert ids(client, path, status="closed") == [str(closed.id)]
    assert ids(client, path, market=MARKET_ID.upper().replace("X", "x")) == [str(held.id)]
    assert len(ids(client, path)) == 2


def test_history_is_filtered_and_newest_first(client: Client, market: Market) -> None:
    path = f"/api/users/{USER}/history"
    at = {"block_number": 2_000, "log_index": 3, "transaction_hash": TRANSACTION}
    out = factories.make_history_entry(market, user_address=USER, type="transfer_out", sequence=0, **at)
    in_ = factories.make_history_entry(market, user_address=USER, type="transfer_in", sequence=1, **at)
    other = factories.make_history_entry(factories.make_market(), user_address=USER, block_number=2_001)
    assert ids(client, path) == [str(other.id), str(in_.id), str(out.id)]
    assert ids(client, path, type="transfer_in") == [str(in_.id)]
    assert ids(client, path, market=MARKET_ID) == [str(in_.id), str(out.id)]


# --- the chain position -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*LISTS, f"/api/markets/{MARKET_ID}", f"/api/markets/{MARKET_ID}/prices"])
def test_every_answer_says_at_which_block_it_is_true(client: Client, market: Market, path: str) -> None:
    assert "X-Indexed-Block" not in client.get(path)
    factories.make_checkpoint(block_number=4_321)
    assert client.get(path)["X-Indexed-Block"] == "4321"


# --- cost -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> None:
    """200 rows in each list."""
    factories.make_checkpoint()
    factories.make_collateral()
    for number in range(200):
        market = factories.make_market(market_id=MARKET_ID if not number else None, reserves=[1, 1])
        factories.make_position(market, user_address=USER)
        factories.make_history_entry(market, user_address=USER)
    market = Market.objects.get(market_id=MARKET_ID)
    for _ in range(197):
        factories.make_position(market)
    for _ in range(200):
        factories.make_trade(market)


def test_a_page_of_200_costs_a_few_queries(
    client: Client, many: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for path in LISTS:
        with django_assert_num_queries(1):
            assert len(get(client, path, limit=200)["results"]) == 200
    with django_assert_num_queries(1):
        get(client, f"/api/markets/{MARKET_ID}")
