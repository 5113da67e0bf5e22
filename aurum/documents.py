"""The OpenAPI document, and the page that shows it: everything on that page is ours, and it may load nothing else."""

import hashlib
from functools import cache
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from aurum.parameters import read_parameters

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)


@cache
def _document() -> tuple[bytes, str]:
    """The document and its ETag: the same as long as the process runs."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    body: bytes = OpenApiJsonRenderer2().render(schema, renderer_context={})
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


class DocumentView(APIView):
    """As application/json, which every tool knows."""

    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        read_parameters(request.query_params, {})
        body, etag = _document()
        return HttpResponse(body, content_type="application/json", headers={"ETag": etag})


class PageView(SpectacularSwaggerSplitView):
    """Swagger UI. Its own script comes by `?script`, so that no script stands in the page."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        response = super().get(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        return response
