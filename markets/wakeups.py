"""What tells the hub that there is something new. Each may fail or be lost at any time: the hub looks anyway."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import psycopg
import redis.asyncio
from redis.exceptions import RedisError

from markets.outbox import WAKE

logger = logging.getLogger(__name__)

RECONNECT_PAUSE = 1.0  # seconds
CHECK_INTERVAL = 10.0  # seconds between two looks whether a silent connection is one still

Waker = Callable[[Callable[[], None]], Awaitable[None]]


def by_notify(connect: Callable[[], Awaitable[psycopg.AsyncConnection]]) -> Waker:
    """NOTIFY of PostgreSQL; `connect` opens an autocommit connection."""

    async def listen(wake: Callable[[], None]) -> None:
        while True:
            try:
                async with await connect() as connection:
                    await connection.execute(f"LISTEN {WAKE}")
                    wake()
                    while True:
                        async for _ in connection.notifies(timeout=CHECK_INTERVAL):
                            wake()
                        async with asyncio.timeout(CHECK_INTERVAL):
                            await connection.execute("SELECT 1")
            except (psycopg.Error, OSError) as error:
                logger.warning("no notifications of PostgreSQL, trying again: %s", type(error).__name__)
                await asyncio.sleep(RECONNECT_PAUSE)

    return listen


def by_redis(url: str) -> Waker:
    """PUBLISH of Redis."""

    async def listen(wake: Callable[[], None]) -> None:
        while True:
            try:
                # An answer may take as long as there is nothing to say; pings find out whether the connection is alive.
                client = redis.asyncio.Redis.from_url(url, socket_timeout=None, socket_connect_timeout=CHECK_INTERVAL)
                async with client, client.pubsub() as channel:
                    await channel.subscribe(WAKE)
                    wake()
                    await _follow(channel, wake)
            except (RedisError, OSError) as error:
                logger.warning("no word of Redis, trying again: %s", type(error).__name__)
                await asyncio.sleep(RECONNECT_PAUSE)

    return listen


async def _follow(channel: redis.asyncio.client.PubSub, wake: Callable[[], None]) -> None:
    """Wakes with each message. Raises OSError where a ping is not answered."""
    is_answered = True
    while True:
        message = await channel.get_message(timeout=CHECK_INTERVAL)
        if message is not None:
            is_answered = True
            wake()
        elif is_answered:
            is_answered = False
            await channel.ping()
        else:
            raise TimeoutError
