"""uvicorn's WebSocket connection, with what it lacks: frames that are encoded already, an end for who does not read."""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

EXTENSION = "aurum.wire"  # where the application finds the connection in its scope
BUFFER = 64 * 1024  # bytes that may wait for one client to read; above them its messages wait in its queue
MAX_FRAGMENTS = 64  # of one message, which has 16 KiB: empty ones would take memory without end
LINGER = 3.0  # seconds that a client has for reading the rest, before the connection is cut


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    async def run_asgi(self) -> None:
        # A compressed connection needs its own encoding of each message.
        if not self.conn.extensions:
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self
        await super().run_asgi()

    # --- what the application calls (markets/subscribers.py, Wire) -------------------------------------------------

    def push(self, frame: bytes) -> bool:
        """Writes an encoded frame; False where too much waits to be sent."""
        transport: Any = self.transport
        if transport.get_write_buffer_size() > BUFFER:
            return transport.is_closing()  # then nobody waits for it
        if not (self.close_sent or transport.is_closing()):
            transport.write(frame)
        return True

    async def writable_again(self) -> None:
        """Returns when the client has read some of what waits."""
        await asyncio.sleep(0)  # uvloop notices at the end of a turn that its buffer is too full
        await self.writable.wait()

    def give_up(self, code: int) -> None:
        """Closes a connection whose client does not read: what it does not read in time is lost."""
        if not (self.close_sent or self.transport.is_closing()):
            self.conn.send_close(code)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        self.transport.close()
        self._cut_later()

    # --- what uvicorn calls ----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        super().shutdown()
        self._cut_later()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_later()

    def handle_ping(self) -> None:
        transport: Any = self.transport
        if transport.get_write_buffer_size() > BUFFER:
            transport.abort()  # it asks and asks, and does not read the answers
        else:
            super().handle_ping()

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG)
            self.handle_parser_exception()
        else:
            super().handle_cont(event)

    def _cut_later(self) -> None:
        self.loop.call_later(LINGER, self.transport.abort)
