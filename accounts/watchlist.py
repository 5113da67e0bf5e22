"""A user's markets."""

from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction

from accounts.models import WatchedMarket

LONGEST_WATCHLIST = 500  # markets


class WatchlistFull(Exception):
    """A watchlist holds at most 500 markets."""


def watch(user: Any, market_id: str) -> None:
    """Puts a market on the list, where it may be already. Raises WatchlistFull."""
    with transaction.atomic():
        # One at a time for a user, so that together they keep the bound.
        get_user_model()._default_manager.select_for_update(no_key=True).filter(pk=user.pk).first()
        watched = WatchedMarket.objects.filter(user=user)
        if watched.filter(market_id=market_id).exists():
            return
        if watched.count() >= LONGEST_WATCHLIST:
            raise WatchlistFull(f"A watchlist holds at most {LONGEST_WATCHLIST} markets.")
        WatchedMarket.objects.create(user=user, market_id=market_id)


def unwatch(user: Any, market_id: str) -> bool:
    """Takes a market off the list; says whether it was there."""
    deleted, _ = WatchedMarket.objects.filter(user=user, market_id=market_id).delete()
    return bool(deleted)
