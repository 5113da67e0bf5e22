"""REST endpoints of markets and users."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from markets import as_of, listings
from markets.reading import ListView, address_of, market_ids

MARKET_ID = OpenApiParameter("id", OpenApiTypes.STR, "path", description="The market's UUID, or its 0x… marketId.")
ADDRESS = OpenApiParameter("address", OpenApiTypes.STR, "path", description="0x and 40 hexadecimal digits, any case.")


class MarketList(ListView):
    """All markets, newest first unless ordered otherwise."""

    listing = listings.markets


@extend_schema(parameters=[MARKET_ID], responses=as_of.MarketAsOfSerializer)
class MarketDetail(as_of.AsOfView):
    """One market."""

    rows = listings.market
    rows_then = as_of.market_then
    path_values = staticmethod(market_ids)


@extend_schema(parameters=[MARKET_ID])
class MarketPrices(as_of.AsOfView):
    """A market's current prices, and the reserves that they follow from."""

    rows = listings.market_prices
    rows_then = as_of.market_prices_then
    path_values = staticmethod(market_ids)


@extend_schema(parameters=[MARKET_ID])
class MarketPositions(ListView):
    """Who holds a market's outcome tokens, largest first; the AMM is marked."""

    listing = listings.holders
    path_values = staticmethod(market_ids)


@extend_schema(parameters=[MARKET_ID])
class MarketTrades(ListView):
    """A market's trades, newest first."""

    listing = listings.trades
    path_values = staticmethod(market_ids)


@extend_schema(parameters=[ADDRESS])
class UserPositions(ListView):
    """A user's positions, open and closed, the latest moved first."""

    listing = listings.user_positions
    path_values = staticmethod(address_of)


@extend_schema(parameters=[ADDRESS])
class UserHistory(ListView):
    """What a user did and what happened to them, newest first."""

    listing = listings.user_history
    path_values = staticmethod(address_of)
