"""Public reads that are one statement, answered on the event loop: a thread and Django's layers would cost each as much
again as the read itself.

What a view plans is carried out here as it is there. The headers that Django's middleware gives an answer are learnt
from one that it gave for the same host, origin and scheme. Whatever is not a plain 200 is left to Django, which asks
again.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.urls import resolve
from psycopg_pool import AsyncConnectionPool

from aurum.answer_cache import OWN_HEADERS, Headers, Key
from aurum.metrics import queries
from aurum.wsgi_bridge import Answered, environ_of
from markets.pages import Plan
from markets.reading import ReadView

logger = logging.getLogger(__name__)
MOST_KINDS = 1000  # combinations of host, origin and the like whose headers are known
# Beside OWN_HEADERS, what an answer does not share with others of its kind.
ABOUT_ITSELF = OWN_HEADERS | {b"etag", b"x-indexed-block", b"content-encoding"}


class DirectReads:
    """The reads of one process. `open_pool` opens the connections that they are made on, on a running loop."""

    def __init__(self, open_pool: Callable[[], Awaitable[AsyncConnectionPool]]) -> None:
        self._open_pool = open_pool
        self._pool: asyncio.Task[AsyncConnectionPool] | None = None
        self._headers: OrderedDict[Key, Headers] = OrderedDict()

    async def answer(self, key: Key, scope: Any) -> Answered | None:
        """A 200, without the headers of the limit; None where Django must answer."""
        headers = self._headers.get(_kind(key))
        plan = None if headers is None else _plan(scope)
        if headers is None or plan is None:
            return None
        try:
            position, body = plan.answer(await self._run(plan))
        except Exception as error:  # Django meets it too, and has an answer for each
            logger.debug("left to Django: %r", error)
            return None
        if position.block_number is None:
            return None
        encoded = body.encode()
        own = [(b"etag", position.etag.encode()), (b"x-indexed-block", b"%d" % position.block_number)]
        return Answered(200, [*headers, *own, (b"content-length", b"%d" % len(encoded))], encoded)

    def learn(self, key: Key, scope: Any, answered: Answered) -> None:
        """Takes note of the headers that Django gave an answer of this kind."""
        if _kind(key) in self._headers or answered.status != 200 or _plan(scope) is None:
            return
        if len(self._headers) >= MOST_KINDS:
            self._headers.popitem(last=False)
        self._headers[_kind(key)] = [header for header in answered.headers if header[0] not in ABOUT_ITSELF]

    def statistics(self) -> dict[str, dict[str, int]]:
        """Of the pool, for metrics; nothing before the first read."""
        pool = self._pool
        is_open = pool is not None and pool.done() and not pool.cancelled() and pool.exception() is None
        return {"reads": pool.result().get_stats()} if pool is not None and is_open else {}

    async def _run(self, plan: Plan) -> list[Any]:
        if self._pool is None or (self._pool.done() and (self._pool.cancelled() or self._pool.exception())):
            self._pool = asyncio.ensure_future(self._open_pool())
        queries.inc()
        # Others wait for the same pool: it must not go with a request that is cancelled.
        async with (await asyncio.shield(self._pool)).connection() as connection:
            return await (await connection.execute(plan.statement, plan.values)).fetchall()


def _kind(key: Key) -> Key:
    """What the headers of an answer may differ by: all that answers differ by, but the path and the encoding."""
    return key[2:]


def _plan(scope: Any) -> Plan | None:
    """How the request is read; None where that is not one statement, and where there is something wrong with it."""
    try:
        request = WSGIRequest(environ_of(scope, b""))
        match = resolve(request.path_info)
        view = getattr(match.func, "view_class", None)
        if view is None or not issubclass(view, ReadView):
            return None
        return view().plan(request, view.path_values(**match.kwargs))
    except Exception:  # Django meets it too, and has an answer for each
        return None
