"""Resolutions and the wallet for operators: rows are read-only, and each step that people make has an address."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from aurum.admin import ReadOnlyAdmin, ReadOnlyTable, list_link, row_link, shortened, visible
from oracle.models import Question
from resolver import pages, requests
from resolver.actions import calldata_of
from resolver.configured import configured_simulator
from resolver.forms import AskForm, ReasonForm
from resolver.models import ResolutionRequest, WalletAction, WalletStatus, WalletSwitch, WalletTransaction
from resolver.requests import Refused
from resolver.simulation import Simulation, Unsimulated

Step = Callable[[HttpRequest, int, str], object]


class ResolverAdmin(ReadOnlyAdmin):
    """Every page says at its top whether the wallet is stopped."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, self._with_switch(extra_context))

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        return super().changeform_view(request, object_id, form_url, self._with_switch(extra_context))

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        """One of our own templates, with what the admin's need."""
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, template, self._with_switch(shared | context))

    def step(self, action: str, permission: str, view: Callable[..., HttpResponse]) -> Any:
        """The address `<pk>/<action>/` of a step that only POST makes."""

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            return view(request, *args, **kwargs)

        name = f"{self.opts.app_label}_{self.opts.model_name}_{action}"
        return path(f"<int:pk>/{action}/", self.admin_site.admin_view(guarded), name=name)

    def _with_switch(self, context: dict[str, Any] | None) -> dict[str, Any]:
        return {"switch": WalletSwitch.objects.filter(pk=1).first(), **(context or {})}


# --- resolutions ------------------------------------------------------------------------------------------------------


def simulated(question_id: str, calldata: str) -> tuple[Simulation | None, str]:
    """A simulation, or why there is none."""
    try:
        return configured_simulator().run(question_id, calldata), ""
    except Unsimulated as error:
        return None, str(error)


