"""`/ws` frame by frame: what each is answered, and that snapshots and messages fit together."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from accounts import channel as accounts
from accounts import tokens
from accounts.models import ApiSession, WatchedMarket
from aurum.database import connect_async
from indexer.status import FEED_POSITION
from markets import consumers, snapshots
from markets.consumers import FeedConsumer, in_thread
from markets.hub import Hub
from markets.models import OutboxMessage
from markets.protocol import ERRORS
from markets.snapshots import KINDS
from markets.wakeups import by_notify
from oracle import channel as oracle
from tests.factories import HOSTILE, make_checkpoint, make_collateral, make_market, make_position, make_question
from tests.markets.feed import say

pytestmark = pytest.mark.django_db(transaction=True)

USER = "0x" + "11" * 20
UNKNOWN = "0x" + "ab" * 32


class Talk(WebsocketCommunicator):
    """A client's side of one connection."""

    async def send(self, **frame: Any) -> None:
        await self.send_json_to(frame)

    async def receive(self) -> Any:
        """The next message that is not the connection's own."""
        while True:
            text = await self.receive_from(timeout=20)
            message = json.loads(text)
            if message["type"] not in ("heartbeat", "finality"):
                return message

    async def ask(self, **frame: Any) -> Any:
        await self.send(**frame)
        return await self.receive()


@pytest.fixture
async def market() -> Any:
    def make() -> Any:
        make_checkpoint()
        make_collateral()
        return make_market(question=HOSTILE, payouts=[1, 0])

    return await in_thread(make)


@pytest.fixture
async def open_talk(market: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], Any]]:
    monkeypatch.setattr(consumers, "COMMANDS_AT_ONCE", 1000)
    hub = Hub(connect_async, FEED_POSITION, [by_notify(connect_async)])
    kinds = {**KINDS, "oracle": oracle.KIND, "watchlist": accounts.WATCHLIST}
    application = FeedConsumer.as_asgi(hub=hub, kinds=kinds, authenticate=accounts.authenticate)
    talks: list[Talk] = []

    async def open_one() -> Talk:
        talk = Talk(application, "/ws")
        assert (await talk.connect())[0]
        talks.append(talk)
        return talk

    yield open_one
    for talk in talks:
        await talk.disconnect()
    assert hub.connections == 0
    assert hub._subscriptions == {}
    await hub.stop()


OpenTalk = Callable[[], Any]


def rest(path: str) -> Any:
    answer = Client().get(path)
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content)


async def test_snapshots_are_what_rest_says(open_talk: OpenTalk, market: Any) -> None:
    def prepare() -> Any:
        make_position(market, user_address=USER, cost=7, realized_pnl=-3)
        make_position(market, user_address=USER, outcome_index=1, amount=0)
        return make_question()

    question = await in_thread(prepare)
    talk = await open_talk()
    of_market = {"marketId": market.market_id}
    position = {"blockNumber": 1_000_000, "safeBlock": 999_968, "finalizedBlock": 999_936, "seq": 0}
    for channel, key, path in [
        ("market", of_market, f"/api/markets/{market.market_id}"),
        ("prices", of_market, f"/api/markets/{market.market_id}/prices"),
        ("oracle", {"questionId": question.question_id}, f"/api/oracle/questions/{question.question_id}"),
    ]:
        answer = await talk.ask(type="subscribe", channel=channel, id=5, **key)
        expected = {"type": "subscribed", "channel": channel, "id": 5, **key, **position}
        assert answer == expected | {"snapshot": await in_thread(partial(rest, path))}
    answer = await talk.ask(type="subscribe", channel="user", address=USER.upper().replace("0X", "0x"))
    listed = await in_thread(partial(rest, f"/api/users/{USER}/positions?status=open"))
    assert (answer["address"], answer["snapshot"]) == (USER, {"positions": listed["results"], "isComplete": True})
    assert len(listed["results"]) == 1
    assert (await talk.ask(type="subscribe", channel="markets"))["snapshot"] == {"markets": 1, "resolved": 1}
    assert (await talk.ask(type="subscribe", channel="oracle"))["snapshot"] == {"questions": 1}


