"""Compares stored logs with the chain's, block by block, and makes them equal; the tables are then built anew.

Only blocks that were read by their hash and fit their headers count, and only what two readings say: what a node leaves
out or alters once does not delete a log.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from aurum.log_context import log_context
from indexer.chain import Header, MalformedAnswer
from indexer.collateral import learn_collateral
from indexer.entries import read_batch
from indexer.fetch import Batch, Fetcher, InconsistentAnswer
from indexer.ledger import CheckpointMoved, Ledger, block_row
from indexer.models import IndexedEvent, RepairRequest
from indexer.position_ids import PositionIdLearner, created_markets
from indexer.rows import IndexedBlock as BlockRow
from indexer.rows import IndexedEvent as EventRow
from indexer.rows import StoredLog
from indexer.rpc import Rpc, RpcError
from markets import outbox
from markets.models import Checkpoint, IndexedBlock, Market

logger = logging.getLogger(__name__)

ATTEMPTS = 6  # until a repair that does not help is left to an operator
FIRST_PAUSE = timedelta(minutes=1)  # before the second attempt; it doubles
COMPARED = (
    "block_number",
    "block_hash",
    "block_timestamp",
    "transaction_hash",
    "transaction_index",
    "log_index",
    "address",
    "data",
)
# Of a request, what the indexer writes: whoever cancels it meanwhile writes the rest.
PROGRESS = ("to_block", "next_block", "due_at", "attempts", "stored", "removed", "done_at", "error")
LONGEST_STEP = 5.0  # seconds of comparing before the indexer looks for new blocks again


class ChainMoved(Exception):
    """The chain has other blocks than the ones that are stored: a reorganisation, which the indexer follows first."""


def check_chain(rpc: Rpc, checkpoint: Checkpoint) -> None:
    """Raises ChainMoved where the checkpoint's block is not the chain's."""
    if rpc.header(checkpoint.block_number).hash != checkpoint.block_hash:
        raise ChainMoved(f"the chain moved: its block {checkpoint.block_number} is not the one that is stored")


@dataclass(slots=True)
class Differences:
    """How stored logs differ from the chain's: rows to store, ids of rows to remove first, headers of their blocks."""

    missing: list[EventRow] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    headers: dict[int, Header] = field(default_factory=dict)
    finds_amms: bool = False  # that were not known: their logs up to the checkpoint are missing as well

    def __bool__(self) -> bool:
        return bool(self.missing or self.foreign)

    def __ior__(self, other: "Differences") -> "Differences":
        self.missing += other.missing
        self.foreign += other.foreign
        self.headers |= other.headers
        self.finds_amms = self.finds_amms or other.finds_amms
        return self


