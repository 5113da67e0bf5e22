"""Which pages may open a WebSocket: those of CORS_ORIGIN and our own host. Programs send no Origin and may."""

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings


class OriginCheck:
    """ASGI middleware: a foreign page's handshake is answered 403."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin1")
        host = headers.get(b"host", b"").decode("latin1")
        allowed = not origin or origin in settings.CORS_ALLOWED_ORIGINS or urlsplit(origin).netloc == host
        application = self.application if allowed else WebsocketDenier.as_asgi()
        return await application(scope, receive, send)
