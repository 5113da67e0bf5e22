"""What operators ask the indexer to read again. It works that off between its batches (repair.py)."""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from indexer.models import RepairRequest
from markets.models import Checkpoint, Market

# Of one request. A million blocks are 23 days of Base, and hours of reading; what is longer is asked for in parts, but
# for a market's: whoever asks for one means its whole life.
MOST_BLOCKS = 1_000_000
MOST_RUNS = 50  # of failed events' blocks, at once
RUN_GAP = 1_000  # blocks: nearer ones are read in one go


class Refused(Exception):
    """A request that can't be made; the text says why."""


def request_blocks(first: int, last: int, *, reason: str, by: str, market_id: str = "") -> RepairRequest:
    """Queues the blocks to be compared with the chain, and the tables to be built anew. Raises Refused."""
    checkpoint = Checkpoint.objects.first()
    if checkpoint is None or not checkpoint.block_hash:
        raise Refused("Nothing is indexed yet.")
    if not checkpoint.start_block <= first <= last <= checkpoint.block_number:
        raise Refused(f"Blocks {checkpoint.start_block} to {checkpoint.block_number} are indexed: name some of these.")
    count = last - first + 1
    if count > MOST_BLOCKS and not market_id:
        raise Refused(f"These are {count:,} blocks; one request may have {MOST_BLOCKS:,}. Ask for them in parts.")
    if not reason.strip():
        raise Refused("Give a reason.")
    return RepairRequest.objects.create(
        from_block=first, to_block=last, market_id=market_id, reason=reason.strip(), requested_by=by, replay=True
    )


def request_events(blocks: Sequence[int], *, reason: str, by: str) -> list[RepairRequest]:
    """Queues the blocks of failed events, in ascending order, in runs without large gaps; the tables are built once,
    behind the last. Raises Refused.
    """
    runs: list[list[int]] = []
    for block in blocks:
        if runs and block - runs[-1][1] <= RUN_GAP:
            runs[-1][1] = block
        else:
            runs.append([block, block])
    if len(runs) > MOST_RUNS:
        raise Refused(f"They lie in {len(runs):,} places of the chain; {MOST_RUNS} at once may be read. Choose fewer.")
    return [
        RepairRequest.objects.create(
            from_block=first,
            to_block=last,
            reason=reason,
            requested_by=by,
            replay=[first, last] == runs[-1],
        )
        for first, last in runs
    ]


def blocks_of(market: Market) -> tuple[int, int]:
    """From the market's creation to the indexed block: where its events are. Of no indexed block, its own."""
    indexed = Checkpoint.objects.values_list("block_number", flat=True).first()
    return market.block_number, max(market.block_number, indexed or 0)


def cancel(request_id: int, *, by: str) -> RepairRequest:
    """Has the indexer stop behind the step in hand. Raises Refused where it is over."""
    with transaction.atomic():
        request = RepairRequest.objects.select_for_update().get(pk=request_id)
        if request.state in ("done", "failed", "cancelled"):
            raise Refused(f"It is {request.state} already.")
        request.cancelled_at, request.cancelled_by = timezone.now(), by
        request.save(update_fields=["cancelled_at", "cancelled_by"])
    return request