class Repairer:
    """Repairs for one deployment. `batch_size` is how many blocks are read at once."""

    def __init__(self, rpc: Rpc, ledger: Ledger, *, batch_size: int) -> None:
        self._rpc = rpc
        self._ledger = ledger
        self.batch_size = batch_size
        self._fetcher = Fetcher(rpc, span=batch_size)
        self._learner = PositionIdLearner(rpc, ledger.contracts)

    def repair(self, first: int, *, tell: Callable[[Differences], object]) -> Differences:
        """Compares everything from `first` to the checkpoint, stores what differs, and builds the tables anew.

        `tell` is called in the transaction that writes. Raises ChainMoved or CheckpointMoved, with nothing written;
        RpcError, MalformedAnswer, InconsistentAnswer.
        """
        checkpoint = Checkpoint.objects.get()
        differences = Differences()
        for start in range(first, checkpoint.block_number + 1, self.batch_size):
            last = min(start + self.batch_size - 1, checkpoint.block_number)
            differences |= self.compare(start, last, checkpoint, found_amms=_announced(differences.missing))
        with transaction.atomic():
            self.store(differences, after=checkpoint)
            tell(differences)
        return differences

    def compare(
        self, first: int, last: int, checkpoint: Checkpoint, *, found_amms: frozenset[str] = frozenset()
    ) -> Differences:
        """How the stored logs of `first` to `last` differ from the chain's, by two readings.

        `found_amms` are not stored yet. Raises as `repair`; InconsistentAnswer where the readings differ.
        """
        batch, differences = self._read(first, last, checkpoint, found_amms)
        if differences:
            # A log's data is one node's word, and what is removed here may be what is right: nothing moves on one word.
            again = self._read(first, last, checkpoint, found_amms)[1]
            if again != differences:
                raise InconsistentAnswer(f"two readings of blocks {first} to {last} differ")
        if differences.missing:
            markets = created_markets(batch)
            learn_collateral(self._rpc, markets)
            self._learner.learn(markets)
        return differences

    def _read(
        self, first: int, last: int, checkpoint: Checkpoint, found_amms: frozenset[str]
    ) -> tuple[Batch, Differences]:
        """One reading of the blocks, and how the stored logs differ from it."""
        check_chain(self._rpc, checkpoint)
        announcements = IndexedEvent.objects.filter(event_name="AMMDeployed").values_list(
            "event_data__amm", "block_number"
        )
        known = {address: block_number for address, block_number in announcements if address}
        before = frozenset(address for address, block_number in known.items() if block_number < first)
        batch = self._fetcher.fetch(first, last, self._ledger.contracts.with_amms(before | found_amms))
        check_chain(self._rpc, checkpoint)
        differences = _differences(batch)
        differences.finds_amms = not batch.contracts.amms <= found_amms | known.keys()
        return batch, differences

    def store(self, differences: Differences, *, after: Checkpoint) -> None:
        """Makes the stored logs those of the chain and builds the tables anew, in one transaction.

        Raises CheckpointMoved, with nothing written, where the checkpoint is no longer `after`.
        """
        with transaction.atomic():
            checkpoint = Checkpoint.objects.select_for_update().get()
            if (checkpoint.block_number, checkpoint.block_hash) != (after.block_number, after.block_hash):
                raise CheckpointMoved(f"the checkpoint is at block {checkpoint.block_number}")
            IndexedEvent.objects.filter(id__in=differences.foreign).delete()
            EventRow.table.insert(differences.missing)
            numbers = {row.block_number for row in differences.missing}
            IndexedBlock.objects.filter(number__in=differences.headers).delete()
            with_events = set(
                IndexedEvent.objects.filter(block_number__in=differences.headers).values_list("block_number", flat=True)
            )
            headers = [differences.headers[number] for number in sorted(numbers | with_events)]
            BlockRow.table.insert([block_row(header) for header in headers])
            checkpoint.event_count = IndexedEvent.objects.count()
            checkpoint.save(update_fields=["event_count"])
            if differences:
                # What is found now was never told, and what is removed was.
                outbox.break_off()
            self._ledger.replay()
            outbox.wake()


def _differences(batch: Batch) -> Differences:
    """A log that differs in anything is removed and stored again. Blocks that differ come with their headers."""
    stored = {
        row.id: row for row in StoredLog.table.load("block_number BETWEEN %s AND %s", batch.first, batch.last.number)
    }
    on_chain: dict[str, EventRow] = {entry.row.id: entry.row for entry in read_batch(batch)}  # type: ignore[misc]
    foreign = [row for row in stored.values() if not _same(row, on_chain.get(row.id))]
    foreign += _elsewhere([row for row in on_chain.values() if row.id not in stored], batch)
    missing = [row for row in on_chain.values() if not _same(row, stored.get(row.id))]
    numbers = {row.block_number for row in missing} | {row.block_number for row in foreign}
    return Differences(
        missing=missing,
        foreign=[row.id for row in foreign],
        headers={number: batch.headers[number] for number in numbers if number in batch.headers},
    )


def _elsewhere(rows: Sequence[EventRow], batch: Batch) -> list[StoredLog]:
    """These logs where they are stored as other blocks' than the batch's."""
    wanted = {(row.transaction_hash, row.log_index) for row in rows}
    if not wanted:
        return []
    found = StoredLog.table.load(
        "transaction_hash = ANY(%s) AND NOT block_number BETWEEN %s AND %s",
        sorted({hash_ for hash_, _ in wanted}),
        batch.first,
        batch.last.number,
    )
    return [row for row in found if (row.transaction_hash, row.log_index) in wanted]


