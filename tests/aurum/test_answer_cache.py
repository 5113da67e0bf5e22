"""Which answers are kept, for how long and how many; over real sockets in tests/e2e/test_front.py."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import psycopg
import pytest

from aurum import answer_cache
from aurum.answer_cache import AnswerCache, Key, asked, has

ETAG = b'W/"5"'
KEY: Key = (b"/api/markets", b"", b"localhost", b"", b"", b"")


class Database:
    """What the cache hears of a database: its version, and notifications; `gone` while it does not answer."""

    def __init__(self) -> None:
        self.etag = ETAG.decode()
        self.gone = False
        self.changed = asyncio.Event()
        self.looks = 0
        self.changes_in: float | None = None

    async def connect(self) -> Any:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def execute(self, statement: str) -> Any:
        if self.gone:
            raise psycopg.OperationalError("gone")
        return self

    async def fetchone(self) -> list[Any]:
        self.looks += 1
        return [self.etag, self.changes_in]

    async def notifies(self, *, timeout: float, stop_after: int) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self.changed.wait(), timeout)
        except TimeoutError:
            return
        self.changed.clear()
        yield

    async def looked_at(self) -> None:
        """Until the cache has looked at the version once more."""
        before = self.looks
        while self.looks == before:
            await asyncio.sleep(0)


def run(test: Callable[[AnswerCache, Database], Awaitable[None]]) -> None:
    async def whole() -> None:
        database = Database()
        cache = AnswerCache(database.connect, "SELECT version")
        cache.start()
        await database.looked_at()
        await asyncio.sleep(0)
        await test(cache, database)

    asyncio.run(whole())


def keep(cache: AnswerCache, key: Key = KEY, etag: bytes = ETAG, body: bytes = b"{}") -> None:
    cache.keep(key, [(b"etag", etag), (b"content-type", b"application/json")], body, "/api/markets")


def test_what_is_true_now_is_kept_until_it_is_not() -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        keep(cache)
        found = cache.find(KEY)
        assert found is not None
        assert (found.etag, found.body) == (ETAG, b"{}")
        database.etag = 'W/"6"'
        database.changed.set()
        await database.looked_at()
        await asyncio.sleep(0)
        assert cache.find(KEY) is None

    run(test)


def test_what_was_read_before_a_change_or_from_a_replica_is_not_kept() -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        keep(cache, etag=b'W/"4"')
        assert cache.find(KEY) is None
        cache.forget()
        keep(cache)
        assert cache.find(KEY) is None, "the version is not known until the next look"

    run(test)


def test_without_a_word_from_the_database_nothing_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        keep(cache)
        database.gone = True
        database.changed.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert cache.find(KEY) is None

    run(test)


def test_trust_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection hangs, and says nothing."""

    async def test(cache: AnswerCache, database: Database) -> None:
        keep(cache)
        now = answer_cache.time.monotonic()
        monkeypatch.setattr(answer_cache.time, "monotonic", lambda: now + answer_cache.TRUST + 1)
        assert cache.find(KEY) is None

    run(test)


def test_answers_are_not_kept_beyond_the_moment_at_which_they_change_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        database.changes_in = 0.5
        database.changed.set()
        await database.looked_at()
        await asyncio.sleep(0)
        keep(cache)
        now = answer_cache.time.monotonic()
        assert cache.find(KEY) is not None
        monkeypatch.setattr(answer_cache.time, "monotonic", lambda: now + 0.51)
        assert cache.find(KEY) is None
        keep(cache, (b"/api/other", *KEY[1:]))
        assert cache.find((b"/api/other", *KEY[1:])) is None

    run(test)


def test_memory_is_bounded_and_the_least_asked_for_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "MAX_BYTES", 50_000)

    async def test(cache: AnswerCache, database: Database) -> None:
        keys = [(b"/api/%d" % number, *KEY[1:]) for number in range(100)]
        for key in keys:
            keep(cache, key, body=b"x" * 1000)
            cache.find(keys[0])
        kept = [key for key in keys if cache.find(key)]
        assert 10 < len(kept) < 30
        assert kept == [keys[0], *keys[-len(kept) + 1 :]]
        # Small bodies are not free.
        for number in range(1000):
            keep(cache, (b"/api/small/%d" % number, *KEY[1:]), body=b"")
        assert cache._bytes <= 50_000

    run(test)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"set-cookie", b"a=b"), (b"etag", ETAG)],
        [(b"content-type", b"text/html")],
    ],
)
def test_some_answers_are_never_kept(headers: list[tuple[bytes, bytes]]) -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        assert cache.keep(KEY, headers, b"{}", "/api/markets") is None
        assert cache.find(KEY) is None

    run(test)


def test_a_large_answer_goes_out_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "MAX_BODY", 10)

    async def test(cache: AnswerCache, database: Database) -> None:
        answer = cache.keep(KEY, [(b"etag", ETAG), (b"content-encoding", b"gzip")], b"x" * 11, "/api/markets")
        assert answer is not None
        assert (answer.body, b"content-encoding: gzip" in answer.head) == (b"x" * 11, True)
        assert cache.find(KEY) is None

    run(test)


def test_bytes_that_are_no_plain_request_are_not_remembered() -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        for number in range(100):
            assert cache.asked_of_bytes(b"GET /api/%d" % number + b"x" * 2**16) is None
        assert cache._requests == {}

    run(test)


HOST = (b"host", b"localhost")


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("POST", b"/api/markets", [HOST]),
        ("HEAD", b"/api/markets", [HOST]),
        ("GET", b"/admin/", [HOST]),
        ("GET", b"/api/markets", [HOST, (b"authorization", b"Bearer x")]),
        ("GET", b"/api/markets", [HOST, (b"cookie", b"a=b")]),
        ("GET", b"/api/markets", [HOST, (b"range", b"bytes=0-1")]),
        ("GET", b"/api/markets", [HOST, (b"content-length", b"2")]),
        ("GET", b"/api/markets", [HOST, HOST]),
        ("GET", b"/api/markets?search=" + b"x" * 3000, [HOST]),
    ],
)
def test_some_requests_are_always_djangos(method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    assert asked(method, target, headers) is None


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        (b"gzip", True),
        (b"br, gzip;q=0.5", True),
        (b"deflate", False),
        (b"gzip;q=0", False),
        (b"gzip; q=0.0", False),
        (b"gzip;q=0.01", True),
        (b"xgzip", False),
        (b"", False),
    ],
)
def test_who_takes_gzip(accepted: bytes, compressed: bool) -> None:
    request = asked("GET", b"/api/markets", [HOST, (b"accept-encoding", accepted)])
    assert request is not None
    assert (request.key[1] == b"gzip") is compressed


def test_etags_are_compared_whole() -> None:
    async def test(cache: AnswerCache, database: Database) -> None:
        keep(cache)
        answer = cache.find(KEY)
        assert answer is not None
        offered = {ETAG: True, b'W/"x", ' + ETAG: True, b'W/"55"': False, b'W/"': False, b"": False}
        assert {etags: has(answer, etags) for etags in offered} == offered

    run(test)
