"""The page that shows the WebSocket at work. Its scripts and styles are ours, and it may load nothing else."""

from django.http import HttpRequest, HttpResponse
from django.views.generic import TemplateView


class LiveView(TemplateView):
    """Markets, prices and trades as they come (static/live)."""

    template_name = "live.html"


def no_icon(request: HttpRequest) -> HttpResponse:
    """There is none; a 404 would stand in every browser's console."""
    return HttpResponse(status=204)
