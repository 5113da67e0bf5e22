"""How many WebSockets one client may have open to a process."""

from collections import Counter
from typing import Any

from channels.security.websocket import WebsocketDenier
from django.conf import settings

from aurum.throttling import client_address

RESPONSE = "websocket.http.response"  # the extension of ASGI that lets a handshake be answered


class ConnectionLimit:
    """ASGI middleware: a handshake above SOCKETS_PER_ADDRESS is answered 429, by servers that can, else 403."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        forwarded_for = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        peer = (scope.get("client") or ("",))[0]
        address = client_address(peer, forwarded_for.decode("latin-1"), settings.TRUSTED_PROXIES)
        if self._open[address] >= settings.SOCKETS_PER_ADDRESS:
            return await _refuse(scope, receive, send)
        self._open[address] += 1
        try:
            return await self.application(scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


async def _refuse(scope: dict[str, Any], receive: Any, send: Any) -> Any:
    if RESPONSE not in scope.get("extensions", {}):
        return await WebsocketDenier.as_asgi()(scope, receive, send)
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"retry-after", b"10")]
    await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"Too many connections from this address.\n"})
