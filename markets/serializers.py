"""What the API says of markets, as PostgreSQL writes it. Amounts are decimal strings, prices JSON numbers.

The expressions speak of the aliases in listings.py: `m` markets, `x` their corrections, `d` metadata, `k` collateral,
`p` positions, `t` trades, `h` history, `now` the indexed block.
"""

import json
from collections.abc import Sequence
from typing import Any

from drf_spectacular.drainage import set_override
from rest_framework import serializers

from aurum import sqljson
from aurum.schema import example_of
from markets import amm, corrections, examples, feeds
from markets.correctable import CORRECTABLE
from markets.models import HistoryEntry, Trade
from markets.placement import FEATURED, HIDDEN
from markets.remembered import remembered

FINALITIES = ("pending", "safe", "final")
STATUSES = ("open", "ended", "resolved")
POSITION_STATUSES = ("open", "closed")
PRICES_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "number"}, "examples": [[0.65, 0.35]]}
PRICE_SCHEMA: dict[str, Any] = {"type": "number", "examples": [0.65]}
# Where the market's question stands: oracle/lifecycle.py, state_at. Imports run the other way, so a test compares them.
ORACLE_STATES = ("registered", "proposed", "committing", "revealing", "resolvable", "resolved", "voided")
ORACLE_STATE = """
    (SELECT CASE
         WHEN q.voided_at IS NOT NULL THEN 'voided'
         WHEN q.resolved_at IS NOT NULL THEN 'resolved'
         WHEN q.proposed_at < now.time - interval '7 days' THEN 'registered'
         WHEN q.disputed_at > now.time - interval '24 hours' THEN 'committing'
         WHEN q.disputed_at > now.time - interval '48 hours' THEN 'revealing'
         WHEN q.disputed_at IS NOT NULL OR q.expires_at <= now.time THEN 'resolvable'
         WHEN q.expires_at IS NOT NULL THEN 'proposed'
         ELSE 'registered'
     END FROM oracle_questions q WHERE q.question_id = m.question_id)
"""
_STATUS = "CASE WHEN {} THEN 'resolved' WHEN {} <= now.time THEN 'ended' ELSE 'open' END"
STATUS = _STATUS.format(corrections.RESOLVED, corrections.RESOLUTION_TIME)
CHAIN_STATUS = _STATUS.format("m.resolved", "m.resolution_time")
# What the market has traded in all, less what it had when the last 24 hours began.
VOLUME_24H = """
    (m.volume - coalesce((SELECT market_volume FROM trades WHERE market_id = m.market_id AND block_number <= now.day_ago
                          ORDER BY block_number DESC, log_index DESC LIMIT 1), 0))
"""
# Complete sets outside the pools: those that exist, less those that the market's AMMs hold.
OPEN_INTEREST = """
    greatest(0, coalesce((SELECT min(supply) FROM outcome_tokens WHERE market_id = m.market_id), 0)
        - coalesce((SELECT sum((SELECT min(reserve::numeric) FROM jsonb_array_elements_text(a.reserves) reserve))
                    FROM amms a WHERE a.market_id = m.market_id), 0))
"""

# What a loser has cost is realised by the resolution, also while nobody redeems it.
TRACKED = "(p.amount - p.untracked_amount)"
# An AMM is no user: its tokens have neither cost nor PnL.
BOUGHT = f"(CASE WHEN p.is_amm THEN 0 ELSE {TRACKED} END)"
HELD_COST = "(CASE WHEN m.payouts ->> p.outcome_index = '0' THEN 0 ELSE p.cost END)"


def finality(alias: str) -> sqljson.Word:
    """How sure a row's block is."""
    block = f"{alias}.block_number"
    sql = f"CASE WHEN {block} <= now.final THEN 'final' WHEN {block} <= now.safe THEN 'safe' ELSE 'pending' END"
    return sqljson.Word(sql, choices=FINALITIES)


