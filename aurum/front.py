"""HTTP as it comes in: kept answers first, then Django.

`Front` is the ASGI application, and works under any server. `FrontProtocol` is uvicorn's with a shortcut: a request
whose answer is kept never becomes one.
"""

import asyncio
from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aurum.answer_cache import MIN_BLOCK_BYTES, Answer, AnswerCache, Asked, Key, asked, has
from aurum.log_context import begin_log_context, current_request_id
from aurum.metrics import route_of
from aurum.request_id import PLAIN_BYTES, about, new_request_id, offered_id
from aurum.tally import Tally
from aurum.throttling import USAGE, Usage
from aurum.traffic import record
from aurum.wsgi_bridge import Answered, WsgiBridge
from markets.direct_reads import DirectReads

LIVE = "/health/live"
LIVES = Answered(
    200,
    [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"content-length", b"18")],
    b'{"status": "live"}',
)
MAX_HEAD = 64 * 1024  # bytes of a request's line and headers
HEAD_TIMEOUT = 10.0  # seconds that a client may take to send them


class Front:
    """Answers from the cache what it can, then by a direct read, and lets the rest through."""

    def __init__(self, cache: AnswerCache, direct: DirectReads, bridge: WsgiBridge, tally: Tally) -> None:
        self.cache = cache
        self._direct = direct
        self._bridge = bridge
        self._tally = tally
        # Requests whose answer others wait for.
        self._pending: dict[Key, asyncio.Future[Answer | None]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.cache.start()
        started = perf_counter()
        # The request's task ends with it, and what the server says of it comes behind.
        begin_log_context(offered_id(scope["headers"]) or new_request_id(), **about(scope["path"]))
        answered = await self._answer(scope, receive)
        if answered is None:
            return
        method, path, spent = scope["method"], scope["path"], perf_counter() - started
        record(method, path, route_of(path), answered.status, spent, current_request_id.get().encode())
        await send({"type": "http.response.start", "status": answered.status, "headers": answered.headers})
        await send({"type": "http.response.body", "body": answered.body})

    async def _answer(self, scope: Any, receive: Any) -> Answered | None:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        request = asked(scope["method"], target, scope["headers"])
        if scope["path"] == LIVE and scope["method"] in ("GET", "HEAD"):
            # It must be heard of also when every thread is busy.
            return LIVES
        if request is not None:
            return await self._find_or_ask(request, scope, receive)
        answered = await self._bridge.answer(scope, receive)
        if answered is not None and _changes(scope) and answered.status < 300:
            # Whoever changed something sees it in the next answer; others, when the database has told of it.
            self.cache.forget()
            self._pending.clear()
        return answered

    async def _find_or_ask(self, request: Asked, scope: Any, receive: Any) -> Answered | None:
        answer = self.cache.find(request.key, request.seen)
        if answer is None and request.key in self._pending:
            answer = await asyncio.shield(self._pending[request.key])
            if answer is not None and answer.block < request.seen:
                answer = None  # it was asked for by somebody who had seen less
        if answer is None and request.key in self._pending:
            return await self._bridge.answer(scope, receive)
        usage = self._tally.count((scope.get("client") or ("",))[0], request.forwarded_for.decode("latin-1"))
        scope[USAGE] = usage
        if usage.is_exceeded:
            return await self._bridge.answer(scope, receive)
        if answer is not None:
            return _from_kept(answer, request, _limit_headers(usage))
        return await self._ask(request, scope, receive, usage)

    async def _ask(self, request: Asked, scope: Any, receive: Any, usage: Usage) -> Answered | None:
        """Asks the database, or Django, for whoever else waits for the same answer too."""
        pending = self._pending[request.key] = asyncio.get_running_loop().create_future()
        kept = None
        # The kept answer is whole: whether the client has it is seen here, and what it takes.
        own = (b"if-none-match", b"accept-encoding", MIN_BLOCK_BYTES)
        headers = [header for header in scope["headers"] if header[0] not in own]
        if request.seen >= 0:
            headers.append((MIN_BLOCK_BYTES, b"%d" % request.seen))
        scope = {**scope, "headers": headers}
        try:
            answered = await self._direct.answer(request.key, scope, request.seen)
            if answered is None:
                answered = await self._bridge.answer(scope, receive)
                if answered is not None:
                    self._direct.learn(request.key, scope, answered)
            if answered is not None and answered.status == 200:
                if request.key[1] == b"gzip":
                    answered = await self._bridge.compressed(answered)
                route = route_of(scope["path"])
                kept = self.cache.keep(request.key, answered.headers, answered.body, route)
        finally:
            if self._pending.get(request.key) is pending:
                del self._pending[request.key]
            pending.set_result(kept)
        if answered is None or kept is None:
            return answered
        return _from_kept(kept, request, _limit_headers(usage))


def _changes(scope: Any) -> bool:
    """Whether a request that succeeds has changed what others are answered: an edit of a market's metadata has."""
    return scope["method"] == "PATCH" and scope["path"].startswith("/api/markets/")


def _limit_headers(usage: Usage) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in usage.headers.items()]


def _from_kept(answer: Answer, request: Asked, limits: list[tuple[bytes, bytes]]) -> Answered:
    own = [(b"x-request-id", current_request_id.get().encode()), *limits]
    if has(answer, request.etags):
        return Answered(304, [*(header for header in answer.headers if header[0] != b"content-type"), *own], b"")
    length = (b"content-length", str(len(answer.body)).encode())
    return Answered(200, [*answer.headers, length, *own], answer.body)


def _request_id(request: Asked) -> bytes:
    return request.request_id if PLAIN_BYTES.fullmatch(request.request_id) else new_request_id().encode()


class FrontProtocol(HttpToolsProtocol):
    """Answers a request that is kept before it is parsed: one look-up by its bytes."""

    cache: AnswerCache
    tally: Tally
    _midway = False  # in a request of which more is to come
    _head: int | None = None  # bytes of its head so far, while that is not whole
    _head_ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._midway, self._head = True, 0
        if self._head_ends is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        self._has_head()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_ends = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _has_head(self) -> None:
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def on_message_complete(self) -> None:
        self._midway = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /api/") and (self.cycle is None or self.cycle.response_complete):
            answer = self._kept(data)
            if answer is not None:
                self._has_head()
                self._unset_keepalive_if_required()
                self.transport.write(answer)
                self.on_response_complete()
                return
        super().data_received(data)
        if self._head is not None:
            self._head += len(data)
            if self._head > MAX_HEAD and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def _kept(self, data: bytes) -> bytes | None:
        if self.pipeline or self.flow.write_paused or self._midway:
            return None
        started = perf_counter()
        request = self.cache.asked_of_bytes(data)
        answer = None if request is None else self.cache.find(request.key, request.seen)
        if request is None or answer is None:
            return None
        usage = self.tally.count(self.client[0] if self.client else "", request.forwarded_for.decode("latin-1"))
        if usage.is_exceeded:
            return None  # Django says so
        headers = [*self.server_state.default_headers, *_limit_headers(usage)]
        request_id = _request_id(request)
        own = b"".join([b"%s: %s\r\n" % header for header in headers])
        own += b"x-request-id: %s\r\n\r\n" % request_id
        status, text = (304, answer.head_unmodified + own) if has(answer, request.etags) else (200, answer.head + own)
        path = request.key[0].partition(b"?")[0].decode()
        record("GET", path, answer.route, status, perf_counter() - started, request_id)
        return text if status == 304 else text + answer.body
