"""uvicorn's WebSocket connection, with what it lacks: frames that are encoded already, an end for who does not read."""

import asyncio
import os
from operator import xor
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from aurum.beats import BEATS, beat_after
from markets.subscribers import BUFFER

EXTENSION = "aurum.wire"  # where the application finds the connection in its scope
MAX_FRAGMENTS = 64  # of one message, which has 16 KiB: empty ones would take memory without end
PING_INTERVAL = 7  # seconds, in which an answer must come: who stops reading is to be gone within 15
PAYLOAD = 4  # bytes of a ping
PING = bytes((0x89, PAYLOAD))
PONG = bytes((0x8A, 0x80 | PAYLOAD))  # then come the mask and the payload
PONG_LENGTH = 2 + 4 + PAYLOAD
LINGER = 3.0  # seconds that a client has for reading the rest, before the connection is cut


class Pulse:
    """Pings all connections in turns, a few at each beat with one frame: more would make other messages late."""

    def __init__(self) -> None:
        self._turns: list[set[SocketProtocol]] = [set() for _ in range(PING_INTERVAL * BEATS)]
        self._turn = 0
        self._due = 0.0  # when the next is, on the loop's clock
        self._timer: asyncio.TimerHandle | None = None

    def add(self, protocol: "SocketProtocol") -> None:
        min(self._turns, key=len).add(protocol)
        if self._timer is None:
            self._due = protocol.loop.time()
            self._wait(protocol.loop)

    def discard(self, protocol: "SocketProtocol") -> None:
        for turn in self._turns:
            turn.discard(protocol)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        payload = os.urandom(PAYLOAD)
        frame = PING + payload
        self._turn = (self._turn - 1) % len(self._turns)  # backwards: the first that come are pinged last
        for protocol in tuple(self._turns[self._turn]):
            protocol.ping(frame, payload)
        self._timer = None
        if any(self._turns):
            self._wait(loop)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = beat_after(self._due, loop.time())
        self._timer = loop.call_at(self._due, self._beat, loop)


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    pulse = Pulse()
    _awaited: bytes | None = None  # of the ping that is not answered yet

    async def run_asgi(self) -> None:
        # A compressed connection needs its own encoding of each message.
        if not self.conn.extensions:
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self
        await super().run_asgi()

    # --- what the application calls (markets/subscribers.py, Wire) --------------------------------------------------

    @property
    def descriptor(self) -> int | None:
        """The connection's socket; none where TLS lies between that and the transport."""
        if self.transport.get_extra_info("sslcontext") is not None:
            return None
        return self.transport.get_extra_info("socket").fileno()

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

    # --- pings ------------------------------------------------------------------------------------------------------

    def ping(self, frame: bytes, payload: bytes) -> None:
        """Sends this ping, unless the one before was not answered: then nobody is there."""
        if self._awaited is not None:
            self.keepalive_timeout()
        elif not (self.close_sent or self.transport.is_closing()):
            self._awaited = payload
            self.transport.write(frame)

    def start_keepalive(self) -> None:
        self.pulse.add(self)

    def stop_keepalive(self) -> None:
        self.pulse.discard(self)

    def data_received(self, data: bytes) -> None:
        # Most of what clients send is this, and to parse it costs more than the ping. In the middle of another frame it
        # can only be by intent: the four bytes are random.
        if self._awaited is not None and len(data) == PONG_LENGTH and data.startswith(PONG) and self._answers(data):
            self._awaited = None
        else:
            super().data_received(data)

    def _answers(self, pong: bytes) -> bool:
        mask, payload = pong[2:6], pong[6:]
        return bytes(map(xor, mask, payload)) == self._awaited

    def handle_pong(self, event: Any) -> None:
        if event.data == self._awaited:
            self._awaited = None

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
