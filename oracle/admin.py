"""Oracle questions for operators, as they stand at the indexed block's time."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import DateTimeField, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from aurum.admin import ListedFilter, ReadOnlyAdmin, ReadOnlyTable, list_link, row_link, visible
from markets.models import Checkpoint, Market
from oracle import lifecycle
from oracle.models import Question, QuestionAnomaly, QuestionEvent, Vote
from oracle.serializers import facts, leading_side, weights

MOST_MARKETS = 10  # of one question, whose audit is asked for
CHAIN_TIME = Checkpoint.objects.values("block_timestamp")[:1]


def _chain_time() -> datetime:
    return Checkpoint.objects.values_list("block_timestamp", flat=True).first() or timezone.now()


class StateFilter(ListedFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in lifecycle.State]

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet:
        return queryset.in_state(lifecycle.State(self.value()), _chain_time()) if self.value() else queryset


class VoteTable(ReadOnlyTable):
    model = Vote
    fields = ("voter", "commit_hash", "committed_at", "payouts", "weight", "revealed_at")
    ordering = ("committed_at", "voter")


class TimelineTable(ReadOnlyTable):
    model = QuestionEvent
    verbose_name_plural = "timeline"
    fields = ("event", "block_number", "log_index", "timestamp", "transaction_hash")
    ordering = ("block_number", "log_index")


class AnomalyTable(ReadOnlyTable):
    model = QuestionAnomaly
    verbose_name_plural = "anomalies: what the contract does not let happen"
    fields = ("event", "problem", "block_number", "log_index", "timestamp", "transaction_hash")
    ordering = ("block_number", "log_index", "id")


@admin.register(QuestionAnomaly)
class QuestionAnomalyAdmin(ReadOnlyAdmin):
    list_display = ("question_link", "event", "problem", "block_number", "log_index", "timestamp")
    search_fields = ("question", "transaction_hash")
    ordering = ("-block_number", "-log_index")
    list_select_related = ("question",)

    @admin.display(description="question")
    def question_link(self, anomaly: QuestionAnomaly) -> SafeString:
        return row_link("oracle_question", anomaly.question.pk, anomaly.question_id)


@admin.register(Question)
class QuestionAdmin(ReadOnlyAdmin):
    list_display = ("question_id", "state", "is_binary", "outcome_slot_count", "proposer", "expires_at", "updated_at")
    list_filter = (StateFilter, "is_binary")
    search_fields = ("question_id", "proposer", "disputer", "id")
    ordering = ("-block_number", "-log_index")
    inlines = (AnomalyTable, VoteTable, TimelineTable)
    fieldsets = (
        (None, {"fields": ("question_id", "state", "deadlines", "is_binary", "outcome_slot_count", "market", "audit")}),
        ("What it asks", {"fields": ("asked", "outcomes", "description", "resolution_source")}),
        ("Proposal", {"fields": ("proposer", "proposed_payouts", "proposal_stake", "proposed_at", "expires_at")}),
        ("Dispute", {"fields": ("disputer", "disputed_payouts", "dispute_stake", "disputed_at", "tally")}),
        ("Outcome", {"fields": ("payouts", "resolved_at", "voided_at")}),
        ("Origin", {"fields": ("id", "registered_at", "block_number", "log_index", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        chain_time = Subquery(CHAIN_TIME, output_field=DateTimeField())
        return super().get_queryset(request).annotate(chain_time=chain_time)

    @admin.display(description="state at chain time")
    def state(self, question: Any) -> str:
        return lifecycle.state_at(facts(question), question.chain_time or timezone.now()).value

    @admin.display(description="deadlines")
    def deadlines(self, question: Question) -> SafeString:
        ends = lifecycle.deadlines(facts(question))
        rows = ((name, f"{end:%Y-%m-%d %H:%M:%S} UTC") for name, end in ends.items() if end)
        return format_html_join(" · ", "{}: {}", rows)

    @admin.display(description="market")
    def market(self, question: Question) -> SafeString:
        return list_link("markets_market", "markets of this question", q=question.question_id)

    @admin.display(description="audit")
    def audit(self, question: Question) -> SafeString:
        markets = Market.objects.filter(question_id=question.question_id).order_by("id")[:MOST_MARKETS]
        subjects = [f"question:{question.question_id}", *(f"market:{market.market_id}" for market in markets)]
        return list_link("operators_auditentry", "steps of people, here and on its market", q=" ".join(subjects))

    @admin.display(description="question")
    def asked(self, question: Question) -> str:
        market = _market(question)
        return visible(market.question) if market else "no market is indexed"

    @admin.display(description="payouts by outcome")
    def outcomes(self, question: Question) -> SafeString:
        """Each outcome with what the proposal, the dispute and the resolution give it, of 1e18."""
        market = _market(question)
        sides = {"proposed": question.proposed_payouts, "disputed": question.disputed_payouts, "paid": question.payouts}
        rows = (
            (place, visible(outcome), _given(sides, place))
            for place, outcome in enumerate(market.outcomes if market else ())
        )
        return format_html_join("", "<div>{} · {}{}</div>", rows)

    @admin.display(description="description")
    def description(self, question: Question) -> str:
        return visible(_said(question, "description"))

    @admin.display(description="resolution source")
    def resolution_source(self, question: Question) -> str:
        return visible(_said(question, "resolution_source"))

    @admin.display(description="tally")
    def tally(self, question: Question) -> SafeString:
        side = leading_side(question)
        if side is None:
            return format_html("{}", "nothing is disputed")
        rows = ((weight, ", ".join(map(str, payouts))) for payouts, weight in weights(question).items())
        found = format_html_join("", "<div>{} AURUM (1e-18) for [{}]</div>", rows)
        return format_html("{}<div>the {} leads; a tie leaves the proposal standing</div>", found, side.value)


def _market(question: Question) -> Market | None:
    """The first that asks the question, with what people say of it."""
    markets = Market.objects.filter(question_id=question.question_id).select_related("metadata")
    return markets.order_by("block_number", "log_index").first()


def _said(question: Question, name: str) -> str:
    market = _market(question)
    return str(getattr(getattr(market, "metadata", None), name, "")) or "nobody has said"


def _given(sides: dict[str, list[int] | None], place: int) -> SafeString:
    given = ((name, payouts[place]) for name, payouts in sides.items() if payouts and place < len(payouts))
    return format_html_join("", " · {} {}", given)
