"""What the chain's events add up to. Amounts are in base units of the market's collateral, fees fractions of 1e18.

Rows are written by projections alone, and their ids follow from what names them on chain (identity.py). Times are
block times. `MarketMetadata`, `MarketCorrection` and `MarketPlacement` are the exceptions: people write them, and a
re-index leaves them alone.
"""

from datetime import datetime

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Left, Now
from django.utils import timezone

from markets.correctable import CORRECTABLE, GUARDED
from markets.fields import AddressField, Bytes32Field, TotalField, Uint256Field, Uint256ListField

# Characters that search looks at. PostgreSQL makes no words of more than a megabyte, and a question may be as long.
SEARCHED_QUESTION = 1_000
SEARCHED_DESCRIPTION = 5_000


class Emitted(models.Model):
    """A row that is one event's: where in the chain the event stands."""

    block_number = models.BigIntegerField()
    block_hash = Bytes32Field()
    transaction_hash = Bytes32Field()
    log_index = models.IntegerField()
    timestamp = models.DateTimeField()

    class Meta:
        abstract = True


def of_market(related_name: str) -> models.ForeignKey:
    """The market of a row of which there are many.

    Without a constraint, which costs a query a row, and without an index of its own: each table has one that begins
    with the market where it is looked up by it. The ledger is the only writer, and writes the market first.
    """
    return models.ForeignKey(
        Market,
        models.CASCADE,
        to_field="market_id",
        related_name=related_name,
        db_constraint=False,
        db_index=False,
    )


class Condition(models.Model):
    """A condition of ConditionalTokens, ours or not: its payouts may be fixed before any market uses it."""

    id = models.UUIDField(primary_key=True)
    condition_id = Bytes32Field(unique=True)
    oracle = AddressField()
    question_id = Bytes32Field()
    outcome_slot_count = models.IntegerField()
    payout_numerators = Uint256ListField(null=True)
    resolved_at = models.DateTimeField(null=True)
    resolved_block = models.BigIntegerField(null=True)

    class Meta:
        db_table = "conditions"

    def __str__(self) -> str:
        return self.condition_id


class Market(models.Model):
    """One market of the factory. `resolved` from ConditionResolution on; MarketResolved may come later or never."""

    id = models.UUIDField(primary_key=True)
    market_id = Bytes32Field(unique=True)
    question_id = Bytes32Field(db_index=True)
    condition_id = Bytes32Field(db_index=True)
    creator = AddressField(db_index=True)
    collateral_token = AddressField(db_index=True)
    amm_address = AddressField(null=True, unique=True, help_text="The first AMM that the factory announced.")
    question = models.TextField()
    outcomes = models.JSONField()
    resolution_time = models.DateTimeField(help_text="Clamped to the year 9999; resolution_timestamp is exact.")
    resolution_timestamp = Uint256Field(help_text="Seconds, as the contract holds it.")
    resolved = models.BooleanField(default=False)
    payouts = Uint256ListField(null=True, help_text="Payout numerators; an outcome pays its share of their sum.")
    resolved_at = models.DateTimeField(null=True)
    resolved_block = models.BigIntegerField(null=True, help_text="Blocks may have one time, and an order all the same.")
    confirmed_at = models.DateTimeField(null=True, help_text="When the factory confirmed it with MarketResolved.")

    fee = Uint256Field(null=True)
    reserves = Uint256ListField(null=True)
    liquidity = TotalField(default=0)
    volume = TotalField(default=0)
    trading_fees = TotalField(default=0)
    fees_collected = TotalField(default=0)
    trade_count = models.BigIntegerField(default=0)
    trader_count = models.BigIntegerField(default=0)

    suspect_since = models.DateTimeField(null=True, help_text="From here on its events contradict each other.")
    suspect_reason = models.TextField(blank=True, help_text="The first contradiction.")

    block_number = models.BigIntegerField()
    block_hash = Bytes32Field()
    transaction_hash = Bytes32Field()
    log_index = models.IntegerField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "markets"
        permissions = [("reconcile_market", "Can compare what is stored of a market with the chain")]
        indexes = [
            models.Index(fields=["created_at", "id"], name="markets_by_creation"),
            models.Index(fields=["volume", "id"], name="markets_by_volume"),
            models.Index(fields=["liquidity", "id"], name="markets_by_liquidity"),
            models.Index(fields=["trader_count", "id"], name="markets_by_traders"),
            models.Index(fields=["resolution_time", "id"], name="markets_by_end"),
            models.Index(fields=["resolved", "resolution_time"], name="markets_status"),
            GinIndex(SearchVector(Left("question", SEARCHED_QUESTION), config="simple"), name="markets_words"),
        ]

    def __str__(self) -> str:
        return self.question[:80]

    def status_at(self, now: datetime) -> str:
        """`resolved`, `ended` (its resolution time has passed) or `open`, at chain time `now`."""
        if self.resolved:
            return "resolved"
        return "ended" if self.resolution_time <= now else "open"


