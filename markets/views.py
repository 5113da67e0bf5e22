"""REST endpoints of markets and users."""

from collections.abc import Mapping
from typing import Any, ClassVar
from zlib import crc32

from django.http import HttpRequest
from drf_spectacular.utils import extend_schema

from aurum.parameters import ADDRESS, MARKET_ID, Parameter, by_name, choice, read_parameters
from markets import as_of, leaderboard, listings, portfolio, serializers
from markets.pages import Answer, Plan, carried_out, first_collateral, seen_by_client
from markets.reading import ListView, ReadView, address_of, market_ids


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


@extend_schema(parameters=[ADDRESS], responses=serializers.PortfolioSerializer)
class UserPortfolio(ReadView):
    """What a user has, what it has cost and earned, and a series of both for a chart."""

    path_values = staticmethod(address_of)
    parameters: ClassVar[dict[str, Parameter]] = by_name(
        choice(
            "interval", list(portfolio.INTERVALS), f"What the series spans; by default {portfolio.DEFAULT_INTERVAL}."
        ),
        listings.COLLATERAL,
    )

    def answer(self, request: HttpRequest, values: Mapping[str, Any]) -> Answer:
        asked = read_parameters(request.GET, self.parameters)
        interval = asked.get("interval", portfolio.DEFAULT_INTERVAL)
        return portfolio.read(values["address"], interval, asked.get("collateralToken"))


class Leaderboard(ListView):
    """Users by profit or volume, the first 1,000 of them; contracts are left out."""

    listing = listings.leaderboard

    def plan(self, request: HttpRequest, values: Mapping[str, Any]) -> Plan | None:
        return None

    def answer(self, request: HttpRequest, values: Mapping[str, Any]) -> Answer:
        asked = read_parameters(request.GET, self.parameters)
        token = asked.get("collateralToken") or first_collateral() or ""
        names = {"window": asked.get("window", "all"), "by": asked.get("by", "profit"), "collateralToken": token}
        leaderboard.refresh(token, names["window"])
        # The replica may not have the ranking yet that was just computed, and no version tells of it.
        with seen_by_client(None):
            answer = carried_out(self.listing.page(request, names))
        # It can be computed anew at the same indexed block.
        version = f"{answer.position.version}-{crc32(answer.body.encode()):08x}"
        return Answer(answer.position._replace(version=version), answer.body)
