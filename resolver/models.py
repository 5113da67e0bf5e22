"""What the backend wallet is to do, does and did; and who asked for it. Fees and gas prices are in wei."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from markets.fields import AddressField, Bytes32Field, Uint256Field, Uint256ListField


class Kind(models.TextChoices):
    """What an action calls."""

    FINALIZE = "finalize", "finalise the proposal (AurumOracle.finalizeProposal)"
    RESOLVE = "resolve", "announce the market's payouts (MarketFactory.resolveMarket)"
    APPROVE_STAKE = "approve_stake", "let the oracle take the stake (AurumToken.approve)"
    PROPOSE = "propose", "propose an outcome (AurumOracle.proposeOutcome)"
    VOID = "void", "void the question (AurumOracle.voidQuestion)"


class ActionState(models.TextChoices):
    """An action's life; wallet.py makes its steps."""

    QUEUED = "queued", "waits for its turn"
    SIGNED = "signed", "its transaction is signed and stored"
    SENT = "sent", "a node has taken its transaction"
    MINED = "mined", "in a block that is not final"
    ORPHANED = "orphaned", "its block was replaced; it is sent again"
    DONE = "done", "final"
    UNNEEDED = "unneeded", "somebody else did it, finally"
    FAILED = "failed", "the contract refused; it waits for an operator"
    CANCELLED = "cancelled", "an operator took it back"


IN_FLIGHT = (ActionState.SIGNED, ActionState.SENT, ActionState.ORPHANED)
OVER = (ActionState.DONE, ActionState.UNNEEDED, ActionState.FAILED, ActionState.CANCELLED)


class ResolutionRequest(models.Model):
    """A staff member's wish to propose an outcome or to void a question, and what another one says to it."""

    class Kind(models.TextChoices):
        PROPOSE = "propose", "propose an outcome"
        VOID = "void", "void the question"

    class State(models.TextChoices):
        PENDING = "pending", "waits for another person's approval"
        APPROVED = "approved", "approved"
        REJECTED = "rejected", "rejected"
        WITHDRAWN = "withdrawn", "withdrawn"

    chain_id = models.BigIntegerField()
    question_id = Bytes32Field(db_index=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    payouts = Uint256ListField(null=True, help_text="Fractions of 1e18 by outcome, for a proposal.")
    reason = models.TextField()
    calldata = models.TextField(help_text="What was previewed: 0x and hex.")
    simulation = models.JSONField(help_text="What `eth_call` said, and at which block.")
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(db_default=Now())
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", null=True)
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.TextField(blank=True)

    class Meta:
        db_table = "resolution_requests"
        default_permissions = ("view",)
        permissions = [
            ("request_resolution", "Can ask for a resolution"),
            ("approve_resolution", "Can approve somebody else's request for a resolution"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="approved") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("requested_by"))),
                name="resolution_by_two_people",
            ),
            models.UniqueConstraint(
                fields=["chain_id", "question_id"], condition=Q(state="pending"), name="resolution_one_pending"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.question_id}"


class WalletAction(models.Model):
    """One thing that must happen on chain once, whatever happens to the process that does it."""

    chain_id = models.BigIntegerField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    subject = Bytes32Field(help_text="The question's id; of `resolve`, the market's.")
    round = models.BigIntegerField(
        default=0, help_text="Of what a question can have several times: when the proposal it replaces was made."
    )
    contract = AddressField(help_text="Whom it calls.")
    calldata = models.TextField(help_text="0x and hex.")
    reason = models.TextField()
    actor = models.CharField(max_length=150, help_text="`resolver`, or who asked for it and who approved.")
    request = models.ForeignKey(ResolutionRequest, models.PROTECT, related_name="actions", null=True)
    state = models.CharField(max_length=20, choices=ActionState.choices, default=ActionState.QUEUED)
    attempts = models.IntegerField(
        default=0, help_text="How often it could not be done, or was refused, since it was queued."
    )
    due_at = models.DateTimeField(default=timezone.now, help_text="Not before: another attempt waits.")
    error = models.TextField(blank=True)
    block_number = models.BigIntegerField(null=True)
    block_hash = Bytes32Field(null=True)
    transaction_hash = Bytes32Field(null=True, help_text="Of the transaction that was mined.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "wallet_actions"
        default_permissions = ("view",)
        permissions = [("retry_walletaction", "Can have a failed action tried again")]
        constraints = [
            # What was cancelled may be asked for again.
            models.UniqueConstraint(
                fields=["chain_id", "subject", "kind", "round"],
                condition=~Q(state="cancelled"),
                name="wallet_action_once",
            ),
            # A second one must not be signed before the first one is in a block.
            models.UniqueConstraint(
                fields=["chain_id"], condition=Q(state__in=["signed", "sent"]), name="wallet_one_in_flight"
            ),
        ]
        indexes = [models.Index(fields=["state", "id"], name="wallet_actions_by_state")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class WalletTransaction(models.Model):
    """A signed transaction, stored before any node sees it. Those of one nonce replace each other."""

    action = models.ForeignKey(WalletAction, models.PROTECT, related_name="transactions")
    chain_id = models.BigIntegerField()
    signer = AddressField()
    nonce = models.BigIntegerField()
    hash = Bytes32Field(unique=True)
    raw = models.BinaryField()
    gas = models.BigIntegerField()
    max_fee = Uint256Field(help_text="maxFeePerGas")
    priority_fee = Uint256Field(help_text="maxPriorityFeePerGas")
    signed_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, help_text="When a node first took it.")
    last_sent_at = models.DateTimeField(null=True)
    block_number = models.BigIntegerField(null=True, help_text="Where it is; nothing again when that was replaced.")
    block_hash = Bytes32Field(null=True)
    succeeded = models.BooleanField(null=True, help_text="What its receipt says: not so where it reverted.")
    final = models.BooleanField(default=False, help_text="Its block is final, and so are all lower nonces.")
    error = models.TextField(blank=True, help_text="What a node said of it last.")

    class Meta:
        db_table = "wallet_transactions"
        default_permissions = ("view",)
        indexes = [models.Index(fields=["chain_id", "signer", "nonce"], name="wallet_transactions_by_nonce")]

    def __str__(self) -> str:
        return self.hash


class WalletSwitch(models.Model):
    """One row: whether the wallet may sign and send. What is in a block already is still followed."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    stopped = models.BooleanField(default=False)
    reason = models.TextField(blank=True)
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "wallet_switch"
        verbose_name_plural = "wallet switch"
        default_permissions = ("view",)
        permissions = [
            ("stop_wallet", "Can stop the wallet"),
            ("release_wallet", "Can let the wallet go on"),
        ]

    def __str__(self) -> str:
        return "stopped" if self.stopped else "running"


class WalletStatus(models.Model):
    """What the process with the wallet last said of itself. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    heartbeat_at = models.DateTimeField()
    signer = AddressField(blank=True)
    balance = Uint256Field(null=True, help_text="Wei, as a node last said.")
    hindrance = models.TextField(blank=True, help_text="What keeps it from going on; nothing while all goes well.")

    class Meta:
        db_table = "wallet_status"
        verbose_name_plural = "wallet status"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"heard of at {self.heartbeat_at:%Y-%m-%d %H:%M:%S}"
