"""What candles are made of, read from price points and trades.

The work in Python grows with the candles, not with the points: PostgreSQL finds, by candle, the points that can hold a
highest or lowest price, and only those come out, with their reserves. It compares prices in floating point, so it gives
each point that is within a margin of its errors of the extreme; the exact prices are compared here, rounded once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from django.db import OperationalError
from psycopg.errors import QueryCanceled

from markets.candles import Candle, Prices, candles
from markets.chaintime import from_seconds
from markets.feeds import wire_prices
from markets.models import IndexedBlock
from markets.pages import reading_on, run
from markets.remembered import remembered

# Relative. Each float here is off by less than 2^-53 for each of at most 260 operations: 3e-14.
MARGIN = 1e-12
MAX_MOMENTS = (
    100_000  # points that come out of the database; a candle needs four for each outcome at most, but for ties
)
MAX_MILLISECONDS = 10_000  # of one statement; a million points take about three seconds on a machine at rest

BEFORE = """
    SELECT asked.market_id, point.reserves::text
    FROM unnest(%(markets)s::text[]) asked (market_id) CROSS JOIN LATERAL (
        SELECT reserves FROM price_points p
        WHERE p.market_id = asked.market_id AND p.block_number <= %(after)s
        ORDER BY p.block_number DESC, p.log_index DESC LIMIT 1
    ) point
"""
IN_BLOCKS = "market_id = ANY(%(markets)s) AND block_number > %(after)s AND block_number <= %(last)s"
START = "date_bin(%(width)s * interval '1 second', timestamp, 'epoch'::timestamptz)"
TRADES = f"""
    SELECT market_id, outcome, extract(epoch FROM start)::bigint, sum(collateral_amount)::text, count(*)
    FROM (SELECT market_id, outcome, collateral_amount, {START} AS start FROM trades WHERE {IN_BLOCKS}) trade
    GROUP BY market_id, outcome, start
"""  # noqa: S608


class TooManyChanges(Exception):
    """There is more in this time than one answer may read."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A market whose candles are asked for, and of which outcomes."""

    market_id: str
    outcome_count: int
    outcomes: Sequence[int]


def price_history(pools: Sequence[Pool], starts: range) -> dict[str, list[tuple[int, list[Candle]]]]:
    """By market, its outcomes and their candles, from the first in which its pool exists.

    `starts` are those of candles, in Unix seconds. All statements must see one snapshot. Raises TooManyChanges.
    """
    try:
        return _price_history(pools, starts)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooManyChanges from error
        raise


def _price_history(pools: Sequence[Pool], starts: range) -> dict[str, list[tuple[int, list[Candle]]]]:
    values: dict[str, Any] = {
        "markets": [pool.market_id for pool in pools],
        "width": starts.step,
        "after": IndexedBlock.number_at(from_seconds(starts.start - 1), using=reading_on()),
        "last": IndexedBlock.number_at(from_seconds(starts.stop - 1), using=reading_on()),
    }
    run("SELECT set_config('statement_timeout', %(timeout)s, true)", {"timeout": str(MAX_MILLISECONDS)})
    before = {market_id: _prices(reserves) for market_id, reserves in run(BEFORE, values)}
    volumes: dict[tuple[str, int], dict[int, tuple[int, int]]] = defaultdict(dict)
    for market_id, outcome, start, volume, count in run(TRADES, values):
        volumes[market_id, outcome][start] = int(volume), count
    moments = _moments(pools, values)
    history = {}
    for pool in pools:
        inside = moments[pool.market_id]
        first = starts.start if pool.market_id in before else min(inside, default=starts.stop)
        shown = range(first, starts.stop, starts.step)
        history[pool.market_id] = [
            (
                outcome,
                list(candles(outcome, shown, before.get(pool.market_id), inside, volumes[pool.market_id, outcome])),
            )
            for outcome in pool.outcomes
        ]
    return history


def _moments(pools: Sequence[Pool], values: Mapping[str, Any]) -> dict[str, dict[int, list[Prices]]]:
    """By market and start of a candle: what `candles` wants to know of the changes in it."""
    found: dict[str, dict[int, list[Prices]]] = defaultdict(lambda: defaultdict(list))
    alike: dict[tuple[int, tuple[int, ...]], list[str]] = defaultdict(list)
    for pool in pools:
        alike[pool.outcome_count, tuple(pool.outcomes)].append(pool.market_id)
    for (outcome_count, outcomes), markets in alike.items():
        rows = run(_extremes(outcome_count, outcomes), {**values, "markets": markets, "limit": MAX_MOMENTS + 1})
        if len(rows) > MAX_MOMENTS:
            raise TooManyChanges
        for market_id, start, reserves in rows:
            found[market_id][start].append(_prices(reserves))
    return found


@lru_cache(maxsize=64)
def _extremes(outcome_count: int, outcomes: tuple[int, ...]) -> str:
    """SQL of the points that matter to candles of these outcomes, in the order of the chain.

    A price is its reserve's inverse as a share of all inverses. With a reserve of 0 there is none of them: such points
    come out all.
    """
    inverses = ", ".join(f"1 / nullif((reserves ->> {i})::float8, 0) AS i{i}" for i in range(outcome_count))
    total = " + ".join(f"i{i}" for i in range(outcome_count))
    prices = ", ".join(f"i{i} / total AS p{i}" for i in outcomes)
    edges = ", ".join(f"max(p{i}) AS h{i}, min(p{i}) AS l{i}" for i in outcomes)
    extreme = " OR ".join(f"p{i} >= h{i} * {1 - MARGIN} OR p{i} <= l{i} * {1 + MARGIN}" for i in outcomes)
    # OFFSET 0 keeps each level from being written out in the next one, once for each mention.
    return f"""
        WITH point AS MATERIALIZED (
            SELECT market_id, start, key, reserves, total, {prices} FROM (
                SELECT *, {total} AS total FROM (
                    SELECT market_id, {START} AS start, block_number << 24 | log_index AS key, reserves, {inverses}
                    FROM price_points WHERE {IN_BLOCKS} OFFSET 0
                ) inverse OFFSET 0
            ) sums
        ), edge AS (
            SELECT market_id, start, max(key) AS last, min(key) FILTER (WHERE total IS NOT NULL) AS first, {edges}
            FROM point GROUP BY market_id, start
        )
        SELECT market_id, extract(epoch FROM start)::bigint, reserves::text
        FROM point JOIN edge USING (market_id, start)
        WHERE key = last OR key = first OR total IS NULL OR {extreme}
        ORDER BY market_id, key LIMIT %(limit)s
    """  # noqa: S608


@remembered
def _prices(reserves: str) -> Prices:
    return wire_prices([int(reserve) for reserve in msgspec.json.decode(reserves)])