async def test_messages_follow_on_the_snapshot(open_talk: OpenTalk, market: Any) -> None:
    channel = f"market:{market.market_id}"
    await in_thread(partial(say, channel, 3))
    talk = await open_talk()
    answer = await talk.ask(type="subscribe", channel="market", marketId=market.market_id)
    assert answer["seq"] == 3
    told = await in_thread(partial(say, channel, 2))
    assert [await talk.receive(), await talk.receive()] == told
    # Subscribed again, it starts again.
    assert (await talk.ask(type="subscribe", channel="market", marketId=market.market_id))["seq"] == 5
    told = await in_thread(partial(say, channel, 1))
    assert await talk.receive() == told[0]
    assert await talk.ask(type="ping", id="p") == {"type": "pong", "id": "p"}


async def test_since_replays_what_was_missed(open_talk: OpenTalk, market: Any) -> None:
    channel = f"market:{market.market_id}"
    told = await in_thread(partial(say, channel, 700))
    talk = await open_talk()
    answer = await talk.ask(type="subscribe", channel="market", marketId=market.market_id, since=3)
    assert (answer["type"], answer["seq"], answer["snapshot"]) == ("subscribed", 700, None)
    told += await in_thread(partial(say, channel, 2))
    assert [await talk.receive() for _ in range(699)] == told[3:]
    # Of nothing missed, nothing is replayed.
    assert (await talk.ask(type="subscribe", channel="market", marketId=market.market_id, since=702))["seq"] == 702
    assert await talk.ask(type="ping") == {"type": "pong"}


