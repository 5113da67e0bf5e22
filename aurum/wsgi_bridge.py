"""Django's WSGI handler under ASGI, on threads of its own.

Django's ASGI handler changes threads several times a request; this does it once there and once back. An answer is
written when it is whole: none of ours is a stream.
"""

import asyncio
import contextvars
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from aurum.log_context import current_request_id
from aurum.problems import CONTENT_TYPE, problem
from aurum.throttling import USAGE

# Each holds a connection to the database, see DATABASES["reads"].
THREADS = 8
MAX_BODY = 2**20  # bytes of a request: the largest is an operator's file (metadata_csv.MAX_BYTES)

BODILESS = ("204", "304")
COMPRESSIBLE = 1024  # bytes from which on gzip pays

Environ = dict[str, Any]


class Answered(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class WsgiBridge:
    """Answers HTTP requests by a WSGI application."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="web")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answered = await self.answer(scope, receive)
        if answered is not None:
            await send({"type": "http.response.start", "status": answered.status, "headers": answered.headers})
            await send({"type": "http.response.body", "body": answered.body})

    async def answer(self, scope: Any, receive: Any) -> Answered | None:
        """The application's answer; None where the client left before it had asked."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                return _too_large()
            if not message.get("more_body"):
                break
        context = contextvars.copy_context()
        environ = environ_of(scope, bytes(body))
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, self._run, environ)

    async def compressed(self, answered: Answered) -> Answered:
        """The answer as gzip, where that pays; on a thread, for it takes tens of milliseconds for a megabyte."""
        if len(answered.body) < COMPRESSIBLE or any(name == b"content-encoding" for name, _ in answered.headers):
            return answered
        return await asyncio.get_running_loop().run_in_executor(self._threads, _compressed, answered)

    def _run(self, environ: Environ) -> Answered:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started[:] = status, headers

        chunks: Any = self._application(environ, start_response)
        try:
            body = b"".join(chunks)
        finally:
            # Also what tells Django that the request is over.
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        status, headers = started
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if status[:3] not in BODILESS and all(name != b"content-length" for name, _ in encoded):
            encoded.append((b"content-length", str(len(body)).encode()))
        return Answered(int(status[:3]), encoded, body)


def _compressed(answered: Answered) -> Answered:
    body = gzip.compress(answered.body, compresslevel=6, mtime=0)
    varying = [value for name, value in answered.headers if name == b"vary"]
    if b"accept-encoding" not in b",".join(varying).lower():
        varying.append(b"Accept-Encoding")
    headers = [(name, value) for name, value in answered.headers if name not in (b"vary", b"content-length")]
    headers += [(b"vary", b", ".join(varying)), (b"content-encoding", b"gzip")]
    return Answered(answered.status, [*headers, (b"content-length", str(len(body)).encode())], body)


def _too_large() -> Answered:
    body = json.dumps(problem(413, "The body is too large.")).encode()
    headers = {"content-type": CONTENT_TYPE, "content-length": str(len(body)), "x-request-id": current_request_id.get()}
    return Answered(413, [(name.encode(), value.encode()) for name, value in headers.items()], body)


def environ_of(scope: Any, body: bytes) -> Environ:
    """An HTTP scope as WSGI's environment (PEP 3333)."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        USAGE: scope.get(USAGE),
    }
    for name, value in scope["headers"]:
        _add_header(environ, name, value)
    return environ


def _add_header(environ: Environ, name: bytes, value: bytes) -> None:
    # With an underscore, a header could pass for another one.
    if b"_" in name or name == b"content-length":
        return
    key = name.decode("latin-1").upper().replace("-", "_")
    key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
    text = value.decode("latin-1")
    separator = "; " if name == b"cookie" else ","
    environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
