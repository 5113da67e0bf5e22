"""A WebSocket client that is cut again and again, resumes, and remembers all that it was told."""

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from markets.models import Channel, OutboxMessage

KEYS = {"market": "marketId", "prices": "marketId", "user": "address", "oracle": "questionId"}
SETTLE = 0.1  # seconds in which new markets are gathered for one frame
PAUSE = 0.05  # seconds between two attempts to connect
RECEIVE_TIMEOUT = 40.0  # seconds: a connection has a heartbeat every 15

Name = tuple[str, str]  # a channel's kind and key


class Follower:
    """Follows the channels in `names`, and the markets that it hears of; by `since`, so that nothing may be missing.

    Each connection is to the next one of the servers. `is_late` starts from snapshots instead. `told` is every message
    by channel, `snapshots` where a channel started.
    """

    def __init__(self, *urls: str, names: list[Name], dice: random.Random, is_late: bool = False) -> None:
        self.urls = cycle(urls)
        self.dice = dice
        self.is_late = is_late
        self.seqs: dict[Name, int | None] = dict.fromkeys(names, None if is_late else 0)
        self.told: dict[Name, list[dict[str, Any]]] = {name: [] for name in names}
        self.snapshots: dict[Name, dict[str, Any]] = {}
        self.finality: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.connections = 0
        self.seen: set[str] = set()  # types of messages
        self._socket: ClientConnection | None = None
        self._new: set[Name] = set()
        self._asked: dict[str, list[Name]] = {}
        self._is_stopped = False

    async def run(self) -> None:
        while not self._is_stopped:
            try:
                async with connect(next(self.urls), open_timeout=10, max_queue=None) as socket:
                    self._socket = socket
                    self.connections += 1
                    await self._follow(socket)
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                await asyncio.sleep(PAUSE)
            finally:
                self._socket = None

    def cut(self) -> None:
        """The network is gone, without a word to anybody."""
        if self._socket is not None:
            self._socket.transport.abort()

    def stop(self) -> None:
        self._is_stopped = True
        self.cut()

    async def _follow(self, socket: ClientConnection) -> None:
        self._new.clear()
        await self._subscribe(socket, list(self.seqs))
        subscribing: asyncio.Task[None] | None = None
        while True:
            async with asyncio.timeout(RECEIVE_TIMEOUT):
                message = json.loads(await socket.recv())
            self._take(message)
            if self._new and (subscribing is None or subscribing.done()):
                subscribing = asyncio.create_task(self._subscribe_new(socket))

    async def _subscribe_new(self, socket: ClientConnection) -> None:
        await asyncio.sleep(SETTLE)
        names, self._new = sorted(self._new), set()
        with contextlib.suppress(ConnectionClosed):
            await self._subscribe(socket, names)

    async def _subscribe(self, socket: ClientConnection, names: list[Name]) -> None:
        for kind in sorted({kind for kind, _ in names}):
            keys = [key for each, key in names if each == kind]
            since = {key: seq for key in keys if (seq := self.seqs[kind, key]) is not None}
            frames: list[dict[str, Any]] = [{KEYS[kind]: key} if key else {} for key in keys]
            if KEYS.get(kind) == "marketId":
                frames = [{"marketIds": keys} | ({"since": since} if since else {})]
            else:
                for key, frame in zip(keys, frames, strict=True):
                    frame.update({"since": since[key]} if key in since else {})
            for frame in frames:
                self._asked[kind] = names
                await socket.send(json.dumps({"type": "subscribe", "channel": kind, "id": kind, **frame}))

    # --- what is heard ---------------------------------------------------------------------------------------------

    def _take(self, message: dict[str, Any]) -> None:
        self.seen.add(message["type"])
        match message["type"]:
            case "subscribed":
                for entry in message.get("subscriptions", [message]):
                    self._begin(_name(message["channel"], entry), entry)
            case "heartbeat":
                pass
            case "draining":
                if self.dice.random() < 0.5:
                    self.cut()  # else the server closes
            case "finality":
                self.finality.append(message)
            case "error" if message["code"] == "unknown_market":
                self._drop(message["id"], message.get("marketIds"))
            case "error" if message["code"] == "unavailable":
                self.cut()
            case "error" | "resync":
                self.faults.append(f"{message}")
            case _:
                self._hear(_name(message["channel"], message), message)

    def _begin(self, name: Name, entry: dict[str, Any]) -> None:
        if self.seqs[name] is None or entry["snapshot"] is not None:
            if self.seqs[name]:
                self.faults.append(f"{name} starts anew")
            self.seqs[name] = entry["seq"]
            self.snapshots[name] = entry["snapshot"]

    def _drop(self, kind: str, missing: list[str] | None) -> None:
        """Markets were taken back before they were subscribed to; the frame's others are asked for again."""
        names = {name for name in self._asked[kind] if name[0] == kind}
        gone = names if missing is None else {(kind, key) for key in missing}
        for name in gone:
            assert not self.seqs[name], f"{name} is unknown, but was known"
            del self.seqs[name], self.told[name]
        self._new |= names - gone

    def _hear(self, name: Name, message: dict[str, Any]) -> None:
        known = self.seqs.get(name)
        if known is None or message["seq"] != known + 1:
            self.faults.append(f"{name} has {message['seq']} behind {known}")
        self.seqs[name] = message["seq"]
        self.told[name].append(message)
        if message["type"] == "market_created":
            for kind in ("market", "prices"):
                market = (kind, message["marketId"])
                if market not in self.seqs:
                    self.seqs[market], self.told[market] = None if self.is_late else 0, []
                    self._new.add(market)


def _name(kind: str, message: dict[str, Any]) -> Name:
    return kind, "" if message.get("all") else message.get(KEYS.get(kind, ""), "")


def channel_of(name: Name) -> str:
    kind, key = name
    return f"{kind}:{key}" if key else kind


def has_heard_all(follower: Follower) -> bool:
    last = dict(Channel.objects.values_list("name", "seq"))
    return all(seq == last.get(channel_of(name), 0) for name, seq in follower.seqs.items())


def assert_is_the_outbox(follower: Follower) -> None:
    """It was told what was committed: nothing less, nothing twice, in order."""
    for name, told in follower.told.items():
        stored = OutboxMessage.objects.filter(channel=channel_of(name)).order_by("seq")
        first = told[0]["seq"] if told else 0
        kept = [json.loads(message.payload) for message in stored if message.seq >= first]
        assert told == (kept if told else []), name
        if not follower.is_late:
            assert len(told) == stored.count()


@contextlib.contextmanager
def following(*followers: Follower) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Runs followers on a thread of their own; yields what calls something there."""
    loop = asyncio.new_event_loop()

    async def run() -> None:
        await asyncio.gather(*(follower.run() for follower in followers))

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="followers")
    thread.start()
    try:
        yield loop.call_soon_threadsafe  # type: ignore[misc]
    finally:
        for follower in followers:
            loop.call_soon_threadsafe(follower.stop)
        thread.join(60)
        assert not thread.is_alive(), "the followers do not end"
        loop.close()
