"""What `/ws` offers to who is signed in: their watchlist, and the token that shows who they are."""

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from accounts import tokens
from accounts.models import WatchedMarket
from markets.consumers import Identity, Refused
from markets.feeds import market_channel
from markets.messages import A_MARKET
from markets.models import Market
from markets.protocol import Form
from markets.snapshots import MARKET_PUSHES, Kind, read_markets


def authenticate(token: str) -> Identity:
    """Who an access token is of. Raises Refused."""
    try:
        read = tokens.read(AccessToken, token)
        session = tokens.session_of(read, timezone.now())
    except tokens.BadToken:
        raise Refused from None
    return Identity(user=session.user.pk, name=session.user.get_username(), expires_at=read["exp"])


def watched(user: Any) -> Sequence[str]:
    """The user's markets that are indexed at the moment."""
    on_list = WatchedMarket.objects.filter(user=user).order_by("-id").values_list("market_id", flat=True)
    indexed = set(Market.objects.filter(market_id__in=list(on_list)).values_list("market_id", flat=True))
    return [str(market_id) for market_id in on_list if market_id in indexed]


WATCHLIST = Kind(
    form=Form(resumes_by_key=True),
    channel=market_channel,
    read=read_markets,
    summary="What `market` says, of each market on the signed-in user's watchlist.",
    pushes=MARKET_PUSHES,
    snapshot=A_MARKET,
    keys_of=watched,
)
