"""What a trade gives, in integers. Equality with the contract: tests/chain/test_quotes.py."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.amm import MAX_UINT256, Reverted, calc_buy_amount, calc_sell_amount, returned_for
from markets.quotes import quote_buy, quote_sell
from tests.factories import UNIT

TWO_PERCENT = UNIT // 50
RESERVES = st.lists(st.integers(1, 2**90), min_size=2, max_size=8)
FEES = st.integers(0, UNIT - 1)


@pytest.mark.parametrize(
    ("reserves", "fee", "investment", "bought"),
    [
        # 100 * 100 = 110 * 90.909…, of which the pool keeps 91
        ([100, 100], 0, 10, 19),
        ([100, 100], 0, 1, 1),
        # a fee of 2% of 10 is rounded down to nothing, of 50 it is 1: 100 * 100 / 149 = 67.1…
        ([100, 100], TWO_PERCENT, 10, 19),
        ([100, 100], TWO_PERCENT, 50, 81),
        # rounded up once for each of the others: 100 * (2/3 of the first) * (2/3 of the second) = 44.4…
        ([100, 100, 100], 0, 50, 105),
        # the fee takes everything, the rounding the rest
        ([100, 100], UNIT, 10, 0),
        ([1, 10**30], 0, 1, 1),
    ],
)
def test_a_buy(reserves: list[int], fee: int, investment: int, bought: int) -> None:
    assert calc_buy_amount(reserves, fee, investment, 0) == bought


@pytest.mark.parametrize(
    ("reserves", "fee", "returned", "sold"),
    [
        # 100 * 100 = 90 * 111.1…, of which 112 stay
        ([100, 100], 0, 10, 22),
        # 1/0.98 of 49 is 50
        ([100, 100], TWO_PERCENT, 49, 150),
        ([100, 100, 100], 0, 50, 350),
        ([100, 100], 0, 99, 9_999),
        ([100, 100], 0, 0, 0),
    ],
)
def test_a_sale(reserves: list[int], fee: int, returned: int, sold: int) -> None:
    assert calc_sell_amount(reserves, fee, returned, 0) == sold


@pytest.mark.parametrize(
    ("formula", "reserves", "fee", "amount", "outcome", "reason"),
    [
        (calc_buy_amount, [1, 1], 0, 1, 2, "invalid outcome index"),
        (calc_buy_amount, [1, 1], 0, 1, -1, "invalid outcome index"),
        (calc_buy_amount, [], 0, 1, 0, "invalid outcome index"),
        (calc_buy_amount, [0, 1], 0, 1, 0, "must have non-zero balances"),
        (calc_buy_amount, [1, 0], 0, 1, 0, "must have non-zero balances"),
        (calc_buy_amount, [1, 0], 0, 0, 0, "division by zero"),
        (calc_buy_amount, [1, 1], UNIT + 1, UNIT, 0, "SafeMath: subtraction overflow"),
        (calc_buy_amount, [1, 1], 2, MAX_UINT256, 0, "SafeMath: multiplication overflow"),
        (calc_buy_amount, [MAX_UINT256, 1], 0, 1, 0, "SafeMath: multiplication overflow"),
        (calc_buy_amount, [1, MAX_UINT256], 0, 1, 0, "SafeMath: addition overflow"),
        (calc_sell_amount, [1, 1], 0, 1, 2, "invalid outcome index"),
        (calc_sell_amount, [100, 100], 0, 100, 0, "division by zero"),
        (calc_sell_amount, [100, 100], 0, 101, 0, "SafeMath: subtraction overflow"),
        (calc_sell_amount, [100, 100], UNIT, 1, 0, "division by zero"),
        (calc_sell_amount, [100, 100], UNIT + 1, 1, 0, "SafeMath: subtraction overflow"),
        (calc_sell_amount, [100, 100], 0, MAX_UINT256, 0, "SafeMath: multiplication overflow"),
        (calc_sell_amount, [0, 100], 0, 1, 0, "must have non-zero balances"),
    ],
)
def test_what_the_contract_refuses(
    formula: Callable[..., int], reserves: list[int], fee: int, amount: int, outcome: int, reason: str
) -> None:
    with pytest.raises(Reverted, match=f"^{reason}$"):
        formula(reserves, fee, amount, outcome)


@given(RESERVES, FEES, st.integers(0, 2**96))
def test_a_number_of_tokens_is_sold_for_all_that_the_pool_pays(reserves: list[int], fee: int, tokens: int) -> None:
    returned = returned_for(reserves, fee, tokens, 0)
    assert calc_sell_amount(reserves, fee, returned, 0) <= tokens
    try:
        more = calc_sell_amount(reserves, fee, returned + 1, 0)
    except Reverted:
        return
    assert more > tokens


def test_a_pool_that_pays_nothing() -> None:
    with pytest.raises(Reverted, match="must have non-zero balances"):
        returned_for([0, 1], 0, 100, 0)


def test_a_quote_to_buy() -> None:
    quote = quote_buy([100, 100], TWO_PERCENT, 50, 0, Fraction(1, 100))
    assert (quote.collateral, quote.tokens, quote.fee_amount) == (50, 81, 1)
    assert quote.limit == 81  # 80.19, and no less is good enough
    assert quote.average_price == Fraction(50, 81)
    # 68 and 149 are left
    assert (quote.price_before, quote.price_after) == (Fraction(1, 2), Fraction(149, 217))
    assert quote.price_impact == Fraction(49, 81) * 2 - 1


def test_a_quote_to_sell() -> None:
    quote = quote_sell([100, 100], TWO_PERCENT, 49, 1, Fraction(1, 100))
    assert (quote.collateral, quote.tokens, quote.fee_amount) == (49, 150, 1)
    assert quote.limit == 151  # 151.5, and no more is given
    assert quote.average_price == Fraction(49, 150)
    # 50 and 200 are left
    assert (quote.price_before, quote.price_after) == (Fraction(1, 2), Fraction(50, 250))
    assert quote.price_impact == 1 - Fraction(50, 150) * 2


def test_a_buy_too_small_for_a_token_has_no_average_price() -> None:
    quote = quote_buy([1, 100], 0, 1, 1, Fraction(0))
    assert (quote.tokens, quote.limit) == (51, 51)
    quote = quote_buy([100, 1], UNIT, 1, 1, Fraction(0))
    assert (quote.tokens, quote.average_price, quote.price_impact) == (0, None, None)


@given(RESERVES, FEES, st.integers(1, 2**96), st.fractions(0, 1))
def test_a_limit_is_never_worse_than_the_slippage_allows(
    reserves: list[int], fee: int, amount: int, slippage: Fraction
) -> None:
    buy = quote_buy(reserves, fee, amount, 0, slippage)
    assert buy.tokens * (1 - slippage) <= buy.limit <= buy.tokens
    try:
        sell = quote_sell(reserves, fee, amount, 0, slippage)
    except Reverted:
        return
    assert sell.tokens <= sell.limit <= sell.tokens * (1 + slippage)
    assert sell.price_impact is not None
    assert 0 <= sell.price_impact <= 1
