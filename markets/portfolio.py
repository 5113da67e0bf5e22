"""A user's portfolio in one collateral token: totals, and what it was worth over time. The method is docs/pnl.md.

Where a market has no price, what a user has of it counts at its cost. The series goes back from what is held now by
what the history says has changed since, and asks for prices only where something was held.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from markets.pages import Answer, current_position, first_collateral, read_at_once, run
from markets.pnl import PriceWeights, pool_value, price_weights
from markets.remembered import remembered

# What a series spans, and its step; that of all time depends on how long it is.
INTERVALS: dict[str, tuple[timedelta, timedelta] | None] = {
    "1d": (timedelta(days=1), timedelta(minutes=10)),
    "7d": (timedelta(days=7), timedelta(hours=1)),
    "30d": (timedelta(days=30), timedelta(hours=4)),
    "all": None,
}
DEFAULT_INTERVAL = "30d"
POINTS = 200  # of a series, give or take its ends
LOOKUPS = 20_000  # prices that a series asks for at most: where a user is in very many markets it has fewer points
SHARES, OTHER_SHARES = -1, -2  # in place of an outcome: LP shares of the market's pool, and of another one
GAINS = {"buy", "split", "transfer_in", "add_liquidity"}  # by these, amounts rise
TRADES = ("buy", "sell")
PAID, RECEIVED = ("buy", "split", "add_liquidity"), ("sell", "merge", "redeem", "remove_liquidity")

CHECKPOINT = "SELECT block_timestamp FROM checkpoint"
HELD = """
    SELECT p.market_id, p.outcome_index, p.amount, p.untracked_amount, p.cost, p.realized_pnl
    FROM positions p JOIN markets m ON m.market_id = p.market_id
    WHERE p.user_address = %(address)s AND m.collateral_token = %(token)s AND NOT p.is_amm
    UNION ALL
    SELECT a.market_id, CASE WHEN a.address = m.amm_address THEN -1 ELSE -2 END, s.amount, 0, s.cost, s.realized_pnl
    FROM liquidity_shares s JOIN amms a ON a.address = s.amm_address JOIN markets m ON m.market_id = a.market_id
    WHERE s.holder = %(address)s AND m.collateral_token = %(token)s
"""
MARKETS = """
    SELECT m.market_id, jsonb_array_length(m.outcomes), m.reserves::text, m.payouts::text, m.resolved_at,
           coalesce(a.total_shares, 0)
    FROM markets m LEFT JOIN amms a ON a.address = m.amm_address WHERE m.market_id = ANY(%(markets)s)
"""
# What an entry adds to the cost, or realises, is cash, or cost that came or left.
FLOWS = """
    SELECT type, count(*), coalesce(sum(collateral_amount), 0), min(timestamp),
           sum(greatest(net, 0)), sum(greatest(-net, 0))
    FROM history CROSS JOIN LATERAL (
        SELECT cost_change - realized_pnl + coalesce(CASE
            WHEN type IN ('buy', 'split', 'add_liquidity') THEN -collateral_amount
            WHEN type IN ('sell', 'merge', 'redeem', 'remove_liquidity') THEN collateral_amount END, 0) AS net
    ) carried WHERE user_address = %(address)s AND market_id = ANY(%(markets)s) GROUP BY type
"""
LAST_BLOCKS = """
    SELECT coalesce((
        SELECT number FROM indexed_blocks WHERE timestamp <= at ORDER BY timestamp DESC, number DESC LIMIT 1
    ), -1)
    FROM unnest(%(times)s::timestamptz[]) WITH ORDINALITY AS each(at, place) ORDER BY place
"""
# `point` is the first point of the series that comes after it.
CHANGES = """
    SELECT width_bucket(block_number - 1, %(blocks)s::bigint[]) AS point, market_id, type, outcome, sum(amount),
           coalesce(sum(collateral_amount), 0), sum(realized_pnl), sum(cost_change),
           coalesce(jsonb_agg(outcome_amounts) FILTER (WHERE outcome_amounts IS NOT NULL), '[]')::text,
           coalesce(jsonb_agg(untracked_amounts) FILTER (WHERE untracked_amounts IS NOT NULL), '[]')::text
    FROM history
    WHERE user_address = %(address)s AND market_id = ANY(%(markets)s) AND block_number > %(first)s
    GROUP BY 1, 2, 3, 4
