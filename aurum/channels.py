"""The channels that `/ws` offers, by the name that frames give them."""

from accounts.channel import WATCHLIST
from markets.snapshots import KINDS, Kind
from oracle import channel as oracle

CHANNELS: dict[str, Kind] = {**KINDS, "oracle": oracle.KIND, "watchlist": WATCHLIST}
