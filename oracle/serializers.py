"""Oracle questions as JSON, with where they stand at the indexed block's time."""

from datetime import datetime
from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aurum.schema import example_of
from aurum.sqljson import AMOUNT
from markets.metadata import FIELDS
from markets.models import Market
from oracle import lifecycle
from oracle.examples import QUESTION
from oracle.fields import AmountField, AmountListField
from oracle.models import Question, QuestionAnomaly, QuestionEvent, Vote
from oracle.tally import Side, leading, weights_of

MOMENT = {"type": "string", "format": "date-time"}
ADDRESS = {"type": "string", "pattern": "^0x[0-9a-f]{40}$"}
PAYOUTS = {"type": "array", "items": AMOUNT}


def described(*, null: bool = False, **properties: Any) -> dict[str, Any]:
    """An object with these properties, for OpenAPI."""
    kind = ["object", "null"] if null else "object"
    return {"type": kind, "properties": properties, "required": list(properties)}


PROPOSAL = described(null=True, proposer=ADDRESS, payouts=PAYOUTS, stake=AMOUNT, proposedAt=MOMENT, expiresAt=MOMENT)
DISPUTE = described(null=True, disputer=ADDRESS, payouts=PAYOUTS, stake=AMOUNT, disputedAt=MOMENT)
SIDE = {
    "type": ["string", "null"],
    "enum": [*(side.value for side in Side), None],
    "description": "Null where the payouts are neither side's, which the contract does not let happen.",
}
TALLY = {"type": "array", "items": described(payouts=PAYOUTS, weight=AMOUNT, side=SIDE)}
LEADING = {
    "type": ["string", "null"],
    "enum": [*(side.value for side in Side), None],
    "description": "Whose payouts stand if nobody else reveals: a tie leaves the proposal's. Null without a dispute.",
}
ACTORS = {
    "type": "array",
    "items": described(
        action={"type": "string"},
        who={"type": "string", "enum": [who.value for who in lifecycle.Who]},
        stake=AMOUNT | {"type": ["string", "null"], "description": "AURUM, in base units."},
    ),
    "description": "Who can do each of `availableActions` now, and what it takes.",
}
METADATA = described(
    **{name: {"type": "string"} for name in ("category", "description", "imageUrl", "resolutionSource")}
) | {"description": "What people say of the market; empty where nobody has."}
MARKET = described(
    null=True,
    marketId={"type": "string", "pattern": "^0x[0-9a-f]{64}$"},
    question={"type": "string"},
    outcomes={"type": "array", "items": {"type": "string"}},
    metadata=METADATA,
)
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


class AnomalySerializer(serializers.ModelSerializer):
    class Meta:
        model = QuestionAnomaly
        fields = ("event", "problem", "block_number", "transaction_hash", "log_index", "timestamp")


