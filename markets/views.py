"""REST endpoints of markets and users."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from aurum.filters import hex_parameter
from markets import filters, serializers
from markets.models import HistoryEntry, Market, Position, PricePoint, Trade
from markets.reading import ChainReadMixin, by_id

MARKET_ID = OpenApiParameter("id", OpenApiTypes.STR, "path", description="The market's UUID, or its 0x… marketId.")
ADDRESS = OpenApiParameter("address", OpenApiTypes.STR, "path", description="0x and 40 hexadecimal digits, any case.")


class MarketList(ChainReadMixin, generics.ListAPIView):
    """All markets, newest first unless ordered otherwise."""

    queryset = Market.objects.none()
    serializer_class = serializers.MarketSerializer
    filterset_class = filters.MarketFilter
    ordering = ("-created_at", "id")

    def get_queryset(self) -> QuerySet[Market]:
        return Market.objects.with_figures(self.chain_time).select_related("metadata").prefetch_related("amms")

    def get_ordering(self) -> tuple[str, ...]:
        asked = self.request.query_params.get("ordering")
        if not asked:
            return self.ordering
        sign = "-" if asked.startswith("-") else ""
        return (sign + filters.MARKET_ORDERINGS[asked.lstrip("-")], "id")


class MarketRead(ChainReadMixin):
    """Something of the one market that the path names."""

    request: Request
    kwargs: dict[str, str]

    def market(self, queryset: QuerySet[Market] | None = None) -> Market:
        queryset = Market.objects.all() if queryset is None else queryset
        return get_object_or_404(queryset, by_id(self.kwargs["id"], "market_id"))


@extend_schema(parameters=[MARKET_ID])
class MarketDetail(MarketRead, generics.RetrieveAPIView):
    """One market."""

    serializer_class = serializers.MarketSerializer
    queryset = Market.objects.none()
    single = True

    def get_object(self) -> Market:
        return self.market(
            Market.objects.with_figures(self.chain_time).select_related("metadata").prefetch_related("amms")
        )


@extend_schema(parameters=[MARKET_ID])
class MarketPrices(MarketRead, generics.GenericAPIView):
    """A market's current prices, and the reserves that they follow from."""

    serializer_class = serializers.MarketPricesSerializer
    queryset = Market.objects.none()
    single = True

    def get(self, request: Request, id: str) -> Response:
        market = self.market()
        point = PricePoint.objects.filter(market=market).order_by("-block_number", "-log_index").first()
        context = self.get_serializer_context() | {"price_point": point}
        return Response(self.get_serializer_class()(market, context=context).data)


@extend_schema(parameters=[MARKET_ID])
class MarketPositions(MarketRead, generics.ListAPIView):
    """Who holds a market's outcome tokens, largest first; the AMM is marked."""

    queryset = Position.objects.none()
    serializer_class = serializers.PositionSerializer
    filterset_class = filters.PositionFilter
    ordering = ("-amount", "id")

    def get_queryset(self) -> QuerySet[Position]:
        return Position.objects.held().filter(market=self.market()).select_related("market")


@extend_schema(parameters=[MARKET_ID])
class MarketTrades(MarketRead, generics.ListAPIView):
    """A market's trades, newest first."""

    queryset = Trade.objects.none()
    serializer_class = serializers.TradeSerializer
    filterset_class = filters.TradeFilter
    ordering = ("-block_number", "-log_index")

    def get_queryset(self) -> QuerySet[Trade]:
        return Trade.objects.filter(market=self.market())


class UserRead(ChainReadMixin):
    """Something of the address that the path names; an address that did nothing has empty lists."""

    kwargs: dict[str, str]

    def address(self) -> str:
        return hex_parameter("address", self.kwargs["address"], 20)


@extend_schema(parameters=[ADDRESS])
class UserPositions(UserRead, generics.ListAPIView):
    """A user's positions, open and closed, the latest moved first."""

    queryset = Position.objects.none()
    serializer_class = serializers.PositionSerializer
    filterset_class = filters.UserPositionFilter
    ordering = ("-updated_at", "id")

    def get_queryset(self) -> QuerySet[Position]:
        return Position.objects.filter(user_address=self.address()).select_related("market")


@extend_schema(parameters=[ADDRESS])
class UserHistory(UserRead, generics.ListAPIView):
    """What a user did and what happened to them, newest first."""

    queryset = HistoryEntry.objects.none()
    serializer_class = serializers.HistorySerializer
    filterset_class = filters.HistoryFilter
    ordering = ("-block_number", "-log_index", "-sequence")

    def get_queryset(self) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(user_address=self.address())
