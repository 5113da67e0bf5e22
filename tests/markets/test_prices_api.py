"""REST of prices: quotes."""

from typing import Any

import pytest
from django.test import Client

from markets.models import Market
from markets.quote_views import QUOTE_EXAMPLE
from tests import factories
from tests.factories import MAX_UINT256, UNIT
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
    return factories.make_market(market_id=MARKET_ID, amm_address=AMM, reserves=[10**8, 10**8], fee=UNIT // 50)


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
