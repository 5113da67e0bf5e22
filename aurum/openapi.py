"""What the endpoints' descriptions share: problems, and the headers of limits."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from aurum.problems import CONTENT_TYPE, problem


class ProblemSerializer(serializers.Serializer):
    """An error (RFC 9457). `errors` has the messages by field, where a field is to blame."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    request_id = serializers.CharField(help_text="As in X-Request-ID; our logs know it.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


# What may go wrong, in general; an endpoint's own words come before them.
WHY: dict[int, str] = {
    400: "The request is malformed.",
    401: "Nobody is signed in, or the token is not good any more.",
    403: "You may not do this.",
    404: "There is no such thing.",
    409: "It does not fit what is there.",
    413: "The body is too large.",
    415: "The body must be application/json.",
    429: "Too many requests; Retry-After says for how many seconds.",
    503: "Something that we need does not answer; try again in a moment.",
}


def problems(*statuses: int, **details: str) -> dict[Any, Any]:
    """The problems that an endpoint may answer with, and 429; `s401="…"` says why in the endpoint's own words."""
    why = WHY | {int(name[1:]): detail for name, detail in details.items()}
    chosen = sorted({*statuses, *(int(name[1:]) for name in details), 429})
    return {(status, CONTENT_TYPE): _response(status, why[status]) for status in chosen}


def add_common_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Documents what every endpoint may answer with, beside what it says itself."""
    for path, operations in result["paths"].items():
        for operation in operations.values():
            for status in (400, 404, 429, 503) if "{" in path else (400, 429, 503):
                operation["responses"].setdefault(str(status), _documented(status))
    return result


def _documented(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {"schema": schema, "examples": {str(status): {"value": _example(status, WHY[status])}}}
    return {"description": WHY[status], "content": {CONTENT_TYPE: content}}


def _response(status: int, detail: str) -> OpenApiResponse:
    example = OpenApiExample(str(status), _example(status, detail), response_only=True)
    return OpenApiResponse(ProblemSerializer, detail, [example])


def _example(status: int, detail: str) -> dict[str, Any]:
    return problem(status, detail) | {"requestId": "b5c1e0f6a1d34c5f8a2b3c4d5e6f7a8b"}
