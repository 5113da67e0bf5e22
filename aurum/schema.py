"""OpenAPI of our views: parameters, pages and problems from what the views themselves work with."""

from functools import cache
from typing import Any

from drf_spectacular.drainage import get_override
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import force_instance
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema_serializer,
    inline_serializer,
)
from rest_framework import serializers

from aurum.api_description import BY_STATUS, EVERYWHERE
from aurum.bodies import StrictSerializer
from aurum.parameters import NO_NUL
from aurum.problems import CONTENT_TYPE, problem
from aurum.sources import MIN_BLOCK

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


# Of paths whose first word is not their tag.
TAGS = {
    "prices": "prices",
    "quote": "prices",
    "leaderboard": "users",
    "auth": "accounts",
    "me": "accounts",
    "metadata": "accounts",
    "indexer": "status",
}


SEEN = OpenApiParameter(
    MIN_BLOCK,
    {"type": "string", "pattern": "^[0-9]{0,18}$"},
    OpenApiParameter.HEADER,
    description="The last block that you have seen: no answer is older than that. Empty says nothing.",
)


class ProblemSerializer(serializers.Serializer):
    """RFC 9457. `requestId` is in our logs too; `errors` says by field what is wrong with the request."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]  # a serializer's own errors, which none of ours has
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


def problems(*statuses: int, **details: str) -> dict[Any, Any]:
    """Problems that an endpoint may answer with; `s401="…"` says why in the endpoint's own words."""
    why = {status: WHY[status] for status in statuses} | {int(name[1:]): said for name, said in details.items()}
    return {(status, CONTENT_TYPE): _problem(status, why[status]) for status in sorted(why)}


def _problem(status: int, detail: str) -> OpenApiResponse:
    body = problem(status, detail) | {"requestId": "b5c1e0f6a1d34c5f8a2b3c4d5e6f7a8b"}
    return OpenApiResponse(ProblemSerializer, detail, [OpenApiExample(str(status), body, response_only=True)])


def example_of(name: str, value: Any) -> Any:
    """Decorates a serializer with an example of what it answers, which stands at every endpoint that does."""
    return extend_schema_serializer(examples=[OpenApiExample(name, value, response_only=True)])


@cache
def page_of(serializer: type[serializers.Serializer]) -> serializers.Serializer:
    """A page of rows."""
    page = inline_serializer(
        name=f"Paginated{serializer.__name__.removesuffix('Serializer')}List",
        fields={
            "results": serializer(many=True),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
        },
    )
    rows = [example.value for example in get_override(serializer, "examples", [])]
    example_of("A page", {"results": rows, "next": None, "previous": None})(type(page))
    return page


class ApiSchema(AutoSchema):
    """Reads `parameters`, and the `listing` or `rows` of views that have them."""

    def get_operation_id(self) -> str:
        """The view's name, which is one of a kind; and the method, where it writes."""
        name = type(self.view).__name__.removesuffix("View")
        return name[0].lower() + name[1:] + ("" if self.method == "GET" else self.method.capitalize())

    def get_tags(self) -> list[str]:
        words = self.path.split("/")[2:]
        return [next((TAGS[word] for word in words if word in TAGS), words[0])]

    def get_override_parameters(self) -> list[Any]:
        parameters = getattr(self.view, "parameters", None) if self.method == "GET" else None
        documented = [parameter.documented() for parameter in (parameters or {}).values()]
        return [*documented, SEEN] if self.method == "GET" and self._has_etag() else documented

    def get_response_serializers(self) -> Any:
        if hasattr(self.view, "listing"):
            return page_of(self.view.listing.serializer)
        if hasattr(self.view, "rows"):
            return self.view.rows.serializer
        return super().get_response_serializers()

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False if hasattr(self.view, "listing") else super()._is_list_view(serializer)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """What `StrictSerializer` refuses: other fields, and NUL in a text."""
        schema = super()._map_basic_serializer(serializer, direction)
        if isinstance(force_instance(serializer), StrictSerializer):
            schema["additionalProperties"] = False
            for field in schema["properties"].values():
                if field.get("type") == "string":
                    field.setdefault("pattern", NO_NUL)
        return schema

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        """Beside what the view answers: the problems that its method and path can meet."""
        bodies = super()._get_response_bodies(direction)
        if self._has_etag():
            bodies["304"] = {"description": "Nothing has changed since the answer whose ETag is in If-None-Match."}
        for status in map(str, self._problems()):
            if status not in bodies:
                response = _problem(int(status), WHY[int(status)])
                bodies[status] = self._get_response_for_code(response, status, [CONTENT_TYPE], direction)
        for status, body in bodies.items():
            body["description"] = body["description"] or ("Done." if status == "204" else "What was asked for.")
            body["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in self._headers(status)}
        return dict(sorted(bodies.items()))

    def _problems(self) -> list[int]:
        """A token that is no good is refused everywhere, and a session's writes without a CSRF token."""
        tokens, writes = bool(self.view.get_authenticators()), self.method != "GET"
        asked = {404: "{" in self.path, 401: tokens, 403: tokens and writes}
        asked |= dict.fromkeys((413, 415), writes and self.get_request_serializer() is not None)
        return [400, 429, 503, *(status for status, may_be in asked.items() if may_be)]

    def _reads_chain(self) -> bool:
        return self.method == "GET" and not self.path.startswith("/api/me")

    def _has_etag(self) -> bool:
        return self._reads_chain() and getattr(self.view, "versioned", True)

    def _headers(self, status: str) -> list[str]:
        stands = ["X-Indexed-Block", *(["ETag"] if self._has_etag() else [])] if self._reads_chain() else []
        return [*EVERYWHERE, *BY_STATUS.get(status, ()), *(stands if status in ("200", "304") else [])]
