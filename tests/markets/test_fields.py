"""Integers of 256 bits and hex through PostgreSQL, exactly."""

import pytest
from django.db import connection
from django.db.utils import DataError

from markets.fields import MAX_UINT256 as FIELD_MAXIMUM
from markets.models import CollateralToken, Condition, Market, OutcomeToken, Position
from tests import factories
from tests.factories import MAX_UINT256

pytestmark = pytest.mark.django_db

# SQLite and floats go wrong at the second and third of these.
AMOUNTS = [0, 10**15 + 1, 2**53 + 1, 2**64, 10**18, 10**77 + 1, MAX_UINT256 - 1, MAX_UINT256]


def test_the_largest_amount() -> None:
    assert FIELD_MAXIMUM == 115792089237316195423570985008687907853269984665640564039457584007913129639935


@pytest.mark.parametrize("amount", AMOUNTS)
def test_amounts_come_back_exactly(amount: int) -> None:
    position = factories.make_position(factories.make_market(reserves=None), amount=amount)
    position.refresh_from_db()
    assert position.amount == amount
    assert type(position.amount) is int
    assert Position.objects.filter(amount=amount).count() == 1
    assert not Position.objects.filter(amount=amount + 1).exists()


@pytest.mark.parametrize("amount", AMOUNTS)
def test_amounts_by_outcome_come_back_exactly(amount: int) -> None:
    market = factories.make_market(payouts=[amount, 1], reserves=None)
    market.refresh_from_db()
    assert market.payouts == [amount, 1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT payouts FROM markets")
        assert cursor.fetchone()[0] == f'["{amount}", "1"]'


def test_no_amounts_is_null() -> None:
    market = factories.make_market(reserves=None)
    market.refresh_from_db()
    assert (market.payouts, market.reserves, market.fee) == (None, None, None)
    assert Market.objects.filter(payouts__isnull=True, fee__isnull=True).count() == 1


def test_amounts_are_ordered_as_numbers() -> None:
    market = factories.make_market(reserves=None)
    for amount in (9, 10, MAX_UINT256, 2**64):
        factories.make_position(market, amount=amount)
    ordered = Position.objects.order_by("amount").values_list("amount", flat=True)
    assert list(ordered) == [9, 10, 2**64, MAX_UINT256]


def test_an_amount_of_79_digits_is_refused_and_a_total_is_not() -> None:
    market = factories.make_market(volume=MAX_UINT256 * 1000)
    market.refresh_from_db()
    assert market.volume == MAX_UINT256 * 1000
    with pytest.raises(DataError):
        factories.make_position(market, amount=10**78)


def test_totals_may_be_negative() -> None:
    factories.make_market()
    OutcomeToken.objects.update(supply=-MAX_UINT256)
    assert set(OutcomeToken.objects.values_list("supply", flat=True)) == {-MAX_UINT256}


def test_hex_is_stored_and_looked_up_in_lower_case() -> None:
    written = "0x" + "AbCd" * 16
    factories.make_condition(condition_id=written, oracle="0x" + "Ef" * 20)
    stored = Condition.objects.values_list("condition_id", "oracle").get()
    assert stored == (written.lower(), "0x" + "ef" * 20)
    assert Condition.objects.filter(condition_id=written).count() == 1
    assert Condition.objects.filter(condition_id__in=[written.upper().replace("X", "x")]).count() == 1


def test_hex_through_a_foreign_key_is_lower_case_too() -> None:
    market = factories.make_market()
    assert Position.objects.filter(market=market.market_id.upper().replace("X", "x")).count() == 2


@pytest.mark.parametrize("field", ["0x" + "ab" * 21, "0x" + "ab" * 32])
def test_hex_that_is_too_long_is_refused(field: str) -> None:
    with pytest.raises(DataError):
        CollateralToken.objects.create(address=field, symbol="X", decimals=18)


def test_columns_are_as_wide_as_the_schema_says() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale "
            "FROM information_schema.columns WHERE table_name = 'positions' AND column_name IN "
            "('amount', 'user_address', 'market_id') ORDER BY column_name"
        )
        assert cursor.fetchall() == [
            ("amount", "numeric", None, 78, 0),
            ("market_id", "character varying", 66, None, None),
            ("user_address", "character varying", 42, None, None),
        ]
