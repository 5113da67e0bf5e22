"""What becomes of a connection that does not keep up."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from markets import subscribers
from markets.frames import Frame
from markets.subscribers import BUFFER, QUEUE_SIZE, TRY_AGAIN_LATER, Subscriber
from tests.markets.feed import until


class Client:
    """The other side: reads when it is let. It is a `wire`, and that's transport, too."""

    descriptor = None

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.got: list[str] = []
        self.closed: list[int] = []
        self.lost: list[str] = []

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.got.append(text)

    async def close(self, code: int) -> None:
        self.closed.append(code)

    def lose(self, channel: str) -> list[Frame]:
        self.lost.append(channel)
        return [Frame.of({"type": "resync", "channel": channel})]

    @property
    def transport(self) -> "Client":
        return self

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0 if self.reads.is_set() else BUFFER + 1

    def write(self, frame: bytes) -> None:
        self.got.append(frame[2 if frame[1] < 126 else 4 :].decode())

    async def writable_again(self) -> None:
        await self.reads.wait()

    def give_up(self, code: int) -> None:
        self.closed.append(code)


@pytest.fixture(params=["send", "wire"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Client, Subscriber]]:
    """By either way out."""
    client = Client()
    wire = client if request.param == "wire" else None
    subscriber = Subscriber(client.send, client.close, client.lose, wire)
    yield client, subscriber
    subscriber.stop()


def message(channel: str, seq: int) -> Frame:
    return Frame(json.dumps({"channel": channel, "seq": seq}), channel=channel, seq=seq)


async def test_frames_go_out_in_order(pair: tuple[Client, Subscriber]) -> None:
    client, subscriber = pair
    for seq in range(10):
        subscriber.offer(message("market:a", seq))
    client.reads.clear()
    await asyncio.sleep(0)
    for seq in range(10, 20):
        subscriber.offer(message("market:a", seq))
    client.reads.set()
    subscriber.offer(message("market:a", 20))
    await until(lambda: len(client.got) == 21)
    assert [json.loads(text)["seq"] for text in client.got] == list(range(21))
    assert (client.closed, client.lost) == ([], [])


async def test_of_prices_the_latest_is_sent(pair: tuple[Client, Subscriber]) -> None:
    client, subscriber = pair
    client.reads.clear()
    for seq in range(1, 3 * QUEUE_SIZE):
        subscriber.offer(message(f"prices:{seq % 2}", seq))
        if seq % 100 == 0:
            subscriber.offer(message("market:a", seq // 100))
    client.reads.set()
    await subscriber.drained()
    got = [json.loads(text) for text in client.got]
    assert [each["seq"] for each in got if each["channel"] == "market:a"] == list(range(1, 3 * QUEUE_SIZE // 100))
    for parity in range(2):
        prices = [each for each in got if each["channel"] == f"prices:{parity}"]
        covered = [seq for each in prices for seq in (*range(*each.get("skipped", (0, -1))), each["seq"])]
        # Each number is sent, or stands in a range that says that it is not.
        told = {seq for each in prices for seq in range(each.get("skipped", [each["seq"]])[0], each["seq"] + 1)}
        assert {seq for seq in range(1, 3 * QUEUE_SIZE) if seq % 2 == parity} <= told
        assert covered == sorted(covered)
    assert (client.lost, client.closed) == ([], [])
    assert len(got) < QUEUE_SIZE


async def test_the_busiest_channel_goes_if_that_is_not_enough(pair: tuple[Client, Subscriber]) -> None:
    client, subscriber = pair
    client.reads.clear()
    for seq in range(1, QUEUE_SIZE + 10):
        subscriber.offer(message("market:busy", seq))
        if seq % 500 == 0:
            subscriber.offer(message("market:calm", seq // 500))
    client.reads.set()
    await subscriber.drained()
    assert client.lost == ["market:busy"]
    got = [json.loads(text) for text in client.got]
    assert [each["seq"] for each in got if each["channel"] == "market:calm"] == [1, 2, 3, 4]
    assert {"type": "resync", "channel": "market:busy"} in got
    assert client.closed == []


async def test_who_reads_nothing_is_closed(pair: tuple[Client, Subscriber], monkeypatch: pytest.MonkeyPatch) -> None:
    client, subscriber = pair
    monkeypatch.setattr(subscribers, "STALL", 0.1)
    client.reads.clear()
    for seq in range(100):
        subscriber.offer(message("market:a", seq))
    await until(lambda: client.closed)
    assert client.closed == [TRY_AGAIN_LATER]
    client.reads.set()
    subscriber.offer(message("market:a", 100))
    await subscriber.drained()
    assert client.got == []


async def test_what_can_not_be_sent_ends_the_connection() -> None:
    client = Client()

    async def fail(text: str) -> None:
        raise RuntimeError("broken")

    subscriber = Subscriber(fail, client.close, client.lose)
    subscriber.offer(message("market:a", 1))
    await until(lambda: client.closed)
    assert client.closed == [subscribers.SERVER_ERROR]
