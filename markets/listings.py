"""Every list and object of the markets app: where its rows come from, what narrows them, and their orders."""

from aurum.parameters import choice, hex_word, integer, moment, text
from markets import serializers
from markets.corrections import CORRECTED, SHOWN
from markets.leaderboard import PERIODS, RANKED_BY
from markets.models import HistoryEntry, Trade
from markets.pages import Filter, Key, Listing, Rows
from markets.placement import FEATURED, HIDDEN
from markets.search import FOUND, SEARCH

MARKETS = f"""
    markets m {SHOWN}
    LEFT JOIN market_metadata d ON d.market_id = m.market_id
    LEFT JOIN collateral_tokens k ON k.address = m.collateral_token
"""
# By one of its two ids; the other is null.
MARKET_ID = """
    (SELECT market_id FROM markets WHERE market_id = %(market_id)s::text
     UNION ALL SELECT market_id FROM markets WHERE id = %(uuid)s::uuid)
"""
OF_MARKET = "m.market_id = now.parent"
# By what is shown. Rows that the chain's own status leaves out are out before corrections are looked for.
BY_STATUS = f"""
    ({serializers.CHAIN_STATUS} = %(status)s OR m.market_id = ANY({CORRECTED})) AND {serializers.STATUS} = %(status)s
"""
POSITIONS = f"positions p JOIN markets m ON m.market_id = p.market_id {SHOWN}"
OUTCOME = integer("outcome", 0, 255, "The outcome's index.")
MARKET = hex_word("market", 32, "A marketId.")
COLLATERAL = hex_word("collateralToken", 20, "What amounts are in: those of different tokens can't be added.")


def _both_ways(**columns: tuple[str, str]) -> dict[str, tuple[Key, ...]]:
    """Each column as an ordering of markets, and with `-` the other way round."""
    return {
        sign + name: (Key(sql, kind, descending=bool(sign)), Key("m.id", "uuid", descending=bool(sign)))
        for name, (sql, kind) in columns.items()
        for sign in ("-", "")
    }


markets = Listing(
    serializer=serializers.MarketSerializer,
    source=MARKETS,
    where=f"NOT {HIDDEN}",
    filters=(
        Filter(SEARCH, FOUND),
        Filter(text("category", 64), "d.category = %(category)s"),
        Filter(choice("status", serializers.STATUSES), BY_STATUS),
        Filter(choice("featured", ["true"], "Only those that are put forward."), FEATURED),
        Filter(hex_word("creator", 20), "m.creator = %(creator)s"),
        Filter(hex_word("collateralToken", 20), "m.collateral_token = %(collateralToken)s"),
        # By the chain's time, as the ordering is: an index begins there.
        Filter(moment("endsBefore"), "m.resolution_time < %(endsBefore)s"),
        Filter(moment("endsAfter"), "m.resolution_time > %(endsAfter)s"),
    ),
    # The first is the default: the newest, those of one second in the order of the chain.
    orders={
        sign + "createdAt": (
            Key("m.created_at", "timestamptz", descending=bool(sign)),
            Key("m.block_number", "bigint", descending=bool(sign)),
            Key("m.log_index", "int", descending=bool(sign)),
        )
        for sign in ("-", "")
    }
    | _both_ways(
        volume=("m.volume", "numeric"),
        volume24h=(serializers.VOLUME_24H, "numeric"),
        liquidity=("m.liquidity", "numeric"),
        traders=("m.trader_count", "bigint"),
        resolutionTime=("m.resolution_time", "timestamptz"),
    ),
)
market = Rows(serializer=serializers.MarketDetailSerializer, source=MARKETS, where=OF_MARKET, parent=MARKET_ID)
market_prices = Rows(
    serializer=serializers.MarketPricesSerializer,
    source="""
        markets m LEFT JOIN LATERAL (
            SELECT timestamp, block_number FROM price_points
            WHERE market_id = m.market_id ORDER BY block_number DESC, log_index DESC LIMIT 1
        ) point ON true
    """,
    where=OF_MARKET,
    parent=MARKET_ID,
)
OF_SEVERAL = "m.market_id = ANY(%(markets)s)"
markets_by_id = Rows(serializer=serializers.MarketDetailSerializer, source=MARKETS, where=OF_SEVERAL)
several_markets = Rows(serializer=serializers.MarketSerializer, source="markets m", where=OF_SEVERAL)
several_prices = Rows(serializer=serializers.MarketPricesSerializer, source=market_prices.source, where=OF_SEVERAL)
holders = Listing(
    serializer=serializers.PositionSerializer,
    source=POSITIONS,
    where="p.market_id = now.parent AND p.amount > 0",
    parent=MARKET_ID,
    filters=(Filter(OUTCOME, "p.outcome_index = %(outcome)s"),),
    orders={"largest": (Key("p.amount", "numeric", descending=True), Key("p.id", "uuid", descending=True))},
)
trades = Listing(
    serializer=serializers.TradeSerializer,
    source="trades t",
    where="t.market_id = now.parent",
    parent=MARKET_ID,
    filters=(
        Filter(hex_word("trader", 20), "t.trader = %(trader)s"),
        Filter(OUTCOME, "t.outcome = %(outcome)s"),
        Filter(choice("side", Trade.Side.values), "t.side = %(side)s"),
    ),
    orders={"newest": (Key("t.block_number", "bigint", descending=True), Key("t.log_index", "int", descending=True))},
)
user_positions = Listing(
    serializer=serializers.PositionSerializer,
    source=POSITIONS,
    where="p.user_address = %(address)s",
    filters=(
        Filter(MARKET, "p.market_id = %(market)s"),
        Filter(choice("status", serializers.POSITION_STATUSES), "(p.amount > 0) = (%(status)s = 'open')"),
    ),
    orders={"latest": (Key("p.updated_at", "timestamptz", descending=True), Key("p.id", "uuid", descending=True))},
)
open_positions = Rows(
    serializer=serializers.PositionSerializer,
    source=user_positions.source,
    where=f"{user_positions.where} AND p.amount > 0",
)
user_history = Listing(
    serializer=serializers.HistorySerializer,
    source="history h",
    where="h.user_address = %(address)s",
    filters=(
        Filter(choice("type", HistoryEntry.Type.values), "h.type = %(type)s"),
        Filter(MARKET, "h.market_id = %(market)s"),
    ),
    orders={
        "newest": (
            Key("h.block_number", "bigint", descending=True),
            Key("h.log_index", "int", descending=True),
            Key("h.sequence", "int", descending=True),
        )
    },
)
leaderboard = Listing(
    serializer=serializers.RankedUserSerializer,
    source="ranked_users u JOIN rankings r USING (collateral_token, period)",
    where="collateral_token = %(collateralToken)s AND period = %(window)s AND u.ranked_by = %(by)s",
    # They stand in `where`, and have defaults.
    filters=(
        Filter(choice("by", RANKED_BY, "What decides; by default the profit."), "true"),
        Filter(choice("window", list(PERIODS), "Of which last days; by default of all time."), "true"),
        Filter(COLLATERAL, "true"),
    ),
    orders={"first": (Key("u.rank", "int"),)},
)
