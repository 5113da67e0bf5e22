"""Learns symbol and decimals of a collateral token when a market first uses it. They are for display alone."""

from django.db import IntegrityError

from indexer.events import MarketCreated
from indexer.rpc import Rpc
from markets.models import CollateralToken

SYMBOL = "0x95d89b41"  # symbol()
DECIMALS = "0x313ce567"  # decimals()


def learn_collateral(rpc: Rpc, markets: list[MarketCreated]) -> None:
    """Asks each collateral token that is used for the first time. A token that does not say stays unknown."""
    tokens = {market.collateral_token for market in markets}
    known = set(CollateralToken.objects.filter(address__in=tokens).values_list("address", flat=True))
    for token in sorted(tokens - known):
        decimals = rpc.eth_call(token, DECIMALS)
        symbol = rpc.eth_call(token, SYMBOL)
        if decimals is None or len(decimals) != 32 or int.from_bytes(decimals, "big") > 255:
            continue
        try:
            CollateralToken.objects.get_or_create(
                address=token, defaults={"decimals": int.from_bytes(decimals, "big"), "symbol": _text(symbol or b"")}
            )
        except IntegrityError:
            continue  # another process was first


def _text(answer: bytes) -> str:
    """An ABI string, or the bytes32 that old tokens answer with; at most 64 characters."""
    if len(answer) >= 64 and int.from_bytes(answer[:32], "big") == 32:
        answer = answer[64 : 64 + min(int.from_bytes(answer[32:64], "big"), 256)]
    return answer.decode("utf-8", errors="replace").replace("\x00", "")[:64]
