"""PURE. What a transaction offers for a unit of gas (EIP-1559), and what its replacement must. All in wei."""

from collections.abc import Iterable
from dataclasses import dataclass

# Percent of the older one's fees, both of them: geth, reth and anvil replace for +10%.
REPLACEMENT = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`most` is maxFeePerGas, `tip` maxPriorityFeePerGas, at most as much."""

    most: int
    tip: int


def market_offer(*, base: int, tip: int, least_tip: int, most_tip: int, cap: int) -> Offer | None:
    """Enough for six full blocks in a row, each of which raises the base fee by an eighth; None above the cap.

    2 * base + tip, as clients do, or the cap where that is less but still pays the base fee and the tip.
    """
    tip = max(least_tip, min(tip, most_tip))
    return Offer(most=min(2 * base + tip, cap), tip=tip) if base + tip <= cap else None


def replacing(older: Iterable[Offer], market: Offer | None, cap: int) -> Offer | None:
    """At least 110% of both fees of every older one, rounded up, and at least the market; None above the cap."""
    offers = [Offer(most=_more(offer.most), tip=_more(offer.tip)) for offer in older]
    if market is not None:
        offers.append(market)
    if not offers:
        return None
    tip = max(offer.tip for offer in offers)
    most = max(tip, *(offer.most for offer in offers))
    return Offer(most=most, tip=tip) if most <= cap else None


def _more(fee: int) -> int:
    return -(-fee * REPLACEMENT // 100)
