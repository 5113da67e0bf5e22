"""Serializer fields for amounts, of rows that the ORM reads."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aurum.sqljson import AMOUNT


@extend_schema_field(AMOUNT)
class AmountField(serializers.Field):
    """An integer in base units, as a decimal string: JSON numbers lose digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def to_representation(self, value: int) -> str:
        return str(value)


@extend_schema_field({"type": "array", "items": AMOUNT})
class AmountListField(AmountField):
    """Amounts by outcome."""

    def to_representation(self, value: list[int]) -> list[str]:  # type: ignore[override]
        return [str(number) for number in value]
