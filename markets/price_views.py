"""Prices by REST: candles, and several markets at once."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.http import HttpRequest
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions, serializers

from aurum.parameters import HEX, MARKET_ID, Parameter, by_name, choice, integer, moment, read_parameters
from aurum.schema import problems
from markets import listings
from markets.candles import INTERVALS, Candle
from markets.chaintime import from_seconds, to_seconds
from markets.pages import Answer, Position, read_at_once
from markets.price_history import Pool, TooManyChanges, price_history
from markets.quote_views import AmountField
from markets.reading import ReadView, market_ids
from markets.serializers import MarketPricesSerializer

MAX_MARKETS = 50
MAX_CANDLES = 1_000  # of one outcome
MAX_ALL_CANDLES = 20_000  # of one answer; about 2.5 MB
DEFAULT_CANDLES = 200
DEFAULT_INTERVAL = "1h"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _market_list(text: str) -> list[str]:
    asked = text.lower().split(",")
    if len(asked) > MAX_MARKETS or len(set(asked)) < len(asked) or not all(map(HEX[32].fullmatch, asked)):
        raise ValueError(f"Must be 1 to {MAX_MARKETS} different marketIds with commas between them.")
    return asked


MARKETS = Parameter(
    name="markets",
    read=_market_list,
    schema={"type": "string", "pattern": "^0x[0-9a-fA-F]{64}(,0x[0-9a-fA-F]{64})*$"},
    description=f"Up to {MAX_MARKETS} marketIds with commas between them.",
    required=True,
)
TIMES = by_name(
    choice("interval", list(INTERVALS), f"How long a candle is; {DEFAULT_INTERVAL} if not given."),
    moment("from", f"The candle with this time is the first. Default: {DEFAULT_CANDLES} candles before `to`."),
    moment("to", "The last candle starts before it. Default: the indexed block's time, whose candle is not over."),
    integer("outcome", 0, 255, "Only this outcome's candles."),
)


class CandleSerializer(serializers.Serializer):
    """What a price did in an interval. Prices are null where the pool had no liquidity throughout."""

    time = serializers.DateTimeField(help_text="When it starts. What happens at this second belongs to it.")
    open = serializers.FloatField(allow_null=True, help_text="The price that held before; the first one there was.")
    high = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    close = serializers.FloatField(allow_null=True)
    volume = AmountField(help_text="Collateral traded against this outcome.")
    trades = serializers.IntegerField(help_text="How many trades that were.")


class CandleSeriesSerializer(serializers.Serializer):
    outcome = serializers.IntegerField()
    candles = CandleSerializer(many=True)


class PriceHistorySerializer(serializers.Serializer):
    """A market's candles without a gap, from the first in which its pool exists; also of a resolved market."""

    market_id = serializers.CharField()
    interval = serializers.ChoiceField(list(INTERVALS))
    series = CandleSeriesSerializer(many=True)


class PriceHistoriesSerializer(serializers.Serializer):
    """As many as were asked for, in that order."""

    results = PriceHistorySerializer(many=True)


class PricesOfSeveralSerializer(serializers.Serializer):
    """As many as were asked for, in that order."""

    results = MarketPricesSerializer(many=True)


HISTORY_EXAMPLE = {
    "marketId": "0x" + "ab" * 32,
    "interval": "1h",
    "series": [
        {
            "outcome": 0,
            "candles": [
                {
                    "time": "2026-01-31T12:00:00Z",
                    "open": 0.5,
                    "high": 0.65,
                    "low": 0.5,
                    "close": 0.625,
                    "volume": "50000000",
                    "trades": 2,
                }
            ],
        }
    ],
}


