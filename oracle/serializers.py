"""Oracle questions as JSON, with where they stand at the indexed block's time."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aurum.schema import example_of
from aurum.sqljson import AMOUNT
from markets.models import Market
from oracle import lifecycle
from oracle.examples import QUESTION
from oracle.fields import AmountField, AmountListField
from oracle.models import Question, QuestionEvent, Vote

MOMENT = {"type": "string", "format": "date-time"}
ADDRESS = {"type": "string", "pattern": "^0x[0-9a-f]{40}$"}
PAYOUTS = {"type": "array", "items": AMOUNT}


def described(*, null: bool = False, **properties: Any) -> dict[str, Any]:
    """An object with these properties, for OpenAPI."""
    kind = ["object", "null"] if null else "object"
    return {"type": kind, "properties": properties, "required": list(properties)}


PROPOSAL = described(null=True, proposer=ADDRESS, payouts=PAYOUTS, stake=AMOUNT, proposedAt=MOMENT, expiresAt=MOMENT)
DISPUTE = described(null=True, disputer=ADDRESS, payouts=PAYOUTS, stake=AMOUNT, disputedAt=MOMENT)
TALLY = {"type": "array", "items": described(payouts=PAYOUTS, weight=AMOUNT)}
DEADLINES = described(
    **dict.fromkeys(("challenge", "commit", "reveal", "stale"), MOMENT | {"type": ["string", "null"]})
)


def facts(question: Question) -> lifecycle.Facts:
    """What lifecycle.py needs of a row."""
    return lifecycle.Facts(
        proposed_at=question.proposed_at,
        expires_at=question.expires_at,
        disputed_at=question.disputed_at,
        resolved_at=question.resolved_at,
        voided_at=question.voided_at,
    )


class VoteSerializer(serializers.ModelSerializer):
    payouts = AmountListField(allow_null=True, help_text="Null until the vote is revealed.")
    weight = AmountField(allow_null=True, help_text="Null until the vote is revealed.")

    class Meta:
        model = Vote
        fields = ("voter", "commit_hash", "payouts", "weight", "committed_at", "revealed_at")


class TimelineSerializer(serializers.ModelSerializer):
    class Meta:
        model = QuestionEvent
        fields = ("event", "block_number", "transaction_hash", "log_index", "timestamp")


@example_of("A disputed question", QUESTION)
class QuestionSerializer(serializers.ModelSerializer):
    market_id = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()
    proposal = serializers.SerializerMethodField()
    dispute = serializers.SerializerMethodField()
    votes = serializers.SerializerMethodField()
    tally = serializers.SerializerMethodField()
    payouts = AmountListField(allow_null=True, help_text="Null until the question is resolved.")
    deadlines = serializers.SerializerMethodField()
    available_actions = serializers.SerializerMethodField()
    timeline = TimelineSerializer(many=True, read_only=True)

    class Meta:
        model = Question
        fields = (
            "id",
            "question_id",
            "market_id",
            "outcome_slot_count",
            "is_binary",
            "state",
            "proposal",
            "dispute",
            "votes",
            "tally",
            "payouts",
            "deadlines",
            "available_actions",
            "timeline",
            "registered_at",
            "updated_at",
        )

    def _now(self) -> datetime:
        """Chain time: the indexed block's."""
        return self.context["chain_time"]

    @extend_schema_field({"type": ["string", "null"], "pattern": "^0x[0-9a-f]{64}$"})
    def get_market_id(self, question: Question) -> str | None:
        return self.context["markets"].get(question.question_id)

    @extend_schema_field({"type": "string", "enum": [state.value for state in lifecycle.State]})
    def get_state(self, question: Question) -> str:
        return lifecycle.state_at(facts(question), self._now())

    @extend_schema_field(PROPOSAL)
    def get_proposal(self, question: Question) -> dict[str, Any] | None:
        if question.proposer is None:
            return None
        return {
            "proposer": question.proposer,
            "payouts": _strings(question.proposed_payouts),
            "stake": str(question.proposal_stake),
            "proposed_at": _time(question.proposed_at),
            "expires_at": _time(question.expires_at),
        }

    @extend_schema_field(DISPUTE)
    def get_dispute(self, question: Question) -> dict[str, Any] | None:
        if question.disputer is None:
            return None
        return {
            "disputer": question.disputer,
            "payouts": _strings(question.disputed_payouts),
            "stake": str(question.dispute_stake),
            "disputed_at": _time(question.disputed_at),
        }

    def _current_votes(self, question: Question) -> list[Vote]:
        """Votes on the dispute that stands; those on a replaced proposal are past."""
        disputed_at = question.disputed_at
        if disputed_at is None:
            return []
        votes = [vote for vote in question.votes.all() if vote.committed_at >= disputed_at]  # type: ignore[attr-defined]
        return sorted(votes, key=lambda vote: (vote.committed_at, vote.voter))

    @extend_schema_field(VoteSerializer(many=True))
    def get_votes(self, question: Question) -> Any:
        return VoteSerializer(self._current_votes(question), many=True).data

    @extend_schema_field(TALLY)
    def get_tally(self, question: Question) -> list[dict[str, Any]]:
        """Revealed weight by payouts, the heaviest first."""
        weights: dict[tuple[int, ...], int] = {}
        for vote in self._current_votes(question):
            if vote.payouts is not None:
                key = tuple(vote.payouts)
                weights[key] = weights.get(key, 0) + (vote.weight or 0)
        ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
        return [{"payouts": _strings(payouts), "weight": str(weight)} for payouts, weight in ranked]

    @extend_schema_field(DEADLINES)
    def get_deadlines(self, question: Question) -> dict[str, str | None]:
        return {name: _time(moment) for name, moment in lifecycle.deadlines(facts(question)).items()}

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_available_actions(self, question: Question) -> list[str]:
        return list(lifecycle.available_actions(facts(question), self._now()))


def markets_of(questions: list[Question]) -> dict[str, str]:
    """The market of each question that has one."""
    ids = [question.question_id for question in questions]
    return dict(Market.objects.filter(question_id__in=ids).values_list("question_id", "market_id"))


def _strings(numbers: Any) -> list[str]:
    return [str(number) for number in numbers or ()]


def _time(moment: datetime | None) -> str | None:
    return serializers.DateTimeField().to_representation(moment) if moment else None
