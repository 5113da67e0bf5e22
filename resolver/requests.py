"""What people ask of the wallet and decide: each function is one step, one transaction, and one entry of the audit.

All of them take the HTTP request of whoever is signed in, and raise PermissionDenied where that one may not do it, and
Refused, which leaves everything as it was.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from operators import audit
from oracle.models import Question
from resolver.actions import calldata_of
from resolver.models import ActionState, Kind, ResolutionRequest, WalletAction, WalletSwitch
from resolver.payouts import InvalidPayouts, check_payouts
from resolver.simulation import Simulation

ASK = "resolver.request_resolution"
APPROVE = "resolver.approve_resolution"
RETRY = "resolver.retry_walletaction"
STOP = "resolver.stop_wallet"
RELEASE = "resolver.release_wallet"
State = ResolutionRequest.State


class Refused(Exception):
    """It can't be done as things are; the text says why, for whoever asked."""


# --- resolutions ------------------------------------------------------------------------------------------------------


def ask(
    request: HttpRequest,
    question_id: str,
    kind: str,
    payouts: Sequence[int] | None,
    reason: str,
    simulation: Simulation,
) -> ResolutionRequest:
    """Asks for a proposal of these payouts (fractions of 1e18 by outcome), or for the question to be voided (None).

    `simulation` is the one that the person has seen.
    """
    _permitted(request, ASK)
    with transaction.atomic():
        question = _open_question(question_id)
        if (kind == ResolutionRequest.Kind.PROPOSE) != (payouts is not None):
            raise Refused("A proposal has payouts, and voiding has none.")
        if payouts is not None:
            try:
                check_payouts(payouts, question.outcome_slot_count)
            except InvalidPayouts as error:
                raise Refused(str(error)) from None
        _would_succeed(simulation, calldata_of(kind, question_id, payouts))
        try:
            with transaction.atomic():
                wish = ResolutionRequest.objects.create(
                    chain_id=simulation.chain_id,
                    question_id=question_id,
                    kind=kind,
                    payouts=payouts,
                    reason=_reason(reason),
                    calldata=simulation.calldata,
                    simulation=simulation.as_json(),
                    requested_by=_user(request),
                )
        except IntegrityError:  # resolution_one_pending
            raise Refused(
                "Somebody has asked for a resolution of this question already; decide on that first."
            ) from None
        audit.record(request, "resolution.ask", _question(wish), after=_shown(wish), reason=wish.reason)
    return wish


def approve(request: HttpRequest, pk: int, reason: str, simulation: Simulation) -> ResolutionRequest:
    """Approves what somebody else asked for; `simulation` is a new one.

    Refused where the question on chain is not as it was when it was asked for.
    """
    _permitted(request, APPROVE)
    with transaction.atomic():
        wish = _pending(pk)
        if wish.requested_by_id == _user(request).pk:
            raise Refused("Somebody else must approve what you have asked for.")
        _open_question(wish.question_id)
        if (simulation.chain_id, simulation.contract) != (wish.chain_id, wish.simulation["contract"]) or calldata_of(
            wish.kind, wish.question_id, wish.payouts
        ) != wish.calldata:
            raise Refused("The request does not fit its transaction.")
        if simulation.standing != wish.simulation["standing"]:
            raise Refused("The question on chain is not as it was when this was asked for. Reject it, and ask anew.")
        _would_succeed(simulation, wish.calldata)
        return _decide(request, wish, State.APPROVED, "resolution.approve", reason, simulation=simulation.as_json())


def reject(request: HttpRequest, pk: int, reason: str) -> ResolutionRequest:
    """Rejects what somebody else asked for."""
    _permitted(request, APPROVE)
    with transaction.atomic():
        wish = _pending(pk)
        if wish.requested_by_id == _user(request).pk:
            raise Refused("You have asked for it yourself: withdraw it instead.")
        return _decide(request, wish, State.REJECTED, "resolution.reject", reason)


def withdraw(request: HttpRequest, pk: int, reason: str) -> ResolutionRequest:
    """Takes back what one has asked for oneself."""
    _permitted(request, ASK)
    with transaction.atomic():
        wish = _pending(pk)
        if wish.requested_by_id != _user(request).pk:
            raise Refused("Only who asked for it can withdraw it.")
        return _decide(request, wish, State.WITHDRAWN, "resolution.withdraw", reason)


def _pending(pk: int) -> ResolutionRequest:
    """The request, locked: of two decisions at once the second one finds it decided."""
    wish = ResolutionRequest.objects.select_for_update().get(pk=pk)
    if wish.state != State.PENDING:
        raise Refused(f"It is {wish.get_state_display()} already.")
    return wish


