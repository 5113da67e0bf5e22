"""Markets for operators: what the chain said, read-only, and what people add and correct."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import DateTimeField, OuterRef, QuerySet, Subquery, TextField, URLField
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from aurum.admin import (
    BigTableAdmin,
    ExactSearchAdmin,
    ListedFilter,
    MaybeReasonForm,
    ReadOnlyAdmin,
    ReadOnlyTable,
    ReasonForm,
    Table,
    list_link,
    pretty_json,
    row_link,
    shortened,
    step_page,
    visible,
)
from markets import correcting_admin, metadata_admin
from markets.amm import prices
from markets.metadata import FIELDS, edit_as_staff
from markets.models import (
    Amm,
    Checkpoint,
    CollateralToken,
    Condition,
    HistoryEntry,
    IndexedBlock,
    Market,
    MarketMetadata,
    MarketPlacement,
    MetadataEdit,
    OutboxMessage,
    OutcomeToken,
    Position,
    PricePoint,
    Trade,
)
from markets.placement import STEPS, place

MOST_CHOSEN = 500  # markets that one action changes


class StatusFilter(ListedFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("ended", "ended"), ("resolved", "resolved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = Checkpoint.chain_time(Checkpoint.objects.first())
        return {
            "open": queryset.filter(resolved=False, resolution_time__gt=now),
            "ended": queryset.filter(resolved=False, resolution_time__lte=now),
            "resolved": queryset.filter(resolved=True),
        }.get(self.value() or "", queryset)


class PlacementFilter(ListedFilter):
    title = "placement"
    parameter_name = "placement"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("hidden", "hidden"), ("featured", "featured")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        placed = MarketPlacement.objects.filter(**{self.value(): True}) if self.value() else None
        return queryset if placed is None else queryset.filter(market_id__in=placed.values("market_id"))


class SuspectFilter(ListedFilter):
    title = "suspect"
    parameter_name = "suspect"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "events contradict each other"), ("no", "no")]

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet:
        return queryset.filter(suspect_since__isnull=self.value() == "no") if self.value() else queryset


def placement_text(placement: MarketPlacement | None) -> str:
    """Whether a market is hidden or featured, in words."""
    words = [name for name in ("hidden", "featured") if placement is not None and getattr(placement, name)]
    return ", ".join(words) or "as every market"


def market_link(market: Market) -> SafeString:
    """A market by its question, for the lists of what belongs to it."""
    return row_link("markets_market", market.pk, shortened(market.question))


class OutcomeTokenTable(ReadOnlyTable):
    model = OutcomeToken
    fields = ("outcome_index", "position_id", "supply")
    ordering = ("outcome_index",)


class CategoryForm(ReasonForm):
    category = forms.CharField(max_length=64, required=False, help_text="Empty: none.")
    field_order = ("category", "reason")


@admin.register(Market)
class MarketAdmin(ReadOnlyAdmin):
    # The project adds what other applications know of the market (aurum/market_page.py).
    change_form_template = "admin/market.html"
    actions = ("set_category", *STEPS)  # type: ignore[assignment]  # None above means that there is none
    list_display = ("short_question", "state", "short_prices", "volume", "trade_count", "created_at", "market_id")
    list_filter = (StatusFilter, SuspectFilter, PlacementFilter)
    search_fields = ("market_id", "question_id", "condition_id", "creator", "amm_address", "id", "question")
    search_help_text = "An id or address of the market, or words of its question"
    ordering = ("-created_at", "id")
    date_hierarchy = "created_at"
    inlines = (OutcomeTokenTable,)
    fieldsets = (
        (None, {"fields": ("whole_question", "outcomes_and_prices", "state", "lists", "metadata_link")}),
        ("What is shown", {"fields": ("corrections_link", "placement_now", "audit")}),
        ("Ids", {"fields": ("id", "market_id", "question_id", "condition_id", "creator", "collateral_token")}),
        ("Pool", {"fields": ("amm_address", "fee", "reserves", "liquidity", "trading_fees", "fees_collected")}),
        ("Doubts", {"fields": ("suspect_since", "suspect_reason", "repairs")}),
        ("Trading", {"fields": ("volume", "trade_count", "trader_count")}),
        (
            "Resolution",
            {"fields": ("resolution_time", "resolution_timestamp", "payouts", "resolved_at", "confirmed_at")},
        ),
        ("Origin", {"fields": ("block_number", "block_hash", "transaction_hash", "log_index", "created_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        chain_time = Checkpoint.objects.values("block_timestamp")[:1]
        return super().get_queryset(request).annotate(chain_time=Subquery(chain_time, output_field=DateTimeField()))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(correcting_admin.correct)
        return [path("<uuid:object_id>/correct/", view, name="markets_market_correct"), *super().get_urls()]

    # --- what is done to several at once ----------------------------------------------------------------------------

    def has_place_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("markets.place_market")

    def has_describe_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("markets.change_marketmetadata")

    @admin.action(description="Hide from lists", permissions=["place"])
    def hide(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._placed(request, queryset, "hide", "Lists leave them out; by their ids they are still found.")

    @admin.action(description="Show in lists again", permissions=["place"])
    def show(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._placed(request, queryset, "show", "Lists have them again.")

    @admin.action(description="Feature", permissions=["place"])
    def feature(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._placed(request, queryset, "feature", "They are put forward.")

    @admin.action(description="Feature no more", permissions=["place"])
    def unfeature(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        return self._placed(request, queryset, "unfeature", "They are put forward no more.")

    @admin.action(description="Set the category", permissions=["describe"])
    def set_category(self, request: HttpRequest, queryset: QuerySet[Market]) -> HttpResponse | None:
        def done(ids: list[str], form: forms.Form) -> int:
            change = {"category": form.cleaned_data["category"]}
            return sum(edit_as_staff(request, market_id, change, form.cleaned_data["reason"]) for market_id in ids)

        return self._step(request, queryset, "set_category", CategoryForm, "Each gets this category.", done)

    def _placed(self, request: HttpRequest, queryset: QuerySet[Market], step: str, what: str) -> HttpResponse | None:
        def done(ids: list[str], form: forms.Form) -> int:
            return place(request, ids, step, form.cleaned_data["reason"])

        return self._step(request, queryset, step, ReasonForm, what, done)

    def _step(
        self,
        request: HttpRequest,
        queryset: QuerySet[Market],
        action: str,
        form_class: type[forms.Form],
        what: str,
        done: Callable[[list[str], forms.Form], int],
    ) -> HttpResponse | None:
        """Lists the markets and asks why; behind the confirmation, `done` does it, and says how many it changed."""
        chosen = list(queryset.order_by("pk")[: MOST_CHOSEN + 1])
        if len(chosen) > MOST_CHOSEN:
            self.message_user(request, f"At most {MOST_CHOSEN} markets at once.", messages.ERROR)
            return None
        form = form_class(request.POST if "confirm" in request.POST else None)
        if form.is_bound and form.is_valid():
            with transaction.atomic():
                changed = done([market.market_id for market in chosen], form)
            self.message_user(request, f"{changed} of {len(chosen)} markets were changed.", messages.SUCCESS)
            return None
        ids = [market.market_id for market in chosen]
        categories = dict(MarketMetadata.objects.filter(pk__in=ids).values_list("pk", "category"))
        placements = {row.pk: row for row in MarketPlacement.objects.filter(pk__in=ids)}
        rows = [
            (
                *(shortened(market.question), market.market_id, visible(categories.get(market.market_id, ""))),
                placement_text(placements.get(market.market_id)),
            )
            for market in chosen
        ]
        return step_page(
            request,
            f"{action.replace('_', ' ').capitalize()}: {len(chosen)} markets",
            intro=[what],
            tables=[Table(("question", "marketId", "category", "now"), rows)],
            form=form,
            hidden=[
                *(("action", action), ("confirm", "yes")),
                *((ACTION_CHECKBOX_NAME, str(market.pk)) for market in chosen),
            ],
            submit="Confirm",
            crumbs=[("Markets", reverse("admin:markets_market_changelist"))],
        )

    # --- columns and fields -----------------------------------------------------------------------------------------

    @admin.display(description="corrections")
    def corrections_link(self, market: Market) -> SafeString:
        correct = reverse("admin:markets_market_correct", args=[market.pk])
        listed = list_link("markets_marketcorrection", "all of this market", q=market.market_id)
        return format_html('<a href="{}">correct what is shown</a> · {}', correct, listed)

    @admin.display(description="placement")
    def placement_now(self, market: Market) -> str:
        return placement_text(MarketPlacement.objects.filter(pk=market.market_id).first())

    @admin.display(description="audit")
    def audit(self, market: Market) -> str:
        return f"market:{market.market_id}"

    @admin.display(description="question")
    def short_question(self, market: Market) -> str:
        return shortened(market.question)

    @admin.display(description="question")
    def whole_question(self, market: Market) -> str:
        return visible(market.question)

    @admin.display(description="status")
    def state(self, market: Market) -> str:
        return market.status_at(market.chain_time or timezone.now())  # type: ignore[attr-defined]

    @admin.display(description="prices")
    def short_prices(self, market: Market) -> str:
        current = prices(market.reserves) if market.reserves else None
        return ", ".join(f"{float(price):.4f}" for price in current[:4]) if current else "none"

    @admin.display(description="outcomes")
    def outcomes_and_prices(self, market: Market) -> SafeString:
        current = prices(market.reserves) if market.reserves else None
        rows = [
            (shortened(name, 500), f"{float(current[index]):.6f}" if current else "no price")
            for index, name in enumerate(market.outcomes)
        ]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", rows))

    @admin.display(description="lists")
    def lists(self, market: Market) -> SafeString:
        links = [
            list_link("markets_position", "positions", market__exact=market.market_id),
            list_link("markets_trade", "trades", market__exact=market.market_id),
            list_link("markets_historyentry", "history", market__exact=market.market_id),
            list_link("markets_pricepoint", "price points", market__exact=market.market_id),
            list_link("oracle_question", "oracle question", q=market.question_id),
            list_link("indexer_indexedevent", "events of its creation", q=market.transaction_hash),
        ]
        if market.amm_address:
            links.append(list_link("indexer_indexedevent", "events of its AMM", address__exact=market.amm_address))
        return format_html_join(" · ", "{}", ((link,) for link in links))

    @admin.display(description="repairs")
    def repairs(self, market: Market) -> SafeString:
        again = reverse("admin:indexer_repairrequest_request")
        link = format_html('<a href="{}?{}">read it again</a>', again, urlencode({"market": market.market_id}))
        return format_html(
            "{} · {}", link, list_link("indexer_repairrequest", "requests of this market", q=market.market_id)
        )

    @admin.display(description="metadata")
    def metadata_link(self, market: Market) -> SafeString:
        try:
            return row_link("markets_marketmetadata", market.metadata.pk, "edit")  # type: ignore[attr-defined]
        except ObjectDoesNotExist:
            add = reverse("admin:markets_marketmetadata_add")
            return format_html('<a href="{}?{}">add</a>', add, urlencode({"market": market.market_id}))


class MetadataForm(MaybeReasonForm, forms.ModelForm):
    pass


@admin.register(MarketMetadata)
class MarketMetadataAdmin(ExactSearchAdmin):
    """What people say of markets. It is emptied, never deleted, so that every edit is in its history."""

    actions = None
    change_list_template = "admin/metadata_list.html"

    list_display = ("pk", "question", "category", "resolution_source")
    search_fields = ("market", "category", "resolution_source")
    autocomplete_fields = ("market",)
    form = MetadataForm
    formfield_overrides = {URLField: {"assume_scheme": "https"}}

    def get_queryset(self, request: HttpRequest) -> QuerySet[MarketMetadata]:
        # Not a join: a re-index takes markets away for a while, and their metadata must stay in sight.
        question = Market.objects.filter(market_id=OuterRef("pk")).values("question")
        return super().get_queryset(request).annotate(question=Subquery(question, output_field=TextField()))

    def get_readonly_fields(self, request: HttpRequest, obj: MarketMetadata | None = None) -> tuple[str, ...]:
        return ("market",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: MarketMetadata | None = None) -> tuple[str, ...]:
        return ("market", *FIELDS, *(["reason"] if self.has_change_permission(request, obj) else []))

    def save_model(self, request: HttpRequest, obj: MarketMetadata, form: Any, change: bool) -> None:
        edit_as_staff(request, obj.pk, {name: getattr(obj, name) for name in FIELDS}, form.cleaned_data["reason"])

    def get_urls(self) -> list[Any]:
        site = self.admin_site.admin_view
        return [
            path("export/", site(metadata_admin.export), name="markets_marketmetadata_export"),
            path("import/", site(metadata_admin.bring_in), name="markets_marketmetadata_import"),
            *super().get_urls(),
        ]

    @admin.display(description="question")
    def question(self, metadata: Any) -> str:
        return "the market is not indexed" if metadata.question is None else shortened(metadata.question)


@admin.register(MarketPlacement)
class MarketPlacementAdmin(ReadOnlyAdmin):
    """Markets that are hidden or featured, or were. The actions of the list of markets change it."""

    list_display = ("pk", "question", "hidden", "featured", "changed_by", "changed_at")
    list_filter = ("hidden", "featured")
    search_fields = ("market",)
    ordering = ("-changed_at", "pk")
    fields = ("market_id", "question", "hidden", "featured", "whole_reason", "changed_by", "changed_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[MarketPlacement]:
        question = Market.objects.filter(market_id=OuterRef("pk")).values("question")
        return super().get_queryset(request).annotate(question=Subquery(question, output_field=TextField()))

    @admin.display(description="question")
    def question(self, placement: Any) -> str:
        return "the market is not indexed" if placement.question is None else shortened(placement.question)

    @admin.display(description="reason")
    def whole_reason(self, placement: MarketPlacement) -> str:
        return visible(placement.reason)


@admin.register(MetadataEdit)
class MetadataEditAdmin(ReadOnlyAdmin):
    list_display = ("id", "market_id", "edited_by", "edited_at")
    search_fields = ("market", "edited_by")
    ordering = ("-id",)
    fields = ("market_id", "edited_by", "edited_at", "what_was", "what_is")

    @admin.display(description="before")
    def what_was(self, row: MetadataEdit) -> SafeString:
        return pretty_json(row.before)

    @admin.display(description="after")
    def what_is(self, row: MetadataEdit) -> SafeString:
        return pretty_json(row.after)


class OfMarketAdmin(BigTableAdmin):
    """What belongs to a market, with the market's question beside it."""

    list_select_related = ("market",)

    @admin.display(description="market")
    def of_market(self, row: Any) -> SafeString:
        return market_link(row.market)


