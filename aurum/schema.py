"""OpenAPI of our views: parameters, pages and problems from what the views themselves work with."""

from functools import cache
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, inline_serializer
from rest_framework import serializers

from aurum.problems import CONTENT_TYPE, problem

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


@cache
def page_of(serializer: type[serializers.Serializer]) -> serializers.Serializer:
    """A page of rows."""
    return inline_serializer(
        name=f"Paginated{serializer.__name__.removesuffix('Serializer')}List",
        fields={
            "results": serializer(many=True),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
        },
    )


class ApiSchema(AutoSchema):
    """Reads `parameters`, and the `listing` or `rows` of views that have them."""

    def get_operation_id(self) -> str:
        """The view's name, which is one of a kind; and the method, where it writes."""
        name = type(self.view).__name__.removesuffix("View")
        return name[0].lower() + name[1:] + ("" if self.method == "GET" else self.method.capitalize())

    def get_override_parameters(self) -> list[Any]:
        parameters = getattr(self.view, "parameters", None) if self.method == "GET" else None
        return [parameter.documented() for parameter in (parameters or {}).values()]

    def get_response_serializers(self) -> Any:
        if hasattr(self.view, "listing"):
            return page_of(self.view.listing.serializer)
        if hasattr(self.view, "rows"):
            return self.view.rows.serializer
        return super().get_response_serializers()

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False if hasattr(self.view, "listing") else super()._is_list_view(serializer)

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        """Beside what the view answers: the problems that its method and path can meet."""
        bodies = super()._get_response_bodies(direction)
        for status in self._problems():
            if status not in bodies:
                response = _problem(int(status), WHY[int(status)])
                bodies[status] = self._get_response_for_code(response, status, [CONTENT_TYPE], direction)
        return bodies

    def _problems(self) -> list[str]:
        return ["400", *(["404"] if "{" in self.path else []), "429", "503"]
