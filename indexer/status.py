"""How far the indexer is, read from what it wrote: for /health, /api/status and the command."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from indexer.models import IndexedEvent, IndexerStatus
from markets.models import Checkpoint

# An indexer that has not been heard of for this long counts as stopped: several polls, and a slow batch.
MINIMUM_SILENCE = timedelta(seconds=30)
# Blocks behind the head, above which an indexer that runs is called behind: on Base, 100 seconds.
MOST_LAG = 50
# What the hub tells of (markets/hub.py, FeedPosition).
FEED_POSITION = """
    SELECT c.block_number, c.safe_block, c.finalized_block, greatest(s.head_block, c.block_number)
    FROM checkpoint c LEFT JOIN indexer_status s ON true
"""


def indexer_state() -> str:
    """`running` or `stopped`, by the heartbeat; an indexer that gave a reason to stop has stopped."""
    heartbeat, reason = IndexerStatus.objects.values_list("heartbeat_at", "stop_reason").first() or (None, "")
    silence = max(MINIMUM_SILENCE, timedelta(milliseconds=3 * settings.INDEXER_POLL_INTERVAL))
    return "running" if heartbeat and not reason and timezone.now() - heartbeat < silence else "stopped"


def far_apart(head: int | None, indexed: int | None) -> bool:
    """Whether the indexed block is more than MOST_LAG below the head, or nothing is indexed below a known head."""
    return head is not None and (indexed is None or head - indexed > MOST_LAG)


def is_behind() -> bool:
    """Whether the indexer is `far_apart` from the head."""
    head = IndexerStatus.objects.values_list("head_block", flat=True).first()
    indexed = Checkpoint.objects.values_list("block_number", flat=True).first()
    return far_apart(head, indexed)


def state_in_words(status: dict[str, Any]) -> str:
    """Of `read_status`: what counts as stopped is silent where nobody said that it should; its errors are newer then
    than its last sign that all was well, as long as it is there.
    """
    if status["state"] == "running" or status["stop_reason"] or status["heartbeat_at"] is None:
        return str(status["state"])
    error_at = status["last_error_at"]
    return "silent, and tries again" if error_at and error_at > status["heartbeat_at"] else "silent"


def health_of(endpoint: dict[str, Any]) -> str:
    """How a node is, in words."""
    if endpoint.get("healthy"):
        return "healthy"
    until = endpoint.get("quarantined_until")
    return f"in quarantine until {until}" if until else "fails"


def read_status() -> dict[str, Any]:
    """Head, indexed and finalized block, lag in blocks and seconds, events, failures, endpoints, work done."""
    checkpoint = Checkpoint.objects.first()
    status = IndexerStatus.objects.first()
    indexed = checkpoint.block_number if checkpoint else None
    indexed_at = checkpoint.block_timestamp if checkpoint else None
    head = status.head_block if status else None
    head_at = status.head_timestamp if status else None
    if head is not None and indexed is not None and head < indexed:  # it is told of once a second at most
        head, head_at = indexed, indexed_at
    return {
        "state": indexer_state(),
        "stop_reason": (status.stop_reason if status else "") or None,
        "chain_id": checkpoint.chain_id if checkpoint else settings.CHAIN_ID,
        "head_block": head,
        "head_at": head_at,
        "indexed_block": indexed,
        "indexed_block_hash": (checkpoint.block_hash if checkpoint else "") or None,
        "indexed_at": indexed_at,
        "safe_block": checkpoint.safe_block if checkpoint else None,
        "finalized_block": checkpoint.finalized_block if checkpoint else None,
        "lag_blocks": max(0, head - indexed) if head is not None and indexed is not None else None,
        "lag_seconds": max(0, int((head_at - indexed_at).total_seconds())) if head_at and indexed_at else None,
        "events": checkpoint.event_count if checkpoint else 0,
        "failed_events": IndexedEvent.objects.filter(processed=False).count(),
        "reorganisations": status.reorganisations if status else 0,
        "last_reorganisation_at": status.last_reorganisation_at if status else None,
        "last_reorganisation_depth": status.last_reorganisation_depth if status else None,
        "last_error": (status.last_error if status else "") or None,
        "last_error_at": status.last_error_at if status else None,
        "heartbeat_at": status.heartbeat_at if status else None,
        "endpoints": status.endpoints if status else [],
        "since_start": (status.counters if status else None) or None,
    }
