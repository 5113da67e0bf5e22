"""Request bodies: bounded JSON, and serializers that refuse what they don't know."""

import json
from typing import Any

from djangorestframework_camel_case.util import camelize
from rest_framework import exceptions, serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.settings import api_settings

LARGEST_BODY = 128 * 1024  # bytes: the longest description, with each character escaped
MOST_UNKNOWN = 10  # that an answer names


class JsonForAll(DefaultContentNegotiation):
    """JSON, whatever the client would rather have: there is nothing else, and 406 would help nobody."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class BodyTooLarge(exceptions.APIException):
    status_code = 413
    default_detail = f"The body must not be larger than {LARGEST_BODY} bytes."


class BoundedJSONParser(BaseParser):
    """JSON in UTF-8, of LARGEST_BODY at most. Names stay as they are written."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge
        try:
            return json.loads(body.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError("The body is not JSON, or nested too deeply.") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class StrictSerializer(serializers.Serializer):
    """The fields of a body by their camelCase names; any other is 400, so that no client writes what it must not."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            return super().to_internal_value(data)
        names = {camelized(name): name for name, field in self.fields.items() if not field.read_only}
        unknown = [name for name in data if name not in names]
        if unknown:
            raise exceptions.ValidationError({_shown(name): ["Unknown field."] for name in unknown[:MOST_UNKNOWN]})
        try:
            return super().to_internal_value({names[name]: value for name, value in data.items()})
        except exceptions.ValidationError as error:
            if not isinstance(error.detail, dict):
                raise
            raise exceptions.ValidationError({camelized(name): why for name, why in error.detail.items()}) from None


def _shown(name: str) -> str:
    """A name that a client made up, which may be none that UTF-8 can say."""
    return name[:100].encode("utf-8", "backslashreplace").decode()


def camelized(name: str) -> str:
    """A field's name on the wire."""
    if name == api_settings.NON_FIELD_ERRORS_KEY:
        return name
    return next(iter(camelize({name: None})))
