"""Outbox -> subscribers of one web process. Each committed row is read once, and handed to whoever subscribed.

Wake-ups make it prompt; looking anyway makes it sure: a lost wake-up or connection costs a read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from aurum.beats import BEATS, beat_after
from aurum.log_context import apart
from markets.audience import Audience, Subscription
from markets.frames import Frame
from markets.subscribers import Subscriber
from markets.wakeups import RECONNECT_PAUSE, Waker

logger = logging.getLogger(__name__)

POLL_INTERVAL = 1.0  # seconds between reads without a wake-up
READ_TIMEOUT = 10.0  # seconds after which a connection that does not answer is given up
READ_SIZE = 1000  # rows a query
BURST = 500  # frames that are handed out before the loop may do something else
HEARTBEAT = 15  # seconds between two heartbeats of a connection; a few have theirs at each beat
START_TIMEOUT = 5.0  # seconds that a subscription waits for the database

# Messages, and how far the tables are with them: one statement, so that both are of one moment. What the row that was
# read last is there for: where it is gone, others behind it may be.
READ = """
    SELECT message.id, message.channel, message.seq, message.payload, position.*
    FROM (SELECT) once
    LEFT JOIN ({position}) position ON true
    LEFT JOIN (SELECT id, channel, seq, payload FROM outbox WHERE id >= %s ORDER BY id LIMIT %s) message ON true
    ORDER BY message.id
"""
COLUMNS = 4  # of a message, before those of the position
NEWEST = "SELECT coalesce(max(id), 0) FROM outbox"
# How many sockets a process has stands in the name of the connection that it reads the outbox on: it goes with both.
NAME = "SELECT set_config('application_name', %s, false)"
LONGEST_NAME = 63  # characters: PostgreSQL cuts the rest off
SOCKETS_OF_ALL = """
    SELECT count(*), coalesce(sum((regexp_match(application_name, ' ([0-9]+) sockets$'))[1]::int), 0)
    FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ ' [0-9]+ sockets$'