"""
SUPPLIES = """
    SELECT h.market_id, width_bucket(h.block_number - 1, %(blocks)s::bigint[]),
           sum(CASE h.type WHEN 'add_liquidity' THEN h.amount ELSE -h.amount END)
    FROM history h JOIN markets m ON m.market_id = h.market_id
    WHERE h.market_id = ANY(%(markets)s) AND h.type IN ('add_liquidity', 'remove_liquidity')
    AND h.block_number > %(first)s AND h.counterparty = m.amm_address
    GROUP BY 1, 2
"""
RESERVES = """
    SELECT point.reserves::text FROM unnest(%(markets)s::text[], %(blocks)s::bigint[]) WITH ORDINALITY
        AS asked(market_id, block_number, place)
    LEFT JOIN LATERAL (
        SELECT reserves FROM price_points
        WHERE market_id = asked.market_id AND block_number <= asked.block_number
        ORDER BY block_number DESC, log_index DESC LIMIT 1
    ) point ON true ORDER BY place
"""


class Market(NamedTuple):
    """A market as the tables have it; reserves and payouts are JSON, `supply` is of its pool's shares."""

    market_id: str
    outcome_count: int
    reserves: str | None
    payouts: str | None
    resolved_at: datetime | None
    supply: Decimal | int


class Quotation(NamedTuple):
    """What a market's tokens and its pool are worth at one time; `supply` is of the pool's shares."""

    prices: PriceWeights
    pool: int
    supply: int

    def worth(self, outcome: int, amount: int) -> int:
        """Of an outcome's tokens, or of the pool's shares; rounded down. Shares of other pools have no price."""
        if outcome >= 0:
            return self.prices.value(outcome, amount) or 0
        return amount * self.pool // self.supply if outcome == SHARES and amount > 0 and self.supply > 0 else 0

    def of_unknown_cost(self, outcome: int, amount: int, untracked: int) -> int:
        """The part of it that untracked tokens are: they count to have cost that."""
        return self.worth(outcome, amount) - self.worth(outcome, amount - untracked) if untracked else 0


Amounts = dict[tuple[str, int], int]  # by market and outcome


@dataclass(slots=True)
class State:
    """What a user had at one time. `net` is what was realised less what the holdings had cost; `costs` by market."""

    amounts: Amounts
    untracked: Amounts
    costs: dict[str, int]
    net: int


def read(address: str, interval: str, token: str | None) -> Answer:
    """The portfolio as JSON: amounts in base units of the collateral `token`, by default that of the first market."""

    def find() -> Answer:
        body = Portfolio(address, token or first_collateral()).body(interval)
        return Answer(current_position(), json.dumps(body, separators=(",", ":")))

    return read_at_once(find)


