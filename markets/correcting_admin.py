"""The admin's steps of corrections: a form, a preview of the difference, a second person's approval, a revocation."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery, TextField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from aurum.admin import ListedFilter, ReadOnlyAdmin, ReasonForm, Table, pretty_json, shortened, step_page, visible
from markets import corrections
from markets.chaintime import rfc3339
from markets.correctable import CORRECTABLE
from markets.corrections import LONGEST_REASON, Changed, Proposal, Refused
from markets.models import Market, MarketCorrection

LONGEST_VALUE = 60_000  # characters of what a form says; 256 outcomes of 200
CORRECT = "markets.correct_market"
APPROVE = "markets.approve_correction"


class CorrectionForm(forms.Form):
    field = forms.ChoiceField(choices=[(name, each.title) for name, each in CORRECTABLE.items()])
    value = forms.CharField(
        max_length=LONGEST_VALUE,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="As the table above says it for the field.",
    )
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Anyone can read it: the API shows it beside the correction.",
    )
    expires_at = forms.DateTimeField(
        required=False, label="Expires at", help_text="UTC, such as 2026-03-01 00:00. Empty: until it is revoked."
    )


def shown(value: Any) -> str:
    """A value of a field as a page shows it."""
    if isinstance(value, str):
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=False))


def correct(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """Asks for a correction of a market, shows what would change, and makes it when that is confirmed."""
    market = get_object_or_404(Market, pk=object_id)
    _demand(request, CORRECT)
    crumbs = [
        ("Markets", reverse("admin:markets_market_changelist")),
        (shortened(market.question), reverse("admin:markets_market_change", args=[market.pk])),
    ]
    form = CorrectionForm(request.POST if request.method == "POST" else None)
    errors = []
    if form.is_bound and form.is_valid():
        try:
            return _proposed(request, corrections.propose(market, **_asked(form)), form, crumbs)
        except Refused as error:
            errors.append(str(error))
    return step_page(
        request,
        "Correct what is shown",
        intro=[
            "A correction is laid over what the chain says. The chain's rows stay as they are, and so do balances,"
            " trades, prices and what is paid out. Guarded fields wait until a second person has approved."
        ],
        errors=errors,
        tables=[_fields(market)],
        form=form,
        submit="Show the difference",
        crumbs=crumbs,
    )


def _fields(market: Market) -> Table:
    said = corrections.chain_values(market)
    now = corrections.in_force([market]).get(market.market_id, {})
    rows = [
        (
            *(each.title, shown(said[name]), shown(now[name]) if name in now else "the same"),
            *("two people" if each.is_guarded else "one person", each.help),
        )
        for name, each in CORRECTABLE.items()
    ]
    return Table(("field", "the chain says", "is shown", "takes", "how to write it"), rows)


def _asked(form: CorrectionForm) -> dict[str, Any]:
    asked = form.cleaned_data
    return {"field": asked["field"], "text": asked["value"]} | {name: asked[name] for name in ("reason", "expires_at")}


def _proposed(
    request: HttpRequest, proposal: Proposal, form: CorrectionForm, crumbs: list[tuple[str, str]]
) -> HttpResponse:
    """Makes what was confirmed; shows the difference where nothing was, or where it has changed. Raises Refused."""
    seen = request.POST.get("seen")
    if seen is None:
        return _preview(request, proposal, form, crumbs, [])
    try:
        correction = corrections.make(request, proposal, seen)
    except Changed as error:
        return _preview(request, replace(proposal, standing=error.now), form, crumbs, [str(error)])
    said = "It waits for approval." if proposal.is_guarded else "It is shown from now on."
    messages.success(request, said)
    return redirect("admin:markets_marketcorrection_change", correction.pk)


def _preview(
    request: HttpRequest, proposal: Proposal, form: CorrectionForm, crumbs: list[tuple[str, str]], errors: list[str]
) -> HttpResponse:
    difference = Table(
        ("", "value"),
        [
            ("the chain says", shown(proposal.standing.chain)),
            ("is shown now", shown(proposal.standing.shown)),
            ("would be shown", shown(proposal.value)),
            ("until", "it is revoked" if proposal.expires_at is None else rfc3339(proposal.expires_at)),
            ("because", visible(proposal.reason)),
        ],
        caption=CORRECTABLE[proposal.field].title,
    )
    guarded = "It waits until a second person has approved." if proposal.is_guarded else "It is shown at once."
    return step_page(
        request,
        "Confirm the correction",
        intro=[guarded],
        errors=errors,
        tables=[difference],
        hidden=[*((name, form.data.get(name, "")) for name in form.fields), ("seen", proposal.standing.seal)],
        submit="Ask for approval" if proposal.is_guarded else "Correct",
        crumbs=crumbs,
    )


class StateFilter(ListedFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in ("pending", "in force", "expired", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = timezone.now()
        live = queryset.filter(revoked_at=None).exclude(expires_at__lte=now)
        return {
            "pending": queryset.filter(corrections.awaiting_approval(now)),
            "in force": live.filter(since__isnull=False),
            "expired": queryset.filter(revoked_at=None, expires_at__lte=now),
            "revoked": queryset.filter(revoked_at__isnull=False),
        }.get(self.value() or "", queryset)


@admin.register(MarketCorrection)
class MarketCorrectionAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "question", "short_value", "state", "requested_by", "approved_by", "since", "expires_at")
    list_filter = (StateFilter, "field")
    list_select_related = ("requested_by", "approved_by")
    search_fields = ("market",)
    search_help_text = "A marketId"
    ordering = ("-id",)
    fields = (
        *("market_id", "question", "field", "whole_value", "whole_reason", "state", "steps"),
        *("requested_by", "requested_at", "approved_by", "since", "expires_at"),
        *("revoked_by", "revoked_at", "whole_revocation"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[MarketCorrection]:
        # Not a join: a re-index takes markets away for a while, and their corrections must stay in sight.
        question = Market.objects.filter(market_id=OuterRef("market_id")).values("question")
        return super().get_queryset(request).annotate(question=Subquery(question, output_field=TextField()))

    def get_urls(self) -> list[Any]:
        site = self.admin_site.admin_view
        return [
            path("<int:correction_id>/approve/", site(approve), name="markets_marketcorrection_approve"),
            path("<int:correction_id>/revoke/", site(revoke), name="markets_marketcorrection_revoke"),
            *super().get_urls(),
        ]

    @admin.display(description="question")
    def question(self, correction: Any) -> str:
        return "the market is not indexed" if correction.question is None else shortened(correction.question)

    @admin.display(description="value")
    def short_value(self, correction: MarketCorrection) -> str:
        return shortened(shown(correction.value))

    @admin.display(description="value")
    def whole_value(self, correction: MarketCorrection) -> SafeString:
        return pretty_json(correction.value)

    @admin.display(description="reason")
    def whole_reason(self, correction: MarketCorrection) -> str:
        return visible(correction.reason)

    @admin.display(description="revoked because")
    def whole_revocation(self, correction: MarketCorrection) -> str:
        return visible(correction.revoked_because)

    @admin.display(description="state")
    def state(self, correction: MarketCorrection) -> str:
        return correction.state_at(timezone.now())

    @admin.display(description="next")
    def steps(self, correction: MarketCorrection) -> SafeString | str:
        state = self.state(correction)
        names = {"pending": ("approve", "revoke"), "in force": ("revoke",)}.get(state, ())
        links = [(reverse(f"admin:markets_marketcorrection_{name}", args=[correction.pk]), name) for name in names]
        return format_html_join(" · ", '<a href="{}">{}</a>', links) if links else "-"


def approve(request: HttpRequest, correction_id: int) -> HttpResponse:
    """A second person looks at what would change, and puts it in force."""
    correction = _correction(correction_id)
    _demand(request, APPROVE)
    errors = []
    if request.method == "POST":
        try:
            corrections.approve(request, correction_id, request.POST.get("seen", ""))
            messages.success(request, "It is shown from now on.")
            return redirect("admin:markets_marketcorrection_change", correction_id)
        except Refused as error:
            errors.append(str(error))
    is_mine = correction.requested_by_id == request.user.pk
    table, seal = _looked_at(correction)
    can_be = correction.state_at(timezone.now()) == "pending" and not is_mine
    return step_page(
        request,
        "Approve the correction",
        intro=["Somebody else must approve it: you asked for it."] if is_mine and not errors else [],
        errors=errors,
        tables=[table],
        hidden=[("seen", seal)],
        submit="Approve" if can_be else "",
        crumbs=_crumbs(correction),
    )


def revoke(request: HttpRequest, correction_id: int) -> HttpResponse:
    """Says why, and has the chain's value shown again; a pending one is rejected."""
    correction = _correction(correction_id)
    if not (request.user.has_perm(CORRECT) or request.user.has_perm(APPROVE)):
        raise PermissionDenied
    form = ReasonForm(request.POST if request.method == "POST" else None)
    errors = []
    if form.is_bound and form.is_valid():
        try:
            corrections.revoke(request, correction_id, form.cleaned_data["reason"])
            messages.success(request, "It is shown no more.")
            return redirect("admin:markets_marketcorrection_change", correction_id)
        except Refused as error:
            errors.append(str(error))
    table, _ = _looked_at(correction)
    can_be = correction.state_at(timezone.now()) in ("pending", "in force")
    return step_page(
        request,
        "Revoke the correction",
        errors=errors,
        tables=[table],
        form=form if can_be else None,
        submit="Revoke" if can_be else "",
        crumbs=_crumbs(correction),
    )


