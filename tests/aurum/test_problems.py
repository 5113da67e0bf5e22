"""Errors that are not the request's."""

import pytest
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
