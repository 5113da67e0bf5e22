"""The chain as it was read, event by event; and how the indexer is doing. Blocks and checkpoint stand in markets."""

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from markets.fields import AddressField, Bytes32Field, HexListField

# Events of which any thousand logs have some: the newest are found without an index by name.
FREQUENT = ("FPMMBuy", "FPMMSell", "PositionMerge", "PositionSplit", "Transfer", "TransferBatch", "TransferSingle")
MOST_REORGANISATIONS = 100  # that are remembered


class IndexedEvent(models.Model):
    """One log of a watched contract. `topics` and `data` are the log itself; `event_data` is its reading.

    `id` is that of its place in the chain, so that no log is stored twice. `processed` is false where the log could not
    be decoded or applied; `error` says why.
    """

    id = models.UUIDField(primary_key=True)
    block_number = models.BigIntegerField()
    block_hash = Bytes32Field()
    block_timestamp = models.DateTimeField()
    transaction_hash = Bytes32Field()
    transaction_index = models.IntegerField()
    log_index = models.IntegerField()
    address = AddressField()
    event_name = models.CharField(max_length=100)
    event_data = models.JSONField()
    topics = HexListField()
    data = models.BinaryField()
    processed = models.BooleanField(default=False)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "indexed_events"
        indexes = [
            models.Index(fields=["block_number", "log_index"], name="indexed_events_order"),
            models.Index(
                fields=["event_name", "-block_number"],
                name="indexed_events_rare",
                condition=~models.Q(event_name__in=FREQUENT),
            ),
            models.Index(fields=["block_number"], name="indexed_events_failed", condition=models.Q(processed=False)),
            HashIndex(fields=["transaction_hash"], name="indexed_events_by_hash"),
        ]

    def __str__(self) -> str:
        return f"{self.event_name} {self.block_number}/{self.log_index}"


class WaitingEvent(models.Model):
    """An applied event that concerns what no market has yet; the market's own event claims it by `key`.

    A condition can be prepared, split and its tokens transferred before MarketCreated makes a market of it.
    """

    id = models.UUIDField(primary_key=True)
    key = models.CharField(max_length=100, db_index=True, help_text="`condition:0x…`, `position:123…` or `market:0x…`")
    event = models.ForeignKey(IndexedEvent, models.CASCADE, related_name="waits")

    class Meta:
        db_table = "waiting_events"

    def __str__(self) -> str:
        return self.key


class UndoImage(models.Model):
    """What a row was before a block changed it, kept while the block is not final. `image` null: it did not exist."""

    block_number = models.BigIntegerField(db_index=True)
    table_name = models.CharField(max_length=63)
    row_id = models.UUIDField()
    image = models.JSONField(null=True)

    class Meta:
        db_table = "undo_images"

    def __str__(self) -> str:
        return f"{self.table_name} {self.row_id} before block {self.block_number}"


class RecentBlock(models.Model):
    """A block that may be replaced, whether it has events of ours or none: by these a branch shows where it parts."""

    number = models.BigIntegerField(primary_key=True)
    hash = Bytes32Field()

    class Meta:
        db_table = "recent_blocks"

    def __str__(self) -> str:
        return f"{self.number} {self.hash}"


class Reorganisation(models.Model):
    """A time that blocks were replaced. Of the last ones: all were counted in `indexer_status`."""

    at = models.DateTimeField(default=timezone.now)
    depth = models.BigIntegerField(help_text="Blocks that were replaced.")
    fork_block = models.BigIntegerField(help_text="The last block that stayed.")

    class Meta:
        db_table = "reorganisations"

    def __str__(self) -> str:
        return f"{self.depth} above {self.fork_block}"

    @classmethod
    def note(cls, *, depth: int, fork_block: int) -> None:
        """Adds one, and forgets those before the last MOST_REORGANISATIONS."""
        cls.objects.create(depth=depth, fork_block=fork_block)
        kept = cls.objects.order_by("-id").values("pk")[:MOST_REORGANISATIONS]
        cls.objects.exclude(pk__in=kept).delete()


class RepairRequest(models.Model):
    """Blocks to compare with the chain once more, log by log. The indexer works them off between its batches."""

    from_block = models.BigIntegerField()
    to_block = models.BigIntegerField()
    market_id = models.CharField(max_length=66, blank=True, help_text="The market that made it necessary, if one did.")
    reason = models.TextField()
    requested_by = models.CharField(
        max_length=150, blank=True, db_default="", help_text="An operator's name; empty where the indexer asked itself."
    )
    replay = models.BooleanField(default=False, help_text="Build the tables anew also where no log differs.")
    requested_at = models.DateTimeField(default=timezone.now)
    next_block = models.BigIntegerField(null=True, help_text="Everything below is compared.")
    due_at = models.DateTimeField(default=timezone.now, help_text="Not before: another attempt waits.")
    attempts = models.IntegerField(default=0)
    stored = models.IntegerField(default=0, help_text="Logs that were missing.")
    removed = models.IntegerField(default=0, help_text="Logs that the chain does not have.")
    done_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, help_text="Why it is not done, or did not help.")
    cancelled_at = models.DateTimeField(null=True, help_text="What was compared until then stays.")
    cancelled_by = models.CharField(max_length=150, blank=True, db_default="")

    class Meta:
        db_table = "repair_requests"
        indexes = [models.Index(fields=["due_at"], name="repair_requests_due", condition=models.Q(done_at=None))]
        permissions = [("request_repair", "Can have blocks read again, and cancel that")]

    def __str__(self) -> str:
        return f"blocks {self.from_block} to {self.to_block}"

    @property
    def state(self) -> str:
        """`queued`, `running`, `waiting` (for another attempt), `done`, `failed` (did not help) or `cancelled`."""
        if self.cancelled_at is not None:
            return "cancelled"
        if self.done_at is not None:
            return "failed" if self.error else "done"
        if self.error:
            return "waiting"
        return "queued" if self.next_block is None else "running"

    @property
    def blocks(self) -> int:
        """How many blocks it is about."""
        return self.to_block - self.from_block + 1

    @property
    def blocks_done(self) -> int:
        """How many of them are compared."""
        if self.next_block is None:
            return self.blocks if self.done_at is not None else 0
        return min(self.blocks, max(0, self.next_block - self.from_block))


class Leader(models.Model):
    """Which process may write. One row; whoever takes over raises `epoch`, and commits of an older one are refused."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    epoch = models.BigIntegerField()
    name = models.CharField(max_length=63, help_text="Its connections' application_name.")
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "leader"

    def __str__(self) -> str:
        return f"{self.name}, epoch {self.epoch}"


class IndexerStatus(models.Model):
    """What the indexer last said of itself and of the chain. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    heartbeat_at = models.DateTimeField()
    head_block = models.BigIntegerField(null=True)
    head_timestamp = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    last_error_at = models.DateTimeField(null=True)
    reorganisations = models.BigIntegerField(default=0)
    last_reorganisation_at = models.DateTimeField(null=True)
    last_reorganisation_depth = models.BigIntegerField(null=True, help_text="Blocks that were replaced.")
    endpoints = models.JSONField(default=list, help_text="Health by endpoint; hosts only, never keys.")
    stop_reason = models.CharField(
        max_length=30, blank=True, db_default="", help_text="Why it ended and must not go on by itself, if it did."
    )
    counters = models.JSONField(
        default=dict, db_default={}, help_text="What the process has done since it started, and in which time."
    )

    class Meta:
        db_table = "indexer_status"
        verbose_name_plural = "indexer status"

    def __str__(self) -> str:
        return f"heard of at {self.heartbeat_at:%Y-%m-%d %H:%M:%S}"
