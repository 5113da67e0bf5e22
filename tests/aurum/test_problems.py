"""Errors that are not the request's."""

from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import OperationalError
from django.test import Client

from markets import pages


@pytest.mark.django_db
def test_a_database_that_is_away_is_503_and_says_when_to_try_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(pages, "_reading", gone)
    answer = client.get("/api/markets")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json()["detail"] == "The database does not answer. Try again in a moment."
    assert "refused" not in answer.content.decode()


def test_pages_of_what_never_reached_a_view_have_the_policy(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Middleware refuses before the one that writes the policy, or fails behind it."""

    def gone(*_: object) -> None:
        raise OperationalError("connection refused")

    settings.ALLOWED_HOSTS = ["aurum.example"]
    client = Client(raise_request_exception=False)
    answers = [client.get("/admin/", headers={"host": "evil.example"})]
    monkeypatch.setattr(SessionMiddleware, "process_response", gone)
    answers.append(client.get("/admin/login/", headers={"host": "aurum.example"}))
    for answer, status in zip(answers, (400, 500), strict=True):
        assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
