"""Rows -> JSON. The renderer turns names into camelCase; amounts are decimal strings, prices JSON numbers."""

from fractions import Fraction
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from markets import feeds
from markets.amm import payout_fractions, prices
from markets.chaintime import to_seconds
from markets.models import CollateralToken, HistoryEntry, Market, MarketMetadata, Position, Trade


@extend_schema_field({"type": "string", "pattern": "^-?[0-9]+$", "examples": ["1000000000000000000"]})
class AmountField(serializers.Field):
    """An integer in base units, as a decimal string: JSON numbers lose digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def to_representation(self, value: int) -> str:
        return str(value)


@extend_schema_field({"type": "array", "items": {"type": "string", "pattern": "^[0-9]+$"}})
class AmountListField(AmountField):
    """Amounts by outcome."""

    def to_representation(self, value: list[int]) -> list[str]:  # type: ignore[override]
        return [str(number) for number in value]


@extend_schema_field({"type": "array", "items": {"type": "number"}})
class PricesField(serializers.Field):
    """Prices by outcome, from the row's `reserves`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, source="reserves", **kwargs)

    def to_representation(self, value: list[int]) -> list[float] | None:
        return feeds.wire_prices(value)


class FinalitySerializer(serializers.ModelSerializer):
    """Adds how sure the row's block is; the view gives the checkpoint in the context."""

    finality = serializers.SerializerMethodField()

    @extend_schema_field({"type": "string", "enum": ["pending", "safe", "final"]})
    def get_finality(self, row: Any) -> str:
        checkpoint = self.context.get("checkpoint")
        return checkpoint.finality(row.block_number) if checkpoint else "pending"


class MetadataSerializer(serializers.ModelSerializer):
    class Meta:
        model = MarketMetadata
        fields = ("category", "description", "image_url", "resolution_source")


class CollateralSerializer(serializers.ModelSerializer):
    class Meta:
        model = CollateralToken
        fields = ("symbol", "decimals")


class MarketSerializer(FinalitySerializer):
    collateral = serializers.SerializerMethodField()
    fee = AmountField()
    resolution_timestamp = AmountField()
    status = serializers.SerializerMethodField()
    payouts = AmountListField()
    prices = PricesField()
    reserves = AmountListField()
    volume = AmountField()
    volume_24h = AmountField()
    liquidity = AmountField()
    open_interest = serializers.SerializerMethodField()
    fees_collected = AmountField()
    trading_fees = AmountField()
    traders = serializers.IntegerField(source="trader_count", read_only=True)
    metadata = serializers.SerializerMethodField()

    class Meta:
        model = Market
        fields = (
            "id",
            "market_id",
            "question_id",
            "condition_id",
            "creator",
            "collateral_token",
            "collateral",
            "amm_address",
            "fee",
            "question",
            "outcomes",
            "resolution_time",
            "resolution_timestamp",
            "status",
            "resolved",
            "payouts",
            "prices",
            "reserves",
            "volume",
            "volume_24h",
            "liquidity",
            "open_interest",
            "fees_collected",
            "trading_fees",
            "traders",
            "trade_count",
            "metadata",
            "finality",
            "block_number",
            "transaction_hash",
            "log_index",
            "created_at",
            "updated_at",
        )

    @extend_schema_field(CollateralSerializer(allow_null=True))
    def get_collateral(self, market: Market) -> dict[str, Any] | None:
        token = self.context["collateral_tokens"].get(market.collateral_token)
        return CollateralSerializer(token).data if token else None

    @extend_schema_field({"type": "string", "pattern": "^[0-9]+$"})
    def get_open_interest(self, market: Any) -> str:
        """Complete sets outside the pools: those that exist, less those that the market's AMMs hold."""
        pooled = sum(min(amm.reserves) for amm in market.amms.all() if amm.reserves)
        return str(max(0, market.complete_sets - pooled))

    @extend_schema_field({"type": "string", "enum": ["open", "ended", "resolved"]})
    def get_status(self, market: Market) -> str:
        return market.status_at(self.context["chain_time"])

    @extend_schema_field(MetadataSerializer)
    def get_metadata(self, market: Market) -> dict[str, Any]:
        return MetadataSerializer(getattr(market, "metadata", None) or MarketMetadata()).data


