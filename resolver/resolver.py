"""One look at what is to be done: candidates from the database, each asked about on the chain, and queued once.

Sending is the wallet's (wallet.py), which asks the chain again. See docs/oracle.md for what is a candidate.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from markets.models import Checkpoint, Market
from operators import audit
from oracle.lifecycle import State
from oracle.models import Question
from resolver.actions import calldata
from resolver.contracts import Contracts
from resolver.models import IN_FLIGHT, ActionState, Kind, ResolutionRequest, WalletAction
from resolver.policy import Standing, StillNeeded, Verdict
from resolver.requests import subject_of

ACTOR = "resolver"
QUEUE_LOCK = 0x7175657565  # "queue": of two passes at once, one begins things at a time
MOST = 200  # candidates of a kind in one pass: each is asked about on the chain


@dataclass(slots=True)
class Pass:
    """What one pass has queued, and what it has left alone, with the chain's reason."""

    queued: list[WalletAction] = field(default_factory=list)
    left: list[tuple[WalletAction, Verdict]] = field(default_factory=list)


class WrongDeployment(Exception):
    """What is indexed is of another chain or of other contracts than the settings name: nothing follows from it."""

    def __str__(self) -> str:
        return str(self.__doc__)


class Resolver:
    """Passes over the questions, markets and requests of one deployment.

    `still_needed` reads the chain, and raises where no node answers: what was queued until then stays queued. Raises
    WrongDeployment.
    """

    def __init__(self, still_needed: StillNeeded, contracts: Contracts, *, chain_id: int) -> None:
        self._still_needed = still_needed
        self._contracts = contracts
        self._chain_id = chain_id

    def run(self) -> Pass:
        """Queues what is needed."""
        done = Pass()
        for wanted in self.wanted(done):
            if self._queue(wanted):
                done.queued += wanted
        return done

    def wanted(self, done: Pass) -> Iterator[list[WalletAction]]:
        """What is needed, not stored: lists of actions that belong together. Adds to `done` what is left alone."""
        checkpoint = Checkpoint.objects.first()
        if checkpoint is None:
            return
        self._check(checkpoint)
        for candidate in self._finalizations(Checkpoint.chain_time(checkpoint)):
            yield from self._judged(done, candidate)
        for candidate in self._announcements():
            yield from self._judged(done, candidate)
        for request in self._requests():
            yield from self._judged(done, *self._actions_of(request))

    def _check(self, checkpoint: Checkpoint) -> None:
        ours = {self._contracts.oracle, self._contracts.factory, self._contracts.conditional_tokens}
        if checkpoint.chain_id != self._chain_id or not ours <= set(checkpoint.contracts.values()):
            raise WrongDeployment

    def _judged(self, done: Pass, *actions: WalletAction) -> Iterator[list[WalletAction]]:
        """Those that the chain needs. Of a proposal and its approval both, where it lacks the approval alone."""
        verdicts = [self._still_needed(action) for action in actions]
        needed = [verdict.standing is Standing.NEEDED for verdict in verdicts]
        if needed[0]:
            yield list(actions)
        elif needed[-1]:
            yield [actions[-1]]
        else:
            done.left.append((actions[-1], verdicts[-1]))

    # --- candidates ---------------------------------------------------------------------------------------------------

    def _without(self, kind: Kind, subject: str) -> Q:
        """Whether no such action exists, in whatever state: one that failed waits for an operator."""
        actions = WalletAction.objects.filter(chain_id=self._chain_id, kind=kind, subject=OuterRef(subject))
        return ~Q(Exists(actions))

    def _finalizations(self, now: datetime) -> Iterator[WalletAction]:
        """Questions past their challenge period or their vote, at the indexed block's time."""
        questions = Question.objects.in_state(State.RESOLVABLE, now).filter(self._without(Kind.FINALIZE, "question_id"))
        for question in questions.order_by("expires_at", "id")[:MOST]:
            period = "vote" if question.disputed_at else "challenge period"
            yield self._action(Kind.FINALIZE, question.question_id, f"its {period} is over")

    def _announcements(self) -> Iterator[WalletAction]:
        """Markets whose condition is resolved, and whose payouts the factory has not announced."""
        markets = Market.objects.filter(self._without(Kind.RESOLVE, "market_id"), resolved=True, confirmed_at=None)
        for market in markets.order_by("resolved_at", "id")[:MOST]:
            yield self._action(Kind.RESOLVE, market.market_id, "its condition is resolved")

    def _requests(self) -> QuerySet[ResolutionRequest]:
        """What two people want and nothing was begun of. One proposal at a time: a second one would use the first
        one's allowance."""
        requests = ResolutionRequest.objects.filter(
            ~Exists(WalletAction.objects.filter(request=OuterRef("pk"))),
            chain_id=self._chain_id,
            state=ResolutionRequest.State.APPROVED,
        )
        if self._is_proposing():
            requests = requests.exclude(kind=ResolutionRequest.Kind.PROPOSE)
        return requests.select_related("requested_by", "decided_by").order_by("decided_at", "pk")[:MOST]

    def _is_proposing(self) -> bool:
        unsettled = (ActionState.QUEUED, *IN_FLIGHT)
        return WalletAction.objects.filter(chain_id=self._chain_id, kind=Kind.PROPOSE, state__in=unsettled).exists()

    def _actions_of(self, request: ResolutionRequest) -> list[WalletAction]:
        """What the request comes to. A proposal replaces the one that both people have seen."""
        by = f"{request.requested_by}, approved by {request.decided_by}"[:150]
        if request.kind == ResolutionRequest.Kind.VOID:
            return [self._action(Kind.VOID, request.question_id, request.reason, actor=by, request=request)]
        seen = int(request.simulation["standing"]["proposed_at"])
        return [
            self._action(kind, request.question_id, request.reason, actor=by, request=request, round=seen)
            for kind in (Kind.APPROVE_STAKE, Kind.PROPOSE)
        ]

    def _action(
        self,
        kind: Kind,
        subject: str,
        reason: str,
        *,
        actor: str = ACTOR,
        request: ResolutionRequest | None = None,
        round: int = 0,
    ) -> WalletAction:
        return WalletAction(
            chain_id=self._chain_id,
            kind=kind,
            subject=subject,
            round=round,
            contract=self._contracts.of(kind),
            calldata=self._calldata(kind, subject, request),
            reason=reason,
            actor=actor,
            request=request,
        )

    def _calldata(self, kind: Kind, subject: str, request: ResolutionRequest | None) -> str:
        if kind is Kind.APPROVE_STAKE:
            return self._contracts.approval()
        if kind is Kind.PROPOSE:
            return calldata(kind, subject, request.payouts if request else None)
        return calldata(kind, subject)

    # --- the queue ----------------------------------------------------------------------------------------------------

    def _queue(self, actions: list[WalletAction]) -> bool:
        """Stores them all; none where one of them is there already, or the request is not as it was."""
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [QUEUE_LOCK])
                if not self._may_begin(actions[0].request):
                    return False
                for action in actions:
                    action.save(force_insert=True)
                    queued = {"action": action.pk, "kind": action.kind, "by": action.actor}
                    audit.record(ACTOR, "wallet.queued", subject_of(action), after=queued, reason=action.reason)
        except IntegrityError:  # wallet_action_once
            return False
        return True

    def _may_begin(self, request: ResolutionRequest | None) -> bool:
        if request is None:
            return True
        locked = ResolutionRequest.objects.select_for_update().get(pk=request.pk)
        is_proposal = locked.kind == ResolutionRequest.Kind.PROPOSE
        return locked.state == ResolutionRequest.State.APPROVED and not (is_proposal and self._is_proposing())
