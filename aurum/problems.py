"""Errors as RFC 9457 `application/problem+json`: type, title, status, detail, requestId, and errors by field."""

import json
import logging
from http import HTTPStatus
from typing import Any

from csp.constants import HEADER as CSP
from csp.utils import build_policy
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from psycopg_pool import PoolTimeout
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from aurum.log_context import current_request_id

logger = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"


# What it looks like when the database is away; other database errors are mistakes of ours.
UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout)


REFUSED = (exceptions.NotAuthenticated, exceptions.AuthenticationFailed, exceptions.PermissionDenied)


class DatabaseUnavailable(exceptions.APIException):
    """The database is away; nothing is wrong with the request."""

    status_code = 503
    default_detail = "The database does not answer. Try again in a moment."
    wait = 5  # seconds; DRF makes it Retry-After


def problem(status: int, detail: str, errors: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of one error."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "requestId": current_request_id.get(),
    }
    return body | ({"errors": errors} if errors else {})


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, with problem bodies. What it does not know goes on to `server_error`."""
    if isinstance(error, UNAVAILABLE):
        logger.error("the database does not answer: %s", error)
        error = DatabaseUnavailable()
    elif isinstance(error, REFUSED):
        error = _counted(error, context)
    response = drf_exception_handler(error, context)
    if response is None:
        return None
    response.data = _described(error, response.status_code)
    response.content_type = CONTENT_TYPE
    return response


def problem_response(error: Exception) -> HttpResponse | None:
    """What `exception_handler` answers, where no view of DRF's is at work."""
    response = exception_handler(error, {})
    if response is None:
        return None
    headers = {name: value for name, value in response.items() if name != "Content-Type"}
    return HttpResponse(
        json.dumps(response.data), status=response.status_code, content_type=CONTENT_TYPE, headers=headers
    )


def _described(error: Exception, status: int) -> dict[str, Any]:
    if isinstance(error, Http404):
        error = exceptions.NotFound(str(error) or None)
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.ValidationError):
        return problem(status, str(error.detail) if isinstance(error, exceptions.APIException) else "")
    errors = error.detail if isinstance(error.detail, dict) else {"detail": error.detail}
    return problem(status, "; ".join(f"{field}: {_first(messages)}" for field, messages in errors.items()), errors)


def _counted(error: Exception, context: dict[str, Any]) -> Exception:
    """Counts who was refused, or says that it was too often: DRF counts after it looked who asks."""
    view, request = context.get("view"), context.get("request")
    if view is not None and request is not None and not hasattr(request, "rate_limit"):
        try:
            view.check_throttles(request)
        except exceptions.Throttled as throttled:
            return throttled
    return error


def _first(messages: Any) -> str:
    return str(messages[0]) if isinstance(messages, list) and messages else str(messages)


def _answer(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """A problem; a plain page where a person looks, in the admin."""
    if request.path.startswith(f"/{settings.ADMIN_PATH}/"):
        page = render(request, "problem.html", {"status": status, "detail": detail}, status=status)
        # Middleware in front of CSPMiddleware, which adds it to all other pages, can have refused.
        page[CSP] = build_policy()
        return page
    return HttpResponse(json.dumps(problem(status, detail)), status=status, content_type=CONTENT_TYPE)


def database_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    """The answer where the database goes away outside of DRF's own handling."""
    logger.error("the database does not answer: %s", error)
    answer = _answer(request, DatabaseUnavailable.status_code, DatabaseUnavailable.default_detail)
    answer["Retry-After"] = str(DatabaseUnavailable.wait)
    return answer


def too_many_requests(request: HttpRequest, wait: int) -> HttpResponse:
    """The answer to who asks too often; `wait` in seconds."""
    answer = _answer(request, 429, f"Too many attempts. Try again in {wait} seconds.")
    answer["Retry-After"] = str(wait)
    return answer


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 400, "The request is malformed.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, "You may not do this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    return _answer(request, 500, "Something went wrong on our side; it has been logged under this requestId.")
