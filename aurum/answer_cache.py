"""Answers that are true until the next block, kept in front of Django as the bytes that go out.

Which answers: 200 to a GET without credentials that has an ETag, which is made of what the answer can change with
(markets/pages.py). All are forgotten when the database says that one of these changed. Bounded in memory; concurrent
misses of one request are one.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20  # of all that is kept
MAX_BODY = 2**20  # bytes of one that is worth keeping
MAX_REQUESTS = 5_000  # requests, as they were written, whose key is known
MAX_REQUEST = 2048  # bytes of one
MAX_KEY = 2048  # bytes of a request's part that tells answers apart
OVERHEAD = 1024  # bytes that an answer takes beside its own
CHECK_INTERVAL = 1.0  # seconds between looks at the version without a notification
TRUST = 3.0  # seconds without a sign of the database after which nothing is answered from here
RECONNECT_PAUSE = 1.0  # seconds
# What names a client, asks for part of an answer, or makes the connection something else: Django's to answer.
PERSONAL = frozenset(
    (b"authorization", b"cookie", b"range", b"upgrade", b"expect", b"content-length", b"transfer-encoding")
)
# What an answer may differ by, beside its path and query.
VARYING = (b"host", b"origin", b"accept", b"x-forwarded-proto")
# Of these, each answer has its own.
OWN_HEADERS = frozenset(
    (
        *(b"x-request-id", b"date", b"connection", b"content-length"),
        *(b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset"),
    )
)
PRINTABLE = re.compile(rb"[ -~]*")
GZIP = re.compile(rb"(?:^|[,\s])gzip(?!\s*;\s*q=0(?:\.0*)?(?:[,\s]|$))")

Key = tuple[bytes, ...]
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One kept answer. `head` ends in the line break of its last header; `body` is as it goes out; `route` is what it
    counts as.
    """

    etag: bytes
    route: str
    headers: Headers
    head: bytes
    head_unmodified: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is, as far as kept answers go; `etags` are those that the client has, `request_id` its own.

    `forwarded_for` is what proxies say of where it comes from.
    """

    key: Key
    etags: bytes
    request_id: bytes
    forwarded_for: bytes


def asked(method: str, target: bytes, headers: Headers) -> Asked | None:
    """The request, where its answer may be a kept one."""
    if method != "GET" or not target.startswith(b"/api/"):
        return None
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in PERSONAL or name in values:
            return None
        values[name] = value
    encoding = b"gzip" if GZIP.search(values.get(b"accept-encoding", b"")) else b""
    key = (target, encoding, *(values.get(name, b"") for name in VARYING))
    if sum(map(len, key)) > MAX_KEY:
        return None
    own = (values.get(name, b"") for name in (b"if-none-match", b"x-request-id", b"x-forwarded-for"))
    return Asked(key, *own)


class AnswerCache:
    """The kept answers of one process.

    `connect` opens an autocommit connection to the database; `read_version` is the statement that gives the ETag that
    answers have now, and in how many seconds they have another by themselves (null: not until something is written).
    """

    def __init__(self, connect: Callable[[], Awaitable[psycopg.AsyncConnection]], read_version: str) -> None:
        self._connect = connect
        self._read_version = read_version
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self._bytes = 0
        self._requests: dict[bytes, Asked | None] = {}
        self._trusted_until = 0.0
        self._task: asyncio.Task[None] | None = None
        # Only answers with this one are kept: others were read before a change, or from a replica that lags.
        self._etag = b""

    # --- finding ---------------------------------------------------------------------------------------------------

    def find(self, key: Key) -> Answer | None:
        """The kept answer, if it is known to be what Django would answer now."""
        answer = self._answers.get(key)
        if answer is None or time.monotonic() > self._trusted_until:
            return None
        self._answers.move_to_end(key)
        return answer

    def asked_of_bytes(self, data: bytes) -> Asked | None:
        """The one whole request that these bytes are, where its answer may be a kept one."""
        if len(data) > MAX_REQUEST:
            return None
        try:
            return self._requests[data]
        except KeyError:
            pass
        if len(self._requests) >= MAX_REQUESTS:
            self._requests.clear()
        found = self._requests[data] = _read(data)
        return found

    # --- keeping ---------------------------------------------------------------------------------------------------

    def keep(self, key: Key, headers: Headers, body: bytes, route: str) -> Answer | None:
        """Keeps a complete 200 answer where it is true now and not too large, and returns it as it goes out.

        None where it is of a kind that has no version.
        """
        values = dict(headers)
        etag = values.get(b"etag", b"")
        if not etag or b"set-cookie" in values:
            return None
        answer = _answer(etag, headers, body, route)
        if etag == self._etag and len(body) <= MAX_BODY and time.monotonic() <= self._trusted_until:
            self._forget_one(key)
            self._answers[key] = answer
            self._bytes += _size(key, answer)
            while self._bytes > MAX_BYTES:
                self._forget_one(next(iter(self._answers)))
        return answer

    def forget(self) -> None:
        """Something changed: every answer is asked of Django again, and none kept until the new version is known."""
        self._etag = b""
        self._answers.clear()
        self._bytes = 0

    def _forget_one(self, key: Key) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._bytes -= _size(key, answer)

    # --- following the database ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Follows the database from now on; needs a running loop, and does nothing where it does already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="answer cache")

    async def _run(self) -> None:
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute("LISTEN indexed")
                    await self._follow(connection)
            except (psycopg.Error, OSError) as error:
                self._trusted_until = 0.0
                logger.warning("no word of new blocks, so nothing is kept: %s", type(error).__name__)
                await asyncio.sleep(RECONNECT_PAUSE)

    async def _follow(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            started = time.monotonic()
            found: Any = await (await connection.execute(self._read_version)).fetchone()
            etag, changes_in = found or ("", None)
            if etag.encode() != self._etag:
                self.forget()
                self._etag = etag.encode()
            lasts = TRUST if changes_in is None else min(TRUST, changes_in)
            self._trusted_until = started + lasts
            async for _ in connection.notifies(timeout=min(CHECK_INTERVAL, lasts), stop_after=1):
                self.forget()


def _size(key: Key, answer: Answer) -> int:
    return OVERHEAD + sum(map(len, key)) + 3 * len(answer.head) + len(answer.body)


def _answer(etag: bytes, headers: Headers, body: bytes, route: str) -> Answer:
    headers = [(name, value) for name, value in headers if name not in OWN_HEADERS]
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return Answer(
        etag=etag,
        route=route,
        headers=headers,
        head=b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n" % (lines, len(body)),
        head_unmodified=b"HTTP/1.1 304 Not Modified\r\n" + _unmodified(headers),
        body=body,
    )


def _unmodified(headers: Headers) -> bytes:
    without = (b"content-type", b"content-encoding")
    return b"".join(b"%s: %s\r\n" % header for header in headers if header[0] not in without)


def has(answer: Answer, etags: bytes) -> bool:
    """Whether the client has the answer already; `etags` is its If-None-Match."""
    return bool(etags) and answer.etag in [etag.strip() for etag in etags.split(b",")]


def _read(data: bytes) -> Asked | None:
    """A plainly written request; whatever is unusual is left to the real parser."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end or rest:
        return None
    line, *lines = head.split(b"\r\n")
    method, _, version = line.partition(b" ")
    target, _, version = version.partition(b" ")
    if method != b"GET" or version != b"HTTP/1.1" or not target.isascii() or b"#" in target:
        return None
    headers = []
    for each in lines:
        name, colon, value = each.partition(b":")
        name = name.lower()
        if not colon or not re.fullmatch(rb"[a-z0-9-]+", name) or not PRINTABLE.fullmatch(value):
            return None
        headers.append((name, value.strip()))
    if dict(headers).get(b"connection", b"keep-alive").lower() != b"keep-alive" or b"host" not in dict(headers):
        return None
    return asked("GET", target, headers)
