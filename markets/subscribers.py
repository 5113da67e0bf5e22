"""A connection's side of the hub: what goes out to it, and what becomes of it when it can't keep up."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Protocol

from markets.frames import Frame

logger = logging.getLogger(__name__)

BUFFER = 64 * 1024  # bytes that may wait in a transport; above them messages wait here
QUEUE_SIZE = 2_000  # messages that wait for one connection: twice what the hub reads at once
STALL = 8.0  # seconds that one message may wait for the connection to take it
SERVER_ERROR = 1011
TRY_AGAIN_LATER = 1013  # the close code for a connection that can't keep up
PRICES = "prices:"  # of whose messages the latest stands for those before it


class Wire(Protocol):
    """A connection whose `transport` takes encoded frames as they are (aurum/socket_protocol.py).

    `descriptor` is its socket, if what is written to that is what the client gets.
    """

    transport: Any

    @property
    def descriptor(self) -> int | None: ...

    async def writable_again(self) -> None:
        """Returns when less waits to be sent."""

    def give_up(self, code: int) -> None:
        """Closes at once: the client does not read."""


class Subscriber:
    """Frames go out in the order in which they are offered, and offering one never waits.

    They go straight to the `wire` where there is one that takes them, else one after the other through `send`. `close`
    ends the connection, `lose` a channel's subscription, of which it returns what the client is told. `held_up` is
    called when it is no longer `is_direct`.
    """

    __slots__ = (
        "_close", "_context", "_held_up", "_lose", "_send", "_sender", "_waiting", "_wire", "descriptor", "is_closed",
        "transport",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
        lose: Callable[[str], list[Frame]],
        wire: Wire | None = None,
        held_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._close = close
        self._lose = lose
        self._wire = wire
        self._context = copy_context()  # the hub offers, and the lines are the connection's
        self._held_up = held_up
        self.transport: Any = None if wire is None else wire.transport
        self.descriptor = None if wire is None else wire.descriptor
        self._waiting: deque[Frame] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.is_closed = False

    def offer(self, frame: Frame) -> None:
        """Takes a frame: a slow reader is its own problem."""
        if self.is_closed:
            return
        transport = self.transport
        if transport is not None and self._sender is None and transport.get_write_buffer_size() <= BUFFER:
            if not transport.is_closing():
                transport.write(frame.wire)
            return
        self._waiting.append(frame)
        if len(self._waiting) > QUEUE_SIZE:
            self._shed()
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_waiting(), name="slow subscriber", context=self._context)
            self._held_up()

    @property
    def is_direct(self) -> bool:
        """Whether a frame can be written to the transport, as long as that is neither closing nor full."""
        return self.transport is not None and self._sender is None and not self.is_closed

    @property
    def is_behind(self) -> bool:
        """Whether much waits: who can wait to offer more does."""
        return len(self._waiting) > QUEUE_SIZE // 4

    def lose(self, channel: str) -> None:
        """Tells the client that it has to read a channel anew."""
        for frame in self._lose(channel):
            self.offer(frame)

    async def drained(self) -> None:
        """Returns when nothing waits any more."""
        if self._sender is not None:
            await asyncio.wait([self._sender])

    def stop(self) -> None:
        """The connection is gone, or is to be closed behind what has been sent."""
        self.is_closed = True
        self._held_up()
        self._waiting.clear()
        if self._sender is not None:
            self._sender.cancel()

    # --- slow connections ------------------------------------------------------------------------------------------

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                first = self._waiting[0]
                async with asyncio.timeout(STALL):
                    await self._send_one(first)
                self._waiting.popleft()
        except TimeoutError:
            await self._end(TRY_AGAIN_LATER)
        except Exception:
            # A connection that nothing is sent on any more must not stay open and silent.
            logger.exception("a frame could not be sent")
            await self._end(SERVER_ERROR)
        finally:
            self._sender = None

    async def _send_one(self, frame: Frame) -> None:
        if self._wire is None:
            await self._send(frame.text)
            return
        while self.transport.get_write_buffer_size() > BUFFER and not self.transport.is_closing():
            await self._wire.writable_again()
        if not self.transport.is_closing():
            self.transport.write(frame.wire)

    async def _end(self, code: int) -> None:
        self.is_closed = True
        self._waiting.clear()
        if self._wire is not None:
            self._wire.give_up(code)
        else:
            await self._close(code)

    def _shed(self) -> None:
        """Makes room: of prices the latest of each market stays. If that is not enough, the busiest channel goes."""
        first, *others = self._waiting  # the first is being sent
        kept: dict[str | int, Frame] = {}
        since: dict[str, int] = {}
        for place, frame in enumerate(others):
            if frame.channel.startswith(PRICES):
                since.setdefault(frame.channel, frame.first)
                kept.pop(frame.channel, None)
                kept[frame.channel] = frame
            else:
                kept[place] = frame
        frames = [frame.standing_for(since.get(frame.channel, frame.first)) for frame in kept.values()]
        busiest = Counter(frame.channel for frame in frames if frame.channel).most_common(1)
        if busiest and len(frames) > QUEUE_SIZE // 2:
            channel, _ = busiest[0]
            frames = [frame for frame in frames if frame.channel != channel] + self._lose(channel)
        self._waiting = deque([first, *frames])