@admin.register(Position)
class PositionAdmin(OfMarketAdmin):
    list_display = ("id", "user_address", "of_market", "outcome_index", "amount", "is_amm", "updated_at")
    list_filter = ("is_amm",)
    search_fields = ("user_address", "market", "id")
    newest_first = ("-updated_at", "id")


@admin.register(Trade)
class TradeAdmin(OfMarketAdmin):
    list_display = (
        "id",
        "of_market",
        "side",
        "outcome",
        "amount",
        "collateral_amount",
        "trader",
        "block_number",
        "timestamp",
    )
    list_filter = ("side",)
    search_fields = ("trader", "market", "transaction_hash", "id")


@admin.register(HistoryEntry)
class HistoryEntryAdmin(OfMarketAdmin):
    list_display = (
        "id",
        "type",
        "user_address",
        "of_market",
        "outcome",
        "amount",
        "collateral_amount",
        "block_number",
        "timestamp",
    )
    list_filter = ("type",)
    search_fields = ("user_address", "market", "transaction_hash", "id")
    newest_first = ("-block_number", "-log_index", "-sequence")


@admin.register(PricePoint)
class PricePointAdmin(OfMarketAdmin):
    list_display = ("id", "of_market", "reserves", "block_number", "timestamp")
    search_fields = ("market", "transaction_hash", "id")


