"""What requests meet on their way to a view, beside Django's own middleware."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import resolve

DOCUMENTATION = "/api/docs"  # a page: it has a page's headers
# Of people in a browser: a session, or a form's token.
COOKIES = (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME)


class PublicReadsMiddleware:
    """Takes a read of the API that brings no credentials straight to its view.

    What stands behind this in MIDDLEWARE is for people in a browser, and would cost each of these a tenth.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _is_public_read(request):
            return self.get_response(request)
        request.get_host()  # raises DisallowedHost
        request.resolver_match = match = resolve(request.path_info)
        view: Callable[..., HttpResponse] = match.func
        response = view(request, *match.args, **match.kwargs)
        # Of DRF's views that answer by a renderer.
        return response.render() if isinstance(response, SimpleTemplateResponse) else response


def _is_public_read(request: HttpRequest) -> bool:
    return (
        request.method == "GET"
        and request.path_info.startswith("/api/")
        and request.path_info != DOCUMENTATION
        and "HTTP_AUTHORIZATION" not in request.META
        and not any(cookie in request.META.get("HTTP_COOKIE", "") for cookie in COOKIES)
    )
