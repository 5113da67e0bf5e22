"""WebSocket `/ws`: the seed's subscribe frames, their answers, and what the hub delivers."""

import asyncio
import json
import logging
import re
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError, connection, transaction

from markets import feeds
from markets.hub import Hub, Subscriber, Subscription
from markets.models import Channel, Market
from markets.serializers import market_snapshot

logger = logging.getLogger(__name__)

MARKET_ID = re.compile(r"0x[0-9a-fA-F]{64}")
CHANNELS = {"market": feeds.market_channel, "prices": feeds.prices_channel}
MAX_SUBSCRIPTIONS = 100
SERVER_ERROR = 1011
TRY_AGAIN_LATER = 1013  # the close code for a consumer that can't keep up


class FrameError(Exception):
    """A frame that can't be served; the connection goes on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FeedConsumer(AsyncWebsocketConsumer):
    """One connection. Answers and pushed messages leave through one queue, so that their order is theirs."""

    def __init__(self, *, hub: Hub) -> None:
        super().__init__()
        self.hub = hub

    async def connect(self) -> None:
        self.subscriber = Subscriber()
        self.subscriptions: dict[str, Subscription] = {}
        await self.accept()
        self.sender = asyncio.create_task(self._send_frames())

    async def disconnect(self, code: int) -> None:
        for subscription in getattr(self, "subscriptions", {}).values():
            self.hub.unsubscribe(subscription)
        if sender := getattr(self, "sender", None):
            sender.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        frame: dict[str, Any] = {}
        try:
            frame = _parsed(text_data)
            commands = {"subscribe": self._subscribe, "unsubscribe": self._unsubscribe}
            kind = frame.get("type")
            if not isinstance(kind, str) or kind not in commands:
                raise FrameError("unknown_type", f"type must be one of {', '.join(commands)}")
            await commands[kind](frame)
        except FrameError as error:
            self._answer({"type": "error", "code": error.code, "message": str(error)}, frame)
        except DatabaseError:
            logger.exception("a frame could not be served")
            self._answer({"type": "error", "code": "unavailable", "message": "try again in a moment"}, frame)

    async def _subscribe(self, frame: dict[str, Any]) -> None:
        kind, market_id, channel = _channel(frame)
        if channel not in self.subscriptions and len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise FrameError("too_many_subscriptions", f"a connection may have {MAX_SUBSCRIPTIONS} subscriptions")
        self._forget(channel)
        # First listen, then read: what commits in between is delivered behind the snapshot.
        subscription = self.subscriptions[channel] = await self.hub.subscribe(channel, self.subscriber)
        try:
            seq, state = await read_snapshot(market_id, channel)
        except (DatabaseError, FrameError):
            self._forget(channel)
            raise
        answer = {"type": "subscribed", "channel": kind, "marketId": market_id, "seq": seq, "snapshot": state}
        self._answer(answer, frame)
        subscription.open(after_seq=seq)

    async def _unsubscribe(self, frame: dict[str, Any]) -> None:
        kind, market_id, channel = _channel(frame)
        if channel not in self.subscriptions:
            raise FrameError("not_subscribed", f"not subscribed to {kind} of {market_id}")
        self._forget(channel)
        self._answer({"type": "unsubscribed", "channel": kind, "marketId": market_id}, frame)

    def _forget(self, channel: str) -> None:
        subscription = self.subscriptions.pop(channel, None)
        if subscription is not None:
            self.hub.unsubscribe(subscription)

    def _answer(self, answer: dict[str, Any], frame: dict[str, Any]) -> None:
        """Queues an answer, with the client's own `id` where it gave one."""
        if isinstance(frame.get("id"), str | int):
            answer["id"] = frame["id"]
        # In ASCII: an `id` may hold half a surrogate pair, which no frame can carry as it is.
        self.subscriber.offer(json.dumps(answer, separators=(",", ":")))

    async def _send_frames(self) -> None:
        code = TRY_AGAIN_LATER
        try:
            while not self.subscriber.overflowed.is_set():
                await self.send(text_data=await self.subscriber.frames.get())
        except Exception:
            # A connection that nothing is sent on any more must not stay open and silent.
            logger.exception("a frame could not be sent")
            code = SERVER_ERROR
        await self.close(code=code)


def _parsed(text: str | None) -> dict[str, Any]:
    """The frame as an object. Raises FrameError."""
    if text is None:
        raise FrameError("binary_frame", "frames must be text")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise FrameError("bad_json", "the frame is not JSON") from None
    if not isinstance(frame, dict):
        raise FrameError("bad_frame", "the frame must be a JSON object")
    return frame


def _channel(frame: dict[str, Any]) -> tuple[str, str, str]:
    """The channel's kind, the market, and the channel's name. Raises FrameError."""
    kind, market_id = frame.get("channel"), frame.get("marketId")
    if not isinstance(kind, str) or kind not in CHANNELS:
        raise FrameError("unknown_channel", f"channel must be one of {', '.join(CHANNELS)}")
    if not isinstance(market_id, str) or not MARKET_ID.fullmatch(market_id):
        raise FrameError("bad_market_id", "marketId must be 0x and 64 hexadecimal digits")
    return kind, market_id.lower(), CHANNELS[kind](market_id.lower())


@database_sync_to_async
def read_snapshot(market_id: str, channel: str) -> tuple[int, dict[str, Any]] | None:
    """The channel's `seq` and the market as they were at one moment; None where there is no such market."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        market = Market.objects.filter(market_id=market_id).first()
        seq = Channel.objects.filter(name=channel).values_list("seq", flat=True).first() or 0
    if market is None:
        raise FrameError("unknown_market", f"there is no market {market_id}")
    return seq, market_snapshot(market)
