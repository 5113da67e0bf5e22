"""The page that shows the WebSocket at work. Its scripts and styles are ours, and it may load nothing else."""

from typing import Any

from django.http import HttpResponse
from django.views.generic import TemplateView

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)


class LiveView(TemplateView):
    """Markets, prices and trades as they come (static/live)."""

    template_name = "live.html"

    def get(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().get(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY
        return response