def _decide(
    request: HttpRequest, wish: ResolutionRequest, state: str, action: str, reason: str, **after: Any
) -> ResolutionRequest:
    before = _shown(wish)
    wish.state = state
    wish.decided_by = _user(request)
    wish.decided_at = timezone.now()
    wish.decision_reason = _reason(reason)
    wish.save(update_fields=["state", "decided_by", "decided_at", "decision_reason"])
    audit.record(request, action, _question(wish), before=before, after=_shown(wish) | after, reason=reason)
    return wish


def _open_question(question_id: str) -> Question:
    question = Question.objects.filter(question_id=question_id).first()
    if question is None:
        raise Refused("The question is not indexed.")
    if question.resolved_at or question.voided_at:
        raise Refused("The question is settled already.")
    return question


def _would_succeed(simulation: Simulation, calldata: str) -> None:
    if simulation.calldata != calldata:
        raise Refused("Another transaction than this one was simulated.")
    if simulation.error:
        raise Refused(f"The contract would refuse it: {simulation.error}")


def _question(wish: ResolutionRequest) -> str:
    return f"question:{wish.question_id}"


def _shown(wish: ResolutionRequest) -> dict[str, Any]:
    """What the audit keeps of a request."""
    return {
        "request": wish.pk,
        "kind": str(wish.kind),
        "state": str(wish.state),
        "payouts": None if wish.payouts is None else [str(payout) for payout in wish.payouts],
        "calldata": wish.calldata,
        "requestedBy": wish.requested_by.get_username(),
        "block": wish.simulation["block_number"],
    }


# --- the wallet -------------------------------------------------------------------------------------------------------


def stop_wallet(request: HttpRequest, reason: str) -> WalletSwitch:
    """Nothing is signed or sent from here on."""
    _permitted(request, STOP)
    return _switch(request, "wallet.stop", reason, stopped=True)


def release_wallet(request: HttpRequest, reason: str) -> WalletSwitch:
    """The wallet goes on."""
    _permitted(request, RELEASE)
    return _switch(request, "wallet.release", reason, stopped=False)


def _switch(request: HttpRequest, action: str, reason: str, *, stopped: bool) -> WalletSwitch:
    with transaction.atomic():
        WalletSwitch.objects.get_or_create(pk=1)
        switch = WalletSwitch.objects.select_for_update().get(pk=1)
        if switch.stopped == stopped:
            raise Refused(f"The wallet is {switch} already.")
        switch.stopped = stopped
        switch.reason = _reason(reason)
        switch.changed_by = _user(request).get_username()
        switch.changed_at = timezone.now()
        switch.save()
        subject = f"wallet:{settings.CHAIN_ID}"
        audit.record(
            request, action, subject, before={"stopped": not stopped}, after={"stopped": stopped}, reason=switch.reason
        )
    return switch


def can_retry(action: WalletAction) -> bool:
    """What the contract refused; also what was cancelled, unless two people had asked for it: they ask again."""
    return action.state == ActionState.FAILED or (action.state == ActionState.CANCELLED and action.request_id is None)


def can_cancel(action: WalletAction) -> bool:
    """What is not signed, or given up: only then may the same be asked for anew."""
    return action.state in (ActionState.QUEUED, ActionState.FAILED)


def retry_action(request: HttpRequest, pk: int, reason: str) -> WalletAction:
    """Puts an action into the queue again."""
    return _requeue(request, pk, "wallet.retry", reason, can_retry, ActionState.QUEUED)


def cancel_action(request: HttpRequest, pk: int, reason: str) -> WalletAction:
    """Takes an action back."""
    return _requeue(request, pk, "wallet.cancel", reason, can_cancel, ActionState.CANCELLED)


def _requeue(
    request: HttpRequest,
    pk: int,
    step: str,
    reason: str,
    allowed: Callable[[WalletAction], bool],
    target: ActionState,
) -> WalletAction:
    _permitted(request, RETRY)
    with transaction.atomic():
        action = WalletAction.objects.select_for_update().get(pk=pk)
        if not allowed(action):
            raise Refused(f"This is {action.state}, and can't become {target}.")
        before = {"state": action.state, "attempts": action.attempts, "error": action.error}
        action.state = target
        action.attempts, action.due_at = 0, timezone.now()
        action.save(update_fields=["state", "attempts", "due_at", "updated_at"])
        after = {"action": action.pk, "kind": action.kind, "state": action.state, "attempts": 0}
        audit.record(request, step, subject_of(action), before=before, after=after, reason=_reason(reason))
    return action


def subject_of(action: WalletAction) -> str:
    """The audit's name of what an action is about."""
    return f"{'market' if action.kind == Kind.RESOLVE else 'question'}:{action.subject}"


# --- everybody --------------------------------------------------------------------------------------------------------


def _user(request: HttpRequest) -> Any:
    return request.user


def _permitted(request: HttpRequest, permission: str) -> None:
    user = _user(request)
    if not (user.is_active and user.is_staff and user.has_perm(permission)):
        raise PermissionDenied


def _reason(text: str) -> str:
    if not text.strip():
        raise Refused("Say why: a reason is required.")
    return text.strip()
