"""Outbox -> subscribers of one web process. Each committed row is read once and handed to whoever subscribed.

A wake-up (NOTIFY) makes it prompt; polling underneath makes it sure: a lost wake-up or connection costs a read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psycopg

logger = logging.getLogger(__name__)

POLL_INTERVAL = 1.0  # seconds between reads without a wake-up
RECONNECT_PAUSE = 1.0  # seconds
READ_SIZE = 1000  # rows a query
QUEUE_SIZE = 500  # messages that a subscriber may lag behind before it is dropped


class Subscriber:
    """One connection's side of the hub: a bounded queue of frames. `overflowed` when it could not keep up."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str] = asyncio.Queue(QUEUE_SIZE)
        self.overflowed = asyncio.Event()

    def offer(self, frame: str) -> None:
        """Takes a frame without ever waiting: a slow reader is its own problem."""
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.overflowed.set()


@dataclass(slots=True, eq=False)
class Subscription:
    """A subscriber's interest in one channel. Until `open`, messages wait for the snapshot that precedes them."""

    channel: str
    subscriber: Subscriber
    _waiting: list[tuple[int, str]] | None = field(default_factory=list)

    def deliver(self, seq: int, frame: str) -> None:
        if self._waiting is None:
            self.subscriber.offer(frame)
        elif len(self._waiting) < QUEUE_SIZE:
            self._waiting.append((seq, frame))
        else:
            self.subscriber.overflowed.set()

    def open(self, after_seq: int) -> None:
        """From now on messages go out; of those that waited, the ones behind the snapshot's `seq`."""
        waiting, self._waiting = self._waiting or [], None
        for seq, frame in waiting:
            if seq > after_seq:
                self.subscriber.offer(frame)


class Hub:
    """Reads the outbox and fans it out. `connect` opens an autocommit connection to the database."""

    def __init__(self, connect: Callable[[], Awaitable[psycopg.AsyncConnection]]) -> None:
        self._connect = connect
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._last_id = -1

    async def subscribe(self, channel: str, subscriber: Subscriber) -> Subscription:
        """Registers an interest. Everything committed after this returns reaches the subscription."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="outbox hub")
        subscription = Subscription(channel, subscriber)
        self._subscriptions.setdefault(channel, set()).add(subscription)
        await self._listening.wait()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends an interest."""
        remaining = self._subscriptions.get(subscription.channel, set())
        remaining.discard(subscription)
        if not remaining:
            self._subscriptions.pop(subscription.channel, None)

    async def _run(self) -> None:
        while True:
            try:
                connection = await self._connect()
                async with connection:
                    await connection.execute("LISTEN outbox")
                    if self._last_id < 0:
                        self._last_id = await self._newest(connection)
                    self._listening.set()
                    await self._follow(connection)
            except (psycopg.Error, OSError) as error:
                logger.warning("the outbox can't be read, trying again: %s", type(error).__name__)
                await asyncio.sleep(RECONNECT_PAUSE)

    async def _follow(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            while await self._read(connection) == READ_SIZE:
                pass
            async for _ in connection.notifies(timeout=POLL_INTERVAL, stop_after=1):
                pass

    async def _newest(self, connection: psycopg.AsyncConnection) -> int:
        row = await (await connection.execute("SELECT coalesce(max(id), 0) FROM outbox")).fetchone()
        return row[0] if row else 0

    async def _read(self, connection: psycopg.AsyncConnection) -> int:
        """Delivers the rows behind the last one, in commit order, and returns how many there were."""
        cursor = await connection.execute(
            "SELECT id, channel, seq, payload FROM outbox WHERE id > %s ORDER BY id LIMIT %s",
            (self._last_id, READ_SIZE),
        )
        rows = await cursor.fetchall()
        for row_id, channel, seq, payload in rows:
            for subscription in tuple(self._subscriptions.get(channel, ())):
                subscription.deliver(seq, payload)
            self._last_id = row_id
        return len(rows)