def _looked_at(correction: MarketCorrection) -> tuple[Table, str]:
    """The correction beside what there is now, and the seal of that."""
    market = Market.objects.filter(market_id=correction.market_id).first()
    now = corrections.standing(market, correction.field) if market else None
    rows = [
        ("market", correction.market_id),
        ("question", shortened(market.question) if market else "the market is not indexed"),
        ("the chain says", shown(now.chain) if now else "the market is not indexed"),
        ("is shown now", shown(now.shown) if now else "the market is not indexed"),
        ("the correction says", shown(correction.value)),
        ("until", "it is revoked" if correction.expires_at is None else rfc3339(correction.expires_at)),
        ("because", visible(correction.reason)),
        ("asked for by", correction.requested_by.get_username()),
        ("state", correction.state_at(timezone.now())),
    ]
    return Table(("", "value"), rows, caption=CORRECTABLE[correction.field].title), now.seal if now else ""


def _crumbs(correction: MarketCorrection) -> list[tuple[str, str]]:
    return [
        ("Market corrections", reverse("admin:markets_marketcorrection_changelist")),
        (str(correction), reverse("admin:markets_marketcorrection_change", args=[correction.pk])),
    ]


def _correction(correction_id: int) -> MarketCorrection:
    return get_object_or_404(MarketCorrection.objects.select_related("requested_by"), pk=correction_id)


def _demand(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied
