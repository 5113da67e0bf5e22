"""Who is signed in, and what they keep. A user is Django's own: `username` is their address in lower case."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from markets.models import Market


class SignInNonce(models.Model):
    """A nonce that was given out and not used yet."""

    value = models.CharField(primary_key=True, max_length=32)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "sign_in_nonces"

    def __str__(self) -> str:
        return self.value


class SessionQuerySet(models.QuerySet["ApiSession"]):
    def live(self, now: datetime) -> "SessionQuerySet":
        return self.filter(revoked_at=None, expires_at__gt=now)


class ApiSession(models.Model):
    """One sign-in, and all tokens that follow from it: they are worth nothing when it has ended or was revoked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_sessions")
    refresh_id = models.CharField(max_length=32, help_text="Of the one refresh token that can be used.")
    created_at = models.DateTimeField(db_default=Now())
    refreshed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_because = models.CharField(max_length=64, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        db_table = "api_sessions"

    def __str__(self) -> str:
        return f"{self.user_id} since {self.created_at}"


class WatchedMarket(models.Model):
    """A market on a user's watchlist. Keyed by the chain's id, without a constraint, so that it outlives a re-index."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="watchlist")
    market = models.ForeignKey(
        Market, models.DO_NOTHING, to_field="market_id", db_constraint=False, db_index=False, related_name="+"
    )
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "watched_markets"
        constraints = [models.UniqueConstraint(fields=["user", "market"], name="watched_once")]
        indexes = [models.Index(fields=["user", "-id"], name="watchlist_newest")]

    def __str__(self) -> str:
        return f"{self.market_id} by {self.user_id}"
