"""Messages on channels as the indexer commits them, and a wait for what they lead to."""

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.db import transaction

from markets import outbox
from markets.identity import row_id
from markets.models import Channel, Checkpoint, OutboxMessage

BLOCK = 1_000_000


def say(channel: str, count: int = 1, *, wakes: bool = True, **fields: Any) -> list[dict[str, Any]]:
    """Commits the next messages of a channel, and returns them. Needs the checkpoint."""
    with transaction.atomic():
        return say_within(channel, count, wakes=wakes, **fields)


def say_within(channel: str, count: int = 1, *, wakes: bool = True, **fields: Any) -> list[dict[str, Any]]:
    """As `say`, in the transaction that is open."""
    Checkpoint.objects.select_for_update().get()
    row, _ = Channel.objects.get_or_create(id=row_id("channel", channel), defaults={"name": channel})
    kind, _, key = channel.partition(":")
    named = {"marketId": key} if key else {}
    said = []
    for _ in range(count):
        row.seq += 1
        said.append({"type": "said", "channel": kind, **named, "seq": row.seq, **fields})
    OutboxMessage.objects.bulk_create(
        OutboxMessage(channel=channel, seq=message["seq"], payload=json.dumps(message), block_number=BLOCK)
        for message in said
    )
    row.save()
    if wakes:
        outbox.wake()
    return said


async def until(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Looks until the condition is true."""
    ends_at = monotonic() + seconds
    while not condition():
        assert monotonic() < ends_at, "not in time"
        await asyncio.sleep(0.01)