async def test_resync_where_the_gap_can_not_be_filled(
    open_talk: OpenTalk, market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = f"prices:{market.market_id}"
    await in_thread(partial(say, channel, 10))
    await in_thread(lambda: OutboxMessage.objects.filter(seq__lte=4).delete())
    talk = await open_talk()
    named = {"channel": "prices", "marketId": market.market_id}
    expected = {"type": "resync", **named, "seq": 10, "id": 1}
    for since, lost in [(3, True), (11, True), (4, False), (10, False)]:
        answer = await talk.ask(type="subscribe", since=since, id=1, **named)
        assert (answer == expected) == lost, since
        if not lost:
            assert [(await talk.receive())["seq"] for _ in range(10 - since)] == list(range(since + 1, 11))
    monkeypatch.setattr(snapshots, "MAX_REPLAY", 5)
    assert await talk.ask(type="subscribe", since=4, id=1, **named) == expected
    # It is not subscribed any more.
    assert (await talk.ask(type="list"))["subscriptions"] == []


async def test_many_markets_in_one_frame(open_talk: OpenTalk, market: Any) -> None:
    other = await in_thread(make_market)
    ids = [market.market_id, other.market_id]
    told = await in_thread(partial(say, f"prices:{market.market_id}", 4))
    await in_thread(lambda: OutboxMessage.objects.filter(seq=1).delete())
    talk = await open_talk()
    answer = await talk.ask(type="subscribe", channel="prices", marketIds=ids, id=2)
    assert (answer["type"], answer["channel"], answer["id"]) == ("subscribed", "prices", 2)
    assert [(entry["marketId"], entry["seq"]) for entry in answer["subscriptions"]] == list(
        zip(ids, (4, 0), strict=True)
    )
    assert answer["subscriptions"][1]["snapshot"] == await in_thread(partial(rest, f"/api/markets/{ids[1]}/prices"))
    listed = [{"channel": "prices", "marketId": market_id} for market_id in ids]
    assert await talk.ask(type="list", id=3) == {"type": "list", "id": 3, "subscriptions": listed}
    # One gap can be filled, one has no messages, one is too old.
    answer = await talk.ask(type="subscribe", channel="prices", marketIds=ids, since={ids[0]: 2, ids[1]: 0})
    assert [entry["snapshot"] is None for entry in answer["subscriptions"]] == [False, True]
    assert [await talk.receive(), await talk.receive()] == told[2:]
    assert await talk.ask(type="subscribe", channel="prices", marketIds=ids, since={ids[0]: 0}) == {
        "type": "resync",
        "channel": "prices",
        "marketId": ids[0],
        "seq": 4,
    }
    assert [entry["marketId"] for entry in (await talk.receive())["subscriptions"]] == [ids[1]]
    error = await talk.ask(type="subscribe", channel="prices", marketIds=[UNKNOWN, ids[1]])
    assert (error["code"], error["marketIds"]) == ("unknown_market", [UNKNOWN])
    await talk.ask(type="subscribe", channel="prices", marketIds=ids)
    answer = await talk.ask(type="unsubscribe", channel="prices", marketIds=ids, id=4)
    assert answer == {"type": "unsubscribed", "channel": "prices", "marketIds": ids, "id": 4}
    await in_thread(partial(say, f"prices:{ids[1]}"))
    assert (await talk.ask(type="list"))["subscriptions"] == []


async def test_every_error(open_talk: OpenTalk, market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes on, but behind a token that is no good."""
    talk = await open_talk()
    named = {"channel": "market", "marketId": market.market_id}
    frames: list[tuple[dict[str, Any], str]] = [
        ({"type": "nothing"}, "unknown_type"),
        ({"type": ["ping"]}, "unknown_type"),
        ({"type": "subscribe", "channel": "nothing"}, "unknown_channel"),
        ({"type": "subscribe", "channel": "market", "marketId": "0x"}, "bad_market_id"),
        ({"type": "subscribe", "channel": "user", "address": "0x"}, "bad_address"),
        ({"type": "subscribe", "channel": "oracle", "questionId": "0x"}, "bad_question_id"),
        ({"type": "subscribe", "since": "1", **named}, "bad_since"),
        ({"type": "subscribe", "channel": "prices", "marketId": UNKNOWN}, "unknown_market"),
        ({"type": "subscribe", "channel": "oracle", "questionId": UNKNOWN}, "unknown_question"),
        ({"type": "unsubscribe", **named}, "not_subscribed"),
    ]
    seen = set()
    for frame, code in frames:
        answer = await talk.ask(id=code, **frame)
        assert (answer["type"], answer["code"], answer["id"]) == ("error", code, code)
        assert answer["message"]
        seen.add(code)
    for text, code in [("{", "bad_json"), ("[]", "bad_frame")]:
        await talk.send_to(text_data=text)
        assert (await talk.receive())["code"] == code
        seen.add(code)
    await talk.send_to(bytes_data=b"\x00")
    seen.add((await talk.receive())["code"])

    monkeypatch.setattr(consumers, "MAX_SUBSCRIPTIONS", 1)
    await talk.ask(type="subscribe", **named)
    assert (await talk.ask(type="subscribe", **named))["type"] == "subscribed"
    seen.add((await talk.ask(type="subscribe", channel="markets"))["code"])

    def fail(*_: Any) -> Any:
        raise consumers.DATABASE_ERRORS[0]

    with monkeypatch.context() as patched:
        patched.setattr(consumers, "read_starts", fail)
        seen.add((await talk.ask(type="subscribe", **named))["code"])
    assert (await talk.ask(type="subscribe", **named))["type"] == "subscribed"

    await talk.ask(type="unsubscribe", **named)
    await talk.send(type="subscribe", channel="watchlist")
    await _is_closed(talk)
    assert seen | {"unauthenticated", "too_many_commands"} == ERRORS.keys(), ERRORS.keys() - seen


async def test_too_many_commands(open_talk: OpenTalk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "COMMANDS_AT_ONCE", 2)
    monkeypatch.setattr(consumers, "COMMANDS_PER_SECOND", 0)
    talk = await open_talk()
    answers = [await talk.ask(type="ping", id=number) for number in range(4)]
    assert [answer.get("code", answer["type"]) for answer in answers] == ["pong"] * 2 + ["too_many_commands"] * 2


def _token(name: str = USER) -> tuple[str, User]:
    user, _ = User.objects.get_or_create(username=name)
    return tokens.start(user, timezone.now())["access"], user


async def test_a_watchlist_takes_a_token(open_talk: OpenTalk, market: Any) -> None:
    def prepare() -> str:
        token, user = _token()
        WatchedMarket.objects.create(user=user, market=market)
        WatchedMarket.objects.create(user=user, market_id=UNKNOWN)  # it is not indexed at the moment
        say(f"market:{market.market_id}", 3)
        return token

    token = await in_thread(prepare)
    talk = await open_talk()
    answer = await talk.ask(type="auth", token=token, id=1)
    assert {key: answer[key] for key in ("type", "address", "id")} == {
        "type": "authenticated",
        "address": USER,
        "id": 1,
    }
    answer = await talk.ask(type="subscribe", channel="watchlist")
    assert [(entry["marketId"], entry["seq"]) for entry in answer["subscriptions"]] == [(market.market_id, 3)]
    assert answer["subscriptions"][0]["snapshot"]["question"] == HOSTILE
    told = await in_thread(partial(say, f"market:{market.market_id}"))
    assert await talk.receive() == told[0]
    answer = await talk.ask(type="subscribe", channel="watchlist", since={market.market_id: 2})
    assert answer["subscriptions"] == [{"marketId": market.market_id, "seq": 4, "snapshot": None}]
    assert [(await talk.receive())["seq"] for _ in range(2)] == [3, 4]
    assert await talk.ask(type="list") == {"type": "list", "subscriptions": [{"channel": "watchlist"}]}
    assert await talk.ask(type="unsubscribe", channel="watchlist") == {"type": "unsubscribed", "channel": "watchlist"}


async def _is_closed(talk: Talk) -> None:
    assert (await talk.receive())["code"] == "unauthenticated"
    while (output := await talk.receive_output(5))["type"] == "websocket.send":
        assert json.loads(output["text"])["type"] in ("heartbeat", "finality")
    assert output == {"type": "websocket.close", "code": 4401}


async def test_a_token_that_is_no_good_closes(open_talk: OpenTalk) -> None:
    token, _ = await in_thread(_token)
    other, _ = await in_thread(partial(_token, "0x" + "22" * 20))
    for bad in ("", "nonsense", 7, None, token[:-2], "\ud800"):
        talk = await open_talk()
        await talk.send(type="auth", token=bad)
        await _is_closed(talk)
    talk = await open_talk()
    await talk.ask(type="auth", token=token)
    await talk.send(type="auth", token=other)  # a connection is one user's
    await _is_closed(talk)
    await in_thread(lambda: ApiSession.objects.update(revoked_at=timezone.now()))
    talk = await open_talk()
    await talk.send(type="auth", token=token)
    await _is_closed(talk)


async def test_private_channels_end_with_their_token(
    open_talk: OpenTalk, market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AccessToken, "lifetime", timedelta(seconds=3))
    token, _ = await in_thread(_token)
    private, public = await open_talk(), await open_talk()
    for talk in (private, public):
        assert (await talk.ask(type="auth", token=token))["type"] == "authenticated"
    await private.ask(type="subscribe", channel="watchlist")
    await public.ask(type="subscribe", channel="market", marketId=market.market_id)
    await _is_closed(private)
    assert await public.ask(type="ping") == {"type": "pong"}


async def test_what_can_not_be_continued_is_said(open_talk: OpenTalk, market: Any) -> None:
    def lose() -> None:
        say(f"market:{market.market_id}", 2, wakes=False)
        OutboxMessage.objects.filter(seq__lte=2).delete()
        say(f"market:{market.market_id}")

    await in_thread(partial(say, f"market:{market.market_id}"))
    talk = await open_talk()
    named = {"channel": "market", "marketId": market.market_id}
    await talk.ask(type="subscribe", **named)
    await talk.ask(type="subscribe", channel="markets")
    await in_thread(lose)
    told = [await talk.receive(), await talk.receive()]
    assert sorted(told, key=lambda frame: frame["channel"]) == [
        {"type": "resync", **named},
        {"type": "resync", "channel": "markets"},
    ]
    assert (await talk.ask(type="list"))["subscriptions"] == []
    assert (await talk.ask(type="subscribe", **named))["seq"] == 4


async def test_connections_are_forgotten(open_talk: OpenTalk, market: Any) -> None:
    """The fixture looks whether the hub knows anything of them afterwards."""
    for _ in range(3):
        talk = await open_talk()
        await talk.ask(type="subscribe", channel="market", marketId=market.market_id)
        await talk.disconnect()
