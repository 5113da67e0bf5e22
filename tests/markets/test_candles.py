"""Candles, by REST, against what a slow and obvious reading of every price gives."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from markets.candles import INTERVALS
from markets.models import Checkpoint, Market, PricePoint, Trade
from tests import factories
from tests.factories import MAX_UINT256, hex_id, row_id

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, tzinfo=UTC)  # a Sunday's midnight: a border of every interval
FIRST_BLOCK = 5_000


class World:
    """A market whose prices and trades are written second by second, each second a block."""

    def __init__(self, outcomes: int = 2, market_id: str | None = None) -> None:
        self.market = factories.make_market(
            market_id=market_id, outcomes=[f"outcome {i}" for i in range(outcomes)], reserves=None, created_at=START
        )
        self.points: list[tuple[int, list[int]]] = []
        self.trades: list[tuple[int, int, int]] = []
        self.blocks: set[int] = set()

    def price(self, second: int, reserves: Sequence[int]) -> None:
        self.points.append((second, list(reserves)))
        PricePoint.objects.create(**self._row("point", second), reserves=list(reserves))

    def trade(self, second: int, outcome: int, collateral: int) -> None:
        self.trades.append((second, outcome, collateral))
        Trade.objects.create(
            **self._row("trade", second),
            amm_address=hex_id("amm", byte_length=20),
            trader=hex_id("trader", byte_length=20),
            side="buy",
            outcome=outcome,
            amount=1,
            collateral_amount=collateral,
            fee_amount=0,
        )

    def _row(self, kind: str, second: int) -> dict[str, Any]:
        number = FIRST_BLOCK + second
        time = START + timedelta(seconds=second)
        if second not in self.blocks:
            self.blocks.add(second)
            factories.make_block(block_number=number, timestamp=time)
        where = factories.emitted(block_number=number, log_index=len(self.points) + len(self.trades), timestamp=time)
        return where | {"id": row_id(kind, where["transaction_hash"]), "market": self.market}

    def reference(self, outcome: int, first: int, end: int, width: int) -> list[dict[str, Any]]:
        """Candles from second `first` to `end`, by looking at every price for each of them."""
        found = []
        for start in range(first, end, width):
            before = [reserves for second, reserves in self.points if second < start]
            inside = [exact(reserves, outcome) for second, reserves in self.points if start <= second < start + width]
            if not before and not inside:
                continue
            held = exact(before[-1], outcome) if before else None
            known = [price for price in (held, *inside) if price is not None]
            traded = [amount for second, o, amount in self.trades if o == outcome and start <= second < start + width]
            found.append(
                {
                    "time": at(start),
                    "open": rounded(known[0] if known else None),
                    "high": rounded(max(known, default=None)),
                    "low": rounded(min(known, default=None)),
                    "close": rounded(inside[-1] if inside else held),
                    "volume": str(sum(traded)),
                    "trades": len(traded),
                }
            )
        return found


def exact(reserves: Sequence[int], outcome: int) -> Fraction | None:
    """One outcome's price, from the other end than the product has it: its share of the reserves' inverses."""
    empty = [index for index, reserve in enumerate(reserves) if not reserve]
    if empty:
        return None if len(empty) > 1 else Fraction(outcome == empty[0])
    return Fraction(1, reserves[outcome]) / sum(Fraction(1, reserve) for reserve in reserves)


def rounded(price: Fraction | None) -> float | None:
    return None if price is None else float(price)


def at(second: int) -> str:
    return f"{START + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"


def indexed_at(second: int) -> None:
    """The indexed block, and the chain's time, are those of this second."""
    Checkpoint.objects.all().delete()
    factories.make_checkpoint(block_number=FIRST_BLOCK + second, block_timestamp=START + timedelta(seconds=second))


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def history(client: Client, market: Market, **query: object) -> dict[int, list[dict[str, Any]]]:
    """Each outcome's candles."""
    response = client.get(f"/api/markets/{market.id}/prices/history", query)
    assert response.status_code == 200, response.content[:500]
    return {series["outcome"]: series["candles"] for series in response.json()["series"]}


# --- against the reference --------------------------------------------------------------------------------------------

# Borders of minutes and what is beside them, and a longer silence.
SECONDS = st.lists(st.sampled_from([0, 1, 59, 60, 61, 119, 120, 121, 180, 299, 300, 301, 660]), max_size=12)
HUGE = 10**30
# Few values, so that prices come back; neighbours that no float tells apart; pools that lack one outcome or all.
RESERVE = st.sampled_from([0, 1, 2, 3, 5, HUGE, HUGE + 1, HUGE + 2, HUGE - 1, MAX_UINT256]) | st.integers(1, 2**100)
AMOUNT = st.sampled_from([0, 1, 10**18, MAX_UINT256])


