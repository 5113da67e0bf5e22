"""Prices and liquidity of a pool, in exact fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.amm import liquidity, payout_fractions, prices
from tests.factories import MAX_UINT256, UNIT

RESERVES = st.lists(st.integers(0, MAX_UINT256), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("reserves", "expected"),
    [
        # two outcomes: the price of one is the other's share of the tokens
        ([350, 650], ["13/20", "7/20"]),
        ([1, 1], ["1/2", "1/2"]),
        ([1, 3], ["3/4", "1/4"]),
        ([MAX_UINT256, MAX_UINT256], ["1/2", "1/2"]),
        # three: weights 2*4, 1*4, 1*2
        ([1, 2, 4], ["4/7", "2/7", "1/7"]),
        ([5, 5, 5], ["1/3", "1/3", "1/3"]),
        # one is sold out: it costs everything
        ([0, 10], ["1", "0"]),
        ([7, 0, 3], ["0", "1", "0"]),
        # a difference that no float sees
        ([10**30, 10**30 + 1], [f"{10**30 + 1}/{2 * 10**30 + 1}", f"{10**30}/{2 * 10**30 + 1}"]),
    ],
)
def test_prices(reserves: list[int], expected: list[str]) -> None:
    assert prices(reserves) == tuple(map(Fraction, expected))


@pytest.mark.parametrize("reserves", [[], [0, 0], [0, 0, 5], [0, 0, 0]])
def test_no_price_without_liquidity(reserves: list[int]) -> None:
    assert prices(reserves) is None
    assert liquidity(reserves) == 0


@given(RESERVES)
def test_prices_sum_to_exactly_one(reserves: list[int]) -> None:
    current = prices(reserves)
    if current is None:
        assert reserves.count(0) >= 2
    else:
        assert sum(current) == 1
        assert all(0 <= price <= 1 for price in current)


@given(RESERVES.filter(lambda reserves: 0 not in reserves), st.integers(1, 10**20))
def test_prices_depend_on_proportions_alone(reserves: list[int], factor: int) -> None:
    assert prices([reserve * factor for reserve in reserves]) == prices(reserves)


@given(RESERVES.filter(lambda reserves: 0 not in reserves))
def test_the_scarcer_outcome_costs_more(reserves: list[int]) -> None:
    current = prices(reserves)
    assert current is not None
    assert current.index(max(current)) == reserves.index(min(reserves))


@pytest.mark.parametrize(
    ("reserves", "worth"),
    [
        ([350 * UNIT, 650 * UNIT], 455 * UNIT),  # 350 * 0.65 + 650 * 0.35
        ([1, 3], 1),  # 0.75 + 0.75, rounded down
        ([5, 5, 5], 5),
        ([0, 10], 0),
        ([MAX_UINT256, MAX_UINT256], MAX_UINT256),
    ],
)
def test_liquidity(reserves: list[int], worth: int) -> None:
    assert liquidity(reserves) == worth


@pytest.mark.parametrize(
    ("numerators", "fractions"),
    [
        ([1, 0], ["1", "0"]),
        ([10**18 // 2, 10**18 // 2], ["1/2", "1/2"]),
        ([333, 333, 333], ["1/3", "1/3", "1/3"]),
        ([3, 1], ["3/4", "1/4"]),
        ([MAX_UINT256, 0], ["1", "0"]),
    ],
)
def test_payout_fractions(numerators: list[int], fractions: list[str]) -> None:
    assert payout_fractions(numerators) == tuple(map(Fraction, fractions))
