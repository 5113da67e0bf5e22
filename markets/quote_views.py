"""What a trade would give, by REST."""

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from django.http import HttpRequest
from djangorestframework_camel_case.util import camelize
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import exceptions, serializers

from aurum.parameters import MARKET_ID, amount, by_name, choice, integer, read_parameters, share
from aurum.schema import problems
from aurum.sqljson import AMOUNT
from markets import amm, feeds, listings
from markets.pages import Answer
from markets.quotes import Quote, quote_buy, quote_sell
from markets.reading import ReadView, market_ids
from markets.serializers import integers

DEFAULT_SLIPPAGE = Fraction(1, 100)


class NoQuote(exceptions.APIException):
    """The market as it is does not make this trade; another one, or later, it may."""

    status_code = 409


@extend_schema_field(AMOUNT)
class AmountField(serializers.Field):
    """An integer in base units, as a decimal string."""

    def to_representation(self, value: int) -> str:
        return str(value)


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
    parameters=[MARKET_ID],
    responses={200: QuoteSerializer}
    | problems(s409="The market is resolved, has no liquidity, or cannot make this trade."),
    examples=[QUOTE_EXAMPLE],
)
class MarketQuote(ReadView):
    """What a buy or a sale would give now, to the wei what the contract answers, and the transaction that makes it."""

    path_values = staticmethod(market_ids)
    parameters = by_name(
        choice("side", ["buy", "sell"], required=True),
        integer("outcome", 0, 255, "The outcome's index.", required=True),
        amount(
            "amount",
            "Collateral in base units: what a buyer pays, fee included, or a seller wants to get, after the fee.",
        ),
        amount(
            "tokens",
            "In place of `amount`, for a sale: the quote is that of the most collateral that at most this many outcome "
            "tokens are given for.",
        ),
        share(
            "slippage",
            "By how much worse than quoted the trade may turn out before it fails.",
            default=float(DEFAULT_SLIPPAGE),
        ),
    )

    def answer(self, request: HttpRequest, values: Mapping[str, Any]) -> Answer:
        asked = read_parameters(request.GET, self.parameters)
        if asked["side"] == "buy" and "tokens" in asked:
            raise exceptions.ValidationError({"tokens": ["Only a sale can be asked for by its tokens."]})
        if ("amount" in asked) == ("tokens" in asked):
            raise exceptions.ValidationError({"amount": ["Must be given, and not beside tokens."]})
        position, [row] = listings.market.read(POOL, values)
        market_id, outcomes, resolved, amm_address, reserves, fee, chain_id = row
        if asked["outcome"] >= outcomes:
            raise exceptions.ValidationError({"outcome": [f"The market has {outcomes} outcomes."]})
        if resolved:
            raise NoQuote("The market is resolved.")
        if amm_address is None or reserves is None or chain_id is None:
            raise NoQuote("The market has no AMM.")
        quote = quote_of(integers(reserves), int(fee), asked)
        transaction = {"to": amm_address, "data": quote.calldata, "value": 0, "chain_id": chain_id}
        body = {"market_id": market_id, "transaction": transaction, "block_number": position.block_number}
        return Answer(position, json.dumps(camelize(QuoteSerializer(body | quoted(quote)).data)))


# What a quote follows from: columns of `listings.market`.
POOL = [
    "m.market_id",
    "jsonb_array_length(m.outcomes)",
    "m.resolved",
    "m.amm_address",
    "m.reserves::text",
    "m.fee::text",
    "(SELECT chain_id FROM checkpoint)",
]


def quote_of(reserves: list[int], fee: int, asked: dict[str, Any]) -> Quote:
    """The quote that these parameters ask for. Raises NoQuote."""
    if not all(reserves):
        raise NoQuote("The market's AMM has no liquidity.")
    outcome, slippage = asked["outcome"], asked.get("slippage", DEFAULT_SLIPPAGE)
    try:
        if asked["side"] == "buy":
            return quote_buy(reserves, fee, asked["amount"], outcome, slippage)
        returned = asked.get("amount") or amm.returned_for(reserves, fee, asked["tokens"], outcome)
        if not returned:
            raise NoQuote("The AMM pays nothing for so few tokens.")
        return quote_sell(reserves, fee, returned, outcome, slippage)
    except amm.Reverted as reverted:
        raise NoQuote(f"The AMM would revert: {reverted}.") from reverted


def quoted(quote: Quote) -> dict[str, Any]:
    """A quote as it is served, but for what names its market."""
    is_buy = quote.side == "buy"
    average, impact = quote.average_price, quote.price_impact
    return {
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
    }