# Examples cost a database's work each: a failure is told at once, not made smaller for minutes.
@settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(st.data(), st.integers(2, 4), SECONDS, st.integers(0, 700), st.integers(0, 700))
def test_candles_are_what_every_price_says(
    client: Client, data: st.DataObject, outcomes: int, seconds: list[int], first: int, length: int
) -> None:
    with undone():
        world = World(outcomes)
        for second in sorted(seconds):
            world.price(second, data.draw(st.lists(RESERVE, min_size=outcomes, max_size=outcomes)))
            if data.draw(st.booleans()):
                world.trade(second, data.draw(st.integers(0, outcomes - 1)), data.draw(AMOUNT))
        now = data.draw(st.sampled_from([660, 700, 1_000]))
        indexed_at(now)
        for interval in ("1m", "5m"):
            width = INTERVALS[interval]
            end = min(-(-(first + length) // width), now // width + 1) * width
            found = history(client, world.market, interval=interval, **{"from": at(first), "to": at(first + length)})
            begin = first // width * width
            assert found == {outcome: world.reference(outcome, begin, end, width) for outcome in range(outcomes)}


# --- by example -------------------------------------------------------------------------------------------------------


def flat(second: int, price: float | None) -> dict[str, Any]:
    return {"time": at(second), **dict.fromkeys(("open", "high", "low", "close"), price), "volume": "0", "trades": 0}


def test_a_minute_by_minute_story(client: Client) -> None:
    world = World()
    world.price(30, [1, 1])
    world.price(60, [1, 3])  # exactly at a border
    world.trade(60, 0, 7)
    world.price(119, [1, 4])
    world.price(119, [3, 1])  # in the same block, later
    world.trade(119, 0, 5)
    world.trade(119, 1, 2)
    indexed_at(250)
    found = history(client, world.market, interval="1m")
    assert found[0] == [
        flat(0, 0.5),
        {"time": at(60), "open": 0.5, "high": 0.8, "low": 0.25, "close": 0.25, "volume": "12", "trades": 2},
        flat(120, 0.25),
        flat(180, 0.25),
        flat(240, 0.25),
    ]
    assert found[1][1] == {
        "time": at(60),
        "open": 0.5,
        "high": 0.75,
        "low": 0.2,
        "close": 0.75,
        "volume": "2",
        "trades": 1,
    }
    # The first candle is the same whether or not it is asked for alone.
    alone = history(client, world.market, interval="1m", outcome=0, **{"from": at(60), "to": at(61)})
    assert alone == {0: found[0][1:2]}


def test_the_first_candle_of_all_opens_at_the_first_price(client: Client) -> None:
    """Though that is neither its highest nor its lowest, nor its last."""
    world = World()
    for second, pair in enumerate([[1, 1], [1, 3], [3, 1], [2, 3]]):
        world.price(second, pair)
    indexed_at(10)
    [candle] = history(client, world.market, interval="1d", outcome=0)[0]
    assert [candle[name] for name in ("open", "high", "low", "close")] == [0.5, 0.75, 0.25, 0.6]


def test_a_pool_that_is_emptied_and_filled_again(client: Client) -> None:
    world = World()
    world.price(0, [1, 1])
    world.price(70, [0, 0])
    world.price(200, [1, 3])
    indexed_at(200)
    assert history(client, world.market, interval="1m", outcome=0) == {
        0: [
            flat(0, 0.5),
            {**flat(60, 0.5), "close": None},
            flat(120, None),
            flat(180, 0.75),
        ]
    }


def test_a_resolved_market_keeps_its_candles(client: Client) -> None:
    world = World()
    world.price(0, [1, 1])
    Market.objects.update(resolved=True, payouts=[1, 0])
    indexed_at(60)
    assert history(client, world.market, interval="1m")[0] == [flat(0, 0.5), flat(60, 0.5)]


def test_a_market_without_a_pool_has_no_candles(client: Client) -> None:
    world = World()
    indexed_at(600)
    assert history(client, world.market) == {0: [], 1: []}


def test_prices_that_no_float_tells_apart_are_compared_exactly(client: Client) -> None:
    """The highest of thousands within one rounding of each other is the rounded highest."""
    world = World()
    reserves = [[HUGE - step * 10**13, HUGE + step * 10**13] for step in range(-6, 7)]
    for second, pair in enumerate(reserves):
        world.price(second, pair)
    indexed_at(59)
    [candle] = history(client, world.market, interval="1m", outcome=0)[0]
    prices = [Fraction(second, 2 * HUGE) for _, second in reserves]
    assert len({float(price) for price in prices}) > 1
    assert (candle["high"], candle["low"]) == (float(max(prices)), float(min(prices)))


def test_nothing_of_the_future_is_answered(client: Client) -> None:
    world = World()
    world.price(0, [1, 1])
    indexed_at(60)
    day = {"from": at(0), "to": at(86_400)}
    assert history(client, world.market, interval="5m", outcome=0, **day) == {0: [flat(0, 0.5)]}
    later = {"from": at(3_600), "to": at(86_400)}
    assert history(client, world.market, interval="5m", outcome=0, **later) == {0: []}
    assert history(client, world.market, interval="5m", outcome=0, **{"from": at(86_400)}) == {0: []}


@pytest.mark.parametrize("interval", INTERVALS)
def test_what_is_answered_unless_told_otherwise(client: Client, interval: str) -> None:
    """The last 200 candles, the one in progress included, since the pool exists."""
    world = World()
    world.price(0, [1, 1])
    width = INTERVALS[interval]
    indexed_at(width * 500 + width // 2)
    candles = history(client, world.market, interval=interval)[1]
    assert candles == [flat(width * number, 0.5) for number in range(301, 501)]
