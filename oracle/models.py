"""Oracle questions as AurumOracle's events tell them. Stakes and vote weights are in base units of AURUM (1e18)."""

from django.db import models

from markets.fields import AddressField, Bytes32Field, TotalField, Uint256Field, Uint256ListField
from markets.models import Emitted
from oracle.querysets import QuestionQuerySet


class Question(models.Model):
    """One question; its state at a given time follows from these facts (lifecycle.py)."""

    id = models.UUIDField(primary_key=True)
    question_id = Bytes32Field(unique=True)
    outcome_slot_count = models.IntegerField()
    is_binary = models.BooleanField()
    registered_at = models.DateTimeField()

    proposer = AddressField(null=True)
    proposed_payouts = Uint256ListField(null=True)
    proposal_stake = Uint256Field(null=True)
    proposed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, help_text="When the challenge period ends.")

    disputer = AddressField(null=True)
    disputed_payouts = Uint256ListField(null=True)
    dispute_stake = Uint256Field(null=True)
    disputed_at = models.DateTimeField(null=True)

    payouts = Uint256ListField(null=True)
    resolved_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    block_number = models.BigIntegerField()
    log_index = models.IntegerField()
    updated_at = models.DateTimeField()

    objects = QuestionQuerySet.as_manager()

    class Meta:
        db_table = "oracle_questions"
        indexes = [models.Index(fields=["-block_number", "-log_index"], name="oracle_questions_newest")]

    def __str__(self) -> str:
        return self.question_id


class Vote(models.Model):
    """A voter's commitment to a dispute, and what it turned out to be. A reveal without one has a hash of zeros."""

    id = models.UUIDField(primary_key=True)
    question = models.ForeignKey(Question, models.CASCADE, to_field="question_id", related_name="votes")
    voter = AddressField()
    commit_hash = Bytes32Field()
    committed_at = models.DateTimeField()
    payouts = Uint256ListField(null=True)
    weight = TotalField(null=True)
    revealed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "oracle_votes"

    def __str__(self) -> str:
        return f"{self.voter} on {self.question_id}"


class QuestionEvent(Emitted):
    """One step of a question's timeline."""

    id = models.UUIDField(primary_key=True)
    question = models.ForeignKey(Question, models.CASCADE, to_field="question_id", related_name="timeline")
    event = models.CharField(max_length=100)

    class Meta:
        db_table = "oracle_question_events"
        indexes = [models.Index(fields=["question", "block_number", "log_index"], name="oracle_timeline")]

    def __str__(self) -> str:
        return f"{self.event} of {self.question_id}"


class QuestionAnomaly(Emitted):
    """What an event says that AurumOracle.sol does not let happen (anomalies.py), for an operator to look at."""

    id = models.UUIDField(primary_key=True)
    question = models.ForeignKey(Question, models.CASCADE, to_field="question_id", related_name="anomalies")
    event = models.CharField(max_length=100)
    problem = models.TextField()

    class Meta:
        db_table = "oracle_anomalies"
        verbose_name_plural = "question anomalies"
        indexes = [
            models.Index(fields=["question", "block_number", "log_index"], name="oracle_anomalies_of_question"),
            models.Index(fields=["-block_number", "-log_index"], name="oracle_anomalies_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.event} of {self.question_id}: {self.problem}"
