"""Gives each request and each WebSocket an id: the caller's X-Request-ID where it is a plain one, else a new one."""

import os
import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from aurum.log_context import begin_log_context, current_request_id, log_context

HEADER = "X-Request-ID"
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
PLAIN_BYTES = re.compile(PLAIN.pattern.encode())
MARKET = re.compile(r"/api/markets/(0x[0-9a-fA-F]{64}|[0-9a-fA-F-]{36})")
ID_BYTES = 16  # of randomness, as hex
_HEADER = HEADER.lower().encode()


def new_request_id() -> str:
    """One that nobody else has."""
    return os.urandom(ID_BYTES).hex()


def offered_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The id in ASGI's headers; empty where there is none that is plain."""
    offered = b",".join(value for name, value in headers if name == _HEADER)
    return offered.decode() if PLAIN_BYTES.fullmatch(offered) else ""


def about(path: str) -> dict[str, str]:
    """What a path tells for the log: `marketId`, where it names a market."""
    market = MARKET.match(path)
    return {"marketId": market[1].lower()} if market else {}


class RequestIdMiddleware:
    """Sets the context of the request's log lines, and echoes its id in the answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        offered = request.META.get("HTTP_X_REQUEST_ID", "")
        # What came by aurum.front has one already.
        request_id = offered if PLAIN.fullmatch(offered) else current_request_id.get() or new_request_id()
        with log_context(requestId=request_id, **about(request.path)):
            response = self.get_response(request)
        response[HEADER] = request_id
        return response


class SocketRequestId:
    """ASGI middleware: one id for all that a WebSocket's connection logs, in the answer to its handshake too."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        request_id = offered_id(scope["headers"]) or new_request_id()

        async def answer(message: dict[str, Any]) -> None:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                message = {**message, "headers": [*message.get("headers", ()), (_HEADER, request_id.encode())]}
            await send(message)

        # The connection's task ends with it, and what the server says of it comes behind.
        begin_log_context(request_id)
        return await self.application(scope, receive, answer)
