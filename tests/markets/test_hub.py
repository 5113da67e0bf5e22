"""The hub against a real outbox: what is committed arrives once, in order, whatever happens on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from aurum.database import connect_async
from indexer.status import FEED_POSITION
from markets import hub as hub_module
from markets import outbox
from markets.consumers import in_thread
from markets.frames import Frame
from markets.hub import Hub, Unavailable
from markets.models import Channel, Checkpoint, OutboxMessage
from markets.subscribers import Subscriber
from markets.wakeups import Waker, by_notify, by_redis
from tests.factories import make_checkpoint
from tests.markets.feed import say, say_within, until
from tests.valkey import url, valkey

pytestmark = pytest.mark.django_db(transaction=True)


class CountingHub(Hub):
    """Says how often it has looked."""

    looks = 0

    async def _look(self, connection: psycopg.AsyncConnection) -> None:
        await super()._look(connection)
        self.looks += 1


class Listener:
    """A connection that remembers what it got."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.got: list[dict[str, Any]] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.lost: list[str] = []
        self.subscriber = Subscriber(self._take, self._ignore, self._lose)
        hub.join(self.subscriber)

    async def _take(self, text: str) -> None:
        message = json.loads(text)
        (self.heartbeats if message["type"] == "heartbeat" else self.got).append(message)

    async def _ignore(self, code: int) -> None:
        raise AssertionError(f"closed with {code}")

    def _lose(self, channel: str) -> list[Frame]:
        self.lost.append(channel)
        return []

    async def listen(self, channel: str, after: int = 0) -> hub_module.Subscription:
        subscription = await self.hub.subscribe(channel, self.subscriber)
        subscription.open(after)
        return subscription

    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.got if message["type"] == "said"]


MakeHub = Callable[..., CountingHub]


@pytest.fixture
async def make_hub() -> AsyncIterator[MakeHub]:
    await in_thread(make_checkpoint)
    made: list[CountingHub] = []

    def make(*wakers: Waker) -> CountingHub:
        made.append(CountingHub(connect_async, FEED_POSITION, wakers))
        return made[-1]

    yield make
    for hub in made:
        await hub.stop()


async def test_what_is_committed_arrives_once_and_in_order(make_hub: MakeHub) -> None:
    hub = make_hub(by_notify(connect_async))
    one, other = Listener(hub), Listener(hub)
    for listener in (one, other):
        await listener.listen("market:a")
    await one.listen("market:b")
    told = []
    for channel, count in (("market:a", 3), ("market:b", 2), ("market:c", 1), ("market:a", 1500)):
        told += await in_thread(partial(say, channel, count))
    await until(lambda: len(one.got) == 1505 and len(other.got) == 1503)
    assert one.got == [message for message in told if message["marketId"] in "ab"]
    assert other.got == [message for message in told if message["marketId"] == "a"]


async def test_nothing_is_told_before_its_commit(make_hub: MakeHub) -> None:
    hub = make_hub(by_notify(connect_async))
    listener = Listener(hub)
    await listener.listen("market:a")
    may_commit, has_written = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def write() -> None:
        with transaction.atomic():
            say_within("market:a")
            loop.call_soon_threadsafe(has_written.set)
            asyncio.run_coroutine_threadsafe(may_commit.wait(), loop).result(30)

    writing = asyncio.ensure_future(in_thread(write))
    await has_written.wait()
    looks = hub.looks
    hub._woken.set()
    await until(lambda: hub.looks >= looks + 2)
    assert listener.got == []
    may_commit.set()
    await writing
    await until(lambda: listener.seqs() == [1])


