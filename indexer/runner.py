"""The loop: fetch, decode, apply, commit, again. It stops where going on could make the tables wrong."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from django.db import InterfaceError, OperationalError, close_old_connections
from django.utils import timezone

from indexer.chain import Header, MalformedAnswer
from indexer.collateral import learn_collateral
from indexer.decode import Contracts
from indexer.fetch import Fetcher, InconsistentAnswer
from indexer.ledger import CheckpointMoved, commit_batch
from indexer.models import IndexerStatus
from indexer.position_ids import PositionIdLearner, created_markets
from indexer.rpc import Rpc, RpcError
from markets.chaintime import from_seconds
from markets.models import Amm, Checkpoint

logger = logging.getLogger(__name__)

# What passes by itself: a node or database that is away, answers that do not fit, another writer's commit.
PASSING = (RpcError, MalformedAnswer, InconsistentAnswer, CheckpointMoved, OperationalError, InterfaceError)
LONGEST_PAUSE = 30.0  # seconds between attempts


class WrongChain(Exception):
    """The node, the settings and the stored data are not of one chain and deployment: nothing was written."""


class ChainReorganised(Exception):
    """The chain replaced a block that is indexed: nothing was written."""


class GaveUp(Exception):
    """A one-time sync that could not reach the head."""


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
    deployment: Deployment
    batch_size: int
    poll_interval: float
    confirmations: int
    stop: threading.Event
    progress: Progress = field(default_factory=Progress)
    patience: float = 120.0  # a one-time sync gives up after this long without a commit
    _error: str = ""
    _error_at: datetime | None = None
    _fetcher: Fetcher = field(init=False)
    _learner: PositionIdLearner = field(init=False)

    def __post_init__(self) -> None:
        self._fetcher = Fetcher(self.rpc, span=self.batch_size)
        self._learner = PositionIdLearner(self.rpc, self.deployment.contracts)

    def follow(self) -> None:
        """Syncs and follows the head until `stop` is set."""
        pause = 1.0
        while not self.stop.is_set():
            try:
                self._sync()
                pause = 1.0
                self.stop.wait(self.poll_interval)
            except PASSING as error:
                self._note(error)
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def sync_once(self) -> None:
        """Syncs to the head. Raises GaveUp when nothing could be committed for `patience` seconds."""
        last_progress, block = monotonic(), None
        while not self.stop.is_set():
            try:
                self._sync()
                return
            except PASSING as error:
                self._note(error)
                reached = self._stored_block()
                if reached != block:
                    last_progress, block = monotonic(), reached
                if monotonic() - last_progress > self.patience:
                    raise GaveUp(f"no progress for {self.patience:.0f} s: {error}") from None
                self.stop.wait(1.0)

    def _sync(self) -> None:
        """Commits batches until the checkpoint is the head."""
        close_old_connections()
        checkpoint = self._checkpoint()
        contracts = self._contracts()
        first = checkpoint.block_number + 1
        while not self.stop.is_set():
            head = self.rpc.head()
            self._report_status(head)
            if head.number <= checkpoint.block_number:
                break
            self._check_not_replaced(checkpoint)
            last = min(checkpoint.block_number + self.batch_size, head.number)
            batch = self._fetcher.fetch(checkpoint.block_number + 1, last, contracts)
            markets = created_markets(batch)
            learn_collateral(self.rpc, markets)
            self._learner.learn(markets)
            checkpoint = commit_batch(batch, after=checkpoint)
            contracts = batch.contracts
            self.progress.report(checkpoint.block_number + 1 - first, head.number + 1 - first, len(batch.logs))
        self.progress.finish()

    # --- where it stands -------------------------------------------------------------------------------------------

    def _checkpoint(self) -> Checkpoint:
        """The stored checkpoint, made on the first run. Raises WrongChain where it is another deployment's."""
        chain_id = self.rpc.chain_id()
        if chain_id != self.deployment.chain_id:
            raise WrongChain(f"CHAIN_ID is {self.deployment.chain_id}, but the node is on chain {chain_id}")
        genesis = self.rpc.header(0).hash
        expected = {
            "chain_id": chain_id,
            "genesis_hash": genesis,
            "contracts": {name: address for address, name in self.deployment.contracts.fixed.items()},
        }
        start = self.deployment.start_block
        defaults = expected | {"start_block": start, "block_number": start - 1}
        checkpoint, _ = Checkpoint.objects.get_or_create(id=1, defaults=defaults)
        for name, value in expected.items():
            if getattr(checkpoint, name) != value:
                raise WrongChain(
                    f"the database was indexed with {name} {getattr(checkpoint, name)}, now it is {value}; "
                    "use a database of its own for each deployment"
                )
        return checkpoint

    def _contracts(self) -> Contracts:
        return self.deployment.contracts.with_amms(frozenset(Amm.objects.values_list("address", flat=True)))

    def _check_not_replaced(self, checkpoint: Checkpoint) -> None:
        """Raises ChainReorganised where the chain no longer has the checkpoint's block."""
        if not checkpoint.block_hash:
            return
        header = self.rpc.header(checkpoint.block_number)
        if header.hash != checkpoint.block_hash:
            raise ChainReorganised(
                f"block {checkpoint.block_number} is {checkpoint.block_hash} here and {header.hash} on the chain"
            )

    def _stored_block(self) -> int | None:
        try:
            return Checkpoint.objects.values_list("block_number", flat=True).first()
        except (OperationalError, InterfaceError):
            return None

    # --- what it says ----------------------------------------------------------------------------------------------

    def _report_status(self, head: Header) -> None:
        """Heartbeat, head and finality, for readers in other processes."""
        finalized = self.rpc.tagged_block("finalized")
        safe = self.rpc.tagged_block("safe")
        confirmed = head.number - self.confirmations
        Checkpoint.objects.update(
            safe_block=confirmed if safe is None else safe,
            finalized_block=confirmed if finalized is None else finalized,
        )
        IndexerStatus.objects.update_or_create(
            id=1,
            defaults={
                "heartbeat_at": timezone.now(),
                "head_block": head.number,
                "head_timestamp": from_seconds(head.timestamp),
                "last_error": self._error,
                "last_error_at": self._error_at,
                "endpoints": self.rpc.health(),
            },
        )

    def _note(self, error: Exception) -> None:
        self._error, self._error_at = f"{type(error).__name__}: {error}"[:1000], timezone.now()
        logger.warning("%s; trying again", self._error)
