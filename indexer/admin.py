"""The chain as it was read, for operators: events (the failed ones first of all), and how the indexer is."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Max, Min, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from aurum.admin import ListedFilter, ReadOnlyAdmin, pretty_json, row_link, shortened, visible
from indexer.events import EVENTS
from indexer.models import IndexedEvent, IndexerStatus, RepairRequest

NAMES = sorted({event_class.stored_name for event_class in EVENTS.values()})


class EventNameFilter(ListedFilter):
    """The names that exist, from the code: the table is too big to ask for its distinct ones."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in NAMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(event_name=self.value()) if self.value() else queryset


@admin.register(IndexedEvent)
class IndexedEventAdmin(ReadOnlyAdmin):
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
        failed = queryset.filter(processed=False)
        span = failed.aggregate(first=Min("block_number"), last=Max("block_number"), count=Count("pk"))
        if not span["count"]:
            self.message_user(request, "None of these events failed.", messages.WARNING)
            return
        repair = RepairRequest.objects.create(
            from_block=span["first"],
            to_block=span["last"],
            reason=f"{request.user} tries {span['count']} failed events again",
            replay=True,
        )
        self.log_change(request, repair, repair.reason)
        link = row_link("indexer_repairrequest", repair.pk, str(repair))
        self.message_user(request, format_html("The indexer will try again: {}.", link), messages.SUCCESS)

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


class RepairStateFilter(ListedFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "to be done"), ("done", "done"), ("failed", "did not help")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "failed":
            return queryset.exclude(error="")
        return queryset.filter(done_at__isnull=self.value() == "open") if self.value() else queryset


@admin.register(RepairRequest)
class RepairRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "short_reason",
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
    fields = (
        "from_block",
        "to_block",
        "next_block",
        "market_id",
        "whole_reason",
        "replay",
        "requested_at",
        "due_at",
        "attempts",
        "stored",
        "removed",
        "done_at",
        "whole_error",
    )

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
