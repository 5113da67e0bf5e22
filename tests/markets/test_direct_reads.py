"""Reads on the event loop: which they are, and what they leave to Django."""

import asyncio
import json
from typing import Any

import pytest

from aurum.answer_cache import asked
from aurum.database import open_read_pool
from aurum.sources import Server, Sources
from aurum.wsgi_bridge import Answered
from markets.direct_reads import DirectReads
from markets.models import Market
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
USER = "0x" + "1a" * 20
FROM_DJANGO = Answered(
    200,
    [(b"vary", b"origin"), (b"etag", b'W/"old"'), (b"x-indexed-block", b"1"), (b"content-length", b"2")],
    b"{}",
)


def scope_of(target: str, host: bytes = b"localhost") -> dict[str, Any]:
    path, _, query = target.partition("?")
    parts = {"method": "GET", "path": path, "query_string": query.encode(), "http_version": "1.1", "scheme": "http"}
    return parts | {"headers": [(b"host", host)], "server": ("localhost", 80), "client": ("127.0.0.1", 1)}


def make_rows() -> Market:
    factories.make_checkpoint()
    market = factories.make_market()
    for _ in range(3):
        factories.make_trade(market)
    factories.make_position(market, user_address=USER)
    return market


async def answers_to(*targets: str) -> list[Answered | None]:
    """Each one's answer, behind one that Django gave."""
    pool = await open_read_pool("default")

    async def opened(server: Server) -> Any:
        return pool

    direct = DirectReads(opened, Sources(has_replica=False))
    try:
        found = []
        for number, target in enumerate(("/api/markets", *targets)):
            scope = scope_of(target)
            request = asked("GET", target.encode(), scope["headers"])
            assert request is not None
            if not number:
                assert await direct.answer(request.key, scope) is None
                direct.learn(request.key, scope, FROM_DJANGO)
            else:
                found.append(await direct.answer(request.key, scope))
        return found
    finally:
        await pool.close()


def test_what_one_statement_says() -> None:
    market = make_rows()
    path = f"/api/markets/{market.market_id}"
    block = 1_000_000
    targets = ["/api/markets", path, f"{path}?asOfBlock={block}", f"{path}/prices", f"{path}/positions"]
    targets += [f"{path}/trades?limit=2", f"/api/users/{USER}/positions", f"/api/users/{USER}/history"]
    found = asyncio.run(answers_to(*targets))
    for target, answered in zip(targets, found, strict=True):
        assert answered is not None, target
        headers = dict(answered.headers)
        assert len(headers) == len(answered.headers)
        assert (answered.status, headers[b"vary"], headers[b"x-indexed-block"]) == (200, b"origin", b"%d" % block)
        assert headers[b"etag"] != b'W/"old"'
        assert int(headers[b"content-length"]) == len(answered.body)
    trades = found[5]
    assert trades is not None
    assert json.loads(trades.body)["next"].startswith(f"http://localhost{path}/trades?")


def test_what_is_left_to_django() -> None:
    market = make_rows()
    path = f"/api/markets/{market.market_id}"
    targets = ["/api/status", "/api/nothing", "/api/leaderboard", f"{path}/quote", f"/api/users/{USER}/portfolio"]
    targets += ["/api/markets?limit=0", "/api/markets?unknown=1", "/api/markets?cursor=x", "/api/markets?search=%00"]
    targets += ["/api/markets/0x12", f"/api/markets/{factories.hex_id('nobody')}", f"{path}?asOfBlock=1000001"]
    targets += ["/api/markets?" + "&".join("a" * 1001)]
    assert asyncio.run(answers_to(*targets)) == [None] * len(targets)


async def test_another_host_is_asked_of_django_first() -> None:
    direct = DirectReads(lambda server: open_read_pool("default"), Sources(has_replica=False))
    for host in (b"localhost", b"other.localhost"):
        scope = scope_of("/api/markets", host)
        request = asked("GET", b"/api/markets", scope["headers"])
        assert request is not None
        assert await direct.answer(request.key, scope) is None
        direct.learn(request.key, scope_of("/api/status"), FROM_DJANGO)  # not of its kind
        direct.learn(request.key, scope, FROM_DJANGO._replace(status=404))
        assert await direct.answer(request.key, scope) is None


async def test_without_a_database_django_is_asked() -> None:
    tries = 0

    async def refused(server: Server) -> Any:
        nonlocal tries
        tries += 1
        raise OSError

    direct = DirectReads(refused, Sources(has_replica=False))
    scope = scope_of("/api/markets")
    request = asked("GET", b"/api/markets", scope["headers"])
    assert request is not None
    direct.learn(request.key, scope, FROM_DJANGO)
    assert [await direct.answer(request.key, scope) for _ in range(2)] == [None, None]
    assert tries == 2
