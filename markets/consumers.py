"""WebSocket `/ws`: clients' frames, their answers, and what the hub delivers. docs/sockets.md is the protocol."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import close_old_connections

from aurum.database import DATABASE_ERRORS
from aurum.log_context import current_request_id, in_this_context
from markets.audience import Subscription
from markets.frames import Frame
from markets.hub import Hub, Unavailable
from markets.protocol import FrameError, Target, echoed, read_frame, read_target
from markets.snapshots import Kind, Reading, Start, read_starts
from markets.subscribers import SERVER_ERROR, Subscriber

logger = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 100
COMMANDS_PER_SECOND = 10
COMMANDS_AT_ONCE = 20  # of who was silent before
PENALTY = 0.1  # seconds that a client with too many commands waits for the next one to be looked at
UNAUTHENTICATED = 4401
# Each reads for one frame at a time, on a connection of the pool, which has 10.
READERS = ThreadPoolExecutor(4, thread_name_prefix="subscribe")
WIRE = "aurum.wire"  # aurum/socket_protocol.py, EXTENSION

T = TypeVar("T")


class Refused(Exception):
    """The token is no good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who a connection has shown to be: the primary key and name of a user, until `expires_at` (Unix seconds)."""

    user: Any
    name: str
    expires_at: int


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` reads from the database."""

    def run() -> T:
        try:
            return work()
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(READERS, in_this_context(run))


