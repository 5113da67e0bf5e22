"""Oracle questions for operators, as they stand at the indexed block's time."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import DateTimeField, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from aurum.admin import ListedFilter, ReadOnlyAdmin, ReadOnlyTable, list_link
from markets.models import Checkpoint, Market
from oracle import lifecycle
from oracle.models import Question, QuestionEvent, Vote
from oracle.serializers import facts

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


@admin.register(Question)
class QuestionAdmin(ReadOnlyAdmin):
    list_display = ("question_id", "state", "is_binary", "outcome_slot_count", "proposer", "expires_at", "updated_at")
    list_filter = (StateFilter, "is_binary")
    search_fields = ("question_id", "proposer", "disputer", "id")
    ordering = ("-block_number", "-log_index")
    inlines = (VoteTable, TimelineTable)
    fieldsets = (
        (None, {"fields": ("question_id", "state", "deadlines", "is_binary", "outcome_slot_count", "market", "audit")}),
        ("Proposal", {"fields": ("proposer", "proposed_payouts", "proposal_stake", "proposed_at", "expires_at")}),
        ("Dispute", {"fields": ("disputer", "disputed_payouts", "dispute_stake", "disputed_at")}),
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
