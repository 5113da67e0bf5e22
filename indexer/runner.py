"""The loop: fetch, decode, apply, commit, again. It stops where going on could make the tables wrong."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from django.db import close_old_connections, transaction

from aurum.database import DATABASE_ERRORS, passes, renew_connections
from aurum.log_context import begin_log_context, log_context
from aurum.request_id import new_request_id
from indexer.ahead import ReadAhead, Spawn, in_thread
from indexer.breaches import Sums
from indexer.chain import Header, MalformedAnswer
from indexer.collateral import learn_collateral
from indexer.counters import BatchRecord, Counters
from indexer.decode import Contracts
from indexer.fetch import Batch, Fetcher, InconsistentAnswer
from indexer.heads import HeadSubscription
from indexer.heartbeat import Heartbeat
from indexer.leadership import Deposed, Leadership
from indexer.ledger import CheckpointMoved, Ledger, known_amms, known_blocks
from indexer.position_ids import PositionIdLearner, created_markets
from indexer.reorg import BelowFinality, find_fork
from indexer.repair import run_due_repairs
from indexer.rpc import Rpc, RpcError, View
from markets import outbox
from markets.models import Checkpoint

logger = logging.getLogger(__name__)

# What passes by itself: a node that is away, answers that do not fit, another writer's commit. Of the database's errors
# some do, by their SQLSTATE: see aurum.database.
PASSING = (
    RpcError,
    MalformedAnswer,
    InconsistentAnswer,
    CheckpointMoved,
    Deposed,
)
LONGEST_PAUSE = 30.0  # seconds between attempts
PRUNE_INTERVAL = 60.0  # seconds between two looks for messages that are too old
REORG_PAUSE = 0.2  # seconds between two looks at a branch that differs
FEW_BLOCKS = 64  # that are looked at first: most reorganisations are shallow, and a header has its block's hashes


class WrongChain(Exception):
    """The node, the settings and the stored data are not of one chain and deployment: nothing was written."""


class GaveUp(Exception):
    """A one-time sync that could not reach the head."""


# What does not pass: going on could make the tables wrong. The names are what metrics and status call it.
STOPPING: dict[type[Exception], str] = {WrongChain: "wrong_chain", BelowFinality: "below_finality"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What to index: `contracts` by lower-case address, from `start_block` on."""

    chain_id: int
    contracts: Contracts
    start_block: int


@dataclass(slots=True)
class Progress:
    """Told after each batch: blocks done, blocks in all, events stored. The command draws it."""

    report: Callable[[int, int, int], object] = lambda done, target, events: None
    finish: Callable[[], object] = lambda: None