class Amm(models.Model):
    """An AMM that the factory announced for a market."""

    id = models.UUIDField(primary_key=True)
    address = AddressField(unique=True)
    market = models.ForeignKey(Market, models.CASCADE, to_field="market_id", related_name="amms")
    fee = Uint256Field()
    total_shares = TotalField(default=0)
    reserves = Uint256ListField(null=True)
    block_number = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "amms"

    def __str__(self) -> str:
        return self.address


class LiquidityShare(models.Model):
    """How many LP shares of an AMM somebody holds."""

    id = models.UUIDField(primary_key=True)
    amm = models.ForeignKey(Amm, models.CASCADE, to_field="address", db_column="amm_address", related_name="shares")
    holder = AddressField(db_index=True)
    amount = Uint256Field()
    cost = TotalField(default=0, help_text="What was paid for the shares that are left (pnl.py).")
    realized_pnl = TotalField(default=0)

    class Meta:
        db_table = "liquidity_shares"

    def __str__(self) -> str:
        return f"{self.holder} in {self.amm_id}"


class OutcomeToken(models.Model):
    """The position id of one outcome of a market, and how many of its tokens exist (minted less burnt)."""

    id = models.UUIDField(primary_key=True)
    position_id = Uint256Field(unique=True)
    market = models.ForeignKey(Market, models.CASCADE, to_field="market_id", related_name="outcome_tokens")
    outcome_index = models.IntegerField()
    supply = TotalField(default=0)

    class Meta:
        db_table = "outcome_tokens"

    def __str__(self) -> str:
        return f"{self.market_id}[{self.outcome_index}]"


