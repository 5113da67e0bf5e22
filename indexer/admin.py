"""The chain as it was read, for operators: events (the failed ones first of all), and how the indexer is."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from aurum.admin import (
    ListedFilter,
    MaybeReasonForm,
    ReadOnlyAdmin,
    ReasonForm,
    Table,
    pretty_json,
    row_link,
    shortened,
    step_page,
    visible,
)
from indexer import repair_requests
from indexer.events import EVENTS
from indexer.models import IndexedEvent, IndexerStatus, Reorganisation, RepairRequest
from markets.models import Market
from operators.audit import record

NAMES = sorted({event_class.stored_name for event_class in EVENTS.values()})


class EventNameFilter(ListedFilter):
    """The names that exist, from the code: the table is too big to ask for its distinct ones."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in NAMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(event_name=self.value()) if self.value() else queryset


class ReasonedActionForm(ActionForm):
    """Asks why beside the list's actions."""

    reason = forms.CharField(required=False, max_length=1_000, label="Reason:")


@admin.register(IndexedEvent)
class IndexedEventAdmin(ReadOnlyAdmin):
    action_form = ReasonedActionForm
    actions = ("try_again",)  # type: ignore[assignment]  # None above means that there is none
    list_display = (
        "id",
        "event_name",
        "processed",
        "block_number",
        "log_index",
        "transaction_hash",
        "address",
        "last_line",
    )
    list_filter = ("processed", EventNameFilter)
    search_fields = ("transaction_hash", "block_number", "id")
    search_help_text = "A transaction hash, a block number or an event's UUID"
    ordering = ("-block_number", "-log_index")
    fields = (
        "event_name",
        "processed",
        "whole_error",
        "retry_link",
        "pretty_event_data",
        "address",
        "block_number",
        "block_hash",
        "block_timestamp",
        "transaction_hash",
        "transaction_index",
        "log_index",
        "pretty_topics",
        "raw_data",
        "id",
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[IndexedEvent]:
        queryset = super().get_queryset(request)
        match = request.resolver_match
        # A list shows none of what makes these rows big.
        is_list = match is not None and str(match.url_name).endswith("_changelist")
        return queryset.defer("event_data", "topics", "data") if is_list else queryset

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Rows stay read-only for everybody; whoever may change them in principle may have them applied once more."""
        return request.user.has_perm("indexer.change_indexedevent")

    @admin.action(description="Try again", permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[IndexedEvent]) -> None:
        """Asks the indexer to read the failed events' blocks once more and to build the tables anew."""
        blocks = list(queryset.filter(processed=False).order_by("block_number").values_list("block_number", flat=True))
        if not blocks:
            self.message_user(request, "None of these events failed.", messages.WARNING)
            return
        try:
            repairs = retry(request, blocks, request.POST.get("reason", "").strip())
        except repair_requests.Refused as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        for repair in repairs:
            self.log_change(request, repair, repair.reason)
        links = [(row_link("indexer_repairrequest", repair.pk, str(repair)),) for repair in repairs]
        text = format_html("The indexer will try again: {}.", format_html_join(", ", "{}", links))
        self.message_user(request, text, messages.SUCCESS)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(retry_one)
        return [path("<uuid:event_id>/retry/", view, name="indexer_indexedevent_retry"), *super().get_urls()]

    @admin.display(description="try again")
    def retry_link(self, event: IndexedEvent) -> SafeString | str:
        if event.processed:
            return "it did not fail"
        return format_html('<a href="{}">try again</a>', reverse("admin:indexer_indexedevent_retry", args=[event.pk]))

    @admin.display(description="error")
    def last_line(self, event: IndexedEvent) -> str:
        """A traceback's last line says what went wrong."""
        return shortened(event.error.strip().rpartition("\n")[2], 200)

    @admin.display(description="error")
    def whole_error(self, event: IndexedEvent) -> SafeString:
        return format_html("<pre>{}</pre>", visible(event.error))

    @admin.display(description="event data")
    def pretty_event_data(self, event: IndexedEvent) -> SafeString:
        return pretty_json(event.event_data)

    @admin.display(description="topics")
    def pretty_topics(self, event: IndexedEvent) -> SafeString:
        return pretty_json(event.topics)

    @admin.display(description="data")
    def raw_data(self, event: IndexedEvent) -> str:
        return "0x" + bytes(event.data).hex()


def retry(request: HttpRequest, blocks: Sequence[int], reason: str) -> list[RepairRequest]:
    """Queues the blocks of failed events, one for each, and says so in the audit. Raises Refused."""
    name = request.user.get_username()
    with transaction.atomic():
        repairs = repair_requests.request_events(
            blocks, by=name, reason=reason or f"{name} tries {len(blocks)} failed events again"
        )
        for repair in repairs:
            said = {"fromBlock": repair.from_block, "toBlock": repair.to_block, "events": len(blocks)}
            _audited(request, "event.retry", repair, after=said, reason=reason)
    return repairs


def retry_one(request: HttpRequest, event_id: Any) -> HttpResponse:
    """Has one failed event applied once more, by the indexer."""
    event = get_object_or_404(IndexedEvent, pk=event_id)
    if not request.user.has_perm("indexer.change_indexedevent"):
        raise PermissionDenied
    form = MaybeReasonForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and not event.processed:
        [repair] = retry(request, [event.block_number], form.cleaned_data["reason"])
        messages.success(request, "The indexer will try again.")
        return redirect("admin:indexer_repairrequest_change", repair.pk)
    rows = [
        *(("event", event.event_name), ("block", event.block_number), ("transaction", event.transaction_hash)),
        ("error", shortened(event.error.strip().rpartition("\n")[2], 200)),
    ]
    return step_page(
        request,
        "Try the event again",
        intro=["The indexer reads its block once more, and builds the tables anew from the stored events."],
        errors=["It did not fail."] if event.processed else [],
        tables=[Table(("", "value"), rows)],
        form=form,
        submit="" if event.processed else "Try again",
        crumbs=[
            ("Indexed events", reverse("admin:indexer_indexedevent_changelist")),
            (str(event), reverse("admin:indexer_indexedevent_change", args=[event.pk])),
        ],
    )


class BlocksForm(ReasonForm):
    first = forms.IntegerField(min_value=0, max_value=2**63 - 1, label="From block")
    last = forms.IntegerField(min_value=0, max_value=2**63 - 1, label="To block")
    field_order = ("first", "last", "reason")


def request_repair(request: HttpRequest) -> HttpResponse:
    """Queues blocks to be read again: those of a form, which with `?market=` begins with that market's."""
    if not request.user.has_perm("indexer.request_repair"):
        raise PermissionDenied
    market = Market.objects.filter(market_id=request.GET.get("market", "").replace("\x00", "").lower()).first()
    first, last = repair_requests.blocks_of(market) if market else ("", "")
    form = BlocksForm(request.POST) if request.method == "POST" else BlocksForm(initial={"first": first, "last": last})
    errors = []
    if form.is_bound and form.is_valid():
        try:
            return _queued(request, market, **form.cleaned_data)
        except repair_requests.Refused as error:
            errors.append(str(error))
    about = f"Of the market {market.market_id}: {shortened(market.question)}" if market else "Of all contracts."
    return step_page(
        request,
        "Read blocks again",
        intro=[
            "The indexer compares every log of these blocks with the chain, stores what differs, and builds the tables"
            " anew. New blocks come in between; while the tables are built, they wait.",
            about,
        ],
        errors=errors,
        form=form,
        submit="Ask the indexer",
        crumbs=[("Repair requests", reverse("admin:indexer_repairrequest_changelist"))],
    )


def _queued(request: HttpRequest, market: Market | None, *, first: int, last: int, reason: str) -> HttpResponse:
    market_id = market.market_id if market else ""
    with transaction.atomic():
        repair = repair_requests.request_blocks(
            first, last, reason=reason, by=request.user.get_username(), market_id=market_id
        )
        _audited(request, "repair.request", repair, after={"fromBlock": first, "toBlock": last}, reason=reason)
    messages.success(request, "The indexer will read them again.")
    return redirect("admin:indexer_repairrequest_change", repair.pk)


def cancel_repair(request: HttpRequest, repair_id: int) -> HttpResponse:
    """Has the indexer stop; what it has compared stays."""
    repair = get_object_or_404(RepairRequest, pk=repair_id)
    if not request.user.has_perm("indexer.request_repair"):
        raise PermissionDenied
    form = ReasonForm(request.POST if request.method == "POST" else None)
    errors = []
    if form.is_bound and form.is_valid():
        try:
            with transaction.atomic():
                repair = repair_requests.cancel(repair_id, by=request.user.get_username())
                before = {"blocksDone": repair.blocks_done, "blocks": repair.blocks}
                _audited(request, "repair.cancel", repair, before=before, reason=form.cleaned_data["reason"])
            messages.success(request, "It is cancelled.")
            return redirect("admin:indexer_repairrequest_change", repair_id)
        except repair_requests.Refused as error:
            errors.append(str(error))
    is_over = repair.state in ("done", "failed", "cancelled")
    return step_page(
        request,
        "Cancel the request",
        errors=errors,
        tables=[Table(("blocks", "state", "done"), [(str(repair), repair.state, _progress(repair))])],
        form=None if is_over else form,
        submit="" if is_over else "Cancel the request",
        crumbs=[
            ("Repair requests", reverse("admin:indexer_repairrequest_changelist")),
            (str(repair), reverse("admin:indexer_repairrequest_change", args=[repair.pk])),
        ],
    )


def _audited(request: HttpRequest, action: str, repair: RepairRequest, **said: Any) -> None:
    subject = f"market:{repair.market_id}" if repair.market_id else f"repair:{repair.pk}"
    record(request, action, subject, **said)


def _progress(repair: RepairRequest) -> str:
    return f"{repair.blocks_done:,} of {repair.blocks:,} blocks ({100 * repair.blocks_done // repair.blocks}%)"


class RepairStateFilter(ListedFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "to be done"), ("done", "done"), ("failed", "did not help"), ("cancelled", "cancelled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "cancelled":
            return queryset.filter(cancelled_at__isnull=False)
        queryset = queryset.filter(cancelled_at=None) if self.value() else queryset
        if self.value() == "failed":
            return queryset.exclude(error="")
        return queryset.filter(done_at__isnull=self.value() == "open") if self.value() else queryset


@admin.register(RepairRequest)
class RepairRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "state",
        "progress",
        "short_reason",
        "requested_by",
        "requested_at",
        "done_at",
        "stored",
        "removed",
        "attempts",
        "short_error",
    )
    list_filter = (RepairStateFilter,)
    search_fields = ("market_id", "from_block", "to_block")
    search_help_text = "A market's id, or the first or last block"
    ordering = ("-id",)
    change_list_template = "admin/repair_list.html"
    fields = (
        "from_block",
        "to_block",
        "state",
        "progress",
        "cancel_link",
        "next_block",
        "market_id",
        "whole_reason",
        "requested_by",
        "replay",
        "requested_at",
        "due_at",
        "attempts",
        "stored",
        "removed",
        "done_at",
        "cancelled_at",
        "cancelled_by",
        "whole_error",
    )

    def get_urls(self) -> list[Any]:
        site = self.admin_site.admin_view
        return [
            path("request/", site(request_repair), name="indexer_repairrequest_request"),
            path("<int:repair_id>/cancel/", site(cancel_repair), name="indexer_repairrequest_cancel"),
            *super().get_urls(),
        ]

    @admin.display(description="progress")
    def progress(self, repair: RepairRequest) -> str:
        return _progress(repair)

    @admin.display(description="cancel")
    def cancel_link(self, repair: RepairRequest) -> SafeString | str:
        if repair.state in ("done", "failed", "cancelled"):
            return "it is over"
        return format_html('<a href="{}">cancel</a>', reverse("admin:indexer_repairrequest_cancel", args=[repair.pk]))

    @admin.display(description="reason")
    def short_reason(self, repair: RepairRequest) -> str:
        return shortened(repair.reason, 200)

    @admin.display(description="reason")
    def whole_reason(self, repair: RepairRequest) -> str:
        return visible(repair.reason)

    @admin.display(description="error")
    def short_error(self, repair: RepairRequest) -> str:
        return shortened(repair.error, 200)

    @admin.display(description="error")
    def whole_error(self, repair: RepairRequest) -> str:
        return visible(repair.error)


@admin.register(Reorganisation)
class ReorganisationAdmin(ReadOnlyAdmin):
    list_display = ("at", "depth", "fork_block")
    ordering = ("-id",)


@admin.register(IndexerStatus)
class IndexerStatusAdmin(ReadOnlyAdmin):
    list_display = ("heartbeat_at", "head_block", "head_timestamp", "stop_reason", "short_error", "last_error_at")
    fields = (
        "heartbeat_at",
        "head_block",
        "head_timestamp",
        "stop_reason",
        "whole_error",
        "last_error_at",
        "pretty_endpoints",
        "pretty_counters",
    )

    @admin.display(description="last error")
    def short_error(self, status: IndexerStatus) -> str:
        return shortened(status.last_error, 200)

    @admin.display(description="last error")
    def whole_error(self, status: IndexerStatus) -> SafeString:
        return format_html("<pre>{}</pre>", visible(status.last_error))

    @admin.display(description="endpoints")
    def pretty_endpoints(self, status: IndexerStatus) -> SafeString:
        return pretty_json(status.endpoints)

    @admin.display(description="since its start")
    def pretty_counters(self, status: IndexerStatus) -> SafeString:
        return pretty_json(status.counters)
