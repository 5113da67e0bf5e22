"""The reads of the markets app."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Min, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from markets.fields import TotalField

DAY = timedelta(days=1)


class MarketQuerySet(models.QuerySet):
    def with_figures(self, now: datetime) -> "MarketQuerySet":
        """Adds, as of chain time `now`, `volume_24h`; and `complete_sets`, the least supply of any outcome."""
        from markets.models import IndexedBlock, OutcomeToken, Trade

        before = IndexedBlock.number_at(now - DAY)
        recent = Trade.objects.filter(market=OuterRef("market_id"), block_number__gt=before).order_by().values("market")
        supply = OutcomeToken.objects.filter(market=OuterRef("market_id")).order_by().values("market")
        return self.annotate(
            volume_24h=Coalesce(
                Subquery(recent.annotate(total=Sum("collateral_amount")).values("total"), output_field=TotalField()),
                0,
                output_field=TotalField(),
            ),
            complete_sets=Coalesce(
                Subquery(supply.annotate(least=Min("supply")).values("least"), output_field=TotalField()),
                0,
                output_field=TotalField(),
            ),
        )

    def with_status(self, status: str, now: datetime) -> "MarketQuerySet":
        """Markets that are `open`, `ended` or `resolved` at chain time `now`."""
        return self.filter(
            {
                "open": Q(resolved=False, resolution_time__gt=now),
                "ended": Q(resolved=False, resolution_time__lte=now),
                "resolved": Q(resolved=True),
            }[status]
        )


class PositionQuerySet(models.QuerySet):
    def held(self) -> "PositionQuerySet":
        """Open positions: those that hold something."""
        return self.filter(amount__gt=0)