@example_of("A disputed question", QUESTION)
class QuestionSerializer(serializers.ModelSerializer):
    market_id = serializers.SerializerMethodField()
    market = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()
    proposal = serializers.SerializerMethodField()
    dispute = serializers.SerializerMethodField()
    votes = serializers.SerializerMethodField()
    tally = serializers.SerializerMethodField()
    leading = serializers.SerializerMethodField()
    payouts = AmountListField(allow_null=True, help_text="Null until the question is resolved.")
    deadlines = serializers.SerializerMethodField()
    available_actions = serializers.SerializerMethodField()
    actors = serializers.SerializerMethodField()
    timeline = TimelineSerializer(many=True, read_only=True)
    anomalies = AnomalySerializer(
        many=True, read_only=True, help_text="What events said that the contract does not let happen."
    )

    class Meta:
        model = Question
        fields = (
            "id",
            "question_id",
            "market_id",
            "market",
            "outcome_slot_count",
            "is_binary",
            "state",
            "proposal",
            "dispute",
            "votes",
            "tally",
            "leading",
            "payouts",
            "deadlines",
            "available_actions",
            "actors",
            "timeline",
            "anomalies",
            "registered_at",
            "updated_at",
        )

    def _now(self) -> datetime:
        """Chain time: the indexed block's."""
        return self.context["chain_time"]

    @extend_schema_field({"type": ["string", "null"], "pattern": "^0x[0-9a-f]{64}$"})
    def get_market_id(self, question: Question) -> str | None:
        market = self.context["markets"].get(question.question_id)
        return market and market.market_id

    @extend_schema_field(MARKET)
    def get_market(self, question: Question) -> dict[str, Any] | None:
        market = self.context["markets"].get(question.question_id)
        if market is None:
            return None
        metadata = getattr(market, "metadata", None)
        said = {name: getattr(metadata, name, "") for name in FIELDS}
        return {
            "market_id": market.market_id,
            "question": market.question,
            "outcomes": market.outcomes,
            "metadata": said,
        }

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

    @extend_schema_field(VoteSerializer(many=True))
    def get_votes(self, question: Question) -> Any:
        return VoteSerializer(current_votes(question), many=True).data

    @extend_schema_field(TALLY)
    def get_tally(self, question: Question) -> list[dict[str, Any]]:
        """Revealed weight by payouts, the heaviest first."""
        sides = {
            tuple(question.disputed_payouts or ()): Side.DISPUTE,
            tuple(question.proposed_payouts or ()): Side.PROPOSAL,
        }
        return [
            {"payouts": _strings(payouts), "weight": str(weight), "side": sides.get(payouts)}
            for payouts, weight in weights(question).items()
        ]

    @extend_schema_field(LEADING)
    def get_leading(self, question: Question) -> Side | None:
        return leading_side(question)

    @extend_schema_field(DEADLINES)
    def get_deadlines(self, question: Question) -> dict[str, str | None]:
        return {name: _time(moment) for name, moment in lifecycle.deadlines(facts(question)).items()}

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_available_actions(self, question: Question) -> list[str]:
        return list(lifecycle.available_actions(facts(question), self._now()))

    @extend_schema_field(ACTORS)
    def get_actors(self, question: Question) -> list[dict[str, Any]]:
        found = []
        for action in lifecycle.available_actions(facts(question), self._now()):
            actor = lifecycle.ACTORS[action]
            found.append({"action": action, "who": actor.who, "stake": str(actor.stake) if actor.stake else None})
        return found


def current_votes(question: Question) -> list[Vote]:
    """Votes on the dispute that stands, as they came; those on a replaced proposal are past."""
    disputed_at = question.disputed_at
    if disputed_at is None:
        return []
    votes = [vote for vote in question.votes.all() if vote.committed_at >= disputed_at]  # type: ignore[attr-defined]
    return sorted(votes, key=lambda vote: (vote.committed_at, vote.voter))


def weights(question: Question) -> dict[tuple[int, ...], int]:
    """The revealed weight by payouts, the heaviest first."""
    return weights_of((vote.payouts, vote.weight) for vote in current_votes(question))


def leading_side(question: Question) -> Side | None:
    """The side whose payouts stand if nobody else reveals; None where nothing is disputed."""
    proposed, disputed = question.proposed_payouts, question.disputed_payouts
    return None if proposed is None or disputed is None else leading(proposed, disputed, weights(question))


def markets_of(questions: list[Question]) -> dict[str, Market]:
    """The market of each question that has one, with its metadata; of several the first."""
    ids = [question.question_id for question in questions]
    markets = Market.objects.filter(question_id__in=ids).select_related("metadata")
    markets = markets.only("question_id", "market_id", "question", "outcomes", "metadata")
    return {market.question_id: market for market in markets.order_by("-block_number", "-log_index")}


def with_steps(questions: QuerySet[Question]) -> QuerySet[Question]:
    """Questions with all that the serializer reads of them but their markets."""
    in_order = ("block_number", "log_index")
    timeline = Prefetch("timeline", QuestionEvent.objects.order_by(*in_order))
    anomalies = Prefetch("anomalies", QuestionAnomaly.objects.order_by(*in_order, "id"))
    return questions.prefetch_related("votes", timeline, anomalies)


def _strings(numbers: Any) -> list[str]:
    return [str(number) for number in numbers or ()]


def _time(moment: datetime | None) -> str | None:
    return serializers.DateTimeField().to_representation(moment) if moment else None