def shown(schema: dict[str, Any], help_text: str = "") -> serializers.Field:
    """A field of an answer that PostgreSQL does not write, for OpenAPI alone."""
    field = serializers.CharField(help_text=help_text)
    set_override(field, "field", schema)
    return field


# --- exact arithmetic -------------------------------------------------------------------------------------------------


def integers(column: str) -> list[int]:
    """Amounts by outcome, as a column holds them."""
    return [int(number) for number in json.loads(column)]


@remembered
def prices_json(reserves: str | None) -> str:
    """Each outcome's price at these reserves, as the column holds them."""
    return json.dumps(feeds.wire_prices(integers(reserves)) if reserves else None)


@remembered
def _weights(payouts: str | None, reserves: str | None) -> tuple[Sequence[int], int]:
    """What one token of each outcome is worth, as a share of the sum, which is 0 where there is no price."""
    written = payouts or reserves
    numbers = integers(written) if written else []
    weights = numbers if payouts or not numbers else amm.weights(numbers)
    return weights, sum(weights)


def holding_price_json(payouts: str | None, reserves: str | None, outcome: str) -> str:
    """What one token of an outcome is worth: the AMM's price, or the payout once the market is resolved."""
    weights, total = _weights(payouts, reserves)
    return repr(weights[int(outcome)] / total) if total else "null"


def holding_value_json(payouts: str | None, reserves: str | None, outcome: str, amount: str) -> str:
    """What a holding is worth, in base units of collateral, rounded down."""
    weights, total = _weights(payouts, reserves)
    return f'"{int(amount) * weights[int(outcome)] // total}"' if total else "null"


def average_cost_json(cost: str, tracked: str) -> str:
    """What one token has cost, in collateral per outcome token, of those of which it is known; null without any."""
    held = int(tracked)
    return repr(int(cost) / held) if held else "null"


def holding_cost_json(
    payouts: str | None, reserves: str | None, outcome: str, amount: str, tracked: str, cost: str
) -> str:
    """What a holding has cost: tokens without a known cost count at what they are worth."""
    weights, total = _weights(payouts, reserves)
    weight = weights[int(outcome)] if total else 0
    unknown = int(amount) * weight // total - int(tracked) * weight // total if total else 0
    return f'"{int(cost) + unknown}"'


def unrealized_pnl_json(payouts: str | None, reserves: str | None, outcome: str, tracked: str, cost: str) -> str:
    """What the tokens of a known cost are worth above it; null without a price."""
    weights, total = _weights(payouts, reserves)
    return f'"{int(tracked) * weights[int(outcome)] // total - int(cost)}"' if total else "null"


def trade_price_json(collateral_amount: str | None, amount: str) -> str:
    """Collateral per outcome token; null where no outcome token moved."""
    price = None if collateral_amount is None else feeds.trade_price(int(collateral_amount), int(amount))
    return "null" if price is None else repr(price)


def corrections_json(
    entries: str | None,
    question: str,
    outcomes: str,
    resolution_time: str,
    payouts: str | None,
    symbol: str | None,
    decimals: str | None,
) -> str:
    """What is corrected of a market (corrections.ENTRIES), each with what the chain says of it."""
    if not entries:
        return "[]"
    said = {
        "question": question,
        "outcomes": json.loads(outcomes),
        "resolutionTime": resolution_time,
        "payouts": json.loads(payouts) if payouts else None,
        "collateral": {"symbol": symbol, "decimals": int(decimals)} if decimals else None,
    }
    listed = [{"field": entry["field"], "chainValue": said[entry["field"]], **entry} for entry in json.loads(entries)]
    return json.dumps(listed, separators=(",", ":"), ensure_ascii=False)


# --- rows -------------------------------------------------------------------------------------------------------------


@example_of("Metadata", examples.METADATA)
class MetadataSerializer(serializers.Serializer):
    category = sqljson.Text("coalesce(d.category, '')")
    description = sqljson.Text("coalesce(d.description, '')")
    image_url = sqljson.Text("coalesce(d.image_url, '')")
    resolution_source = sqljson.Text("coalesce(d.resolution_source, '')")