class HistoryView(ReadView):
    """Candles of some markets."""

    parameters: ClassVar[dict[str, Parameter]]

    def answer(self, request: HttpRequest, values: Mapping[str, Any]) -> Answer:
        asked = read_parameters(request.GET, self.parameters)
        position, histories = read_at_once(lambda: self.histories({**values, **asked}, asked))
        return Answer(position, json.dumps(self.body(histories), separators=(",", ":")))

    def histories(self, values: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[Position, list[dict[str, Any]]]:
        """Each market's body, and what they are true at."""
        position, rows = self.markets(values)
        pools = [pool_of(market_id, count, asked.get("outcome")) for market_id, count, _ in rows]
        interval = asked.get("interval", DEFAULT_INTERVAL)
        starts = candle_starts(INTERVALS[interval], asked, rows[0][2], sum(len(pool.outcomes) for pool in pools))
        try:
            found = price_history(pools, starts)
        except TooManyChanges as error:
            raise exceptions.ValidationError(
                {"from": ["There are too many changes of price in this time for one answer: ask for less of it."]}
            ) from error
        return position, [history_json(pool.market_id, interval, found[pool.market_id]) for pool in pools]

    def markets(self, values: Mapping[str, Any]) -> tuple[Position, list[Any]]:
        """Of each market its marketId, its number of outcomes, and the indexed block's time."""
        raise NotImplementedError

    def body(self, bodies: list[dict[str, Any]]) -> Any:
        raise NotImplementedError


COLUMNS = ["m.market_id", "jsonb_array_length(m.outcomes)", "now.time"]


@extend_schema(
    parameters=[MARKET_ID],
    responses=PriceHistorySerializer,
    examples=[OpenApiExample("An hour", response_only=True, value=HISTORY_EXAMPLE)],
)
class MarketPriceHistory(HistoryView):
    """A market's candles: open, high, low and close of the pool's own price, and what was traded."""

    path_values = staticmethod(market_ids)
    parameters = TIMES

    def markets(self, values: Mapping[str, Any]) -> tuple[Position, list[Any]]:
        return listings.market.read(COLUMNS, values)

    def body(self, bodies: list[dict[str, Any]]) -> Any:
        return bodies[0]


@extend_schema(
    responses={200: PriceHistoriesSerializer}
    | problems(s404="One of the markets does not exist; the detail says which."),
    examples=[OpenApiExample("One market", response_only=True, value={"results": [HISTORY_EXAMPLE]})],
)
class PriceHistoryBatch(HistoryView):
    """Candles of several markets, as of each alone."""

    parameters = by_name(MARKETS) | TIMES

    def markets(self, values: Mapping[str, Any]) -> tuple[Position, list[Any]]:
        position, rows = listings.several_markets.read(COLUMNS, values)
        return position, in_order(values["markets"], {row[0]: row for row in rows})

    def body(self, bodies: list[dict[str, Any]]) -> Any:
        return {"results": bodies}


@extend_schema(
    responses={200: PricesOfSeveralSerializer}
    | problems(s404="One of the markets does not exist; the detail says which."),
    examples=[
        OpenApiExample(
            "One market",
            response_only=True,
            value={
                "results": [
                    {
                        "marketId": "0x" + "ab" * 32,
                        "prices": [0.65, 0.35],
                        "reserves": ["350000000", "650000000"],
                        "timestamp": "2026-01-31T12:34:56Z",
                        "blockNumber": 12345678,
                    }
                ]
            },
        )
    ],
)
class PricesBatch(ReadView):
    """Current prices of several markets, as of each alone."""

    parameters = by_name(MARKETS)

    def answer(self, request: HttpRequest, values: Mapping[str, Any]) -> Answer:
        asked = read_parameters(request.GET, self.parameters)
        rows = listings.several_prices
        position, found = rows.read([*rows.row.columns(), "m.market_id"], asked)
        bodies = in_order(asked["markets"], {row[-1]: rows.row.finish(row) for row in found})
        return Answer(position, f'{{"results":[{",".join(bodies)}]}}')


def in_order(asked: Sequence[str], found: Mapping[str, Any]) -> list[Any]:
    """What was found of each market that was asked for. Raises NotFound for those that do not exist."""
    missing = [market_id for market_id in asked if market_id not in found]
    if missing:
        raise exceptions.NotFound(f"There is no market {', '.join(missing)}.")
    return [found[market_id] for market_id in asked]


def pool_of(market_id: str, outcome_count: int, outcome: int | None) -> Pool:
    if outcome is not None and outcome >= outcome_count:
        raise exceptions.ValidationError({"outcome": [f"The market {market_id} has {outcome_count} outcomes."]})
    outcomes = range(outcome_count) if outcome is None else [outcome]
    return Pool(market_id=market_id, outcome_count=outcome_count, outcomes=outcomes)


def candle_starts(width: int, asked: Mapping[str, Any], now: datetime, series: int) -> range:
    """When the candles start that are asked for: whole ones, none of the future. Raises ValidationError."""
    step = timedelta(seconds=width)
    end = to_seconds(now) // width * width + width
    if "to" in asked:
        end = min(end, -((EPOCH - asked["to"]) // step) * width)
    if "from" in asked:
        start = max(0, (asked["from"] - EPOCH) // step * width)
    else:
        start = max(0, end - width * min(DEFAULT_CANDLES, MAX_ALL_CANDLES // max(1, series)))
    if "from" in asked and "to" in asked and asked["from"] > asked["to"]:
        raise exceptions.ValidationError({"from": ["Must not be later than to."]})
    count = max(0, end - start) // width
    if count > MAX_CANDLES or count * series > MAX_ALL_CANDLES:
        raise exceptions.ValidationError(
            {
                "from": [
                    f"That is {count} candles each of {series} outcomes; an answer has at most {MAX_CANDLES} of one "
                    f"and {MAX_ALL_CANDLES} of all. Ask for a longer interval, a shorter time or one outcome."
                ]
            }
        )
    return range(start, max(start, end), width)


def history_json(market_id: str, interval: str, series: Sequence[tuple[int, Sequence[Candle]]]) -> dict[str, Any]:
    return {
        "marketId": market_id,
        "interval": interval,
        "series": [
            {"outcome": outcome, "candles": [candle_json(candle) for candle in candles]} for outcome, candles in series
        ],
    }


def candle_json(candle: Candle) -> dict[str, Any]:
    return candle._asdict() | {"time": f"{from_seconds(candle.time):%Y-%m-%dT%H:%M:%SZ}", "volume": str(candle.volume)}
