"""Every row of ours, to compare one way of indexing a chain with another."""

import json
from typing import Any

from django.apps import apps

from indexer.models import RepairRequest
from markets.models import Channel, OutboxMessage

# What the wall clock or the order of things decides, not the chain.
LEFT_OUT = {
    "indexed_events": {"created_at"},
    "market_corrections": {"told"},
    "outbox": {"created_at", "id"},
    "checkpoint": {"safe_block", "finalized_block", "published_block"},
}
NOT_DATA = {
    "indexer_status",
    "leader",
    "undo_images",
    "recent_blocks",
    "repair_requests",
    "rankings",
    "ranked_users",
    "revision",
    "reorganisations",
}
# What subscribers were told: after a reorganisation that is more than the chain that is left says.
FEED = {"outbox", "channels"}


def database(*, without: set[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table by its name, sorted; columns and tables that are no data left out."""
    tables = {}
    for app in ("markets", "oracle", "indexer"):
        for model in apps.get_app_config(app).get_models():
            table = model._meta.db_table
            if table in NOT_DATA | (without or set()):
                continue
            rows = [
                {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
                for row in model._default_manager.values()
            ]
            left_out = LEFT_OUT.get(table, set())
            kept = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
            tables[table] = sorted(kept, key=repr)
    return tables


def told_of_events() -> list[dict[str, Any]]:
    """What subscribers were told of each event. How often they were told states depends on the batches, and with it on
    some channels the `seq`.
    """
    messages = [
        json.loads(payload) for payload in OutboxMessage.objects.order_by("id").values_list("payload", flat=True)
    ]
    return [
        {name: value for name, value in message.items() if name != "seq"}
        for message in messages
        if "transactionHash" in message
    ]


def assert_messages_are_complete() -> None:
    """Each channel's numbers run from 1 to its last one; where a repair broke the feed off, from where it went on."""
    sent: dict[str, list[int]] = {}
    for channel, number in OutboxMessage.objects.order_by("id").values_list("channel", "seq"):
        sent.setdefault(channel, []).append(number)
    last = dict(Channel.objects.values_list("name", "seq"))
    if RepairRequest.objects.exists():
        assert sent == {name: list(range(numbers[0], last[name] + 1)) for name, numbers in sent.items()}
    else:
        assert sent == {name: list(range(1, number + 1)) for name, number in last.items()}
