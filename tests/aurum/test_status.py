"""/api/status and /api/indexer/status."""

import platform
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
from django.conf import settings
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from indexer.status import MOST_LAG
from tests import factories
from tests.factories import FACTORY, FIRST_BLOCK, ORACLE, START, hex_id
from tests.problems import problem_of

pytestmark = pytest.mark.django_db


def get(client: Client, path: str) -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == 200
    return response.json()


@pytest.fixture
def indexed() -> datetime:
    """Indexed to block 1,000, six blocks and twelve seconds behind the head; three failed events. The heartbeat."""
    heartbeat = datetime.now(tz=UTC).replace(microsecond=0)
    factories.make_checkpoint(block_number=1_000, event_count=12, safe_block=990, finalized_block=980, chain_id=84532)
    factories.make_status(
        heartbeat_at=heartbeat,
        head_block=1_006,
        head_timestamp=START + timedelta(days=1, seconds=12),
        last_error="the node answered 503",
        last_error_at=START,
    )
    factories.make_event()
    for _ in range(3):
        factories.make_event(processed=False, error="ApplyError")
    return heartbeat


def indexer_status(heartbeat: datetime) -> dict[str, Any]:
    return {
        "state": "running",
        "stopReason": None,
        "chainId": 84532,
        "headBlock": 1_006,
        "headAt": "2026-01-02T00:00:12Z",
        "indexedBlock": 1_000,
        "indexedBlockHash": hex_id("block", 1_000),
        "indexedAt": "2026-01-02T00:00:00Z",
        "safeBlock": 990,
        "finalizedBlock": 980,
        "lagBlocks": 6,
        "lagSeconds": 12,
        "events": 12,
        "failedEvents": 3,
        "reorganisations": 0,
        "lastReorganisationAt": None,
        "lastReorganisationDepth": None,
        "lastError": "the node answered 503",
        "lastErrorAt": "2026-01-01T00:00:00Z",
        "heartbeatAt": f"{heartbeat:%Y-%m-%dT%H:%M:%SZ}",
        "endpoints": [
            {
                "host": "rpc.example",
                "healthy": True,
                "quarantinedUntil": None,
                "quarantines": 2,
                "failures": 0,
                "lastError": "",
                "latencyMs": 12,
            }
        ],
        "sinceStart": {
            "startedAt": "2026-01-01T00:00:00Z",
            "blocks": 1_000,
            "events": 12,
            "failedEvents": 3,
            "blocksPerSecond": 0.5,
            "eventsPerSecond": 0.025,
            "reorganisations": 1,
            "phaseSeconds": {"fetch": 4.0, "decode": 0.5, "apply": 1.25, "write": 2.0},
            "rpcRequests": [{"endpoint": "rpc.example", "method": "eth_getLogs", "outcome": "ok", "count": 7}],
        },
    }


def test_indexer_status(client: Client, indexed: datetime) -> None:
    assert get(client, "/api/indexer/status") == indexer_status(indexed)


def test_status(client: Client, indexed: datetime) -> None:
    factories.make_trade(factories.make_market())
    factories.make_market()
    body = get(client, "/api/status")
    postgresql = body["versions"].pop("postgresql")
    assert postgresql.partition(".")[0].isdigit()
    assert int(postgresql.partition(".")[0]) >= 14
    assert body == {
        "status": "operational",
        "version": settings.VERSION,
        "environment": "development",
        "versions": {"python": platform.python_version(), "django": django.get_version()},
        "chainId": 84532,
        "contracts": {"MarketFactory": FACTORY, "AurumOracle": ORACLE},
        "markets": 2,
        "trades": 1,
        "indexer": indexer_status(indexed),
    }


def test_before_anything_is_indexed(client: Client) -> None:
    body = get(client, "/api/status")
    assert (body["status"], body["contracts"], body["markets"], body["trades"]) == ("degraded", {}, 0, 0)
    indexer = body["indexer"]
    assert (indexer["state"], indexer["chainId"], indexer["events"]) == ("stopped", settings.CHAIN_ID, 0)
    unknown = {name for name, value in indexer.items() if value is None}
    assert unknown == {
        "headBlock",
        "headAt",
        "indexedBlock",
        "indexedBlockHash",
        "indexedAt",
        "safeBlock",
        "finalizedBlock",
        "lagBlocks",
        "lagSeconds",
        "lastReorganisationAt",
        "lastReorganisationDepth",
        "lastError",
        "lastErrorAt",
        "heartbeatAt",
        "stopReason",
        "sinceStart",
    }


def test_before_the_first_block_there_is_a_checkpoint_without_a_hash(client: Client) -> None:
    factories.make_checkpoint(block_number=FIRST_BLOCK - 1, block_hash="", block_timestamp=None)
    factories.make_status(head_block=FIRST_BLOCK)
    indexer = get(client, "/api/indexer/status")
    assert (indexer["indexedBlock"], indexer["indexedBlockHash"], indexer["lagBlocks"]) == (FIRST_BLOCK - 1, None, 1)
    assert (indexer["indexedAt"], indexer["lagSeconds"]) == (None, None)


def test_a_head_behind_the_checkpoint_is_no_negative_lag(client: Client) -> None:
    """A node that lags behind the one before it."""
    factories.make_checkpoint(block_number=1_000)
    factories.make_status(head_block=990, head_timestamp=START)
    indexer = get(client, "/api/indexer/status")
    assert (indexer["lagBlocks"], indexer["lagSeconds"]) == (0, 0)


def test_a_silent_indexer_is_degraded(client: Client) -> None:
    factories.make_status(heartbeat_at=START)
    body = get(client, "/api/status")
    assert (body["status"], body["indexer"]["state"]) == ("degraded", "stopped")


@pytest.mark.parametrize(("behind", "status"), [(MOST_LAG, "operational"), (MOST_LAG + 1, "degraded")])
def test_an_indexer_that_is_behind_is_degraded(client: Client, behind: int, status: str) -> None:
    """As /health says."""
    factories.make_checkpoint(block_number=1_000_000)
    factories.make_status(head_block=1_000_000 + behind)
    body = get(client, "/api/status")
    assert (body["status"], body["indexer"]["state"]) == (status, "running")


def test_an_indexer_that_gave_a_reason_to_stop_is_stopped_at_once(client: Client) -> None:
    factories.make_status(stop_reason="below_finality")
    body = get(client, "/api/status")
    assert (body["status"], body["indexer"]["state"]) == ("degraded", "stopped")
    assert body["indexer"]["stopReason"] == "below_finality"


def test_what_an_older_indexer_does_not_count_is_null(client: Client) -> None:
    factories.make_status(counters={})
    assert get(client, "/api/indexer/status")["sinceStart"] is None


@pytest.mark.parametrize("path", ["/api/status", "/api/indexer/status"])
def test_no_parameters_no_writing_and_the_indexed_block(client: Client, indexed: datetime, path: str) -> None:
    assert client.get(path)["X-Indexed-Block"] == "1000"
    assert problem_of(client.get(f"{path}?verbose=1"), 400)["errors"] == {"verbose": ["Unknown parameter."]}
    problem_of(client.post(path), 405)


def test_status_says_nothing_secret(client: Client, indexed: datetime) -> None:
    for path in ("/api/status", "/api/indexer/status"):
        text = client.get(path).text
        assert settings.JWT_SECRET not in text
        assert settings.SECRET_KEY not in text


def test_status_costs_a_few_queries(
    client: Client, indexed: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(9):
        get(client, "/api/status")
