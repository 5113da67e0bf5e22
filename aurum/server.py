"""uvicorn's server, which tells WebSocket clients that it goes before it does."""

import asyncio
import socket
import time

import uvicorn

from aurum.beats import BEATS, beat_after
from markets.frames import Frame
from markets.hub import Hub

NOTICE = 2  # seconds that clients have for connecting elsewhere
DAY = 24 * 60 * 60 * BEATS
LOOK = 0.05  # seconds between two looks whether they have left


class Server(uvicorn.Server):
    """`hub` knows the connections."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def main_loop(self) -> None:
        """As uvicorn's, which looks ten times a second whether it must end."""
        counter, clock = 0, asyncio.get_running_loop().time
        while not await self.on_tick(counter):
            counter = (counter + 1) % DAY
            await asyncio.sleep(beat_after(clock(), clock()) - clock())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # so that nobody comes back to us
        self._hub.broadcast(Frame.of({"type": "draining", "closesIn": NOTICE}))
        ends_at = time.monotonic() + NOTICE
        while self._hub.connections and time.monotonic() < ends_at and not self.force_exit:
            await asyncio.sleep(LOOK)
        await super().shutdown(sockets)
        await self._hub.stop()