async def test_a_connection_that_is_lost_at_the_first_read_is_made_again(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub(by_notify(connect_async))
    listener = Listener(hub)
    read = hub._read

    async def fail_once(connection: psycopg.AsyncConnection) -> Any:
        monkeypatch.setattr(hub, "_read", read)
        raise psycopg.OperationalError

    monkeypatch.setattr(hub, "_read", fail_once)
    await listener.listen("market:a")
    await in_thread(partial(say, "market:a"))
    await until(lambda: listener.seqs() == [1])
    assert hub.position.block_number >= 0


async def test_who_had_a_message_that_failed_half_way_is_not_known(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make_hub(by_notify(connect_async))
    one, other = Listener(hub), Listener(hub)
    await one.listen("market:a")
    await other.listen("market:b")
    hand_out = hub._hand_out

    async def fail_once(frame: Frame, handed_out: int) -> int:
        monkeypatch.setattr(hub, "_hand_out", hand_out)
        raise RuntimeError("half way")

    monkeypatch.setattr(hub, "_hand_out", fail_once)
    for channel in ("market:a", "market:b"):
        await in_thread(partial(say, channel))
    await until(lambda: other.seqs() == [1])
    assert (one.lost, other.lost) == (["market:a"], [])


async def test_a_rolled_back_message_is_never_told(make_hub: MakeHub) -> None:
    hub = make_hub(by_notify(connect_async))
    listener = Listener(hub)
    await listener.listen("market:a")

    def fail() -> None:
        with transaction.atomic():
            say_within("market:a", 3, text="never")
            transaction.set_rollback(True)

    await in_thread(fail)
    told = await in_thread(partial(say, "market:a"))
    await until(lambda: listener.got)
    assert listener.got == told


async def test_lost_wake_ups_cost_a_read(make_hub: MakeHub) -> None:
    listener = Listener(make_hub())
    await listener.listen("market:a")
    await in_thread(partial(say, "market:a", 2))
    await until(lambda: listener.seqs() == [1, 2])


async def test_the_connections_are_cut(make_hub: MakeHub) -> None:
    listener = Listener(make_hub(by_notify(connect_async)))
    await listener.listen("market:a")

    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    for number in range(1, 4):
        await in_thread(cut)
        await in_thread(partial(say, "market:a"))
        await until(lambda number=number: listener.seqs() == list(range(1, number + 1)))  # type: ignore[misc]


async def test_redis_wakes_and_may_go_and_come_back(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Nothing but Redis wakes this hub: without it, nothing arrives until it is back."""
    monkeypatch.setattr(hub_module, "POLL_INTERVAL", 3600.0)
    with valkey() as server:
        port = server.port
        settings.REDIS_URL = url(server)
        settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": url(server)}}
        listener = Listener(make_hub(by_redis(url(server))))
        await listener.listen("market:a")
        await in_thread(partial(say, "market:a"))
        await until(lambda: listener.seqs() == [1])
    await in_thread(partial(say, "market:a"))
    with valkey(port):
        # The hub looks when it hears of Redis again.
        await until(lambda: listener.seqs() == [1, 2])


async def test_what_was_deleted_before_it_was_read_is_lost(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "POLL_INTERVAL", 3600.0)
    await in_thread(partial(say, "market:a", 3))  # before the hub looks for the first time
    hub = make_hub()
    listener = Listener(hub)
    await listener.listen("market:a", after=3)
    await listener.listen("market:b")

    def lose() -> None:
        say("market:a", 2)
        OutboxMessage.objects.filter(seq__lte=4).delete()

    await in_thread(lose)
    hub._woken.set()
    await until(lambda: len(listener.lost) == 2)
    assert (sorted(listener.lost), listener.got) == (["market:a", "market:b"], [])
    # And it goes on from there.
    [told] = await in_thread(partial(say, "market:b"))
    hub._woken.set()
    await until(lambda: listener.got == [told])


async def test_a_feed_that_is_broken_off(make_hub: MakeHub) -> None:
    hub = make_hub(by_notify(connect_async))
    listener = Listener(hub)
    await in_thread(partial(say, "market:a", 3))
    await listener.listen("market:a", after=3)
    await until(lambda: hub._last_id > 0)  # it has read them

    def break_off() -> list[int]:
        with transaction.atomic():
            outbox.break_off()
            outbox.break_off()  # of nothing more
            outbox.wake()
        return list(Channel.objects.values_list("seq", flat=True))

    assert await in_thread(break_off) == [4]
    await until(lambda: listener.lost == ["market:a"])


async def test_finality_is_told_behind_what_it_is_about(make_hub: MakeHub) -> None:
    hub = make_hub(by_notify(connect_async))
    listener = Listener(hub)
    await listener.listen("market:a")

    def promote() -> None:
        with transaction.atomic():
            say_within("market:a")
            Checkpoint.objects.update(safe_block=999_990, finalized_block=999_980)

    await in_thread(promote)
    await until(lambda: len(listener.got) == 2)
    assert listener.got[1] == {"type": "finality", "safeBlock": 999_990, "finalizedBlock": 999_980}
    assert listener.got[0]["type"] == "said"


async def test_every_connection_has_heartbeats(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HEARTBEAT", 2)
    await in_thread(partial(say, "market:a", 5))
    newest = await in_thread(lambda: OutboxMessage.objects.order_by("-id").values_list("id", flat=True)[0])
    hub = make_hub()
    listeners = [Listener(hub) for _ in range(3)]
    await until(lambda: all(len(listener.heartbeats) > 1 for listener in listeners))
    assert listeners[2].heartbeats[0] == {
        "type": "heartbeat",
        "seq": newest,
        "blockNumber": 1_000_000,
        "headBlock": 1_000_000,
        "lagBlocks": 0,
        "safeBlock": 999_968,
        "finalizedBlock": 999_936,
    }


async def test_a_snapshot_that_is_ahead_of_the_hub(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the snapshot has already is not told again, also where the hub reads it later."""
    monkeypatch.setattr(hub_module, "POLL_INTERVAL", 3600.0)
    hub = make_hub()
    listener = Listener(hub)
    subscription = await hub.subscribe("market:a", listener.subscriber)
    await in_thread(partial(say, "market:a", 3))
    subscription.open(after=2)
    hub._woken.set()
    await until(lambda: listener.seqs() == [3])


async def test_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "START_TIMEOUT", 0.1)

    async def refuse() -> psycopg.AsyncConnection:
        raise psycopg.OperationalError("away")

    hub = Hub(refuse, FEED_POSITION)
    with pytest.raises(Unavailable):
        await Listener(hub).listen("market:a")
    assert hub._subscriptions == {}
    await hub.stop()


def test_old_messages_are_deleted_but_the_newest() -> None:
    make_checkpoint()
    say("market:a", 5)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox SET created_at = now() - interval '25 hours' WHERE seq <= 3")
    outbox.prune()
    assert list(OutboxMessage.objects.order_by("id").values_list("seq", flat=True)) == [4, 5]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox SET created_at = now() - interval '25 hours'")
    outbox.prune()
    assert list(OutboxMessage.objects.values_list("seq", flat=True)) == [5]


def test_too_many_messages_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkpoint()
    monkeypatch.setattr(outbox, "KEPT_COUNT", 10)
    monkeypatch.setattr(outbox, "SLICE", 7)
    say("market:a", 50)
    outbox.prune()
    assert list(OutboxMessage.objects.order_by("id").values_list("seq", flat=True)) == list(range(41, 51))


def sockets_of_all() -> tuple[int, int]:
    """The processes that have any, and the sockets."""
    with connection.cursor() as cursor:
        cursor.execute(hub_module.SOCKETS_OF_ALL)
        processes, sockets = cursor.fetchone()
    return processes, sockets


async def test_other_processes_see_how_many_sockets_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async def until_there_are(*expected: int) -> None:
        while await in_thread(sockets_of_all) != expected:
            await asyncio.sleep(0.02)

    monkeypatch.setattr(hub_module, "POLL_INTERVAL", 0.02)
    hubs = [Hub(connect_async, FEED_POSITION) for _ in range(2)]
    listeners = [Listener(hub) for hub in (*hubs, hubs[0])]
    async with asyncio.timeout(20):
        await until_there_are(2, 3)
        hubs[0].leave(listeners[-1].subscriber)
        await until_there_are(2, 2)
        for hub in hubs:
            await hub.stop()
        await until_there_are(0, 0)
