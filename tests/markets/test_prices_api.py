"""REST of prices: quotes, candles' parameters, and several markets at once. What candles say: test_candles.py."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from markets import price_history
from markets.models import Checkpoint, Market
from markets.price_views import HISTORY_EXAMPLE
from markets.quote_views import QUOTE_EXAMPLE
from tests import factories
from tests.factories import MAX_UINT256, START, UNIT
from tests.problems import problem_of

pytestmark = pytest.mark.django_db

MARKET_ID = "0x" + "ab" * 32
AMM = "0x" + "a3" * 20
QUOTE = f"/api/markets/{MARKET_ID}/quote"


def get(client: Client, path: str, **query: object) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content[:500]
    assert response["Content-Type"] == "application/json"
    return response.json()


@pytest.fixture
def market() -> Market:
    """Two outcomes at even odds, a fee of 2%."""
    factories.make_checkpoint(block_number=12_345_678, chain_id=8453)
    return factories.make_market(
        market_id=MARKET_ID, amm_address=AMM, reserves=[10**8, 10**8], fee=UNIT // 50, block_number=1_100
    )


# --- quotes -----------------------------------------------------------------------------------------------------------


def test_a_buy(client: Client, market: Market) -> None:
    answer = get(client, QUOTE, side="buy", outcome=0, amount=50_000_000, slippage="0.01")
    assert answer == QUOTE_EXAMPLE.value
    assert answer == get(client, QUOTE, side="buy", outcome="0", amount="50000000")


def test_a_sale(client: Client, market: Market) -> None:
    """49 paid and 1 of fee: 50 sets less; 100 * 100 / 50 = 200 stay of the outcome, so 150 are given."""
    answer = get(client, QUOTE, side="sell", outcome=1, amount=49_000_000, slippage=0)
    data = answer.pop("transaction").pop("data")
    assert answer == {
        "marketId": MARKET_ID,
        "side": "sell",
        "outcome": 1,
        "amountIn": "150000000",
        "amountOut": "49000000",
        "feeAmount": "1000000",
        "averagePrice": 49 / 150,
        "priceBefore": 0.5,
        "priceAfter": 0.2,
        "priceImpact": 1 / 3,
        "slippage": 0.0,
        "minimumReceived": "49000000",
        "maximumGiven": "150000000",
        "blockNumber": 12_345_678,
    }
    assert data == "0xd3c9727c" + f"{49_000_000:064x}{1:064x}{150_000_000:064x}"


@pytest.mark.parametrize(("tokens", "amount"), [(150_000_000, 49_000_000), (149_999_999, 48_999_999), (3, 1)])
def test_a_sale_by_its_tokens_is_that_of_the_most_they_bring(
    client: Client, market: Market, tokens: int, amount: int
) -> None:
    assert get(client, QUOTE, side="sell", outcome=1, tokens=tokens) == get(
        client, QUOTE, side="sell", outcome=1, amount=amount
    )


def test_a_buy_too_small_for_a_token(client: Client, market: Market) -> None:
    Market.objects.update(fee=UNIT)
    answer = get(client, QUOTE, side="buy", outcome=0, amount=1)
    assert (answer["amountOut"], answer["averagePrice"], answer["priceImpact"]) == ("0", None, None)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({}, {"side", "outcome"}),
        ({"side": "buy", "outcome": 0}, {"amount"}),
        ({"side": "BUY", "outcome": 0, "amount": 1}, {"side"}),
        ({"side": "buy", "outcome": 2, "amount": 1}, {"outcome"}),
        ({"side": "buy", "outcome": 256, "amount": 1}, {"outcome"}),
        ({"side": "buy", "outcome": -1, "amount": 1}, {"outcome"}),
        ({"side": "buy", "outcome": "1.0", "amount": 1}, {"outcome"}),
        ({"side": "buy", "outcome": "Yes", "amount": 1}, {"outcome"}),
        ({"side": "buy", "outcome": 0, "amount": 0}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": "-1"}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": "1.5"}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": "1e18"}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": "٣"}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": ""}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": " 1"}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": "1_0"}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": 2**256}, {"amount"}),
        ({"side": "buy", "outcome": 0, "amount": "9" * 5_000}, {"amount"}),
        ({"side": "buy", "outcome": 0, "tokens": 1}, {"tokens"}),
        ({"side": "sell", "outcome": 0, "tokens": 1, "amount": 1}, {"amount"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "slippage": "1.01"}, {"slippage"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "slippage": "-0.1"}, {"slippage"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "slippage": "1/3"}, {"slippage"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "slippage": "1e-2"}, {"slippage"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "slippage": "NaN"}, {"slippage"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "slippage": "1%"}, {"slippage"}),
        ({"side": "sell", "outcome": 0, "amount": 1, "limit": 1}, {"limit"}),
        ({"side": "sell", "outcome": 0, "amount": ["1", "2"]}, {"amount"}),
        ({"side": "sell\x00", "outcome": 0, "amount": 1}, {"side"}),
    ],
)
def test_a_bad_quote_query_is_400_and_named(
    client: Client, market: Market, query: dict[str, Any], named: set[str]
) -> None:
    assert set(problem_of(client.get(QUOTE, query), 400)["errors"]) == named


@pytest.mark.parametrize(
    ("columns", "query", "detail"),
    [
        ({"resolved": True}, {"amount": 1}, "The market is resolved."),
        ({"reserves": None, "amm_address": None, "fee": None}, {"amount": 1}, "The market has no AMM."),
        ({"reserves": [0, 0]}, {"amount": 1}, "The market's AMM has no liquidity."),
        ({"reserves": [0, 5]}, {"amount": 1}, "The market's AMM has no liquidity."),
        ({}, {"tokens": 1}, "The AMM pays nothing for so few tokens."),
        ({}, {"amount": 98_000_000}, "The AMM would revert: division by zero."),
        ({}, {"amount": 99_000_000}, "The AMM would revert: SafeMath: subtraction overflow."),
        ({}, {"amount": MAX_UINT256}, "The AMM would revert: SafeMath: multiplication overflow."),
        ({"reserves": [MAX_UINT256, 1]}, {"amount": 1}, "The AMM would revert: SafeMath: multiplication overflow."),
        ({"fee": UNIT}, {"tokens": 5}, "The AMM would revert: division by zero."),
    ],
)
def test_a_trade_that_cannot_be_is_409(
    client: Client, market: Market, columns: dict[str, Any], query: dict[str, Any], detail: str
) -> None:
    for name, value in columns.items():
        setattr(market, name, value)
    market.save()
    problem = problem_of(client.get(QUOTE, {"side": "sell", "outcome": 0} | query), 409)
    assert problem["detail"] == detail


def test_a_quote_before_anything_is_indexed(client: Client) -> None:
    market = factories.make_market()
    path = f"/api/markets/{market.market_id}/quote"
    problem_of(client.get(path, {"side": "buy", "outcome": 0, "amount": 1}), 409)


# --- several markets, and candles' parameters -------------------------------------------------------------------------

OTHER_ID = "0x" + "cd" * 32
HISTORIES = (f"/api/markets/{MARKET_ID}/prices/history", f"/api/prices/history?markets={MARKET_ID}")


@pytest.fixture
def two(market: Market) -> list[Market]:
    """Another one beside the first: of three outcomes, its pool a block younger."""
    other = factories.make_market(market_id=OTHER_ID, outcomes=["a", "b", "c"], reserves=[1, 2, 4], block_number=1_500)
    for block in (market.block_number, 1_500):
        factories.make_block(block_number=block)
    Checkpoint.objects.update(block_timestamp=START + timedelta(hours=1))
    return [market, other]


def test_current_prices_of_several(client: Client, two: list[Market]) -> None:
    alone = [get(client, f"/api/markets/{market.id}/prices") for market in two]
    assert alone[1]["prices"] == [4 / 7, 2 / 7, 1 / 7]
    assert get(client, "/api/prices", markets=f"{MARKET_ID},{OTHER_ID}") == {"results": alone}
    assert get(client, "/api/prices", markets=f"{OTHER_ID.upper().replace('X', 'x')},{MARKET_ID}") == {
        "results": alone[::-1]
    }


def test_candles_of_several(client: Client, two: list[Market]) -> None:
    alone = [get(client, f"/api/markets/{market.id}/prices/history", interval="15m") for market in two]
    assert [len(body["series"]) for body in alone] == [2, 3]
    assert alone[1]["series"][2] == {
        "outcome": 2,
        "candles": [
            {"time": time, **dict.fromkeys(("open", "high", "low", "close"), 1 / 7), "volume": "0", "trades": 0}
            for time in (
                "2026-01-01T00:15:00Z",
                "2026-01-01T00:30:00Z",
                "2026-01-01T00:45:00Z",
                "2026-01-01T01:00:00Z",
            )
        ],
    }
    assert get(client, "/api/prices/history", interval="15m", markets=f"{OTHER_ID},{MARKET_ID}") == {
        "results": alone[::-1]
    }


def test_a_candle_has_what_the_example_shows(client: Client, two: list[Market]) -> None:
    body = get(client, HISTORIES[0])
    assert set(body) == set(HISTORY_EXAMPLE)
    assert set(body["series"][0]) == set(HISTORY_EXAMPLE["series"][0])
    assert set(body["series"][0]["candles"][0]) == set(HISTORY_EXAMPLE["series"][0]["candles"][0])
    assert body["interval"] == "1h"


@pytest.mark.parametrize("path", ["/api/prices", "/api/prices/history"])
@pytest.mark.parametrize(
    "markets",
    [
        "",
        ",",
        MARKET_ID + ",",
        f"{MARKET_ID},{MARKET_ID.upper().replace('X', 'x')}",
        "0x12",
        "00000000-0000-4000-8000-000000000000",
        ",".join(f"0x{number:064x}" for number in range(51)),
        None,
    ],
)
def test_bad_market_lists_are_400(client: Client, two: list[Market], path: str, markets: str | None) -> None:
    query = {} if markets is None else {"markets": markets}
    assert set(problem_of(client.get(path, query), 400)["errors"]) == {"markets"}


@pytest.mark.parametrize("path", ["/api/prices", "/api/prices/history"])
def test_an_unknown_market_among_several_is_404_and_named(client: Client, two: list[Market], path: str) -> None:
    nowhere = "0x" + "00" * 32
    problem = problem_of(client.get(path, {"markets": f"{MARKET_ID},{nowhere}"}), 404)
    assert problem["detail"] == f"There is no market {nowhere}."


@pytest.mark.parametrize("path", HISTORIES)
@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("interval=2m", {"interval"}),
        ("interval=1M", {"interval"}),
        ("interval=", {"interval"}),
        ("from=yesterday", {"from"}),
        ("from=2026-01-01", {"from"}),
        ("from=2026-01-01T00:00:00", {"from"}),
        ("to=1767225600", {"to"}),
        ("to=9999-12-31T23:59:59-14:00", {"to"}),
        ("outcome=2", {"outcome"}),
        ("outcome=-1", {"outcome"}),
        ("limit=5", {"limit"}),
        ("from=2026-01-01T00:00:01Z&to=2026-01-01T00:00:00Z", {"from"}),
        # 1,001 candles
        ("interval=1m&from=2025-12-31T08:20:00Z&to=2026-01-01T01:01:00Z", {"from"}),
        ("interval=1m&from=0001-01-01T00:00:00Z", {"from"}),
    ],
)
def test_a_bad_candle_query_is_400_and_named(
    client: Client, two: list[Market], path: str, query: str, named: set[str]
) -> None:
    sign = "&" if "?" in path else "?"
    assert set(problem_of(client.get(f"{path}{sign}{query}"), 400)["errors"]) == named


@pytest.mark.parametrize(
    "query",
    [
        "interval=1m&from=2025-12-31T08:21:00Z&to=2026-01-01T01:01:00Z",
        "from=0001-01-01T00:00:00Z&to=0001-01-01T00:00:01Z",
        "to=0001-01-01T00:00:00Z",
        "to=0001-01-01T00:00:00Z&interval=1d",
        "from=9999-12-31T23:59:59Z",
        "to=1000-01-01T00:00:00Z",
    ],
)
def test_extreme_times_are_answered(client: Client, two: list[Market], query: str) -> None:
    assert client.get(f"{HISTORIES[0]}?{query}").status_code == 200


def test_many_outcomes_get_fewer_candles_by_default_and_no_more_than_fit(client: Client, market: Market) -> None:
    many = factories.make_market(
        outcomes=[str(number) for number in range(256)], reserves=[7] * 256, block_number=1_100
    )
    factories.make_block(block_number=many.block_number)
    Checkpoint.objects.update(block_timestamp=START + timedelta(days=30))
    path = f"/api/markets/{many.id}/prices/history"
    series = get(client, path)["series"]
    assert [len(one["candles"]) for one in series] == [78] * 256
    assert series[255]["candles"][77]["close"] == 1 / 256
    problem = problem_of(client.get(path, {"from": "2026-01-20T00:00:00Z"}), 400)
    assert problem["errors"]["from"][0].startswith("That is 265 candles each of 256 outcomes;")


def test_more_changes_than_one_answer_reads_are_refused(
    client: Client, two: list[Market], monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_price_point(two[0], reserves=[1, 2], block_number=1_400)
    factories.make_block(block_number=1_400)
    monkeypatch.setattr(price_history, "MAX_MOMENTS", 1)
    assert problem_of(client.get(HISTORIES[0]), 400)["errors"] == {
        "from": ["There are too many changes of price in this time for one answer: ask for less of it."]
    }


def test_candles_that_take_too_long_are_refused(
    client: Client, two: list[Market], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_history, "BEFORE", "SELECT '', pg_sleep(60)::text")
    monkeypatch.setattr(price_history, "MAX_MILLISECONDS", 50)
    assert set(problem_of(client.get(HISTORIES[0]), 400)["errors"]) == {"from"}