class CollateralSerializer(serializers.Serializer):
    symbol = sqljson.Text(corrections.SYMBOL)
    decimals = sqljson.Integer(corrections.DECIMALS)


@example_of("A market", examples.MARKET)
class MarketSerializer(serializers.Serializer):
    id = sqljson.Identity("m.id")
    market_id = sqljson.Bytes32("m.market_id")
    question_id = sqljson.Bytes32("m.question_id")
    condition_id = sqljson.Bytes32("m.condition_id")
    creator = sqljson.Address("m.creator")
    collateral_token = sqljson.Address("m.collateral_token")
    collateral = sqljson.Nested(CollateralSerializer, corrections.HAS_COLLATERAL)
    amm_address = sqljson.Address("m.amm_address", null=True)
    fee = sqljson.Amount("m.fee", null=True, help_text="A fraction of 1e18.")
    question = sqljson.Text(corrections.QUESTION)
    outcomes = sqljson.Texts(corrections.OUTCOMES)
    resolution_time = sqljson.Moment(corrections.RESOLUTION_TIME)
    resolution_timestamp = sqljson.Amount("m.resolution_timestamp", help_text="Seconds, as the contract holds it.")
    status = sqljson.Word(STATUS, choices=STATUSES)
    resolved = sqljson.Flag(corrections.RESOLVED)
    payouts = sqljson.Amounts(
        corrections.PAYOUTS, null=True, help_text="Numerators; an outcome pays its share of their sum."
    )
    oracle_state = sqljson.Word(
        ORACLE_STATE, choices=ORACLE_STATES, null=True, help_text="Of its question; null where the oracle has none."
    )
    prices = sqljson.Computed(prices_json, ["m.reserves"], PRICES_SCHEMA, null=True)
    reserves = sqljson.Amounts("m.reserves", null=True)
    volume = sqljson.Amount("m.volume")
    volume_24h = sqljson.Amount(VOLUME_24H)
    liquidity = sqljson.Amount("m.liquidity")
    open_interest = sqljson.Amount(OPEN_INTEREST)
    fees_collected = sqljson.Amount("m.fees_collected")
    trading_fees = sqljson.Amount("m.trading_fees")
    traders = sqljson.Integer("m.trader_count")
    trade_count = sqljson.Integer("m.trade_count")
    metadata = sqljson.Nested(MetadataSerializer)
    corrected = sqljson.Flag(
        "x.shown IS NOT NULL", help_text="Operators corrected what the chain says: the market itself says what and why."
    )
    hidden = sqljson.Flag(HIDDEN, help_text="Lists leave it out.")
    featured = sqljson.Flag(FEATURED)
    finality = finality("m")
    block_number = sqljson.Integer("m.block_number")
    transaction_hash = sqljson.Bytes32("m.transaction_hash")
    log_index = sqljson.Integer("m.log_index")
    created_at = sqljson.Moment("m.created_at")
    updated_at = sqljson.Moment("m.updated_at")


