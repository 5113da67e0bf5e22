"""Query parameters of the markets app, by the names that clients use."""

import django_filters
from django.db.models import QuerySet

from aurum.filters import HexFilter
from markets.models import HistoryEntry, Market, Position, Trade

STATUSES = (("open", "open"), ("ended", "ended"), ("resolved", "resolved"))
POSITION_STATUSES = (("open", "open"), ("closed", "closed"))
# Client name -> column; each may be given with `-` for descending.
MARKET_ORDERINGS = {
    "volume": "volume",
    "volume24h": "volume_24h",
    "liquidity": "liquidity",
    "traders": "trader_count",
    "createdAt": "created_at",
    "resolutionTime": "resolution_time",
}
ORDERING_CHOICES = [(sign + name, sign + name) for name in MARKET_ORDERINGS for sign in ("", "-")]


class MarketFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(field_name="question", lookup_expr="icontains", max_length=200)
    category = django_filters.CharFilter(field_name="metadata__category")
    status = django_filters.ChoiceFilter(choices=STATUSES, method="by_status")
    creator = HexFilter(byte_length=20)
    collateralToken = HexFilter(field_name="collateral_token", byte_length=20)  # noqa: N815
    endsBefore = django_filters.IsoDateTimeFilter(field_name="resolution_time", lookup_expr="lt")  # noqa: N815
    endsAfter = django_filters.IsoDateTimeFilter(field_name="resolution_time", lookup_expr="gt")  # noqa: N815
    # Checked here, applied by the pagination.
    ordering = django_filters.ChoiceFilter(choices=ORDERING_CHOICES, method="ordered_by_pagination")

    class Meta:
        model = Market
        fields: tuple[str, ...] = ()

    def by_status(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        now = self.request.parser_context["view"].chain_time
        return queryset.with_status(value, now)  # type: ignore[attr-defined]

    def ordered_by_pagination(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset


class PositionFilter(django_filters.FilterSet):
    """Holders of one market."""

    outcome = django_filters.NumberFilter(field_name="outcome_index", min_value=0, max_value=255, decimal_places=0)

    class Meta:
        model = Position
        fields: tuple[str, ...] = ()


class UserPositionFilter(django_filters.FilterSet):
    """Positions of one user."""

    market = HexFilter(field_name="market", byte_length=32)
    status = django_filters.ChoiceFilter(choices=POSITION_STATUSES, method="by_status")

    class Meta:
        model = Position
        fields: tuple[str, ...] = ()

    def by_status(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.filter(amount__gt=0) if value == "open" else queryset.filter(amount=0)


class TradeFilter(django_filters.FilterSet):
    trader = HexFilter(byte_length=20)
    outcome = django_filters.NumberFilter(min_value=0, max_value=255, decimal_places=0)
    side = django_filters.ChoiceFilter(choices=Trade.Side.choices)

    class Meta:
        model = Trade
        fields: tuple[str, ...] = ()


class HistoryFilter(django_filters.FilterSet):
    type = django_filters.ChoiceFilter(choices=HistoryEntry.Type.choices)
    market = HexFilter(field_name="market", byte_length=32)

    class Meta:
        model = HistoryEntry
        fields: tuple[str, ...] = ()