@dataclass(slots=True, kw_only=True)
class Runner:
    """Follows one chain into the database. Times in seconds; `stop` ends it after the batch in hand."""

    rpc: Rpc
    leadership: Leadership
    deployment: Deployment
    batch_size: int
    poll_interval: float
    confirmations: int
    stop: threading.Event
    from_block: int | None = None  # once, forget what was read from here on
    to_block: int | None = None  # index up to here and end
    heads: HeadSubscription = field(default_factory=lambda: HeadSubscription([]))  # ends the wait for a new block
    progress: Progress = field(default_factory=Progress)
    counters: Counters = field(default_factory=Counters)
    spawn: Spawn = in_thread  # starts what is done beside the loop
    patience: float = 120.0  # a one-time sync gives up after this long without a commit
    # What is known at a checkpoint, so that it is not asked for before each batch.
    _known: tuple[tuple[int, str], Contracts] | None = None
    # Where the last sync ended, if it ended well: nobody else moves it, and a commit that follows on it shows that.
    _reached: Checkpoint | None = None
    # The final and the safe height when the stored chain was last seen to be the node's.
    _final: tuple[int, int] | None = None
    _heartbeat: Heartbeat = field(init=False)
    _fetcher: Fetcher = field(init=False)
    _ahead: ReadAhead = field(init=False)
    _learner: PositionIdLearner = field(init=False)
    _sums: Sums = field(default_factory=Sums)
    _pruned_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._heartbeat = Heartbeat(self.counters, self.rpc.health)
        self._fetcher = Fetcher(self.rpc, span=self.batch_size)
        self._ahead = ReadAhead(self._fetcher, batch_size=self.batch_size, spawn=self.spawn)
        self._learner = PositionIdLearner(self.rpc, self.deployment.contracts)

    def follow(self) -> None:
        """Syncs and follows the head until `stop` is set, or until `to_block` is indexed."""
        pause = 1.0
        with self._last_words():
            while not self.stop.is_set():
                started = monotonic()
                try:
                    if self._sync():
                        return
                    pause = 1.0
                    self.heads.wait(self.poll_interval)
                except (*PASSING, *DATABASE_ERRORS) as error:
                    self._note(error)
                    if monotonic() - started > LONGEST_PAUSE:
                        pause = 1.0  # a standby may wait for days, and what went wrong before that is long over
                    self.stop.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)

    def sync_once(self) -> None:
        """Syncs to the head. Raises GaveUp when nothing could be committed for `patience` seconds."""
        last_progress, block = monotonic(), None
        with self._last_words():
            while not self.stop.is_set():
                try:
                    self._sync()
                    return
                except (*PASSING, *DATABASE_ERRORS) as error:
                    self._note(error)
                    reached = self._stored_block()
                    if reached != block:
                        last_progress, block = monotonic(), reached
                    if monotonic() - last_progress > self.patience:
                        raise GaveUp(f"no progress for {self.patience:.0f} s: {error}") from None
                    self.stop.wait(1.0)

    def _sync(self) -> bool:
        """Commits batches until the checkpoint is the head; true when that is also `to_block`."""
        close_old_connections()
        if not self.leadership.held:
            self._reached = None
            if not self.leadership.acquire(self.stop):
                return False
        checkpoint, self._reached = self._reached or self._checkpoint(), None
        if self.from_block is not None:
            self._ledger().reset(max(self.from_block, checkpoint.start_block) - 1)
            checkpoint, self.from_block = Checkpoint.objects.get(), None
        first = checkpoint.block_number + 1
        while not self.stop.is_set():
            begin_log_context(f"batch-{new_request_id()}")  # until the next one: what fails is told further up
            view = self.rpc.look(checkpoint.block_number if checkpoint.block_hash else None)
            head = view.head
            target = head.number if self.to_block is None else min(head.number, self.to_block)
            fork = self._fork(checkpoint, view)
            if fork is None:
                # What was final before the look at the branch is on the branch that is found to be ours.
                final, self._final = self._final, self._finality(view)
                if final is None:
                    continue
                self._raise_finality(checkpoint, *final)
                if target != checkpoint.block_number + 1:  # at the head, nothing comes before the block
                    self._report(head, checkpoint)
                if target <= checkpoint.block_number:
                    self._ledger().tell_of_corrections()
                    if self._repair():
                        checkpoint = Checkpoint.objects.get()
                        continue
                    break
            checkpoint = self._advance(checkpoint, fork, target, head)
            self._report(head, checkpoint)
            if self._repair():
                checkpoint = Checkpoint.objects.get()
            self.progress.report(checkpoint.block_number + 1 - first, target + 1 - first, checkpoint.event_count)
        self.progress.finish()
        self._prune()
        # Before the first block nothing but the look at the genesis ties the node to the database.
        self._reached = checkpoint if checkpoint.block_hash else None
        return self.to_block is not None and checkpoint.block_number >= self.to_block

    def _advance(self, checkpoint: Checkpoint, fork: Header | None, target: int, head: Header) -> Checkpoint:
        """One batch behind the checkpoint; behind `fork`, where the chain parted: it replaces what stands above."""
        record = BatchRecord()
        if fork is None:
            batch = self._fetch(checkpoint, checkpoint.block_number + 1, target, checkpoint.block_hash, head)
            record.lap("fetch")
            checkpoint = self._ledger(record).append(batch, after=checkpoint)
            self._known = (checkpoint.block_number, checkpoint.block_hash), batch.contracts
            self._committed(batch, record, head)
            return checkpoint
        # First the replacement, then the swap: what was deleted from the node can't be read again.
        batch = self._fetch(checkpoint, fork.number + 1, target, fork.hash, head)
        record.lap("fetch")
        replaced = checkpoint.block_number - fork.number
        logger.warning("reorganisation: %d blocks above %d are replaced", replaced, fork.number)
        checkpoint = self._ledger(record).replace_branch(batch, fork=fork, after=checkpoint)
        self._heartbeat.reorganised(replaced)
        self._committed(batch, record, head)
        return checkpoint

    def _repair(self) -> bool:
        """One step of what contradictions or operators have asked for; true while there is more of it."""
        return run_due_repairs(self.rpc, self._ledger(), batch_size=self.batch_size)

    def _ledger(self, record: BatchRecord | None = None) -> Ledger:
        return Ledger(
            contracts=self.deployment.contracts,
            may_write=self.leadership.check_in_transaction,
            record=record or BatchRecord(),
            sums=self._sums,
        )

    def _fetch(self, checkpoint: Checkpoint, first: int, target: int, parent_hash: str, head: Header) -> Batch:
        """The batch behind the block with `parent_hash`, with what must be asked of contracts before it is applied.

        It has final blocks or others, never both: those are read ahead, these as they are now.
        """
        contracts = self._contracts(first, parent_hash)
        final = min(target, checkpoint.finalized_block)
        if first <= final:
            batch = self._ahead.read(first, final, contracts, parent_hash=parent_hash)
        else:
            last = min(max(first, checkpoint.block_number + 1) + self.batch_size - 1, target)
            batch = self._fetcher.fetch(
                first, last, contracts, trusted_below=first - 1, parent_hash=parent_hash, head=head
            )
        markets = created_markets(batch)
        learn_collateral(self.rpc, markets)
        self._learner.learn(markets)
        return batch

    def _fork(self, checkpoint: Checkpoint, view: View) -> Header | None:
        """Where the chain parted from what is stored; None where it did not. Raises BelowFinality, WrongChain.

        A head below the checkpoint is a node that is behind, as long as it has none of the stored blocks otherwise.
        """
        if not checkpoint.block_hash:
            return None
        if view.block is not None and view.block.hash == checkpoint.block_hash:
            return None
        self._check_deployment(checkpoint)
        head = view.head
        if head.number < checkpoint.start_block:
            return None
        stored = {number: hash_ for number, hash_ in known_blocks(checkpoint).items() if number <= head.number}
        if head.number < checkpoint.block_number and not self._is_replaced(stored, head):
            return None
        floor = max(checkpoint.start_block - 1, min(checkpoint.finalized_block, checkpoint.block_number))
        # Twice, some time apart: one answer may be a node's that is on a branch of its own.
        self.stop.wait(REORG_PAUSE)
        stored, chain = self._compared(stored)
        return None if chain == stored else self.rpc.header(find_fork(stored, chain, floor=floor))

    def _is_replaced(self, stored: dict[int, str], head: Header) -> bool:
        """Whether a head below the checkpoint is on another branch: a hash commits to all blocks before it."""
        if head.number in stored:
            return stored[head.number] != head.hash
        stored, chain = self._compared(stored)
        return chain != stored

    def _compared(self, stored: dict[int, str]) -> tuple[dict[int, str], dict[int, str]]:
        """What is stored, and the chain's hashes at these heights: of the highest ones alone where the lowest of them
        is the same, as then all before it are."""
        highest = dict(sorted(stored.items())[-FEW_BLOCKS:])
        chain = self._chain_hashes(highest)
        if len(highest) < len(stored) and chain[min(highest)] != highest[min(highest)]:
            return stored, self._chain_hashes(stored)
        return highest, chain

    def _chain_hashes(self, numbers: Iterable[int]) -> dict[int, str]:
        return {number: header.hash for number, header in self.rpc.headers(sorted(numbers)).items()}

    # --- where it stands -------------------------------------------------------------------------------------------

    def _checkpoint(self) -> Checkpoint:
        """The stored checkpoint, made on the first run. Raises WrongChain where it is another deployment's."""
        expected = self._expected()
        start = self.deployment.start_block
        defaults = expected | {"start_block": start, "block_number": start - 1}
        checkpoint, is_new = Checkpoint.objects.get_or_create(id=1, defaults=defaults)
        if not is_new:
            self._check_deployment(checkpoint, expected)
        return checkpoint

    def _expected(self) -> dict[str, Any]:
        """What the checkpoint must say of the node's chain and the deployment. Raises WrongChain."""
        chain_id = self.rpc.chain_id()
        if chain_id != self.deployment.chain_id:
            raise WrongChain(f"CHAIN_ID is {self.deployment.chain_id}, but the node is on chain {chain_id}")
        contracts = {name: address for address, name in self.deployment.contracts.fixed.items()}
        return {"chain_id": chain_id, "genesis_hash": self.rpc.header(0).hash, "contracts": contracts}

    def _check_deployment(self, checkpoint: Checkpoint, expected: dict[str, Any] | None = None) -> None:
        """Raises WrongChain where the checkpoint is another deployment's. Asks the node, unless `expected` is given."""
        for name, value in (expected or self._expected()).items():
            if getattr(checkpoint, name) != value:
                raise WrongChain(
                    f"the database was indexed with {name} {getattr(checkpoint, name)}, now it is {value}; "
                    "use a database of its own for each deployment"
                )

    def _contracts(self, first: int, parent_hash: str) -> Contracts:
        """The deployment's contracts, and the AMMs that its factory has announced before the block `first`."""
        if self._known is None or self._known[0] != (first - 1, parent_hash):
            self._known = (first - 1, parent_hash), self.deployment.contracts.with_amms(known_amms(before=first))
        return self._known[1]

    def _stored_block(self) -> int | None:
        try:
            return Checkpoint.objects.values_list("block_number", flat=True).first()
        except DATABASE_ERRORS:
            return None

    # --- what it says ----------------------------------------------------------------------------------------------

    def _finality(self, view: View) -> tuple[int, int]:
        """The final and the safe height, by the chain's tags where the node has them, else by confirmations.

        Not above the view's head, up to which the branch is looked at: its tags may be of another moment.
        """
        head = view.head.number
        tags = (view.finalized, view.safe)
        finalized, safe = (head - self.confirmations if height is None else min(height, head) for height in tags)
        return finalized, safe

    def _raise_finality(self, checkpoint: Checkpoint, finalized: int, safe: int) -> None:
        """Moves finality up; what was final once stays so, whatever a node that is behind says."""
        before = checkpoint.finalized_block, checkpoint.safe_block
        checkpoint.finalized_block = max(checkpoint.finalized_block, finalized)
        checkpoint.safe_block = max(checkpoint.finalized_block, safe)
        if (checkpoint.finalized_block, checkpoint.safe_block) == before:
            return
        with transaction.atomic():
            checkpoint.save(update_fields=["finalized_block", "safe_block"])
            self.leadership.check_in_transaction()
            outbox.wake()

    def _report(self, head: Header, checkpoint: Checkpoint) -> None:
        """Heartbeat, head and checkpoint, for readers in other processes and for metrics."""
        indexed_at = checkpoint.block_timestamp
        lag = None if indexed_at is None else max(0, head.timestamp - int(indexed_at.timestamp()))
        self.counters.reached(head=head.number, indexed=checkpoint.block_number, lag_seconds=lag)
        self._heartbeat.beat(head)

    def _committed(self, batch: Batch, record: BatchRecord, head: Header) -> None:
        """Counts a batch, and says it in one line."""
        block_count = batch.last.number - batch.first + 1
        self.counters.committed(block_count, record)
        logger.info(
            "indexed %d blocks to %d",
            block_count,
            batch.last.number,
            extra={
                "fromBlock": batch.first,
                "toBlock": batch.last.number,
                "events": record.events,
                "failed": record.failed,
                "lagBlocks": max(0, head.number - batch.last.number),
                **{f"{phase}Ms": round(1000 * seconds, 1) for phase, seconds in record.seconds.items()},
            },
        )

    def _note(self, error: Exception) -> None:
        """Raises a database's error that does not pass by itself."""
        of_database = isinstance(error, DATABASE_ERRORS)
        if of_database:
            if not passes(error):
                raise error
            renew_connections()
        logger.warning("%s: %s; trying again", type(error).__name__, error)
        if self.leadership.held:
            self._heartbeat.failed(error, tell=not of_database)

    @contextmanager
    def _last_words(self) -> Iterator[None]:
        """The status says how the loop ended."""
        try:
            with log_context():
                yield
        except tuple(STOPPING) as error:
            self._heartbeat.stopped(STOPPING[type(error)], error)
            raise
        finally:
            if self.leadership.held:
                self._flush()

    def _prune(self) -> None:
        """Behind what there was to do, and not with each block."""
        if monotonic() - self._pruned_at >= PRUNE_INTERVAL:
            self._pruned_at = monotonic()
            outbox.prune()

    def _flush(self) -> None:
        try:
            self._heartbeat.flush()
        except DATABASE_ERRORS as error:
            logger.warning("the last heartbeat is not written: %s", type(error).__name__)