CORRECTION_SCHEMA = {
    "type": "object",
    "properties": {
        "field": {"type": "string", "enum": list(CORRECTABLE)},
        "chainValue": {"description": "What the chain says."},
        "value": {"description": "What is shown."},
        "reason": {"type": "string"},
        "since": {"type": "string", "format": "date-time"},
        "expiresAt": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["field", "chainValue", "value", "reason", "since", "expiresAt"],
}


@example_of("A market", examples.MARKET | {"corrections": []})
class MarketDetailSerializer(MarketSerializer):
    """A market as everywhere, and what operators corrected."""

    corrections = sqljson.Computed(
        corrections_json,
        [
            *(corrections.ENTRIES, "m.question", "m.outcomes", sqljson.MOMENT.format("m.resolution_time")),
            *("m.payouts", "k.symbol", "k.decimals"),
        ],
        {"type": "array", "items": CORRECTION_SCHEMA},
    )


@example_of("Prices", examples.PRICES)
class MarketPricesSerializer(serializers.Serializer):
    """What `price_update` says, for a market as it is now."""

    market_id = sqljson.Bytes32("m.market_id")
    prices = sqljson.Computed(prices_json, ["m.reserves"], PRICES_SCHEMA, null=True)
    reserves = sqljson.Amounts("m.reserves", null=True)
    timestamp = sqljson.Moment("point.timestamp", null=True)
    block_number = sqljson.Integer("point.block_number", null=True)


@example_of("A position", examples.POSITION)
class PositionSerializer(serializers.Serializer):
    """A holding, with what it is worth now: at the AMM's price, or at the payout once the market is resolved."""

    id = sqljson.Identity("p.id")
    user_address = sqljson.Address("p.user_address")
    market_id = sqljson.Bytes32("p.market_id")
    outcome_index = sqljson.Integer("p.outcome_index")
    outcome = sqljson.Text(f"{corrections.OUTCOMES} ->> p.outcome_index")
    amount = sqljson.Amount("p.amount", help_text="Outcome tokens: exactly `balanceOf`.")
    is_amm = sqljson.Flag("p.is_amm")
    current_price = sqljson.Computed(
        holding_price_json, ["m.payouts", "m.reserves", "p.outcome_index"], PRICE_SCHEMA, null=True
    )
    value = sqljson.Computed(
        holding_value_json, ["m.payouts", "m.reserves", "p.outcome_index", "p.amount"], sqljson.AMOUNT, null=True
    )
    average_cost = sqljson.Computed(
        average_cost_json,
        [
            "CASE WHEN p.amount > 0 THEN p.cost ELSE p.acquired_cost END",
            f"CASE WHEN p.amount > 0 THEN {BOUGHT} ELSE p.acquired_amount END",
        ],
        PRICE_SCHEMA,
        null=True,
        help_text="Of the tokens whose cost is known: those held, or once it is closed, all that have ever come.",
    )
    cost = sqljson.Computed(
        holding_cost_json,
        ["m.payouts", "m.reserves", "p.outcome_index", "p.amount", TRACKED, HELD_COST],
        sqljson.AMOUNT,
        help_text="Of the tokens held, as far as it is not lost already; of untracked ones what they are worth.",
    )
    realized_pnl = sqljson.SignedAmount(f"(p.realized_pnl - p.cost + {HELD_COST})")
    unrealized_pnl = sqljson.Computed(
        unrealized_pnl_json,
        ["m.payouts", "m.reserves", "p.outcome_index", BOUGHT, HELD_COST],
        sqljson.SIGNED,
        null=True,
    )
    untracked_amount = sqljson.Amount("p.untracked_amount", help_text="Tokens without a known cost: no profit.")
    status = sqljson.Word("CASE WHEN p.amount > 0 THEN 'open' ELSE 'closed' END", choices=POSITION_STATUSES)
    created_at = sqljson.Moment("p.created_at")
    updated_at = sqljson.Moment("p.updated_at")


@example_of("A trade", examples.TRADE)
class TradeSerializer(serializers.Serializer):
    id = sqljson.Identity("t.id")
    market_id = sqljson.Bytes32("t.market_id")
    trader = sqljson.Address("t.trader")
    side = sqljson.Word("t.side", choices=Trade.Side.values)
    outcome = sqljson.Integer("t.outcome")
    amount = sqljson.Amount("t.amount", help_text="Outcome tokens.")
    collateral_amount = sqljson.Amount("t.collateral_amount", help_text="Paid, fee included, or received.")
    fee_amount = sqljson.Amount("t.fee_amount")
    price = sqljson.Computed(trade_price_json, ["t.collateral_amount", "t.amount"], PRICE_SCHEMA, null=True)
    finality = finality("t")
    block_number = sqljson.Integer("t.block_number")
    transaction_hash = sqljson.Bytes32("t.transaction_hash")
    log_index = sqljson.Integer("t.log_index")
    timestamp = sqljson.Moment("t.timestamp")


@example_of("A buy", examples.HISTORY_ENTRY)
class HistorySerializer(serializers.Serializer):
    id = sqljson.Identity("h.id")
    type = sqljson.Word("h.type", choices=HistoryEntry.Type.values)
    market_id = sqljson.Bytes32("h.market_id")
    outcome = sqljson.Integer("h.outcome", null=True, help_text="Null where all outcomes moved alike, or LP shares.")
    amount = sqljson.Amount("h.amount", help_text="Outcome tokens, of each outcome; LP shares where liquidity moved.")
    collateral_amount = sqljson.Amount("h.collateral_amount", null=True)
    outcome_amounts = sqljson.Amounts("h.outcome_amounts", null=True)
    price = sqljson.Computed(
        trade_price_json,
        ["CASE WHEN h.type IN ('buy', 'sell', 'redeem') THEN h.collateral_amount END", "h.amount"],
        PRICE_SCHEMA,
        null=True,
        help_text="Collateral per outcome token, of trades and redemptions.",
    )
    counterparty = sqljson.Address("h.counterparty", null=True)
    realized_pnl = sqljson.SignedAmount("h.realized_pnl")
    cost_change = sqljson.SignedAmount("h.cost_change", help_text="What it did to the cost of all that the user holds.")
    finality = finality("h")
    block_number = sqljson.Integer("h.block_number")
    transaction_hash = sqljson.Bytes32("h.transaction_hash")
    log_index = sqljson.Integer("h.log_index")
    timestamp = sqljson.Moment("h.timestamp")


@example_of("The first", examples.RANKED_USER)
class RankedUserSerializer(serializers.Serializer):
    """A place in the leaderboard; AMMs and the deployment's contracts have none."""

    rank = sqljson.Integer("u.rank")
    user_address = sqljson.Address("u.user_address")
    profit = sqljson.SignedAmount("u.profit", help_text="Realised and unrealised, in the window.")
    volume = sqljson.Amount("u.volume", help_text="What was paid and received in trades, in the window.")
    as_of_block = sqljson.Integer("r.block_number", help_text="The block that the ranking was computed at.")


class PortfolioPointSerializer(serializers.Serializer):
    time = serializers.DateTimeField()
    value = shown(sqljson.AMOUNT, "What the holdings were worth.")
    pnl = shown(sqljson.SIGNED, "Realised and unrealised since the beginning.")


@example_of("A day", examples.PORTFOLIO)
class PortfolioSerializer(serializers.Serializer):
    """Totals in one collateral token (portfolio.py writes them).

    realizedPnl + unrealizedPnl = cashOut - cashIn + value + costTransferredOut - costTransferredIn
    """

    user_address = serializers.CharField()
    collateral_token = serializers.CharField(allow_null=True)
    value = shown(sqljson.AMOUNT, "What is held is worth; what has no price counts at its cost.")
    liquidity_value = shown(sqljson.AMOUNT, "The part of it that LP shares are.")
    untracked_value = shown(sqljson.AMOUNT, "The part of it that tokens without a known cost are: in cost as well.")
    cost = shown(sqljson.AMOUNT, "What was paid for it.")
    realized_pnl = shown(sqljson.SIGNED)
    unrealized_pnl = shown(sqljson.SIGNED)
    open_positions = serializers.IntegerField()
    closed_positions = serializers.IntegerField()
    markets = serializers.IntegerField()
    cash_in = shown(sqljson.AMOUNT, "Paid for trades, splits and liquidity.")
    cash_out = shown(sqljson.AMOUNT, "Received for trades, merges, redemptions, and as fees with removed liquidity.")
    cost_transferred_in = shown(
        sqljson.AMOUNT, "What tokens that others sent had cost them, and those of unknown cost count."
    )
    cost_transferred_out = shown(sqljson.AMOUNT, "What tokens that went to others had cost, or into sets not followed.")
    volume = shown(sqljson.AMOUNT, "Paid and received in trades.")
    trades = serializers.IntegerField()
    interval = serializers.CharField()
    series = PortfolioPointSerializer(many=True)
