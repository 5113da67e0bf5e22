"""Query parameters of what is not a list: a serializer names and checks them."""

import re
from fractions import Fraction
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from aurum.filters import refuse_unknown

DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,18})?", re.ASCII)


def checked(request: Request, parameters: type[serializers.Serializer]) -> dict[str, Any]:
    """The query's values by name. 400 for one that is malformed, missing, unknown or given twice."""
    serializer = parameters(data=request.query_params.dict())
    refuse_unknown(request, set(serializer.fields))
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


class WholeNumberField(serializers.Field):
    """Decimal digits, nothing else: `int` would take signs, spaces, underscores and other scripts' digits."""

    default_error_messages = {"invalid": "Must be a whole number from {minimum} to {maximum}."}
    minimum = 0
    maximum: int

    def to_internal_value(self, data: str) -> int:
        if data.isascii() and data.isdigit() and len(data) <= 78 and self.minimum <= int(data) <= self.maximum:
            return int(data)
        self.fail("invalid", minimum=self.minimum, maximum=self.maximum)


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,78}$", "examples": ["1000000"]})
class AmountParameter(WholeNumberField):
    """An amount in base units, above 0."""

    minimum = 1
    maximum = 2**256 - 1


@extend_schema_field({"type": "integer", "minimum": 0, "maximum": 255})
class OutcomeParameter(WholeNumberField):
    """The index of an outcome; a condition has at most 256."""

    maximum = 255


@extend_schema_field({"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
class BlockParameter(WholeNumberField):
    """A block number."""

    maximum = 2**63 - 1


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
class ShareParameter(serializers.Field):
    """A decimal number from 0 to 1, exactly as it is written."""

    default_error_messages = {"invalid": "Must be a decimal number from 0 to 1, such as 0.01."}

    def to_internal_value(self, data: str) -> Fraction:
        if DECIMAL.fullmatch(data) and Fraction(data) <= 1:
            return Fraction(data)
        self.fail("invalid")
