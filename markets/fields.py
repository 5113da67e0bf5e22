"""Columns for what chains deal in: addresses, 32-byte words, 256-bit integers. In Python: lower-case hex and ints."""

from decimal import Decimal
from typing import Any

from django.db import models

MAX_UINT256 = 2**256 - 1


class HexField(models.CharField):
    """`0x` and lower-case hex of a fixed number of bytes."""

    byte_length: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 2 + 2 * self.byte_length
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return prepared.lower() if isinstance(prepared, str) else prepared


class AddressField(HexField):
    """A 20-byte address: VARCHAR(42)."""

    byte_length = 20


class Bytes32Field(HexField):
    """A 32-byte word: VARCHAR(66)."""

    byte_length = 32


class IntegerColumn(models.Field):
    """A NUMERIC column without a fraction, an int in Python. Django's DecimalField would hand out Decimals."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: Any) -> int | None:
        return None if value is None else int(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        # A Decimal reaches PostgreSQL as NUMERIC; psycopg would send a large int as text of an unknown type.
        return Decimal(int(value)) if value is not None and not hasattr(value, "as_sql") else value

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))


class Uint256Field(IntegerColumn):
    """One amount, up to 2^256 - 1: NUMERIC(78,0)."""

    def db_type(self, connection: Any) -> str:
        return "numeric(78, 0)"


class TotalField(IntegerColumn):
    """A sum of amounts, or a difference. It has no bound: hostile amounts must not make one that the column refuses."""

    def db_type(self, connection: Any) -> str:
        return "numeric"


class Uint256ListField(models.JSONField):
    """Amounts by outcome: JSONB of decimal strings, a list of ints in Python. JSON numbers would lose digits."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> list[int] | None:
        strings = super().from_db_value(value, expression, connection)
        return None if strings is None else [int(string) for string in strings]

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, list | tuple):
            value = [str(number) for number in value]
        return super().get_db_prep_value(value, connection, prepared)


class HexListField(models.JSONField):
    """Words in hex, such as a log's topics: JSONB of strings that need no escapes."""