def _same(row: StoredLog, other: StoredLog | None) -> bool:
    return (
        other is not None
        and all(getattr(row, name) == getattr(other, name) for name in COMPARED)
        and tuple(row.topics) == tuple(other.topics)
    )


def _announced(rows: Sequence[EventRow]) -> frozenset[str]:
    readings = [msgspec.json.decode(row.event_data) for row in rows if row.event_name == "AMMDeployed"]
    return frozenset(reading["amm"] for reading in readings if reading)


# --- requests ---------------------------------------------------------------------------------------------------------


def run_due_repairs(rpc: Rpc, ledger: Ledger, *, batch_size: int) -> bool:
    """Takes the oldest request that is due one step on, `batch_size` blocks; true while there is more to do at once.

    Call between batches, as the writer.

    What the nodes refuse is noted on the request and tried again later. Raises CheckpointMoved and whatever
    `ledger.may_write` does, and database errors.
    """
    request = _due().order_by("due_at", "id").first()
    if request is None:
        return False
    checkpoint = Checkpoint.objects.first()
    if checkpoint is None or not checkpoint.block_hash:
        return False
    with log_context(repairId=request.pk):
        try:
            _step(request, checkpoint, Repairer(rpc, ledger, batch_size=batch_size))
        except (RpcError, MalformedAnswer, InconsistentAnswer, ChainMoved) as error:
            _try_later(request, f"{type(error).__name__}: {error}"[:1000], give_up=False)
    return _due().exists()


def _due() -> QuerySet[RepairRequest]:
    return RepairRequest.objects.filter(done_at=None, cancelled_at=None, due_at__lte=timezone.now())


def _step(request: RepairRequest, checkpoint: Checkpoint, repairer: Repairer) -> None:
    """Compares the request's next blocks; behind its last ones, says whether it helped."""
    first = max(checkpoint.start_block, request.from_block if request.next_block is None else request.next_block)
    end = min(request.to_block, checkpoint.block_number)
    last, differences = _compared(repairer, first, end, checkpoint)
    is_last = last >= end and not differences.finds_amms
    with transaction.atomic():
        if differences or (is_last and request.replay and not request.stored + request.removed):
            repairer.store(differences, after=checkpoint)
        request.stored += len(differences.missing)
        request.removed += len(differences.foreign)
        if differences.finds_amms:
            request.to_block = checkpoint.block_number
        request.next_block = last + 1
        request.error = ""
        request.save(update_fields=PROGRESS)
    if is_last:
        _finish(request)


def _compared(repairer: Repairer, first: int, end: int, checkpoint: Checkpoint) -> tuple[int, Differences]:
    """The last block that was compared, and what differs. Behind a batch that differs others follow at once, as long as
    new blocks can wait: the tables are built anew once for all of them.
    """
    last, differences, over_at = first - 1, Differences(), monotonic() + LONGEST_STEP
    while last < end and (last < first or (differences and monotonic() < over_at)):
        start, last = last + 1, min(last + repairer.batch_size, end)
        differences |= repairer.compare(start, last, checkpoint, found_amms=_announced(differences.missing))
    return last, differences


def _finish(request: RepairRequest) -> None:
    logger.info("repaired %s: %d logs stored, %d removed", request, request.stored, request.removed)
    if request.market_id and Market.objects.filter(market_id=request.market_id, suspect_since__isnull=False).exists():
        request.next_block = None
        _try_later(request, "the market is suspect still", give_up=True)
    else:
        request.done_at, request.error = timezone.now(), ""
        request.save(update_fields=PROGRESS)


def _try_later(request: RepairRequest, error: str, *, give_up: bool) -> None:
    """Waits twice as long each time. With `give_up` there is a last attempt; nodes that are away are waited for."""
    logger.warning("repair of %s: %s", request, error)
    request.error = error
    request.due_at = timezone.now() + FIRST_PAUSE * 2 ** min(request.attempts, ATTEMPTS)
    request.attempts += 1
    if give_up and request.attempts >= ATTEMPTS:
        request.done_at = timezone.now()
    request.save(update_fields=PROGRESS)
