"""What subscribers hear of corrections: `market_update`, when one comes into force and when it ends.

The indexer says it, between its batches, for only the holder of the checkpoint's lock may write messages; so it also
hears of those that end by themselves.
"""

from typing import Any

from django.contrib.postgres.functions import TransactionNow
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from markets import feeds
from markets.book import Book
from markets.chaintime import to_seconds
from markets.corrections import in_force
from markets.identity import row_id
from markets.models import Checkpoint, MarketCorrection
from markets.models import Market as MarketModel
from markets.rows import Channel, Market


def _untold() -> QuerySet[MarketCorrection]:
    """Corrections of indexed markets of which subscribers were last told something else."""
    # By the database's clock, as `in_force`: what one calls ended, the other must not show any more.
    lasting = Q(since__isnull=False, revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=TransactionNow()))
    indexed = MarketModel.objects.filter(market_id=OuterRef("market_id"))
    rows = MarketCorrection.objects.filter(Exists(indexed))
    return rows.filter((lasting & Q(told=False)) | (~lasting & Q(told=True)))


def untold() -> bool:
    """Whether there is something to tell."""
    return _untold().exists()


def announce_corrections(book: Book, checkpoint: Checkpoint) -> None:
    """Publishes each such market as it is shown now. Call with the checkpoint locked."""
    rows: list[Any] = list(_untold().select_for_update().values_list("pk", "market_id", "told"))
    market_ids = sorted({market_id for _, market_id, _ in rows})
    book.load(Market, [row_id("market", market_id) for market_id in market_ids])
    book.load(Channel, [row_id("channel", feeds.market_channel(market_id)) for market_id in market_ids])
    markets = [row for market_id in market_ids if (row := book.get(Market, row_id("market", market_id))) is not None]
    shown = in_force(markets)
    for market in markets:
        if checkpoint.block_timestamp is not None:
            at = to_seconds(checkpoint.block_timestamp)
            message = feeds.market_update(market, "market", at, shown.get(market.market_id, {}))
            book.publish_state(feeds.market_channel(market.market_id), message, checkpoint.block_number)
    told = Case(When(told=True, then=Value(False)), default=Value(True))
    MarketCorrection.objects.filter(pk__in=[pk for pk, _, _ in rows]).update(told=told)