class MarketPricesSerializer(serializers.ModelSerializer):
    """What `price_update` says, for a market as it is now."""

    prices = PricesField()
    reserves = AmountListField()
    timestamp = serializers.SerializerMethodField()
    block_number = serializers.SerializerMethodField()

    class Meta:
        model = Market
        fields = ("market_id", "prices", "reserves", "timestamp", "block_number")

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_timestamp(self, market: Market) -> str | None:
        point = self.context["price_point"]
        return serializers.DateTimeField().to_representation(point.timestamp) if point else None

    @extend_schema_field({"type": ["integer", "null"]})
    def get_block_number(self, market: Market) -> int | None:
        point = self.context["price_point"]
        return point.block_number if point else None


class PositionSerializer(serializers.ModelSerializer):
    """A holding, with what it is worth now: at the AMM's price, or at the payout once the market is resolved."""

    market_id = serializers.CharField(read_only=True)
    outcome = serializers.SerializerMethodField()
    amount = AmountField()
    current_price = serializers.SerializerMethodField()
    value = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()

    class Meta:
        model = Position
        fields = (
            "id",
            "user_address",
            "market_id",
            "outcome_index",
            "outcome",
            "amount",
            "is_amm",
            "current_price",
            "value",
            "status",
            "created_at",
            "updated_at",
        )

    @extend_schema_field({"type": "string"})
    def get_outcome(self, position: Position) -> str:
        return position.market.outcomes[position.outcome_index]

    @extend_schema_field({"type": ["number", "null"]})
    def get_current_price(self, position: Position) -> float | None:
        price = self._price(position)
        return None if price is None else feeds.wire_price(price)

    @extend_schema_field({"type": ["string", "null"], "pattern": "^[0-9]+$"})
    def get_value(self, position: Position) -> str | None:
        price = self._price(position)
        return None if price is None else str(int(position.amount * price))

    def _price(self, position: Position) -> Fraction | None:
        """Computed once for each market of a page: a market may have 256 outcomes, and as many rows."""
        known = self.context.setdefault("prices", {})
        if position.market_id not in known:
            market = position.market
            known[position.market_id] = (
                payout_fractions(market.payouts) if market.payouts else prices(market.reserves or ())
            )
        of_market = known[position.market_id]
        return of_market[position.outcome_index] if of_market else None

    @extend_schema_field({"type": "string", "enum": ["open", "closed"]})
    def get_status(self, position: Position) -> str:
        return "open" if position.amount else "closed"


class TradeSerializer(FinalitySerializer):
    market_id = serializers.CharField(read_only=True)
    amount = AmountField()
    collateral_amount = AmountField()
    fee_amount = AmountField()
    price = serializers.SerializerMethodField()

    class Meta:
        model = Trade
        fields = (
            "id",
            "market_id",
            "trader",
            "side",
            "outcome",
            "amount",
            "collateral_amount",
            "fee_amount",
            "price",
            "finality",
            "block_number",
            "transaction_hash",
            "log_index",
            "timestamp",
        )

    @extend_schema_field({"type": ["number", "null"]})
    def get_price(self, trade: Trade) -> float | None:
        return feeds.trade_price(trade.collateral_amount, trade.amount)


class HistorySerializer(FinalitySerializer):
    market_id = serializers.CharField(read_only=True)
    amount = AmountField()
    collateral_amount = AmountField()
    outcome_amounts = AmountListField()
    price = serializers.SerializerMethodField()

    class Meta:
        model = HistoryEntry
        fields = (
            "id",
            "type",
            "market_id",
            "outcome",
            "amount",
            "collateral_amount",
            "outcome_amounts",
            "price",
            "counterparty",
            "finality",
            "block_number",
            "transaction_hash",
            "log_index",
            "timestamp",
        )

    @extend_schema_field({"type": ["number", "null"]})
    def get_price(self, entry: HistoryEntry) -> float | None:
        """Collateral per outcome token, of what has one: trades and redemptions."""
        if entry.type not in ("buy", "sell", "redeem") or entry.collateral_amount is None:
            return None
        return feeds.trade_price(entry.collateral_amount, entry.amount)


def market_snapshot(market: Market) -> dict[str, Any]:
    """A market's state for a WebSocket subscriber: the fields that its messages change."""
    return {
        "marketId": market.market_id,
        "prices": feeds.wire_prices(market.reserves),
        "reserves": [str(reserve) for reserve in market.reserves] if market.reserves else None,
        "volume": str(market.volume),
        "tradeCount": market.trade_count,
        "resolved": market.resolved,
        "payouts": [str(payout) for payout in market.payouts] if market.payouts else None,
        "timestamp": to_seconds(market.updated_at),
    }
