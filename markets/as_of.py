"""A market as it was at the end of a block.

Prices and reserves are those of the last price point up to it. Figures of trades are today's less the trades since: the
blocks that are asked about are mostly recent ones, and their work grows with what came after.
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from rest_framework import exceptions

from aurum import sqljson
from aurum.parameters import by_name, integer, read_parameters
from aurum.schema import example_of
from markets import examples
from markets.amm import liquidity
from markets.corrections import SHOWN
from markets.listings import MARKET_ID
from markets.pages import Answer, Plan, Rows
from markets.reading import ObjectView
from markets.serializers import ORACLE_STATES, MarketDetailSerializer, MarketPricesSerializer, integers

AS_OF_BLOCK = integer(
    "asOfBlock",
    0,
    2**63 - 1,
    "Answers as it was at the end of this block: AMM, prices, reserves, liquidity, figures of trades, resolution and "
    "status; whether it has ended is (like the last 24 hours) told by the last block up to it that has an event. "
    "openInterest, feesCollected and oracleState are null then: they are not kept by block. Metadata and corrections "
    "are today's.",
)
# Stands in for the `now` of the statement around it, so that the serializers' expressions mean the block.
THEN = """
    (SELECT %(asOfBlock)s::bigint AS block_number, now.safe, now.final, now.parent, block.time, (
         SELECT b.number FROM indexed_blocks b WHERE b.timestamp <= block.time - interval '24 hours'
         ORDER BY b.timestamp DESC, b.number DESC LIMIT 1
     ) AS day_ago
     FROM (SELECT CASE WHEN now.block_number = %(asOfBlock)s THEN now.time ELSE (
               SELECT b.timestamp FROM indexed_blocks b WHERE b.number <= %(asOfBlock)s ORDER BY b.number DESC LIMIT 1
           ) END AS time) block) now
"""
POINT = """
    LEFT JOIN LATERAL (
        SELECT reserves, timestamp, block_number FROM price_points
        WHERE market_id = l.market_id AND block_number <= now.block_number
        ORDER BY block_number DESC, log_index DESC LIMIT 1
    ) point ON true
"""
TRADES_SINCE = """
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(trader.volume), 0) AS volume, coalesce(sum(trader.fees), 0) AS fees,
               coalesce(sum(trader.trades), 0) AS trades,
               count(*) FILTER (WHERE NOT EXISTS (
                   SELECT FROM trades earlier WHERE earlier.trader = trader.address
                   AND earlier.market_id = l.market_id AND earlier.block_number <= now.block_number
               )) AS new_traders
        FROM (
            SELECT trader AS address, sum(collateral_amount) AS volume, sum(fee_amount) AS fees, count(*) AS trades
            FROM trades WHERE market_id = l.market_id AND block_number > now.block_number GROUP BY trader
        ) trader
    ) since
"""
MARKET_THEN = f"""
    {THEN} JOIN markets l ON l.market_id = now.parent AND l.block_number <= now.block_number
    {POINT} {TRADES_SINCE}
    LEFT JOIN amms a ON a.address = l.amm_address AND a.block_number <= now.block_number
    CROSS JOIN LATERAL (SELECT l.resolved AND l.resolved_block <= now.block_number AS resolved) resolution
    CROSS JOIN LATERAL (
        SELECT l.id, l.market_id, l.question_id, l.condition_id, l.creator, l.collateral_token, l.question, l.outcomes,
               l.resolution_time, l.resolution_timestamp, l.block_number, l.transaction_hash, l.log_index, l.created_at,
               a.address AS amm_address, a.fee, point.reserves, resolution.resolved,
               CASE WHEN resolution.resolved THEN l.payouts END AS payouts,
               l.volume - since.volume AS volume, l.trading_fees - since.fees AS trading_fees,
               l.trade_count - since.trades AS trade_count, l.trader_count - since.new_traders AS trader_count,
               greatest(l.created_at, point.timestamp,
                        CASE WHEN resolution.resolved THEN l.resolved_at END) AS updated_at
    ) m
    {SHOWN}
    LEFT JOIN market_metadata d ON d.market_id = m.market_id
    LEFT JOIN collateral_tokens k ON k.address = m.collateral_token
"""
VOLUME_24H = """
    coalesce((SELECT sum(collateral_amount) FROM trades WHERE market_id = m.market_id
              AND block_number > coalesce(now.day_ago, -1) AND block_number <= now.block_number), 0)
"""


def liquidity_json(reserves: str | None) -> str:
    """What the pool is worth at its own prices; 0 without one."""
    return f'"{liquidity(integers(reserves)) if reserves else 0}"'


@example_of("A market", examples.MARKET | {"corrections": []})
class MarketAsOfSerializer(MarketDetailSerializer):
    """A market; of an earlier block without what is not kept by block."""

    volume_24h = sqljson.Amount(VOLUME_24H)
    liquidity = sqljson.Computed(liquidity_json, ["m.reserves"], sqljson.AMOUNT)  # type: ignore[assignment]
    open_interest = sqljson.Amount("NULL::numeric", null=True, help_text="Null as of an earlier block.")
    fees_collected = sqljson.Amount("NULL::numeric", null=True, help_text="Null as of an earlier block.")
    oracle_state = sqljson.Word(
        "NULL::text", choices=ORACLE_STATES, null=True, help_text="Null as of an earlier block."
    )


NOT_YET = "The market was not there yet at the end of that block."
market_then = Rows(serializer=MarketAsOfSerializer, source=MARKET_THEN, parent=MARKET_ID, missing=NOT_YET)
market_prices_then = Rows(
    serializer=MarketPricesSerializer,
    source=f"""
        {THEN} JOIN markets l ON l.market_id = now.parent AND l.block_number <= now.block_number
        {POINT} CROSS JOIN LATERAL (SELECT l.market_id, point.reserves) m
    """,
    parent=MARKET_ID,
    missing=NOT_YET,
)


class AsOfView(ObjectView):
    """Something of a market, now or as it was at the end of a block."""

    rows_then: Rows
    parameters = by_name(AS_OF_BLOCK)

    def plan(self, request: HttpRequest, values: Mapping[str, Any]) -> Plan | None:
        asked = read_parameters(request.GET, self.parameters)
        if not asked:
            return self.rows.plan(values)
        block, then = asked["asOfBlock"], self.rows_then.plan({**values, **asked})

        def answer(rows: list[Any]) -> Answer:
            indexed = rows[0][0]
            if rows[0][2] is not None and (indexed is None or block > indexed):
                raise exceptions.ValidationError({"asOfBlock": [f"The last indexed block is {indexed}."]})
            return then.answer(rows)

        return then._replace(answer=answer)
