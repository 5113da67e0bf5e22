"""/health and the probes: before Host checks and redirects, with a database and without."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.test import Client
from psycopg_pool import PoolTimeout

from aurum import health
from indexer.status import MINIMUM_SILENCE, MOST_LAG
from tests import factories
from tests.problems import problem_of

# The middleware closes stale connections itself, as a server must; a test inside a transaction would lose its own.
pytestmark = pytest.mark.django_db(transaction=True)

PROBES = ("/health", "/health/live", "/health/ready")


@pytest.fixture(
    params=[OperationalError("no connection"), PoolTimeout("no connection in time")], ids=["refused", "pool"]
)
def no_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be asked of the database."""

    def refuse() -> Any:
        raise request.param

    monkeypatch.setattr(connection, "cursor", refuse)


def answer(client: Client, path: str = "/health") -> tuple[int, dict[str, Any]]:
    response = client.get(path)
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    return response.status_code, response.json()


def test_healthy_is_exactly_the_promised_keys(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.make_status()
    factories.make_checkpoint()
    monkeypatch.setattr(health, "STARTED", health.STARTED - 86_400)
    status, body = answer(client)
    uptime = body.pop("uptime")
    assert status == 200
    assert body == {"status": "healthy", "database": "connected", "indexer": "running"}
    assert type(uptime) is int
    assert 86_400 <= uptime < 86_400 + 3_600


@pytest.mark.parametrize(
    ("silence", "status", "indexer"),
    [
        (timedelta(0), "healthy", "running"),
        (MINIMUM_SILENCE - timedelta(seconds=5), "healthy", "running"),
        (MINIMUM_SILENCE, "degraded", "stopped"),
        (timedelta(days=3), "degraded", "stopped"),
    ],
)
def test_a_silent_indexer_degrades(client: Client, silence: timedelta, status: str, indexer: str) -> None:
    """The API still serves: 200, so that no orchestrator restarts it for the indexer's sake."""
    factories.make_checkpoint()
    factories.make_status(heartbeat_at=datetime.now(tz=UTC) - silence)
    code, body = answer(client)
    assert (code, body["status"], body["indexer"], body["database"]) == (200, status, indexer, "connected")


def test_an_indexer_that_never_ran_is_stopped(client: Client) -> None:
    code, body = answer(client)
    assert (code, body["status"], body["indexer"]) == (200, "degraded", "stopped")


def test_a_slow_poll_is_not_silence(client: Client, settings: LazySettings) -> None:
    settings.INDEXER_POLL_INTERVAL = 60_000
    factories.make_checkpoint()
    factories.make_status(heartbeat_at=datetime.now(tz=UTC) - timedelta(seconds=170))
    assert answer(client)[1]["indexer"] == "running"


@pytest.mark.parametrize(
    ("indexed", "status", "indexer"),
    [
        (1_000_001, "healthy", "running"),  # the head that is known may be older than what is indexed
        (1_000_000 - MOST_LAG, "healthy", "running"),
        (1_000_000 - MOST_LAG - 1, "degraded", "behind"),
        (0, "degraded", "behind"),
        (None, "degraded", "behind"),
    ],
)
def test_an_indexer_that_is_behind_degrades(client: Client, indexed: int | None, status: str, indexer: str) -> None:
    """Still 200: what is served is right, but old."""
    factories.make_status(head_block=1_000_000)
    if indexed is not None:
        factories.make_checkpoint(block_number=indexed)
    code, body = answer(client)
    assert (code, body["status"], body["indexer"], body["database"]) == (200, status, indexer, "connected")
    assert answer(client, "/health/ready")[0] == 200


def test_an_indexer_that_has_seen_no_head_is_not_called_behind(client: Client) -> None:
    factories.make_status(head_block=None, head_timestamp=None)
    assert answer(client)[1]["indexer"] == "running"


def test_a_stopped_indexer_is_stopped_however_far_behind(client: Client) -> None:
    factories.make_status(head_block=10**6, stop_reason="wrong_chain")
    assert answer(client)[1]["indexer"] == "stopped"


def test_without_a_database_it_is_unhealthy(client: Client, no_database: None) -> None:
    code, body = answer(client)
    del body["uptime"]
    assert code == 503
    assert body == {"status": "unhealthy", "database": "disconnected", "indexer": "unknown"}


@pytest.mark.parametrize("error", [OperationalError("gone"), PoolTimeout("gone")], ids=["refused", "pool"])
def test_a_database_that_goes_away_in_between(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(health, "indexer_state", fail)
    code, body = answer(client)
    assert (code, body["status"], body["database"]) == (503, "unhealthy", "disconnected")


def test_ready_follows_the_database(client: Client) -> None:
    assert answer(client, "/health/ready") == (200, {"status": "ready"})


def test_not_ready_without_a_database(client: Client, no_database: None) -> None:
    assert answer(client, "/health/ready") == (503, {"status": "not ready"})


def test_live_asks_no_database(client: Client, no_database: None) -> None:
    assert answer(client, "/health/live") == (200, {"status": "live"})


@pytest.fixture
def strict(settings: LazySettings) -> None:
    """Host checks and SSL redirects as in production."""
    settings.ALLOWED_HOSTS = ["api.aurumlabs.io"]
    settings.SECURE_SSL_REDIRECT = True


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("method", ["get", "head"])
def test_probes_meet_no_host_check_and_no_redirect(client: Client, strict: None, path: str, method: str) -> None:
    ask: Callable[..., Any] = getattr(client, method)
    assert ask(path, headers={"Host": "10.0.0.7:3001"}).status_code == 200


def test_everything_else_does(client: Client, strict: None) -> None:
    redirect = client.get("/api/markets", headers={"Host": "api.aurumlabs.io"})
    assert (redirect.status_code, redirect["Location"]) == (301, "https://api.aurumlabs.io/api/markets")
    problem_of(client.get("/api/markets", headers={"Host": "evil.example"}, secure=True), 400)


@pytest.mark.parametrize("path", ["/health/", "/health/other", "/healthz"])
def test_other_paths_are_no_probes(client: Client, path: str) -> None:
    problem_of(client.get(path), 404)


def test_probes_are_only_read(client: Client) -> None:
    answer = client.post("/health")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_pages_of_the_frontend_may_ask(client: Client) -> None:
    answer = client.get("/health/live", headers={"Origin": "http://localhost:5173"})
    assert answer["Access-Control-Allow-Origin"] == "http://localhost:5173"


def test_an_answer_bears_the_request_id(client: Client) -> None:
    assert client.get("/health", headers={"X-Request-ID": "abc-123"})["X-Request-ID"] == "abc-123"


@pytest.mark.parametrize("offered", ["", "a b", "x" * 65, "<script>", "a\tb"])
def test_a_strange_request_id_is_replaced(client: Client, offered: str) -> None:
    given = client.get("/health", headers={"X-Request-ID": offered})["X-Request-ID"]
    assert given != offered
    assert len(given) == 32
