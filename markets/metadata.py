"""What people say of a market. Every edit is kept, with who and when."""

from collections.abc import Mapping

from django.db import transaction
from django.http import HttpRequest

from markets.models import MarketMetadata, MetadataEdit
from operators.audit import record

FIELDS = ("category", "description", "image_url", "resolution_source")


def edit(market_id: str, changes: Mapping[str, str], *, by: str) -> MarketMetadata:
    """Changes the given fields, and keeps what they were. `by` is an address, or an operator's name.

    An edit that changes nothing leaves no trace.
    """
    with transaction.atomic():
        MarketMetadata.objects.get_or_create(market_id=market_id)
        metadata = MarketMetadata.objects.select_for_update().get(market_id=market_id)
        before = {name: getattr(metadata, name) for name in FIELDS}
        after = {**before, **changes}
        if after != before:
            for name, value in changes.items():
                setattr(metadata, name, value)
            metadata.save(update_fields=list(changes))
            MetadataEdit.objects.create(market_id=market_id, edited_by=by, before=before, after=after)
    return metadata


def edit_as_staff(request: HttpRequest, market_id: str, changes: Mapping[str, str], reason: str = "") -> bool:
    """As `edit`, with an entry in the audit; whether anything changed. For whoever edits what is not their own."""
    with transaction.atomic():
        before = values(market_id)
        after = {**before, **changes}
        if after == before:
            return False
        edit(market_id, changes, by=request.user.get_username())
        record(request, "metadata.edit", f"market:{market_id}", before=before, after=after, reason=reason)
    return True


def values(market_id: str) -> dict[str, str]:
    """What is said of the market, locked; empty texts where nothing is."""
    row = MarketMetadata.objects.select_for_update().filter(market_id=market_id).values(*FIELDS).first()
    return row or dict.fromkeys(FIELDS, "")
