"""Gives each request an id: the caller's X-Request-ID where it is a plain one, else a new one."""

import os
import re
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
PLAIN_BYTES = re.compile(PLAIN.pattern.encode())
ID_BYTES = 16  # of randomness, as hex
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


def new_request_id() -> str:
    """One that nobody else has."""
    return os.urandom(ID_BYTES).hex()


class RequestIdMiddleware:
    """Sets `current_request_id` for the request and echoes it in the answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        offered = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = offered if PLAIN.fullmatch(offered) else new_request_id()
        token = current_request_id.set(request_id)
        try:
            response = self.get_response(request)
        finally:
            current_request_id.reset(token)
        response[HEADER] = request_id
        return response