class Position(models.Model):
    """What one address holds of one outcome: exactly its `balanceOf`. A closed position stays, with amount 0."""

    id = models.UUIDField(primary_key=True)
    user_address = AddressField()
    market = of_market("positions")
    outcome_index = models.IntegerField()
    amount = Uint256Field()
    is_amm = models.BooleanField(default=False)
    cost = TotalField(default=0, help_text="What was paid for the tokens that are left (pnl.py); of an AMM, nothing.")
    realized_pnl = TotalField(default=0)
    untracked_amount = Uint256Field(default=0, help_text="Of the tokens, those that came without a known cost.")
    away_amount = TotalField(
        default=0, help_text="Tokens that became what is not followed, and may come back (pnl.py)."
    )
    away_cost = TotalField(default=0, help_text="What those have cost: a loss for so long.")
    acquired_amount = TotalField(default=0, help_text="All tokens of a known cost that have ever come.")
    acquired_cost = TotalField(default=0, help_text="What they have cost.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "positions"
        indexes = [
            models.Index(fields=["market", "amount", "id"], name="positions_by_amount"),
            models.Index(fields=["user_address", "updated_at", "id"], name="positions_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.user_address} in {self.market_id}[{self.outcome_index}]"


class Trade(Emitted):
    """One FPMMBuy or FPMMSell. `collateral_amount` is what the trader paid or received, fee included or deducted."""

    class Side(models.TextChoices):
        BUY = "buy"
        SELL = "sell"

    id = models.UUIDField(primary_key=True)
    market = of_market("trades")
    amm_address = AddressField()
    trader = AddressField()
    side = models.CharField(max_length=4, choices=Side)
    outcome = models.IntegerField()
    amount = Uint256Field(help_text="Outcome tokens.")
    collateral_amount = Uint256Field()
    fee_amount = Uint256Field()
    market_volume = TotalField(default=0, help_text="The market's volume up to this trade, with it.")

    class Meta:
        db_table = "trades"
        indexes = [
            models.Index(fields=["market", "-block_number", "-log_index"], name="trades_of_market"),
            models.Index(fields=["trader", "-block_number", "-log_index"], name="trades_of_trader"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.amount} of {self.market_id}[{self.outcome}]"


class PricePoint(Emitted):
    """The reserves of a market's AMM after a change; prices follow from them (amm.py)."""

    id = models.UUIDField(primary_key=True)
    market = of_market("price_points")
    reserves = Uint256ListField()

    class Meta:
        db_table = "price_points"
        indexes = [models.Index(fields=["market", "-block_number", "-log_index"], name="price_points_of_market")]

    def __str__(self) -> str:
        return f"{self.market_id} at {self.block_number}"


class MarketTrader(models.Model):
    """That an address has traded a market, and how much."""

    id = models.UUIDField(primary_key=True)
    market = of_market("market_traders")
    address = AddressField()
    trade_count = models.BigIntegerField(default=0)
    volume = TotalField(default=0)

    class Meta:
        db_table = "market_traders"

    def __str__(self) -> str:
        return f"{self.address} in {self.market_id}"


class HistoryEntry(Emitted):
    """One thing that a user did or that happened to them; `sequence` orders entries of one log."""

    class Type(models.TextChoices):
        BUY = "buy"
        SELL = "sell"
        SPLIT = "split"
        MERGE = "merge"
        TRANSFER_IN = "transfer_in"
        TRANSFER_OUT = "transfer_out"
        REDEEM = "redeem"
        ADD_LIQUIDITY = "add_liquidity"
        REMOVE_LIQUIDITY = "remove_liquidity"

    id = models.UUIDField(primary_key=True)
    type = models.CharField(max_length=16, choices=Type)
    user_address = AddressField()
    market = of_market("history")
    outcome = models.IntegerField(
        null=True, help_text="Null where all outcomes moved alike, against collateral, and where LP shares moved."
    )
    amount = Uint256Field(
        help_text="Outcome tokens, of each outcome; LP shares where liquidity or, by a transfer, shares moved."
    )
    collateral_amount = Uint256Field(null=True)
    outcome_amounts = Uint256ListField(null=True, help_text="Outcome tokens that liquidity put in or took out.")
    untracked_amounts = Uint256ListField(
        null=True, help_text="Of the tokens, those without a known cost: one number, or one for each outcome."
    )
    counterparty = AddressField(null=True)
    realized_pnl = TotalField(default=0, help_text="Their sum up to a time is what the user had realised by then.")
    cost_change = TotalField(default=0, help_text="Their sum up to a time is what the user's holdings had cost then.")
    sequence = models.IntegerField(default=0)

    class Meta:
        db_table = "history"
        verbose_name_plural = "history"
        indexes = [
            models.Index(fields=["user_address", "-block_number", "-log_index", "-sequence"], name="history_of_user"),
            models.Index(fields=["market", "-block_number", "-log_index", "-sequence"], name="history_of_market"),
            models.Index(
                fields=["market", "block_number"],
                name="history_of_liquidity",
                condition=models.Q(type__in=["add_liquidity", "remove_liquidity"]),
            ),
            # Rows lie in the table as in the chain: it costs a writer nothing, and finds the last days.
            BrinIndex(fields=["block_number"], name="history_by_block", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"{self.type} by {self.user_address}"


class Ranking(models.Model):
    """When the leaderboard of a period was computed (leaderboard.py), and how long that took. No part of the ledger."""

    collateral_token = AddressField()
    period = models.CharField(max_length=8)
    block_number = models.BigIntegerField()
    block_hash = Bytes32Field(blank=True)
    computed_at = models.DateTimeField()
    seconds = models.FloatField()

    class Meta:
        db_table = "rankings"
        constraints = [models.UniqueConstraint(fields=["collateral_token", "period"], name="rankings_once")]

    def __str__(self) -> str:
        return f"{self.period} at block {self.block_number}"


class RankedUser(models.Model):
    """A user's place in the leaderboard of a period: by profit, or by volume."""

    collateral_token = AddressField()
    period = models.CharField(max_length=8)
    ranked_by = models.CharField(max_length=8)
    rank = models.IntegerField()
    user_address = AddressField()
    profit = TotalField()
    volume = TotalField()

    class Meta:
        db_table = "ranked_users"
        constraints = [
            models.UniqueConstraint(
                fields=["collateral_token", "period", "ranked_by", "rank"], name="ranked_users_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rank}. {self.user_address}"


class CollateralToken(models.Model):
    """What the token contract says of itself: learnt once by the indexer when a market first uses it."""

    address = AddressField(primary_key=True)
    symbol = models.CharField(max_length=64)
    decimals = models.PositiveSmallIntegerField()

    class Meta:
        db_table = "collateral_tokens"

    def __str__(self) -> str:
        return self.symbol


class LearntPositionIds(models.Model):
    """Position ids that the contract gave for a condition and collateral, where no formula of ours gives them."""

    condition_id = Bytes32Field()
    collateral_token = AddressField()
    position_ids = Uint256ListField()

    class Meta:
        db_table = "learnt_position_ids"
        verbose_name_plural = "learnt position ids"
        constraints = [
            models.UniqueConstraint(fields=["condition_id", "collateral_token"], name="learnt_position_ids_once")
        ]

    def __str__(self) -> str:
        return f"{self.condition_id} in {self.collateral_token}"


class MarketMetadata(models.Model):
    """What people add to a market. Keyed by the chain's id, without a constraint, so that it outlives a re-index."""

    market = models.OneToOneField(
        Market,
        models.DO_NOTHING,
        to_field="market_id",
        primary_key=True,
        db_constraint=False,
        related_name="metadata",
    )
    category = models.CharField(max_length=64, blank=True, db_index=True)
    description = models.TextField(blank=True, max_length=10_000)
    image_url = models.URLField(blank=True, max_length=500)
    resolution_source = models.CharField(blank=True, max_length=500)

    class Meta:
        db_table = "market_metadata"
        verbose_name_plural = "market metadata"
        indexes = [
            GinIndex(
                SearchVector("category", Left("description", SEARCHED_DESCRIPTION), config="simple"),
                name="market_metadata_words",
            )
        ]

    def __str__(self) -> str:
        return self.market_id


class MetadataEdit(models.Model):
    """One edit of a market's metadata: who changed what, and when. It outlives the market's row and the user's."""

    market = models.ForeignKey(
        Market,
        models.DO_NOTHING,
        to_field="market_id",
        db_constraint=False,
        related_name="metadata_edits",
    )
    edited_at = models.DateTimeField(db_default=Now())
    edited_by = models.CharField(max_length=150, help_text="The address, or an operator's name.")
    before = models.JSONField()
    after = models.JSONField()

    class Meta:
        db_table = "metadata_edits"

    def __str__(self) -> str:
        return f"{self.market_id} by {self.edited_by}"


class MarketCorrection(models.Model):
    """What is shown of a market in place of what the chain says; the chain's rows stay as they are (corrections.py).

    In force from `since` until it expires or is revoked. Without `since` it waits for a second person.
    """

    market = models.ForeignKey(
        Market, models.DO_NOTHING, to_field="market_id", db_constraint=False, db_index=False, related_name="corrections"
    )
    field = models.CharField(max_length=32, choices=[(name, each.title) for name, each in CORRECTABLE.items()])
    value = models.JSONField(help_text="As the API shows it.")
    reason = models.TextField(help_text="Anyone can read it.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(db_default=Now())
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", null=True)
    since = models.DateTimeField(null=True, help_text="From when on it is shown.")
    expires_at = models.DateTimeField(null=True, help_text="From when on it is not shown any more.")
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", null=True)
    revoked_at = models.DateTimeField(null=True, help_text="Also where it was rejected, or another took its place.")
    revoked_because = models.TextField(blank=True)
    told = models.BooleanField(default=False, help_text="Whether subscribers were last told that it is in force.")

    class Meta:
        db_table = "market_corrections"
        default_permissions = ("view",)
        permissions = [
            ("correct_market", "Can correct what is shown of a market"),
            ("approve_correction", "Can approve somebody else's correction"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(field__in=GUARDED)
                | Q(since__isnull=True)
                | (Q(approved_by__isnull=False) & ~Q(approved_by=F("requested_by"))),
                name="correction_by_two_people",
            ),
            models.UniqueConstraint(
                fields=["market", "field"],
                condition=Q(since__isnull=False, revoked_at__isnull=True),
                name="correction_one_in_force",
            ),
            models.UniqueConstraint(
                fields=["market", "field"],
                condition=Q(since__isnull=True, revoked_at__isnull=True),
                name="correction_one_pending",
            ),
        ]
        indexes = [
            models.Index(fields=["market", "-id"], name="corrections_of_market"),
            models.Index(
                fields=["expires_at"],
                condition=Q(since__isnull=False, revoked_at__isnull=True, expires_at__isnull=False),
                name="corrections_by_expiry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.field} of {self.market_id}"

    def state_at(self, now: datetime) -> str:
        """`pending`, `in force`, `expired`, or `revoked` (a pending one that was rejected, too)."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "in force" if self.since is not None else "pending"


class MarketPlacement(models.Model):
    """Whether a market is left out of lists, or put forward. Nothing else changes: its holders still find it."""

    market = models.OneToOneField(
        Market,
        models.DO_NOTHING,
        to_field="market_id",
        primary_key=True,
        db_constraint=False,
        related_name="placement",
    )
    hidden = models.BooleanField(default=False)
    featured = models.BooleanField(default=False)
    reason = models.TextField()
    changed_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "market_placements"
        default_permissions = ("view",)
        permissions = [("place_market", "Can hide and feature markets")]
        indexes = [
            models.Index(fields=["market"], condition=Q(hidden=True), name="markets_hidden"),
            models.Index(fields=["market"], condition=Q(featured=True), name="markets_featured"),
        ]

    def __str__(self) -> str:
        return self.market_id


class Channel(models.Model):
    """The last `seq` of a WebSocket channel, such as `prices:0x…`; it rises by one with each message."""

    id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=100, unique=True)
    seq = models.BigIntegerField(default=0)

    class Meta:
        db_table = "channels"

    def __str__(self) -> str:
        return self.name


class OutboxMessage(models.Model):
    """One message as subscribers get it, written in the transaction that caused it.

    `id` rises in commit order: whoever writes here holds the checkpoint's row lock until it commits.
    """

    id = models.BigAutoField(primary_key=True)
    channel = models.CharField(max_length=100)
    seq = models.BigIntegerField()
    payload = models.TextField(help_text="JSON, encoded once.")
    block_number = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox"
        constraints = [models.UniqueConstraint(fields=["channel", "seq"], name="outbox_gap_free")]

    def __str__(self) -> str:
        return f"{self.channel} #{self.seq}"


class IndexedBlock(models.Model):
    """A block that had logs of ours."""

    number = models.BigIntegerField(primary_key=True)
    hash = Bytes32Field()
    parent_hash = Bytes32Field()
    timestamp = models.DateTimeField()

    class Meta:
        db_table = "indexed_blocks"
        indexes = [models.Index(fields=["timestamp", "number"], name="indexed_blocks_by_time")]

    def __str__(self) -> str:
        return f"{self.number} {self.hash}"

    @classmethod
    def number_at(cls, moment: datetime, *, using: str | None = None) -> int:
        """The height of the last indexed block at or before `moment`, -1 where there is none.

        What happened later than `moment` is in higher blocks, and nothing else is: times rise with the chain.
        """
        blocks = cls.objects.using(using).filter(timestamp__lte=moment).order_by("-timestamp", "-number")
        number: int | None = blocks.values_list("number", flat=True).first()
        return -1 if number is None else number


class Checkpoint(models.Model):
    """The block that every chain-derived row is true at, of which chain and deployment. One row.

    Whoever writes chain-derived rows or messages holds this row's lock until it commits.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    chain_id = models.BigIntegerField()
    genesis_hash = Bytes32Field()
    contracts = models.JSONField(help_text="The deployment's addresses by contract.")
    start_block = models.BigIntegerField()
    block_number = models.BigIntegerField(help_text="start_block - 1 while nothing is indexed.")
    block_hash = Bytes32Field(blank=True)
    block_timestamp = models.DateTimeField(null=True)
    safe_block = models.BigIntegerField(default=-1)
    finalized_block = models.BigIntegerField(default=-1)
    published_block = models.BigIntegerField(
        default=-1, help_text="Messages of blocks up to here are out; indexing them again sends none."
    )
    event_count = models.BigIntegerField(default=0)

    class Meta:
        db_table = "checkpoint"

    def __str__(self) -> str:
        return f"block {self.block_number} of chain {self.chain_id}"

    @classmethod
    def chain_time(cls, checkpoint: "Checkpoint | None") -> datetime:
        """The time of the indexed block: what is open, and what the last 24 hours are, follows from it."""
        return (checkpoint.block_timestamp if checkpoint else None) or timezone.now()

    def finality(self, block_number: int) -> str:
        """How sure a block is: `final` and `safe` by the chain's own tags (or confirmations), else `pending`."""
        if block_number <= self.finalized_block:
            return "final"
        return "safe" if block_number <= self.safe_block else "pending"


class Revision(models.Model):
    """How often what people or token contracts say was changed: a part of every answer's version. One row.

    Triggers raise it with every write to the tables that answers show beside the ledger, and tell listeners on
    `indexed` of it, as of every move of the checkpoint.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    number = models.BigIntegerField(default=0)

    class Meta:
        db_table = "revision"

    def __str__(self) -> str:
        return str(self.number)

    @classmethod
    def move(cls) -> None:
        """Gives every answer another version: for who changes what they show without a new block."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE revision SET number = number + 1")
            cursor.execute("NOTIFY indexed")
