"""The OpenAPI document, and the page that shows it: everything on that page is ours, and it may load nothing else."""

from typing import Any

from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)


class DocumentView(SpectacularJSONAPIView):
    """As application/json, which every tool knows."""

    renderer_classes = [OpenApiJsonRenderer2]


class PageView(SpectacularSwaggerSplitView):
    """Swagger UI. Its own script comes by `?script`, so that no script stands in the page."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        response = super().get(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        return response