class Portfolio:
    """A user's holdings in one collateral token. Read it in one transaction."""

    def __init__(self, address: str, token: str | None) -> None:
        self._token = token
        self._held = run(HELD, {"address": address, "token": token})
        ids = sorted({row[0] for row in self._held})
        self._of_user = {"address": address, "markets": ids}
        self._markets = {row[0]: Market(*row) for row in run(MARKETS, {"markets": ids})}
        self._time: datetime | None = next((row[0] for row in run(CHECKPOINT, {})), None)

    def body(self, interval: str) -> dict[str, Any]:
        flows = run(FLOWS, self._of_user)
        first = min((row[3] for row in flows), default=None)
        totals, unknown = self._totals()
        return {
            "userAddress": self._of_user["address"],
            "collateralToken": self._token,
            **totals,
            **_flow_totals(flows, unknown),
            "interval": interval,
            "series": [] if first is None or self._time is None else self._series(interval, first, self._time),
        }

    # --- now -------------------------------------------------------------------------------------------------------

    def _totals(self) -> tuple[dict[str, Any], int]:
        """And what is held of unknown cost is worth."""
        value = liquidity = cost = realized = open_ = unknown = 0
        quotations = {market.market_id: _quotation(market) for market in self._markets.values()}
        for market_id, outcome, amount, untracked, paid, earned in _integers(self._held):
            quotation, market = quotations[market_id], self._markets[market_id]
            unknown += quotation.of_unknown_cost(outcome, amount, untracked)
            has_price = quotation.prices.total and outcome != OTHER_SHARES
            worth = quotation.worth(outcome, amount) if has_price else paid
            if outcome >= 0 and market.payouts and not quotation.prices.weights[outcome]:
                earned, paid = earned - paid, 0  # a loser is realised by the resolution
            value, cost, realized = value + worth, cost + paid, realized + earned
            if outcome < 0:
                liquidity += worth
            elif amount:
                open_ += 1
        closed = sum(1 for row in self._held if row[1] >= 0) - open_
        cost += unknown
        amounts = {"value": value, "liquidityValue": liquidity, "untrackedValue": unknown, "cost": cost}
        amounts |= {"realizedPnl": realized, "unrealizedPnl": value - cost}
        counts = {"openPositions": open_, "closedPositions": closed, "markets": len(self._markets)}
        return {name: str(amount) for name, amount in amounts.items()} | counts, unknown

    # --- over time -------------------------------------------------------------------------------------------------

    def _series(self, interval: str, first: datetime, now: datetime) -> list[dict[str, Any]]:
        times = _times(INTERVALS[interval], now, first, len(self._markets))
        blocks = [row[0] for row in run(LAST_BLOCKS, {"times": times})]
        states = self._states(blocks)
        quotations = self._quotations(times, blocks, states)
        series = []
        for place, (time, state) in enumerate(zip(times, states, strict=True)):
            value, known = self._values(state, quotations[place])
            series.append({"time": f"{time:%Y-%m-%dT%H:%M:%SZ}", "value": str(value), "pnl": str(state.net + known)})
        return series

    def _values(self, state: State, quotations: dict[str, Quotation]) -> tuple[int, int]:
        """Of all that was held, and of what of it had a known cost."""
        value = unknown = 0
        for (market_id, outcome), amount in state.amounts.items():
            quotation = quotations[market_id]
            if quotation.prices.total:
                value += quotation.worth(outcome, amount)
                unknown += quotation.of_unknown_cost(outcome, amount, state.untracked.get((market_id, outcome), 0))
        value += sum(cost for market_id, cost in state.costs.items() if not quotations[market_id].prices.total)
        return value, value - unknown

    def _states(self, blocks: Sequence[int]) -> list[State]:
        """At the end of each of these blocks: from now on backwards."""
        changes = defaultdict(list)
        for row in run(CHANGES, {"blocks": blocks, "first": blocks[0], **self._of_user}):
            changes[row[0]].append(row[1:])
        amounts: Amounts = defaultdict(int)
        untracked: Amounts = defaultdict(int)
        costs: Counter[str] = Counter()
        net = 0
        for market_id, outcome, amount, unknown, paid, earned in _integers(self._held):
            amounts[market_id, outcome] += amount
            untracked[market_id, outcome] += unknown
            costs[market_id] += paid
            net += earned - paid
        states = []
        for place in reversed(range(len(blocks))):
            held, without = ({key: number for key, number in each.items() if number} for each in (amounts, untracked))
            states.append(State(held, without, {market_id: cost for market_id, cost in costs.items() if cost}, net))
            for change in changes[place]:
                market_id, type_, outcome, *numbers, lists, unknown_lists = change
                amount, collateral, realized, cost = map(int, numbers)
                for changed, by in self._moved(market_id, type_, outcome, amount, collateral, lists):
                    amounts[market_id, changed] -= by
                for place_, number in enumerate(_sums(unknown_lists)):
                    untracked[market_id, place_ if outcome is None else outcome] -= _signed(type_, number)
                costs[market_id] -= cost
                net -= realized - cost
        return states[::-1]

    def _moved(
        self, market_id: str, type_: str, outcome: int | None, amount: int, collateral: int, lists: str
    ) -> Iterable[tuple[int, int]]:
        """By how much entries of one type have changed what is held, by outcome."""
        outcomes = range(self._markets[market_id].outcome_count)
        signed = _signed(type_, amount)
        if outcome is not None:
            yield outcome, signed
        elif type_ in ("split", "merge"):
            yield from ((index, signed) for index in outcomes)
        else:
            yield SHARES, signed
            # A pool sends back what it did not take of the collateral's sets; or it sends what it had.
            yield from (
                (index, collateral - number if type_ == "add_liquidity" else number)
                for index, number in enumerate(_sums(lists))
            )

    def _quotations(
        self, times: Sequence[datetime], blocks: Sequence[int], states: Sequence[State]
    ) -> list[dict[str, Quotation]]:
        """Of the markets in which something was held, or had a cost, at each time."""
        needed = [{market_id for market_id, _ in state.amounts} | set(state.costs) for state in states]
        asked = sorted({(market_id, block) for ids, block in zip(needed, blocks, strict=True) for market_id in ids})
        found = run(RESERVES, {"markets": [each[0] for each in asked], "blocks": [each[1] for each in asked]})
        reserves = dict(zip(asked, (row[0] for row in found), strict=True))
        supplies = self._supplies(blocks, states)
        quotations = []
        for place, (time, block, ids) in enumerate(zip(times, blocks, needed, strict=True)):
            of_time = {}
            for market_id in ids:
                market = self._markets[market_id]
                is_resolved = market.resolved_at is not None and market.resolved_at <= time
                of_time[market_id] = _quotation(
                    market._replace(
                        reserves=reserves[market_id, block],
                        payouts=market.payouts if is_resolved else None,
                        supply=supplies[market_id][place] if market_id in supplies else 0,
                    )
                )
            quotations.append(of_time)
        return quotations

    def _supplies(self, blocks: Sequence[int], states: Sequence[State]) -> dict[str, list[int]]:
        """How many shares there were at the end of each block, of the pools in which the user had some."""
        ids = sorted({market_id for state in states for market_id, outcome in state.amounts if outcome == SHARES})
        changes: dict[str, Counter[int]] = defaultdict(Counter)
        for market_id, place, change in (
            run(SUPPLIES, {"markets": ids, "blocks": blocks, "first": blocks[0]}) if ids else ()
        ):
            changes[market_id][place] += int(change)
        supplies = {}
        for market_id in ids:
            supply, backwards = int(self._markets[market_id].supply), []
            for place in reversed(range(len(blocks))):
                backwards.append(supply)
                supply -= changes[market_id][place]
            supplies[market_id] = backwards[::-1]
        return supplies


