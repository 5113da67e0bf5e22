"""What every error of the API has in common."""

from http import HTTPStatus
from typing import Any


def problem_of(response: Any, status: int) -> dict[str, Any]:
    """The body of a response that must be an RFC 9457 problem with this status."""
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "requestId"}
    assert (body["type"], body["title"], body["status"]) == ("about:blank", HTTPStatus(status).phrase, status)
    assert body["detail"]
    assert body["requestId"] == response["X-Request-ID"] != ""
    return body
