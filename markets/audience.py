"""Who has subscribed to a channel, and how one frame gets to all of them."""

import sys
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from markets.burst import burst
from markets.frames import Frame
from markets.subscribers import BUFFER, QUEUE_SIZE, Subscriber

CLOSED = sys.maxsize  # no message has a `seq` above it
PORTION = 200  # transports: less would cost more system calls, more would have one slow reader cost more others a look


@dataclass(slots=True, eq=False)
class Subscription:
    """A subscriber's interest in one channel. Until `open`, messages wait for the snapshot that precedes them."""

    channel: str
    subscriber: Subscriber
    is_lost: bool = False  # messages were left out: it can't be continued
    _after: int = CLOSED
    _waiting: list[Frame] | None = field(default_factory=list)

    def deliver(self, frame: Frame) -> None:
        if frame.seq > self._after:
            self._after = frame.seq
            self.subscriber.offer(frame)
        elif self._waiting is not None:
            if len(self._waiting) < QUEUE_SIZE:
                self._waiting.append(frame)
            else:
                self.is_lost = True

    def open(self, after: int) -> None:
        """From now on messages go out, those behind the `seq` that the subscriber has: also of those that waited."""
        waiting, self._waiting, self._after = self._waiting or [], None, after
        for frame in waiting:
            self.deliver(frame)

    def end(self) -> None:
        self._after, self._waiting = CLOSED, None

    def takes_all_behind(self, seq: int) -> bool:
        """Whether every message of the channel behind `seq` can be written to the subscriber's transport at once."""
        return self._after <= seq and self.subscriber.is_direct


class Portion:
    """Subscriptions whose subscribers need no look before a write, as long as no transport is slow or closing.

    The transports are all of one class, and each is another's.
    """

    __slots__ = ("_burst", "_transports", "subscriptions")

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions = subscriptions
        self._transports = [subscription.subscriber.transport for subscription in subscriptions]
        self._burst = burst([subscription.subscriber.descriptor for subscription in subscriptions])

    def write(self, frame: Frame) -> bool:
        """Sends a frame to all; does nothing and is False where one of them needs a look."""
        transports = self._transports
        kind: Any = type(transports[0])  # to call its functions for each takes neither a frame nor a bound method
        if any(map(kind.is_closing, transports)):  # then its descriptor may be another's, too
            return False
        waiting = max(map(kind.get_write_buffer_size, transports))
        if waiting > BUFFER:
            return False
        if waiting or self._burst is None:
            deque(map(kind.write, transports, repeat(frame.wire)), maxlen=0)
        else:
            for place, taken in self._burst.write(frame.wire):
                transports[place].write(frame.wire[taken:])
        return True


class Audience:
    """All subscriptions of a channel, in a copy: others may come and go while a frame is handed out.

    Each message of each connection comes by here, so most must cost nothing but the write. `portions` are right until
    one of their subscribers changes (Hub.regroup).
    """

    __slots__ = ("_size", "others", "portions")

    def __init__(self, subscriptions: Iterable[Subscription], before: int) -> None:
        """`before` is the `seq` of the message that was handed out last."""
        # In each layer a subscriber comes once: what one call writes twice to a socket, each in part, could mix.
        layers: list[list[Subscription]] = []
        times: Counter[Subscriber] = Counter()
        self.others: list[Subscription] = []
        kind: Any = None
        for subscription in subscriptions:
            transport = subscription.subscriber.transport
            if subscription.takes_all_behind(before) and type(transport) is (kind := kind or type(transport)):
                layer = times[subscription.subscriber]
                times[subscription.subscriber] += 1
                if layer == len(layers):
                    layers.append([])
                layers[layer].append(subscription)
            else:
                self.others.append(subscription)
        self.portions = [
            Portion(layer[start : start + PORTION]) for layer in layers for start in range(0, len(layer), PORTION)
        ]
        self._size = times.total() + len(self.others)

    def __len__(self) -> int:
        return self._size

    def is_settled(self, seq: int) -> bool:
        """Whether none of `others` could be in a portion now that the message `seq` was handed out."""
        return not any(subscription.takes_all_behind(seq) for subscription in self.others)
