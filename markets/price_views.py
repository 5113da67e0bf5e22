"""REST endpoints of prices: what a trade would give."""

from fractions import Fraction
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import exceptions, generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from aurum.queries import AmountParameter, OutcomeParameter, ShareParameter, checked
from markets import amm, feeds
from markets.models import Checkpoint, Market
from markets.quotes import Quote, quote_buy, quote_sell
from markets.serializers import AmountField
from markets.views import MARKET_ID, MarketRead

DEFAULT_SLIPPAGE = Fraction(1, 100)


class NoQuote(exceptions.APIException):
    """The market as it is does not make this trade; another one, or later, it may."""

    status_code = 409


class QuoteQuery(serializers.Serializer):
    side = serializers.ChoiceField(["buy", "sell"])
    outcome = OutcomeParameter(help_text="The outcome's index.")
    amount = AmountParameter(
        required=False,
        help_text="Collateral in base units: what a buyer pays, fee included, or a seller wants to get, after the fee.",
    )
    tokens = AmountParameter(
        required=False,
        help_text="In place of `amount`, for a sale: the quote is that of the most collateral that at most this many "
        "outcome tokens are given for.",
    )
    slippage = ShareParameter(
        required=False,
        help_text="By how much worse than quoted the trade may turn out before it fails; "
        f"{float(DEFAULT_SLIPPAGE)} if not given.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["side"] == "buy" and "tokens" in attrs:
            raise exceptions.ValidationError({"tokens": ["Only a sale can be asked for by its tokens."]})
        if ("amount" in attrs) == ("tokens" in attrs):
            raise exceptions.ValidationError({"amount": ["Must be given, and not beside tokens."]})
        return attrs


class TransactionSerializer(serializers.Serializer):
    """For a wallet to sign. It needs the approval of the collateral (buy) or of the outcome tokens (sell) before."""

    to = serializers.CharField()
    data = serializers.CharField()  # type: ignore[assignment]
    value = AmountField()
    chain_id = serializers.IntegerField()


class QuoteSerializer(serializers.Serializer):
    """What the contract would do at this block. Amounts in base units, prices in collateral per outcome token."""

    market_id = serializers.CharField()
    side = serializers.ChoiceField(["buy", "sell"])
    outcome = serializers.IntegerField()
    amount_in = AmountField(help_text="Collateral that a buyer pays; outcome tokens that a seller gives.")
    amount_out = AmountField(help_text="Outcome tokens that a buyer gets; collateral that a seller gets.")
    fee_amount = AmountField(help_text="Collateral: part of what a buyer pays, on top of what a seller gets.")
    average_price = serializers.FloatField(allow_null=True, help_text="Fee included; null where no token moves.")
    price_before = serializers.FloatField()
    price_after = serializers.FloatField()
    price_impact = serializers.FloatField(
        allow_null=True,
        help_text="How much worse than priceBefore the average is without the fee, as a share of priceBefore.",
    )
    slippage = serializers.FloatField()
    minimum_received = AmountField(help_text="Less than this, and the transaction fails.")
    maximum_given = AmountField(help_text="More than this, and the transaction fails.")
    transaction = TransactionSerializer()
    block_number = serializers.IntegerField(help_text="The block that the quote was computed at.")


QUOTE_EXAMPLE = OpenApiExample(
    "A buy",
    response_only=True,
    value={
        "marketId": "0x" + "ab" * 32,
        "side": "buy",
        "outcome": 0,
        "amountIn": "50000000",
        "amountOut": "81885906",
        "feeAmount": "1000000",
        "averagePrice": 0.6106056883586292,
        "priceBefore": 0.5,
        "priceAfter": 0.6894506380504735,
        "priceImpact": 0.19678714918291312,
        "slippage": 0.01,
        "minimumReceived": "81067047",
        "maximumGiven": "50000000",
        "transaction": {
            "to": "0x" + "a3" * 20,
            "data": "0x40993b26" + f"{50_000_000:064x}{0:064x}{81_067_047:064x}",
            "value": "0",
            "chainId": 8453,
        },
        "blockNumber": 12345678,
    },
)


@extend_schema(
    parameters=[MARKET_ID, QuoteQuery],
    responses={
        200: QuoteSerializer,
        409: OpenApiResponse(description="The market is resolved, has no liquidity, or cannot make this trade."),
    },
    examples=[QUOTE_EXAMPLE],
)
class MarketQuote(MarketRead, generics.GenericAPIView):  # type: ignore[misc]
    """What a buy or a sale would give now, to the wei what the contract answers, and the transaction that makes it."""

    serializer_class = QuoteSerializer
    queryset = Market.objects.none()

    def get(self, request: Request, id: str) -> Response:
        query = checked(request, QuoteQuery)
        market = self.market()
        if query["outcome"] >= len(market.outcomes):
            raise exceptions.ValidationError({"outcome": [f"The market has {len(market.outcomes)} outcomes."]})
        if market.resolved:
            raise NoQuote("The market is resolved.")
        if market.reserves is None or market.fee is None or self.checkpoint is None:
            raise NoQuote("The market has no AMM.")
        quote = quote_of(market.reserves, market.fee, query)
        return Response(QuoteSerializer(quoted(market, quote, self.checkpoint)).data)


def quote_of(reserves: list[int], fee: int, query: dict[str, Any]) -> Quote:
    """The quote that a checked QuoteQuery asks for. Raises NoQuote."""
    if not all(reserves):
        raise NoQuote("The market's AMM has no liquidity.")
    outcome, slippage = query["outcome"], query.get("slippage", DEFAULT_SLIPPAGE)
    try:
        if query["side"] == "buy":
            return quote_buy(reserves, fee, query["amount"], outcome, slippage)
        amount = query.get("amount") or amm.returned_for(reserves, fee, query["tokens"], outcome)
        if not amount:
            raise NoQuote("The AMM pays nothing for so few tokens.")
        return quote_sell(reserves, fee, amount, outcome, slippage)
    except amm.Reverted as reverted:
        raise NoQuote(f"The AMM would revert: {reverted}.") from reverted


def quoted(market: Market, quote: Quote, checkpoint: Checkpoint) -> dict[str, Any]:
    """A quote as it is served."""
    is_buy = quote.side == "buy"
    average, impact = quote.average_price, quote.price_impact
    return {
        "market_id": market.market_id,
        "side": quote.side,
        "outcome": quote.outcome,
        "amount_in": quote.collateral if is_buy else quote.tokens,
        "amount_out": quote.tokens if is_buy else quote.collateral,
        "fee_amount": quote.fee_amount,
        "average_price": None if average is None else feeds.wire_price(average),
        "price_before": feeds.wire_price(quote.price_before),
        "price_after": feeds.wire_price(quote.price_after),
        "price_impact": None if impact is None else float(impact),
        "slippage": float(quote.slippage),
        "minimum_received": quote.limit if is_buy else quote.collateral,
        "maximum_given": quote.collateral if is_buy else quote.limit,
        "transaction": {
            "to": market.amm_address,
            "data": quote.calldata,
            "value": 0,
            "chain_id": checkpoint.chain_id,
        },
        "block_number": checkpoint.block_number,
    }