def _quotation(market: Market) -> Quotation:
    return Quotation(*_prices(market.reserves, market.payouts), int(market.supply))


@remembered
def _prices(reserves: str | None, payouts: str | None) -> tuple[PriceWeights, int]:
    held, paid = (
        None if text is None else [int(number) for number in json.loads(text)] for text in (reserves, payouts)
    )
    return price_weights(held, paid), pool_value(held, paid)


def _signed(type_: str, amount: int) -> int:
    """What an entry of a type does to a holding."""
    return amount if type_ in GAINS else -amount


def _sums(lists: str) -> list[int]:
    """Of lists of as many amounts each, the sum at each place."""
    return [sum(map(int, numbers)) for numbers in zip(*json.loads(lists), strict=True)]


def _flow_totals(flows: Iterable[Sequence[Any]], unknown: int) -> dict[str, Any]:
    """What crossed the line between the user and everybody else. `unknown`: the worth of what is held of unknown cost,
    which counts to have come at that."""
    counts: Counter[str] = Counter()
    collateral: Counter[str] = Counter()
    came = left = 0
    for type_, count, amount, _, in_, out in flows:
        counts[type_], collateral[type_] = count, int(amount)
        came, left = came + int(in_), left + int(out)
    amounts = {
        "cashIn": sum(collateral[type_] for type_ in PAID),
        "cashOut": sum(collateral[type_] for type_ in RECEIVED),
        "costTransferredIn": came + unknown,
        "costTransferredOut": left,
        "volume": sum(collateral[type_] for type_ in TRADES),
    }
    return {name: str(amount) for name, amount in amounts.items()} | {"trades": sum(counts[type_] for type_ in TRADES)}


def _times(
    interval: tuple[timedelta, timedelta] | None, now: datetime, first: datetime, markets: int
) -> list[datetime]:
    """The points of a series, oldest first: whole steps, and now."""
    span, step = interval or (now - first + timedelta(minutes=1), timedelta(minutes=1))
    seconds = int(step.total_seconds())
    points = span // step
    most = max(2, min(POINTS, LOOKUPS // max(1, markets)))
    seconds *= -(-points // most) if points > most else 1
    end = int(now.timestamp())
    start = end - int(span.total_seconds())
    whole = range(start // seconds * seconds, end, seconds)
    return [*(datetime.fromtimestamp(number, UTC) for number in whole), now]


def _integers(rows: Iterable[Sequence[Any]]) -> Iterable[tuple[str, int, int, int, int, int]]:
    return ((market_id, outcome, *map(int, numbers)) for market_id, outcome, *numbers in rows)