"""


class Unavailable(Exception):
    """The outbox can't be read at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """How far the tables are: blocks, of which `head_block` is the chain's last one as far as it is known."""

    block_number: int = -1
    safe_block: int = -1
    finalized_block: int = -1
    head_block: int | None = None

    def finality(self) -> Frame:
        return Frame.of({"type": "finality", "safeBlock": self.safe_block, "finalizedBlock": self.finalized_block})

    def heartbeat(self, seq: int) -> Frame:
        head = self.head_block
        return Frame.of(
            {
                "type": "heartbeat",
                "seq": seq,
                "blockNumber": self.block_number,
                "headBlock": head,
                "lagBlocks": None if head is None else max(0, head - self.block_number),
                "safeBlock": self.safe_block,
                "finalizedBlock": self.finalized_block,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HubCounts:
    """Who is there, and what was handed out since the process started."""

    connections: int
    subscriptions: int
    is_following: bool
    delivered: int
    resyncs: int


class Hub:
    """Reads the outbox and fans it out.

    `connect` opens an autocommit connection to the database; `read_position` is the statement that gives the fields of
    a FeedPosition; each of `wakers` calls what it is given when there may be something new.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[psycopg.AsyncConnection]],
        read_position: str,
        wakers: Sequence[Waker] = (),
    ) -> None:
        self._connect = connect
        self._statement = READ.format(position=read_position)
        self._wakers = wakers
        # In the order in which they came: so do their connections lie in memory, and to send to them in another order
        # costs a tenth more.
        self._subscriptions: dict[str, dict[Subscription, None]] = {}
        self._audiences: dict[str, Audience] = {}  # of channels that had news since somebody came or went
        self._subscribers: list[set[Subscriber]] = [set() for _ in range(HEARTBEAT * BEATS)]
        self._tasks: list[asyncio.Future[None]] = []
        self._woken = asyncio.Event()
        self._following = asyncio.Event()
        self._last_id = -1  # nothing is read yet
        self._name = ""  # of the outbox's connection, as it was opened
        self._named = -1  # how many connections the outbox's is named after
        self._named_at = 0.0
        self._delivered = self._resyncs = 0
        self.position = FeedPosition()

    # --- who is there ----------------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        """A connection is there; needs a running loop."""
        self._start()
        min(self._subscribers, key=len).add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        for some in self._subscribers:
            some.discard(subscriber)

    @property
    def connections(self) -> int:
        return sum(map(len, self._subscribers))

    def counts(self) -> HubCounts:
        """For metrics; may be asked by another thread."""
        return HubCounts(
            connections=self.connections,
            subscriptions=sum(map(len, list(self._subscriptions.values()))),
            is_following=self._following.is_set(),
            delivered=self._delivered,
            resyncs=self._resyncs,
        )

    async def subscribe(self, channel: str, subscriber: Subscriber) -> Subscription:
        """Registers an interest: what is committed after this returns reaches the subscription. Raises Unavailable."""
        self._start()
        subscription = Subscription(channel, subscriber)
        self._subscriptions.setdefault(channel, {})[subscription] = None
        self._audiences.pop(channel, None)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._following.wait()
        except TimeoutError:
            self.unsubscribe(subscription)
            raise Unavailable from None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends an interest: nothing more is delivered."""
        subscription.end()
        self._audiences.pop(subscription.channel, None)
        remaining = self._subscriptions.get(subscription.channel)
        if remaining is not None:
            remaining.pop(subscription, None)
            if not remaining:
                del self._subscriptions[subscription.channel]

    def regroup(self) -> None:
        """Call when a subscriber can't be written to directly any more."""
        self._audiences.clear()

    def broadcast(self, frame: Frame) -> None:
        """Sends a frame to every connection."""
        for some in self._subscribers:
            for subscriber in tuple(some):
                subscriber.offer(frame)

    # --- following the outbox --------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._tasks:
            work = [self._follow(), self._beat(), *(wake(self._woken.set) for wake in self._wakers)]
            self._tasks = [apart(each) for each in work]

    async def stop(self) -> None:
        """Ends all that runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _follow(self) -> None:
        while True:
            try:
                async with await self._connect() as connection:
                    self._name, self._named = connection.info.parameter_status("application_name") or "", -1
                    while True:
                        await self._look(connection)
                        await self._tell(connection)
                        await self._wait()
            except (psycopg.Error, OSError) as error:
                logger.warning("the outbox can't be read, trying again: %s", type(error).__name__)
            except Exception:
                logger.exception("the outbox can't be followed, trying again")
            await asyncio.sleep(RECONNECT_PAUSE)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_INTERVAL):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def _look(self, connection: psycopg.AsyncConnection) -> None:
        """Hands out what is new. Of finality it tells when everything up to there has been told."""
        if self._last_id < 0:
            self._last_id = await self._newest(connection)
        count = READ_SIZE
        while count == READ_SIZE:
            count, position = await self._read(connection)
            if not self._following.is_set():
                self.position = position
                self._following.set()
        before, self.position = self.position, position
        if (before.safe_block, before.finalized_block) != (position.safe_block, position.finalized_block):
            self.broadcast(position.finality())

    async def _tell(self, connection: psycopg.AsyncConnection) -> None:
        """At most once in POLL_INTERVAL, however many come and go."""
        now, count = asyncio.get_running_loop().time(), self.connections
        if count == self._named or now < self._named_at + POLL_INTERVAL:
            return
        suffix = f" {count} sockets"
        await self._rows(connection, NAME, self._name[: LONGEST_NAME - len(suffix)] + suffix)
        self._named, self._named_at = count, now

    async def _newest(self, connection: psycopg.AsyncConnection) -> int:
        [[newest]] = await self._rows(connection, NEWEST)
        return newest

    async def _rows(self, connection: psycopg.AsyncConnection, statement: str, *values: int | str) -> list[Any]:
        async with asyncio.timeout(READ_TIMEOUT):
            return await (await connection.execute(statement, values)).fetchall()

    async def _read(self, connection: psycopg.AsyncConnection) -> tuple[int, FeedPosition]:
        """Hands out the rows behind the last one, in commit order; returns how many rows there were, and the position
        behind them, if these were all."""
        read = await self._rows(connection, self._statement, self._last_id, READ_SIZE)
        position = _position(read[0][COLUMNS:])
        rows = [row[:COLUMNS] for row in read if row[0] is not None]
        if self._last_id > 0 and (not rows or rows[0][0] != self._last_id):
            # Whatever is new belongs to channels that all subscribers have to read anew.
            self._last_id = await self._newest(connection)
            self._lose_all()
            return 0, position
        handed_out = 0
        for row_id, channel, seq, payload in rows:
            if row_id == self._last_id:
                continue
            try:
                handed_out = await self._hand_out(Frame(payload, channel=channel, seq=seq), handed_out)
            except Exception:
                logger.exception("a message could not be handed out to all: its channel's subscriptions start anew")
                self._lose([channel])
            self._last_id = row_id
        return len(rows), position

    async def _hand_out(self, frame: Frame, handed_out: int) -> int:
        """Returns how many were handed out since something else could be done; `handed_out` were before."""
        if frame.channel not in self._subscriptions:
            return handed_out
        audience = self._audience(frame)
        self._delivered += len(audience)
        for portion in audience.portions:
            if self._audiences.get(frame.channel) is not audience or not portion.write(frame):
                for subscription in portion.subscriptions:
                    subscription.deliver(frame)
            handed_out = await _breathe(handed_out + len(portion.subscriptions))
        for subscription in audience.others:
            subscription.deliver(frame)
            handed_out = await _breathe(handed_out + 1)
        if audience.others and not audience.is_settled(frame.seq):
            self._audiences.pop(frame.channel, None)
        return handed_out

    def _audience(self, frame: Frame) -> Audience:
        if frame.channel not in self._audiences:
            self._audiences[frame.channel] = Audience(self._subscriptions[frame.channel], before=frame.seq - 1)
        return self._audiences[frame.channel]

    def _lose_all(self) -> None:
        logger.warning("messages are gone before they were read: every subscription starts anew")
        self._lose(list(self._subscriptions))

    def _lose(self, channels: Iterable[str]) -> None:
        for channel in channels:
            subscriptions = tuple(self._subscriptions.get(channel, ()))
            self._resyncs += len(subscriptions)
            for subscription in subscriptions:
                subscription.is_lost = True
                subscription.subscriber.lose(channel)

    async def _beat(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            for some in reversed(self._subscribers):  # the first that come have theirs last
                due = beat_after(due, clock())
                await asyncio.sleep(due - clock())
                if some and self._following.is_set():
                    frame = self.position.heartbeat(self._last_id)
                    for subscriber in tuple(some):
                        subscriber.offer(frame)


def _position(values: Sequence[Any]) -> FeedPosition:
    """Of the columns of FeedPosition; all are NULL where nothing is indexed yet."""
    found = dict(zip(FeedPosition.__slots__, values, strict=True))
    return FeedPosition() if found["block_number"] is None else FeedPosition(**found)


async def _breathe(handed_out: int) -> int:
    """Lets the loop do something else once a BURST was handed out, and counts anew."""
    if handed_out < BURST:
        return handed_out
    await asyncio.sleep(0)
    return 0