@admin.register(ResolutionRequest)
class ResolutionRequestAdmin(ResolverAdmin):
    list_display = ("id", "kind", "state", "of_question", "requested_by", "requested_at", "decided_by", "decided_at")
    list_filter = ("state", "kind")
    list_select_related = ("requested_by", "decided_by")
    search_fields = ("question_id", "id")
    ordering = ("-id",)

    @admin.display(description="question")
    def of_question(self, wish: ResolutionRequest) -> SafeString:
        return list_link("oracle_question", wish.question_id, q=wish.question_id)

    def get_urls(self) -> list[Any]:
        asking = [
            path(
                f"ask/<uuid:question>/{kind}/",
                self.admin_site.admin_view(self.ask),
                {"kind": kind},
                name=f"resolver_resolutionrequest_{kind}",
            )
            for kind in ResolutionRequest.Kind.values
        ]
        deciding = [
            self.step("approve", requests.APPROVE, self.approve),
            self.step("reject", requests.APPROVE, self.reject),
            self.step("withdraw", requests.ASK, self.withdraw),
        ]
        return [*asking, *deciding, *super().get_urls()]

    # --- asking

    def ask(self, request: HttpRequest, question: Any, kind: str) -> HttpResponse:
        """A form, then a preview, then the request itself: what is sent is what was previewed."""
        if not request.user.has_perm(requests.ASK):
            raise PermissionDenied
        asked: Question = get_object_or_404(Question, pk=question)
        is_proposal = kind == ResolutionRequest.Kind.PROPOSE
        names = pages.outcome_names(pages.market_of(asked.question_id), asked.outcome_slot_count)
        form = AskForm(request.POST if request.method == "POST" else None, outcomes=names, is_proposal=is_proposal)
        if not form.is_bound or "edit" in request.POST or not form.is_valid():
            return self._form_page(request, form, kind, asked)
        return self._preview(request, form, kind, asked)

    def _form_page(self, request: HttpRequest, form: AskForm, kind: str, asked: Question) -> HttpResponse:
        about = pages.subject(asked.question_id, [])
        is_proposal = kind == ResolutionRequest.Kind.PROPOSE
        return self.page(request, "resolver/ask.html", _title(kind), form=form, is_proposal=is_proposal, **about)

    def _preview(self, request: HttpRequest, form: AskForm, kind: str, asked: Question) -> HttpResponse:
        calldata = calldata_of(kind, asked.question_id, form.payouts)
        simulation, unsimulated = simulated(asked.question_id, calldata)
        seal = simulation and pages.seal(calldata, simulation.standing, simulation.signer, simulation.contract)
        refused = ""
        if "ask" in request.POST and simulation:
            if request.POST.get("seen") != seal:
                refused = "The question has changed since the preview. Look at it once more: nothing was asked for."
            else:
                try:
                    wish = requests.ask(
                        request, asked.question_id, kind, form.payouts, form.cleaned_data["reason"], simulation
                    )
                except Refused as error:
                    refused = str(error)
                else:
                    messages.success(request, "It waits for another person's approval.")
                    return HttpResponseRedirect(_url("resolutionrequest_change", wish.pk))
        return self.page(
            request,
            "resolver/preview.html",
            _title(kind),
            form=form,
            refused=visible(refused),
            reason=visible(form.cleaned_data["reason"]),
            seal=seal,
            unsimulated=visible(unsimulated),
            simulation=simulation and pages.on_chain(simulation.as_json()),
            transaction=simulation and pages.transaction(calldata, simulation.contract, simulation.signer),
            **pages.subject(asked.question_id, form.payouts),
        )

    # --- deciding

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """A request, what was simulated then, and for who may decide on it what would happen now."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not object_id.isdecimal() or len(object_id) > 18:
            raise Http404
        return self._request_page(request, int(object_id), ReasonForm())

    def _request_page(self, request: HttpRequest, pk: int, form: ReasonForm, refused: str = "") -> HttpResponse:
        wish = get_object_or_404(ResolutionRequest.objects.select_related("requested_by", "decided_by"), pk=pk)
        is_pending = wish.state == ResolutionRequest.State.PENDING
        is_own = wish.requested_by_id == request.user.pk
        may_decide = is_pending and not is_own and request.user.has_perm(requests.APPROVE)
        now, unsimulated = simulated(wish.question_id, wish.calldata) if may_decide else (None, "")
        return self.page(
            request,
            "resolver/request.html",
            f"{_title(wish.kind)}: {wish.get_state_display()}",
            wish=wish,
            form=form,
            refused=visible(refused),
            reason=visible(wish.reason),
            decision_reason=visible(wish.decision_reason),
            may_decide=may_decide,
            may_withdraw=is_pending and is_own and request.user.has_perm(requests.ASK),
            is_own=is_own,
            is_pending=is_pending,
            simulation=pages.on_chain(wish.simulation),
            now=now and pages.on_chain(now.as_json()),
            has_changed=now and now.standing != wish.simulation["standing"],
            unsimulated=visible(unsimulated),
            transaction=pages.transaction(wish.calldata, wish.simulation["contract"], wish.simulation["signer"]),
            actions=[(row_link("resolver_walletaction", each.pk, str(each.kind)), each) for each in wish.actions.all()],
            audit=list_link("operators_auditentry", "audit of the question", q=f"question:{wish.question_id}"),
            **pages.subject(wish.question_id, wish.payouts),
        )

    def approve(self, request: HttpRequest, pk: int) -> HttpResponse:
        def step(request: HttpRequest, pk: int, reason: str) -> object:
            wish = get_object_or_404(ResolutionRequest, pk=pk)
            simulation, unsimulated = simulated(wish.question_id, wish.calldata)
            if simulation is None:
                raise Refused(unsimulated)
            return requests.approve(request, pk, reason, simulation)

        return self._decide(request, pk, step, "Approved: the wallet does it at its next pass.")

    def reject(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._decide(request, pk, requests.reject, "Rejected.")

    def withdraw(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._decide(request, pk, requests.withdraw, "Withdrawn.")

    def _decide(self, request: HttpRequest, pk: int, step: Step, done: str) -> HttpResponse:
        get_object_or_404(ResolutionRequest, pk=pk)
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._request_page(request, pk, form)
        try:
            step(request, pk, form.cleaned_data["reason"])
        except Refused as error:
            return self._request_page(request, pk, form, str(error))
        messages.success(request, done)
        return HttpResponseRedirect(_url("resolutionrequest_change", pk))


def _title(kind: str) -> str:
    return {"propose": "Propose an outcome", "void": "Void a question"}[kind]


def _url(name: str, *args: object) -> str:
    return reverse(f"admin:resolver_{name}", args=args)


# --- the wallet -------------------------------------------------------------------------------------------------------


class TransactionTable(ReadOnlyTable):
    """All transactions of an action, as hashes: what is signed stays in the database."""

    model = WalletTransaction
    show_change_link = True
    fields = ("hash", "nonce", "signer", "gas", "max_fee", "priority_fee", "signed_at", "sent_at", "last_error")
    readonly_fields = ("last_error",)
    ordering = ("id",)

    @admin.display(description="error")
    def last_error(self, transaction: WalletTransaction) -> str:
        return shortened(transaction.error, 500)


@admin.register(WalletAction)
class WalletActionAdmin(ResolverAdmin):
    list_display = ("id", "kind", "state", "subject", "actor", "attempts", "short_error", "created_at", "updated_at")
    list_filter = ("state", "kind")
    search_fields = ("subject", "transaction_hash", "id")
    ordering = ("-id",)
    inlines = (TransactionTable,)
    change_form_template = "resolver/action.html"
    fieldsets = (
        (None, {"fields": ("kind", "state", "subject", "round", "whole_reason", "whole_actor", "request", "audit")}),
        ("Transaction", {"fields": ("contract", "chain_id", "decoded_call", "calldata")}),
        ("Attempts", {"fields": ("attempts", "due_at", "whole_error")}),
        ("Mined", {"fields": ("transaction_hash", "block_number", "block_hash")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )

    def get_urls(self) -> list[Any]:
        own = [
            self.step("retry", requests.RETRY, self.retry),
            self.step("cancel", requests.RETRY, self.cancel),
        ]
        return [*own, *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        action = WalletAction.objects.filter(pk=object_id).first() if str(object_id).isdecimal() else None
        may_step = action is not None and request.user.has_perm(requests.RETRY)
        steps = {
            "reason_form": ReasonForm(),
            "can_retry": may_step and action and requests.can_retry(action),
            "can_cancel": may_step and action and requests.can_cancel(action),
        }
        return super().changeform_view(request, object_id, form_url, steps | (extra_context or {}))

    def retry(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._step(request, pk, requests.retry_action, "It waits for its turn again.")

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._step(request, pk, requests.cancel_action, "Cancelled.")

    def _step(self, request: HttpRequest, pk: int, step: Step, done: str) -> HttpResponse:
        get_object_or_404(WalletAction, pk=pk)
        _made(request, step, pk, done)
        return HttpResponseRedirect(_url("walletaction_change", pk))

    @admin.display(description="error")
    def short_error(self, action: WalletAction) -> str:
        return shortened(action.error, 200)

    @admin.display(description="error")
    def whole_error(self, action: WalletAction) -> SafeString:
        return format_html("<pre>{}</pre>", visible(action.error))

    @admin.display(description="reason")
    def whole_reason(self, action: WalletAction) -> str:
        return visible(action.reason)

    @admin.display(description="actor")
    def whole_actor(self, action: WalletAction) -> str:
        return visible(action.actor)

    @admin.display(description="call")
    def decoded_call(self, action: WalletAction) -> str:
        call = pages.call(action.calldata)
        if call is None:
            return "no call that the wallet makes"
        return f"{call['function']} with " + "; ".join(f"{name} = {value}" for name, value in call["arguments"])

    @admin.display(description="audit")
    def audit(self, action: WalletAction) -> SafeString:
        return list_link("operators_auditentry", "audit of it", q=requests.subject_of(action))


@admin.register(WalletTransaction)
class WalletTransactionAdmin(ResolverAdmin):
    list_display = (
        "hash",
        "action",
        "nonce",
        "signer",
        "max_fee",
        "priority_fee",
        "signed_at",
        "sent_at",
        "short_error",
    )
    list_select_related = ("action",)
    search_fields = ("hash", "nonce", "signer", "action")
    ordering = ("-id",)
    fields = (
        *("action", "hash", "chain_id", "signer", "nonce", "gas", "max_fee", "priority_fee"),
        *("signed_at", "sent_at", "last_sent_at", "whole_error"),
    )

    @admin.display(description="error")
    def short_error(self, transaction: WalletTransaction) -> str:
        return shortened(transaction.error, 200)

    @admin.display(description="error")
    def whole_error(self, transaction: WalletTransaction) -> SafeString:
        return format_html("<pre>{}</pre>", visible(transaction.error))


@admin.register(WalletStatus)
class WalletStatusAdmin(ResolverAdmin):
    list_display = ("heartbeat_at", "signer", "balance", "short_hindrance")
    fields = ("heartbeat_at", "signer", "balance", "whole_hindrance")

    @admin.display(description="hindrance")
    def short_hindrance(self, status: WalletStatus) -> str:
        return shortened(status.hindrance, 200)

    @admin.display(description="hindrance")
    def whole_hindrance(self, status: WalletStatus) -> SafeString:
        return format_html("<pre>{}</pre>", visible(status.hindrance))


@admin.register(WalletSwitch)
class WalletSwitchAdmin(ResolverAdmin):
    """There is one: its list is its page."""

    def get_urls(self) -> list[Any]:
        own = []
        for action, permission, view in (
            ("stop", requests.STOP, self.stop),
            ("release", requests.RELEASE, self.release),
        ):
            step = self.step(action, permission, view)
            own.append(path(f"{action}/", step.callback, {"pk": 1}, name=step.name))
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._page(request, ReasonForm())

    def _page(self, request: HttpRequest, form: ReasonForm, refused: str = "") -> HttpResponse:
        switch = WalletSwitch.objects.filter(pk=1).first()
        return self.page(
            request,
            "resolver/switch.html",
            "The wallet's switch",
            form=form,
            refused=refused,
            reason=visible(switch.reason) if switch else "",
            may_stop=request.user.has_perm(requests.STOP),
            may_release=request.user.has_perm(requests.RELEASE),
        )

    def stop(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._turn(request, requests.stop_wallet, "The wallet is stopped.")

    def release(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._turn(request, requests.release_wallet, "The wallet goes on.")

    def _turn(self, request: HttpRequest, step: Callable[[HttpRequest, str], object], done: str) -> HttpResponse:
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        try:
            step(request, form.cleaned_data["reason"])
        except Refused as error:
            return self._page(request, form, str(error))
        messages.success(request, done)
        return HttpResponseRedirect(_url("walletswitch_changelist"))


def _made(request: HttpRequest, step: Step, pk: int, done: str) -> None:
    """Makes a step of an action, and says how it went."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say why: a reason is required.")
        return
    try:
        step(request, pk, form.cleaned_data["reason"])
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
