"""Django's middleware for people in a browser, out of the way of requests to the API that bring no session."""

from typing import Any

from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest


class _ForPeople:
    """In front of a middleware of Django's."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if request.path.startswith("/api/") and settings.SESSION_COOKIE_NAME not in request.META.get("HTTP_COOKIE", ""):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class SessionMiddleware(_ForPeople, sessions.SessionMiddleware):
    pass


class AuthenticationMiddleware(_ForPeople, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(_ForPeople, messages.MessageMiddleware):
    pass
