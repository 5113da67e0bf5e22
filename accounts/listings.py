"""The list that is a user's own."""

from accounts.serializers import WatchedMarketSerializer
from markets.listings import MARKETS
from markets.pages import Key, Listing

# A market that is not indexed at the moment is back when it is.
watchlist = Listing(
    serializer=WatchedMarketSerializer,
    source=f"{MARKETS} JOIN watched_markets w ON w.market_id = m.market_id",
    where="w.user_id = %(user)s",
    orders={"newest": (Key("w.id", "bigint", descending=True),)},
)
