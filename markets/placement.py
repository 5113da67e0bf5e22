"""Which markets lists leave out, and which are put forward. A hidden one is still found by its id, by its holders."""

from collections.abc import Iterable

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from markets.models import MarketPlacement
from operators.audit import record

# Of the market `m`. Few are: each is one look at a small index for a whole page.
HIDDEN = "(m.market_id = ANY(ARRAY(SELECT market_id FROM market_placements WHERE hidden)))"
FEATURED = "(m.market_id = ANY(ARRAY(SELECT market_id FROM market_placements WHERE featured)))"
# What an operator can do, and what it changes.
STEPS: dict[str, dict[str, bool]] = {
    "hide": {"hidden": True},
    "show": {"hidden": False},
    "feature": {"featured": True},
    "unfeature": {"featured": False},
}


def place(request: HttpRequest, market_ids: Iterable[str], step: str, reason: str) -> int:
    """Makes a step of STEPS for these markets, and returns how many it changed. Others leave no trace."""
    changed = 0
    with transaction.atomic():
        for market_id in sorted(market_ids):
            MarketPlacement.objects.get_or_create(market_id=market_id)
            placement = MarketPlacement.objects.select_for_update().get(market_id=market_id)
            before = {"hidden": placement.hidden, "featured": placement.featured}
            after = before | STEPS[step]
            if after == before:
                continue
            placement.hidden, placement.featured = after["hidden"], after["featured"]
            placement.reason, placement.changed_by = reason, request.user.get_username()
            placement.changed_at = timezone.now()
            placement.save()
            record(request, f"market.{step}", f"market:{market_id}", before=before, after=after, reason=reason)
            changed += 1
    return changed
