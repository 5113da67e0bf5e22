"""PURE. Payouts as people write and read them: exact, in units of 1e18, without a float."""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from markets.amm import payout_fractions

ONE = 10**18  # AurumOracle.PAYOUT_UNIT
WRITTEN = re.compile(r"(?P<number>[0-9]{1,20}(?:\.[0-9]{1,30})?)(?:/(?P<divisor>[0-9]{1,20})|\s*(?P<percent>%))?")


class InvalidPayouts(ValueError):
    """The text says what is wrong with them, for whoever wrote them."""


def read_payout(text: str) -> int:
    """`0.25`, `25%` or `1/4`, in units of 1e18. Raises InvalidPayouts, also where that would have to be rounded."""
    match = WRITTEN.fullmatch(text.strip())
    divisor = int(match["divisor"] or 1) if match else 0
    if match is None or divisor == 0:
        raise InvalidPayouts("Write a share such as 0.25, 25% or 1/4.")
    units = Fraction(Decimal(match["number"])) * ONE / divisor / (100 if match["percent"] else 1)
    if units.denominator != 1:
        raise InvalidPayouts("The contract has 18 decimals, and this has more: write it rounded.")
    if units > ONE:
        raise InvalidPayouts("One outcome can get at most 1, which is 100%.")
    return int(units)


def check_payouts(payouts: Sequence[int], outcome_slot_count: int) -> None:
    """Refuses what AurumOracle would (AurumOracle.sol, _checkPayouts). Raises InvalidPayouts."""
    if len(payouts) != outcome_slot_count:
        raise InvalidPayouts(f"The question has {outcome_slot_count} outcomes, and these are {len(payouts)} payouts.")
    if not all(0 <= payout <= ONE for payout in payouts):
        raise InvalidPayouts("Each payout must be from 0 to 1.")
    if not 0 < sum(payouts) <= ONE:
        raise InvalidPayouts(f"Together the payouts must be above 0 and at most 1; they are {shown(sum(payouts))}.")


def void_payouts(outcome_slot_count: int) -> list[int]:
    """What voiding pays: every outcome alike, rounded down (AurumOracle.sol, voidQuestion)."""
    return [ONE // outcome_slot_count] * outcome_slot_count


def shown(payout: int) -> str:
    """Units of 1e18 as an exact decimal, such as `0.25`."""
    whole, part = divmod(payout, ONE)
    return f"{whole}.{part:018d}".rstrip("0").rstrip(".")


def redeemed(payouts: Sequence[int]) -> list[Fraction] | None:
    """What one token of each outcome redeems for, in collateral; None where nothing is paid."""
    return list(payout_fractions(payouts)) if any(payouts) else None


def percent(share: Fraction) -> str:
    """A share in percent with four decimals, such as `33.3333%`, rounded down."""
    millionths = share.numerator * 1_000_000 // share.denominator
    whole, part = divmod(millionths, 10_000)
    text = f"{whole}.{part:04d}".rstrip("0").rstrip(".")
    return f"{text}%"