@admin.register(Amm)
class AmmAdmin(ReadOnlyAdmin):
    list_display = ("address", "of_market", "fee", "total_shares", "block_number", "created_at")
    list_select_related = ("market",)
    search_fields = ("address", "market", "id")

    @admin.display(description="market")
    def of_market(self, amm: Amm) -> SafeString:
        return market_link(amm.market)


@admin.register(OutcomeToken)
class OutcomeTokenAdmin(OfMarketAdmin):
    list_display = ("position_id", "of_market", "outcome_index", "supply")
    search_fields = ("position_id", "market", "id")
    newest_first = ("market", "outcome_index")


@admin.register(Condition)
class ConditionAdmin(ReadOnlyAdmin):
    list_display = ("condition_id", "outcome_slot_count", "payout_numerators", "resolved_at", "oracle")
    search_fields = ("condition_id", "question_id", "oracle", "id")
    ordering = ("pk",)


@admin.register(CollateralToken)
class CollateralTokenAdmin(ReadOnlyAdmin):
    list_display = ("address", "short_symbol", "decimals")
    search_fields = ("address", "symbol")

    @admin.display(description="symbol")
    def short_symbol(self, token: CollateralToken) -> str:
        return visible(token.symbol)


@admin.register(IndexedBlock)
class IndexedBlockAdmin(ReadOnlyAdmin):
    list_display = ("number", "hash", "parent_hash", "timestamp")
    search_fields = ("number", "hash")
    ordering = ("-number",)


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    list_display = ("chain_id", "block_number", "block_timestamp", "safe_block", "finalized_block", "event_count")


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    list_display = ("id", "channel", "seq", "short_payload", "block_number", "created_at")
    search_fields = ("id",)
    ordering = ("-id",)
    fields = ("id", "channel", "seq", "whole_payload", "block_number", "created_at")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """By id, by channel, or by the market or user that a channel is of; an index knows whole channels only."""
        term = search_term.strip().replace("\x00", "")
        if not term or term.isdigit():
            return super().get_search_results(request, queryset, search_term)
        kind, _, subject = term.rpartition(":")
        kinds = [kind] if kind else ["market", "prices", "user", "oracle"]
        channels = [term, *(f"{kind}:{subject.lower()}" for kind in kinds)]
        return queryset.filter(channel__in=channels), False

    @admin.display(description="payload")
    def short_payload(self, message: OutboxMessage) -> str:
        return shortened(message.payload, 200)

    @admin.display(description="payload")
    def whole_payload(self, message: OutboxMessage) -> SafeString:
        return format_html("<pre>{}</pre>", visible(message.payload))
