"""Payouts as people write them: exact, or refused."""

from fractions import Fraction

import pytest

from resolver.payouts import InvalidPayouts, check_payouts, percent, read_payout, redeemed, shown, void_payouts

ONE = 10**18

WRITTEN = [
    ("1", ONE),
    ("0", 0),
    ("0.25", ONE // 4),
    (" 25% ", ONE // 4),
    ("25 %", ONE // 4),
    ("1/4", ONE // 4),
    ("100%", ONE),
    ("0.000000000000000001", 1),
    ("0.0000000000000001%", 1),
    ("0.333333333333333333", ONE // 3),
    ("0.10", ONE // 10),
    ("0.1", 100_000_000_000_000_000),  # what a float would spoil
    ("0.300000000000000000000", 3 * ONE // 10),
]
REFUSED = [
    ("", "Write a share"),
    ("x", "Write a share"),
    ("-0.1", "Write a share"),
    ("+1", "Write a share"),
    ("1e-3", "Write a share"),
    ("NaN", "Write a share"),
    ("0,5", "Write a share"),
    (".5", "Write a share"),
    ("1/0", "Write a share"),
    ("\u0660.\u0665", "Write a share"),
    ("1" * 61, "Write a share"),
    ("1/3", "more"),
    ("0.0000000000000000001", "more"),
    ("0.00000000000000001%", "more"),
    ("1.000000000000000001", "at most 1"),
    ("101%", "at most 1"),
]


@pytest.mark.parametrize(("text", "units"), WRITTEN)
def test_what_is_written_is_exact(text: str, units: int) -> None:
    assert read_payout(text) == units
    assert read_payout(shown(units)) == units


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_is_not_exact_or_no_share_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidPayouts, match=why):
        read_payout(text)


@pytest.mark.parametrize(
    ("payouts", "why"),
    [
        ([ONE], "2 outcomes"),
        ([ONE, 0, 0], "2 outcomes"),
        ([0, 0], "above 0"),
        ([ONE, 1], "1.000000000000000001"),
        ([ONE + 1, 0], "from 0 to 1"),
        ([-1, ONE], "from 0 to 1"),
    ],
)
def test_what_the_contract_would_refuse(payouts: list[int], why: str) -> None:
    with pytest.raises(InvalidPayouts, match=why):
        check_payouts(payouts, 2)


@pytest.mark.parametrize("payouts", [[ONE, 0], [1, 0], [ONE // 2, ONE // 2], [0, ONE]])
def test_what_the_contract_takes(payouts: list[int]) -> None:
    check_payouts(payouts, 2)


def test_tokens_redeem_for_their_share_of_what_is_paid() -> None:
    assert redeemed([ONE // 4, ONE // 4]) == [Fraction(1, 2), Fraction(1, 2)]
    assert redeemed(void_payouts(3)) == [Fraction(1, 3)] * 3
    assert redeemed([0, 0]) is None


@pytest.mark.parametrize(
    ("share", "text"),
    [(Fraction(1, 3), "33.3333%"), (Fraction(1), "100%"), (Fraction(0), "0%"), (Fraction(1, 200), "0.5%")],
)
def test_percent(share: Fraction, text: str) -> None:
    assert percent(share) == text