class FeedConsumer(AsyncWebsocketConsumer):
    """One connection. `kinds` are the channels by the name that frames give them; `authenticate` reads a token or
    raises Refused.
    """

    def __init__(self, *, hub: Hub, kinds: Mapping[str, Kind], authenticate: Callable[[str], Identity]) -> None:
        super().__init__()
        self.hub = hub
        self.kinds = kinds
        self.authenticate = authenticate
        self.forms = {name: kind.form for name, kind in kinds.items()}
        self.subscriptions: dict[tuple[str, str], list[Subscription]] = {}
        self.subscriber: Subscriber | None = None
        self.identity: Identity | None = None
        self.token_ends: asyncio.TimerHandle | None = None
        self.allowance, self.counted_at = float(COMMANDS_AT_ONCE), time.monotonic()

    async def connect(self) -> None:
        wire = self.scope.get("extensions", {}).get(WIRE)
        self.subscriber = Subscriber(self._send_text, self._close, self._lose, wire, self.hub.regroup)
        await self.accept()
        self.hub.join(self.subscriber)

    async def disconnect(self, code: int) -> None:
        for name in tuple(self.subscriptions):
            self._forget(name)
        if self.token_ends is not None:
            self.token_ends.cancel()
        if self.subscriber is not None:
            self.hub.leave(self.subscriber)
            self.subscriber.stop()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        frame: dict[str, Any] = {}
        try:
            self._count()
            frame = read_frame(text_data)
            kind = frame.get("type")
            command = COMMANDS.get(kind) if isinstance(kind, str) else None
            if command is None:
                raise FrameError("unknown_type", f"type must be one of {', '.join(COMMANDS)}")
            await command(self, frame)
        except FrameError as error:
            await self._refuse(error, frame)
        except (Unavailable, *DATABASE_ERRORS):
            logger.exception("a frame could not be served")
            await self._refuse(FrameError("unavailable"), frame)
        except Exception:
            logger.exception("a frame could not be served")
            await self._close(SERVER_ERROR)

    # --- commands --------------------------------------------------------------------------------------------------

    async def _subscribe(self, frame: dict[str, Any]) -> None:
        target = read_target(frame, self.forms)
        kind = self.kinds[target.channel]
        names = [(target.channel, key) for key in target.keys]
        if len(self.subscriptions.keys() | set(names)) > MAX_SUBSCRIPTIONS:
            raise FrameError("too_many_subscriptions")
        keys: Sequence[str] = target.keys
        if kind.keys_of is not None:
            keys = await in_thread(partial(kind.keys_of, self._signed_in().user))
        for name in names:
            self._forget(name)
        # First listen, then read: what commits in between is delivered behind the snapshot.
        listening: dict[str, Subscription] = {}
        try:
            for key in keys:
                listening[key] = await self.hub.subscribe(kind.channel(key), self._subscriber)
            reading = await in_thread(partial(read_starts, kind, keys, target.since))
        except BaseException:
            for subscription in listening.values():
                self.hub.unsubscribe(subscription)
            raise
        await self._start(target, kind, reading, listening, frame)

    async def _start(
        self,
        target: Target,
        kind: Kind,
        reading: Reading,
        listening: Mapping[str, Subscription],
        frame: Mapping[str, Any],
    ) -> None:
        """Answers a `subscribe`, and lets its subscriptions begin."""
        for key, seq in reading.lost:
            self.hub.unsubscribe(listening[key])
            self._say(self._resync(target.channel, key) | {"seq": seq} | echoed(frame))
        if not reading.starts and reading.lost:
            return
        for start in reading.starts:
            name = (target.channel, "" if kind.is_private else start.key)
            self.subscriptions.setdefault(name, []).append(listening[start.key])
        if kind.is_private:
            self.subscriptions.setdefault((target.channel, ""), [])
        self._subscriber.offer(Frame(self._subscribed(target, kind, reading, frame)))
        for start in reading.starts:
            subscription = listening[start.key]
            for seq, payload in start.replayed:
                self._subscriber.offer(Frame(payload, channel=subscription.channel, seq=seq))
                if self._subscriber.is_behind:
                    await self._subscriber.drained()
            subscription.open(start.seq)
            if subscription.is_lost:
                self._subscriber.lose(subscription.channel)

    def _subscribed(self, target: Target, kind: Kind, reading: Reading, frame: Mapping[str, Any]) -> str:
        """The answer; states are JSON already."""
        answer: dict[str, Any] = {"type": "subscribed", "channel": target.channel}
        if target.is_batch or kind.is_private:
            entries = ",".join(self._entry(start, start.key, "marketId") for start in reading.starts)
            states = f'"subscriptions":[{entries}]'
        else:
            [start] = reading.starts
            states = self._entry(start, start.key, kind.form.key)[1:-1]
        head = Frame.of(answer | echoed(frame) | reading.position).text
        return f"{head[:-1]},{states}}}"

    def _entry(self, start: Start, key: str, name: str) -> str:
        own = f'"{name}":"{key}",' if key else ""
        return f'{{{own}"seq":{start.seq},"snapshot":{start.snapshot or "null"}}}'

    async def _unsubscribe(self, frame: dict[str, Any]) -> None:
        target = read_target(frame, self.forms)
        form = self.forms[target.channel]
        names = [(target.channel, key) for key in target.keys]
        if not self.subscriptions.keys() >= set(names):
            raise FrameError("not_subscribed")
        for name in names:
            self._forget(name)
        keys: dict[str, Any] = {form.keys: list(target.keys)} if target.is_batch else self._key(*names[0])
        self._say({"type": "unsubscribed", "channel": target.channel, **keys, **echoed(frame)})

    async def _list(self, frame: dict[str, Any]) -> None:
        subscriptions = [{"channel": channel, **self._key(channel, key)} for channel, key in self.subscriptions]
        self._say({"type": "list", "subscriptions": subscriptions, **echoed(frame)})

    async def _ping(self, frame: dict[str, Any]) -> None:
        self._say({"type": "pong", **echoed(frame)})

    async def _auth(self, frame: dict[str, Any]) -> None:
        token = frame.get("token")
        if not isinstance(token, str):
            raise FrameError("unauthenticated")
        try:
            identity = await in_thread(partial(self.authenticate, token))
        except Refused:
            raise FrameError("unauthenticated") from None
        if self.identity is not None and self.identity.user != identity.user:
            raise FrameError("unauthenticated", "The connection is another user's.")
        self.identity = identity
        if self.token_ends is not None:
            self.token_ends.cancel()
        left = max(0.0, identity.expires_at - time.time())
        self.token_ends = asyncio.get_running_loop().call_later(left, self._end_token)
        self._say(
            {
                "type": "authenticated",
                "address": identity.name,
                "expiresAt": identity.expires_at,
                **echoed(frame),
            }
        )

    # --- what they share -------------------------------------------------------------------------------------------

    @property
    def _subscriber(self) -> Subscriber:
        assert self.subscriber is not None  # noqa: S101 (there is one since `connect`)
        return self.subscriber

    def _count(self) -> None:
        """Counts a command. Raises FrameError where it is one too many."""
        now = time.monotonic()
        earned = (now - self.counted_at) * COMMANDS_PER_SECOND
        self.allowance, self.counted_at = min(COMMANDS_AT_ONCE, self.allowance + earned), now
        if self.allowance < 1:
            raise FrameError("too_many_commands")
        self.allowance -= 1

    def _signed_in(self) -> Identity:
        if self.identity is None:
            raise FrameError("unauthenticated")
        return self.identity

    def _end_token(self) -> None:
        self.identity = None
        if any(self.kinds[channel].is_private for channel, _ in self.subscriptions):
            self.ending = asyncio.ensure_future(self._refuse(FrameError("unauthenticated"), {}))

    async def _refuse(self, error: FrameError, frame: Mapping[str, Any]) -> None:
        answer = {"type": "error", "code": error.code, "message": str(error)}
        request_id = {"requestId": current_request_id.get()} if current_request_id.get() else {}
        self._say(answer | error.details | request_id | echoed(frame))
        if error.code == "unauthenticated":
            await self._subscriber.drained()
            await self._close(UNAUTHENTICATED)
        elif error.code == "too_many_commands":
            await asyncio.sleep(PENALTY)

    def _key(self, channel: str, key: str) -> dict[str, str]:
        return {self.forms[channel].key: key} if key else {}

    def _resync(self, channel: str, key: str) -> dict[str, str]:
        own = {"marketId": key} if self.kinds[channel].is_private else self._key(channel, key)
        return {"type": "resync", "channel": channel, **own}

    def _forget(self, name: tuple[str, str]) -> None:
        for subscription in self.subscriptions.pop(name, ()):
            self.hub.unsubscribe(subscription)

    def _lose(self, channel: str) -> list[Frame]:
        """Ends the subscriptions of a channel of the outbox, and returns what the client is told of it."""
        told = []
        for (kind, key), subscriptions in list(self.subscriptions.items()):
            for subscription in [each for each in subscriptions if each.channel == channel]:
                self.hub.unsubscribe(subscription)
                subscriptions.remove(subscription)
                of = channel.partition(":")[2] if self.kinds[kind].is_private else key
                told.append(Frame.of(self._resync(kind, of)))
            if not subscriptions and not self.kinds[kind].is_private:
                del self.subscriptions[kind, key]
        return told

    def _say(self, answer: Mapping[str, Any]) -> None:
        self._subscriber.offer(Frame.of(answer))

    async def _send_text(self, text: str) -> None:
        await self.send(text_data=text)

    async def _close(self, code: int) -> None:
        self._subscriber.stop()
        with suppress(RuntimeError):  # it is closed already
            await self.close(code=code)


COMMANDS: dict[str, Callable[[FeedConsumer, dict[str, Any]], Awaitable[None]]] = {
    "subscribe": FeedConsumer._subscribe,
    "unsubscribe": FeedConsumer._unsubscribe,
    "list": FeedConsumer._list,
    "ping": FeedConsumer._ping,
    "auth": FeedConsumer._auth,
}
