"""PURE. Candles: what a price did in each stretch of time, from the moments that can have been its extremes.

A pool's price holds until the next change. So a candle opens at what held before it, and one in which nothing changed
is flat. A moment exactly at a border belongs to the candle that it starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# Seconds. All divide a day, and candles start at multiples of them since 1970: those of a day at midnight UTC.
INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "4h": 14_400, "1d": 86_400}

Prices = Sequence[float] | None
"""By outcome, each rounded once from its exact value; None where the pool has no liquidity."""


class Candle(NamedTuple):
    """One outcome's candle from `time`, in Unix seconds. Prices are None where there was none."""

    time: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: int
    """Collateral that was traded against this outcome, in base units."""
    trades: int


def candles(
    outcome: int,
    starts: range,
    before: Prices,
    moments: Mapping[int, Sequence[Prices]],
    volumes: Mapping[int, tuple[int, int]],
) -> Iterator[Candle]:
    """The candles that start at `starts`.

    before: prices behind the last change before the first candle.
    moments: by the candle's start, in the order of the chain, prices behind changes in it: the last one, the first with
        a price, and all in which any outcome had its highest or lowest price; more do no harm.
    volumes: by the candle's start, collateral and number of the trades with this outcome.

    Rounding never turns two prices round, so the highest of the rounded is the rounded highest.
    """
    held = before[outcome] if before else None
    for start in starts:
        inside = [prices[outcome] if prices else None for prices in moments.get(start, ())]
        known = [price for price in (held, *inside) if price is not None]
        volume, trades = volumes.get(start, (0, 0))
        yield Candle(
            time=start,
            open=known[0] if known else None,
            high=max(known, default=None),
            low=min(known, default=None),
            close=inside[-1] if inside else held,
            volume=volume,
            trades=trades,
        )
        held = inside[-1] if inside else held
