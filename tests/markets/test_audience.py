"""Handing a frame to many at once gives each of them exactly what one look at a time would."""

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from markets import audience, subscribers
from markets import hub as hub_module
from markets.audience import Audience, Subscription
from markets.frames import Frame
from markets.hub import Hub
from markets.subscribers import Subscriber

CHANNEL = "market:a"
BUFFER = 12_000  # bytes that may wait in a transport
PADDING = "x" * 5_000  # more than a small socket takes at once


class QuietHub(Hub):
    """Reads no outbox: the test hands out."""

    def __init__(self) -> None:
        super().__init__(self._never, "")
        self._following.set()

    async def _never(self) -> Any:
        raise AssertionError

    def _start(self) -> None:
        pass


class Transport:
    """Takes frames, and is full when nobody reads."""

    descriptor: int | None = None

    def __init__(self) -> None:
        self.reads = True
        self.closing = False
        self.got: list[int] = []

    def close(self) -> None:
        self.closing = True

    def turn(self) -> None:
        """What the event loop does when the socket has room."""

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0 if self.reads else BUFFER + 1

    def write(self, frame: bytes) -> None:
        assert not self.closing
        self.got.append(json.loads(frame[frame.index(b"{") :])["seq"])


class OtherTransport(Transport):
    """Of another class: TLS, say."""


class SocketTransport(Transport):
    """A real socket of few bytes, and what waits for it."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for each in (self._ours, self._theirs):
            each.setblocking(False)
        self.descriptor = self._ours.fileno()
        self._waits = self._came = b""
        self._stranger: tuple[socket.socket, ...] = ()
        super().__init__()

    def close(self) -> None:
        """What has the descriptor next is no client."""
        super().close()
        self._flush()
        self._stranger = socket.socketpair()
        os.dup2(self._stranger[0].fileno(), self._ours.fileno())

    def get_write_buffer_size(self) -> int:
        if self.reads:
            self._receive()
        return len(self._waits)

    def turn(self) -> None:
        if self.reads:
            self._flush()

    def write(self, frame: bytes) -> None:
        assert not self.closing
        self._waits += frame
        self._send()

    @property
    def got(self) -> list[int]:  # type: ignore[override]
        if not self.closing:
            self._flush()
        for each in self._stranger:
            with pytest.raises(BlockingIOError):
                each.recv(1, socket.MSG_DONTWAIT)
        seqs = [int(seq) for seq in re.findall(rb'"seq":(\d+),"padding":"x{5000}"}', self._came)]
        assert self._came.startswith(b"".join(message(seq).wire for seq in seqs))
        return seqs

    @got.setter
    def got(self, nothing: list[int]) -> None:
        assert nothing == []

    def _send(self) -> None:
        with suppress(BlockingIOError):
            while self._waits:
                self._waits = self._waits[self._ours.send(self._waits) :]

    def _flush(self) -> None:
        before = -1
        while before != len(self._came):
            before = len(self._came)
            self._send()
            self._receive()

    def _receive(self) -> None:
        with suppress(BlockingIOError):
            self._came += self._theirs.recv(2**20)


class Client:
    """A connection, with a `transport` or without one: then it is sent to."""

    def __init__(self, hub: Hub, transport: Transport | None) -> None:
        self.hub = hub
        self.kept = transport or Transport()
        self.transport = self.kept
        self.descriptor = self.kept.descriptor
        self.subscriber = Subscriber(
            self._send, self._close, lambda channel: [], self if transport else None, hub.regroup
        )
        self.since = self.until = 0  # the `seq` it began behind, and the last that it must have
        self.most = sys.maxsize  # that it may get: what had been offered when it left
        self.has_joined = False
        self.subscription: Subscription | None = None

    async def _send(self, text: str) -> None:
        await self.writable_again()
        self.kept.got.append(json.loads(text)["seq"])

    async def _close(self, code: int) -> None:
        raise AssertionError(f"closed with {code}")

    async def writable_again(self) -> None:
        while self.kept.get_write_buffer_size() > BUFFER:
            self.kept.turn()
            await asyncio.sleep(0)

    def give_up(self, code: int) -> None:
        raise AssertionError(f"given up with {code}")

    async def join(self, after: int) -> None:
        self.has_joined, self.since, self.until = True, after, after
        self.subscription = await self.hub.subscribe(CHANNEL, self.subscriber)
        self.subscription.open(after)

    def leave(self, handed_out: int) -> None:
        assert self.subscription is not None
        self.until, self.most = handed_out, len(self.kept.got) + len(self.subscriber._waiting)
        self.hub.unsubscribe(self.subscription)
        self.subscription = None


def message(seq: int) -> Frame:
    return Frame(f'{{"seq":{seq},"padding":"{PADDING}"}}', channel=CHANNEL, seq=seq)


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "BURST", 2)
    monkeypatch.setattr(audience, "PORTION", 3)
    for module in (audience, subscribers):
        monkeypatch.setattr(module, "BUFFER", BUFFER)


def make_clients(hub: Hub, random: Random, kind: type[Transport], count: int) -> Iterator[Client]:
    for _ in range(count):
        yield Client(hub, random.choice([*[kind] * 3, OtherTransport, lambda: None])())


@pytest.mark.parametrize("kind", [Transport, SocketTransport])
@pytest.mark.parametrize("seed", range(40))
async def test_none_is_missing_doubled_or_late(kind: type[Transport], seed: int) -> None:
    random, hub, begun, last = Random(seed), QuietHub(), 0, 0
    clients = list(make_clients(hub, random, kind, 25))
    ending = False

    async def disturb() -> None:
        """Comes and goes, stops reading and goes on, also in the middle of a frame."""
        while not ending:
            client = random.choice(clients)
            if not client.has_joined and not client.subscriber.is_closed:
                await client.join(after=begun + random.choice([0, 0, 1, 2]))  # as its snapshot was read by now
            elif random.random() < 0.03 and client.subscription is not None:
                client.leave(last)
            elif random.random() < 0.03:
                client.subscriber.stop()
                client.most = len(client.kept.got)
                if random.random() < 0.5:
                    client.kept.close()
            else:
                client.kept.reads = random.random() < 0.7
            await asyncio.sleep(0)

    disturbing = asyncio.create_task(disturb())
    for begun in range(1, 120):
        await hub._hand_out(message(begun), 0)
        last = begun
        await asyncio.sleep(0)
    ending = True
    await disturbing
    for client in clients:
        client.kept.reads = True
        await client.subscriber.drained()
    for client in clients:
        got = client.kept.got
        assert got == list(range(client.since + 1, client.since + 1 + len(got)))
        assert len(got) <= client.most
        if not client.subscriber.is_closed:
            must_have = last if client.subscription is not None else client.until
            assert client.since + len(got) >= must_have
    assert sum(len(client.kept.got) for client in clients) > 400


async def test_most_are_written_to_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = QuietHub()
    clients = [Client(hub, Transport()) for _ in range(10)]
    for client in clients:
        await client.join(after=0)
    await hub._hand_out(message(1), 0)
    monkeypatch.setattr(Subscriber, "offer", None)
    await hub._hand_out(message(2), 0)
    assert [client.transport.got for client in clients] == [[1, 2]] * 10


async def test_who_is_behind_a_snapshot_joins_the_others_when_it_is_reached() -> None:
    hub = QuietHub()
    early, late = Client(hub, Transport()), Client(hub, Transport())
    await early.join(after=0)
    await late.join(after=2)
    sizes = []
    for seq in range(1, 6):
        await hub._hand_out(message(seq), 0)
        now = Audience(hub._subscriptions[CHANNEL], before=seq)
        sizes.append(sum(len(portion.subscriptions) for portion in now.portions))
    assert (early.transport.got, late.transport.got) == ([1, 2, 3, 4, 5], [3, 4, 5])
    assert sizes == [1, 2, 2, 2, 2]


async def test_one_that_does_not_read_costs_the_others_nothing_of_the_frame() -> None:
    hub = QuietHub()
    clients = [Client(hub, Transport()) for _ in range(8)]
    for client in clients:
        await client.join(after=0)
    clients[3].transport.reads = False
    for seq in range(1, 4):
        await hub._hand_out(message(seq), 0)
    assert [client.transport.got for client in clients if client is not clients[3]] == [[1, 2, 3]] * 7
    assert clients[3].transport.got == []
    clients[3].transport.reads = True
    await clients[3].subscriber.drained()
    await hub._hand_out(message(4), 0)
    assert clients[3].transport.got == [1, 2, 3, 4]


async def test_nothing_follows_a_close() -> None:
    hub = QuietHub()
    clients = [Client(hub, Transport()) for _ in range(3)]
    for client in clients:
        await client.join(after=0)
    await hub._hand_out(message(1), 0)
    clients[1].subscriber.stop()
    clients[2].transport.closing = True
    await hub._hand_out(message(2), 0)
    assert [client.transport.got for client in clients] == [[1, 2], [1], [1]]


async def test_who_has_subscribed_twice_is_in_two_portions() -> None:
    """As a market's own page and a watchlist do."""
    hub = QuietHub()
    clients = [Client(hub, SocketTransport()) for _ in range(4)]
    for client in [*clients, clients[1], clients[2], clients[1]]:
        await client.join(after=0)
    audience = Audience(hub._subscriptions[CHANNEL], before=0)
    members = [[each.subscriber for each in portion.subscriptions] for portion in audience.portions]
    one, two, three, four = [client.subscriber for client in clients]
    assert members == [[one, two, three], [four], [two, three], [two]]
    assert len(audience) == 7
    await hub._hand_out(message(1), 0)
    assert [client.kept.got for client in clients] == [[1], [1] * 3, [1] * 2, [1]]
