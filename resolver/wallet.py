"""Sends what is queued, each action once, whatever happens to this process, to the nodes or to the chain.

Everything it knows is in the database, and is written before it is acted on. A step first looks at what became of every
transaction that may still change (`_observe`), then goes on with what is in flight (`_advance`), else begins the next
action. Breaking off anywhere loses nothing: the next step, of any process, finds the same. See docs/resolver.md.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils import timezone

from aurum.log_context import log_context
from aurum.request_id import new_request_id
from indexer.chain import InconsistentAnswer, MalformedAnswer
from indexer.endpoints import RpcError
from operators import audit
from resolver import fees
from resolver.metrics import WalletCounts
from resolver.models import IN_FLIGHT, ActionState, Kind, WalletAction, WalletSwitch, WalletTransaction
from resolver.node import Chain, Outcome, Receipt, Reverted, Sight
from resolver.policy import Policy, Standing, StillNeeded, Verdict
from resolver.signer import Signer, SigningFailed, recovered
from resolver.signer_lock import LockLost, SignerLock
from resolver.transactions import Unsigned

logger = logging.getLogger(__name__)

NODE_ERRORS = (RpcError, MalformedAnswer, InconsistentAnswer)
ACTOR = "resolver"  # in the audit
NO_SIGNER = "there is no signer: set PRIVATE_KEY, PRIVATE_KEY_FILE or KMS_KEY_ID (docs/resolver.md)"
STANDING_BY = "another process has this signer; standing by"
GAS_MARGIN = 125  # percent of the estimate: the state may be another one when it is mined
CANDIDATES = 20  # queued actions that one step looks at
# A process that is paused in a transaction must not hold its locks for ever.
LIMIT_PAUSES = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
FOR_ITS_FEE = (Outcome.UNDERPRICED, Outcome.FEE_TOO_LOW)


class Moved(Exception):
    """Somebody else has gone on with the action: nothing was written."""


class Waiting(Exception):
    """Nothing may be signed now; the text says why."""


class Refused(Exception):
    """The action can't be signed; the text says why. Another attempt may follow."""


class Forbidden(Refused):
    """The policy does not allow it, whenever."""


class Wallet:
    """Advances the actions of one chain, with one signer; without one, it only says that it can't.

    `lock` keeps other processes from the signer. `step` is safe to repeat, and to break off anywhere.
    """

    def __init__(
        self,
        signer: Signer | None,
        chain: Chain,
        still_needed: StillNeeded,
        *,
        policy: Policy,
        lock: SignerLock | None = None,
        clock: Callable[[], datetime] = timezone.now,
        counts: WalletCounts | None = None,
    ) -> None:
        self._signer = signer
        self._chain = chain
        self._still_needed = still_needed
        self._policy = policy
        self._lock = lock
        self._clock = clock
        self.counts = counts or WalletCounts()
        self.hindrance = ""  # what stood in the way in the last step
        self._logged = ""  # the last one of them that was logged

    @property
    def address(self) -> str:
        """The signer's; nothing without one."""
        return self._signer.address if self._signer else ""

    def step(self) -> bool:
        """Goes one step on. True where something changed, so that another step may follow at once.

        Raises nothing of nodes, signer or lock: what can't be told now is tried again later, and `hindrance` says why.
        Raises database errors.
        """
        self.hindrance = ""
        with log_context(requestId=f"wallet-{new_request_id()}"):
            return self._try_step()

    def _try_step(self) -> bool:
        self._measure()  # also where there is no signer, or no node
        if self._signer is None:
            return self._hindered(NO_SIGNER)
        if self._lock is not None and not self._lock.hold():
            return self._hindered(STANDING_BY)
        try:
            changed = self._step(self._signer)
        except (*NODE_ERRORS, SigningFailed, LockLost, Waiting) as error:
            return self._hindered(f"{type(error).__name__}: {error}")
        except Moved as error:
            logger.info("nothing done: %s", error)
            return False
        if changed:
            self._logged = ""
        return changed

    def _step(self, signer: Signer) -> bool:
        chain_id = self._chain.chain_id()
        if chain_id != self._policy.chain_id:
            return self._hindered(f"the node's chain is {chain_id}, not {self._policy.chain_id}")
        sight = self._chain.look()
        changed = self._observe(sight)
        self.counts.balance = self._chain.balance(signer.address)
        flying = self._in_flight()
        for place, sent in enumerate(flying):
            changed |= self._advance(signer, sent, lowest=place == 0)
        if not flying:
            changed |= self._begin(signer)
        return changed

    # --- what became of transactions ----------------------------------------------------------------------------------

    def _open(self) -> QuerySet[WalletTransaction]:
        """Those that may still change: of a nonce above the last that is final, or of an action that is not over."""
        ours = WalletTransaction.objects.filter(chain_id=self._policy.chain_id)
        settled = ours.filter(signer=OuterRef("signer"), nonce__gte=OuterRef("nonce"), final=True)
        changeable = ~Exists(settled) | Q(action__state__in=[*IN_FLIGHT, ActionState.MINED])
        return ours.filter(changeable, final=False).select_related("action").order_by("nonce", "id")

    def _observe(self, sight: Sight, *, nonce: int | None = None) -> bool:
        """Reads the receipts of all of them: any may be mined, also one that was replaced or given up."""
        changed = False
        for sent in self._open() if nonce is None else self._open().filter(nonce=nonce):
            receipt = self._chain.receipt(sent.hash)
            if receipt is None:
                changed |= sent.block_number is not None and self._lost(sent)
            else:
                if receipt.block_hash != sent.block_hash:
                    self._found(sent, receipt)
                    changed = True
                if receipt.block_number <= sight.finalized:
                    self._settled(sent, receipt)
                    changed = True
        return changed

    def _found(self, sent: WalletTransaction, receipt: Receipt) -> None:
        """It is in a block, where it was not, or in another one than before."""
        failure = None if receipt.succeeded else self._why_reverted(sent.action, receipt)
        with self._writing(sent.action_id) as action:
            self._check_unseen(sent)
            WalletTransaction.objects.filter(pk=sent.pk).update(
                block_number=receipt.block_number, block_hash=receipt.block_hash, succeeded=receipt.succeeded, error=""
            )
            sent.block_number, sent.block_hash = receipt.block_number, receipt.block_hash
            done = action.state in (ActionState.MINED, ActionState.DONE)
            if failure is not None and done and action.transaction_hash != sent.hash:
                return  # another one of its transactions did it
            state, error = failure or (ActionState.MINED, "")
            if self._is_superseded(action):
                state = ActionState.CANCELLED
            action.block_number, action.block_hash = receipt.block_number, receipt.block_hash
            action.transaction_hash = sent.hash
            if state == ActionState.QUEUED:
                action.due_at = self._clock() + self._policy.pause(0)
            self._moves(action, state, "mined" if receipt.succeeded else "reverted", error, transaction=sent)

    def _is_superseded(self, action: WalletAction) -> bool:
        """It was cancelled, and the same was asked for again: that other action is the one that goes on."""
        same = {name: getattr(action, name) for name in ("chain_id", "subject", "kind", "round")}
        others = WalletAction.objects.filter(**same).exclude(state=ActionState.CANCELLED)
        return action.state == ActionState.CANCELLED and others.exists()

    def _why_reverted(self, action: WalletAction, receipt: Receipt) -> tuple[ActionState, str]:
        """What becomes of an action whose transaction failed, and what is said of it."""
        verdict = self._still_needed(action)
        if verdict.standing is Standing.DONE:
            state = ActionState.UNNEEDED if verdict.final else ActionState.QUEUED
            return state, f"somebody else did it: {verdict.reason}"
        try:
            at = hex(receipt.block_number)
            self._chain.call(sender=self.address, to=action.contract, data=action.calldata, block=at)
            reason = "it would succeed in the block's end state"
        except Reverted as error:
            reason = str(error)
        except NODE_ERRORS as error:
            reason = f"the reason could not be read ({error})"
        return ActionState.FAILED, f"the transaction reverted: {reason}"

    def _lost(self, sent: WalletTransaction) -> bool:
        """No node has the receipt: was its block replaced? A node that is behind shows no other one at its height."""
        assert sent.block_number is not None  # noqa: S101 (the caller's look)
        now = self._chain.block_hash(sent.block_number)
        if now is None or now == sent.block_hash:
            return False
        with self._writing(sent.action_id) as action:
            self._check_unseen(sent)
            WalletTransaction.objects.filter(pk=sent.pk).update(block_number=None, block_hash=None, succeeded=None)
            if action.transaction_hash == sent.hash:
                action.block_number = action.block_hash = action.transaction_hash = None
                if action.state in (ActionState.MINED, ActionState.FAILED):
                    said = f"block {sent.block_number} was replaced"
                    self._moves(action, ActionState.ORPHANED, "orphaned", said, transaction=sent)
                else:
                    action.save()
        return True

    def _settled(self, sent: WalletTransaction, receipt: Receipt) -> None:
        """Its block is final, and so is what it did."""
        with self._writing(sent.action_id) as action:
            self._check_unseen(sent)
            WalletTransaction.objects.filter(pk=sent.pk).update(final=True)
            if action.transaction_hash == sent.hash and action.state == ActionState.MINED and receipt.succeeded:
                self._moves(action, ActionState.DONE, "done", "", transaction=sent)

    def _check_unseen(self, sent: WalletTransaction) -> None:
        """Call with its action's row locked. Raises Moved where another process has seen more: this one was paused."""
        if WalletTransaction.objects.filter(pk=sent.pk, block_hash=sent.block_hash, final=False).exists():
            return
        raise Moved(f"somebody else has seen more of {sent.hash}")

    # --- what is in flight --------------------------------------------------------------------------------------------

    def _in_flight(self) -> list[WalletTransaction]:
        """The newest transaction of each action that is in flight, the lowest nonce first: others wait for it."""
        actions = WalletAction.objects.filter(chain_id=self._policy.chain_id, state__in=IN_FLIGHT)
        newest = [
            action.transactions.select_related("action").filter(block_number=None).latest("id")
            for action in actions.order_by("id")
        ]
        return sorted(newest, key=lambda sent: sent.nonce)

    def _advance(self, signer: Signer, sent: WalletTransaction, *, lowest: bool) -> bool:
        """Sends it where no node knows it, and signs a better one where it waits for too long."""
        if sent.signer != signer.address:
            return self._hindered(f"{sent.hash} is of another signer, {sent.signer}: it is only watched")
        if not self._may_send():
            return self._hindered("the wallet is stopped")
        if not self._chain.knows(sent.hash):
            return self._send_again(signer, sent)
        changed = False
        if sent.sent_at is None:
            self._taken(sent, Outcome.KNOWN)
            changed = True
        if lowest and self._overdue(sent):
            changed |= self._hurry(signer, sent)
        return changed

    def _overdue(self, sent: WalletTransaction) -> bool:
        since = max(sent.signed_at, sent.last_sent_at or sent.signed_at)
        return self._clock() >= since + timedelta(seconds=self._policy.replace_after)

    def _send_again(self, signer: Signer, sent: WalletTransaction) -> bool:
        """What no node has: the chain is read again first, for it may be long ago that it was signed."""
        verdict = self._still_needed(sent.action)
        if verdict.standing is not Standing.NEEDED:
            # Perhaps it is done because this very transaction did it.
            return self._observe(self._chain.look(), nonce=sent.nonce) or self._give_up(sent, verdict)
        return self._broadcast(signer, sent)

    def _broadcast(self, signer: Signer, sent: WalletTransaction) -> bool:
        if not self._may_send():
            return self._hindered("the wallet is stopped")
        sending = self._chain.send(bytes(sent.raw))
        if sending.taken:
            self._taken(sent, sending.outcome)
            return True
        known = sent.error
        WalletTransaction.objects.filter(pk=sent.pk).update(error=f"{sending.outcome}: {sending.said}"[:1000])
        words = (sent.hash, sent.action_id, sending.outcome, sending.said)
        logger.warning("transaction %s of action %d: %s (%s)", *words, extra={"actionId": sent.action_id})
        if sending.outcome is Outcome.NONCE_TOO_LOW:
            return self._displaced(signer, sent, again=known.startswith(Outcome.NONCE_TOO_LOW))
        if sending.outcome in FOR_ITS_FEE and self._clock() >= sent.signed_at + self._policy.pause(0):
            return self._replace(signer, sent, sent.nonce)
        if sending.outcome is Outcome.REFUSED:
            return self._give_up(sent, f"a node refused: {sending.said}")
        return False

    def _taken(self, sent: WalletTransaction, outcome: Outcome) -> None:
        """A node has it."""
        now = self._clock()
        with self._writing(sent.action_id) as action:
            first = WalletTransaction.objects.filter(pk=sent.pk, sent_at=None).update(sent_at=now)
            WalletTransaction.objects.filter(pk=sent.pk).update(last_sent_at=now, error="")
            if action.state == ActionState.SIGNED:
                self._moves(action, ActionState.SENT, "sent", "", transaction=sent)
            elif first:
                self._tells(action, "sent", transaction=sent)
            else:
                logger.info("transaction %s sent again: %s", sent.hash, outcome, extra={"actionId": action.pk})

    def _displaced(self, signer: Signer, sent: WalletTransaction, *, again: bool) -> bool:
        """A node says that another transaction has its nonce. Believed where nodes count so, and say it twice.

        Between the two, a receipt of ours that the nodes were late with would be found.
        """
        if self._observe(self._chain.look(), nonce=sent.nonce):
            return True
        following = max(self._chain.count(signer.address), self._next_nonce(signer))
        if following <= sent.nonce:
            return self._hindered(f"a node refuses nonce {sent.nonce}, which is the next by its own count")
        if not again:
            WalletAction.objects.filter(pk=sent.action_id).update(due_at=self._clock() + self._policy.pause(0))
            return True
        if self._clock() < sent.action.due_at:
            return False
        return self._replace(signer, sent, following)

    def _hurry(self, signer: Signer, sent: WalletTransaction) -> bool:
        """It waits for too long: for a lower nonce that nobody has used, or for a better fee."""
        try:
            next_nonce = max(self._chain.count(signer.address), self._next_nonce(signer))
        except InconsistentAnswer:
            next_nonce = sent.nonce
        return self._replace(signer, sent, min(next_nonce, sent.nonce)) or self._send_again(signer, sent)

    def _replace(self, signer: Signer, sent: WalletTransaction, nonce: int) -> bool:
        """Signs the action's call again, for this nonce, and sends it. False where it must wait."""
        verdict = self._still_needed(sent.action)
        if verdict.standing is not Standing.NEEDED:
            return self._observe(self._chain.look(), nonce=sent.nonce) or self._give_up(sent, verdict)
        try:
            replacement = self._sign(signer, sent.action, nonce, newest=sent)
        except Refused as error:
            return self._give_up(sent, str(error))
        except Waiting as error:
            WalletAction.objects.filter(pk=sent.action_id).update(error=str(error))
            return self._hindered(f"action {sent.action_id} is not signed again: {error}")
        return self._broadcast(signer, replacement) or True

    def _give_up(self, sent: WalletTransaction, why: Verdict | str) -> bool:
        """Takes an action out of flight, for what the chain says or for a refusal.

        Its transaction may be mined all the same: it is watched like any other.
        """
        with self._writing(sent.action_id) as action:
            if action.state not in IN_FLIGHT:
                raise Moved(f"action {action.pk} is {action.state}")
            if isinstance(why, Verdict):
                self._put_off(action, why)
            else:
                self._count_refusal(action, why)
        return True

    # --- the next action ----------------------------------------------------------------------------------------------

    def _begin(self, signer: Signer) -> bool:
        """Signs and sends the first queued action that is due and can be done."""
        due = WalletAction.objects.filter(
            chain_id=self._policy.chain_id, state=ActionState.QUEUED, due_at__lte=self._clock()
        )
        changed = False
        for action in due.order_by("id")[:CANDIDATES]:
            if not self._may_send():
                self._hindered("the wallet is stopped")
                break
            verdict = self._still_needed(action)
            if verdict.standing is Standing.NEEDED:
                try:
                    signed = self._sign(signer, action, self._next_nonce(signer), newest=None)
                except Refused as error:
                    self._refused(action, error)
                    changed = True
                    continue
                except Waiting as error:
                    WalletAction.objects.filter(pk=action.pk).update(error=str(error))
                    raise
                return self._broadcast(signer, signed) or True
            with self._writing(action.pk, ActionState.QUEUED) as locked:
                self._put_off(locked, verdict)
            changed = True
        return changed

    def _next_nonce(self, signer: Signer) -> int:
        """One above the highest of ours that is in a block; the first time, as the nodes count."""
        ours = WalletTransaction.objects.filter(chain_id=self._policy.chain_id, signer=signer.address)
        highest = ours.filter(block_number__isnull=False).aggregate(highest=Max("nonce"))["highest"]
        return self._chain.count(signer.address) if highest is None else highest + 1

    def _put_off(self, action: WalletAction, verdict: Verdict) -> None:
        """What is done by somebody else, or can't be done yet: that may take days, and never makes it fail."""
        if verdict.standing is Standing.DONE and verdict.final:
            self._moves(action, ActionState.UNNEEDED, "unneeded", verdict.reason)
            return
        if verdict.standing is Standing.BLOCKED:
            action.attempts += 1
        self._wait(action, verdict.reason)

    def _wait(self, action: WalletAction, reason: str) -> None:
        """Queues it for later. What was said of it before is not said again."""
        action.due_at = self._clock() + self._policy.pause(action.attempts)
        if (action.state, action.error) == (ActionState.QUEUED, reason):
            action.save()
        else:
            self._moves(action, ActionState.QUEUED, "put_off", reason)

    def _count_refusal(self, action: WalletAction, reason: str) -> None:
        """A contract or a node has refused it: several times, and it waits for an operator."""
        action.attempts += 1
        if action.attempts >= self._policy.attempts:
            self._moves(action, ActionState.FAILED, "failed", reason)
        else:
            self._wait(action, reason)

    def _refused(self, action: WalletAction, error: Refused) -> None:
        """It was not signed."""
        with self._writing(action.pk, ActionState.QUEUED) as locked:
            if isinstance(error, Forbidden):
                self._moves(locked, ActionState.FAILED, "forbidden", str(error))
                logger.error("action %d is not signed: %s", action.pk, error, extra={"actionId": action.pk})
            else:
                self._count_refusal(locked, str(error))

    # --- signing ------------------------------------------------------------------------------------------------------

    def _sign(
        self, signer: Signer, action: WalletAction, nonce: int, *, newest: WalletTransaction | None
    ) -> WalletTransaction:
        """Signs and stores. `newest` is the action's transaction that the new one is for; None where it has none.

        Raises Refused, Waiting, and Moved where the action is not as it was.
        """
        if not self._policy.allows(action.contract, action.calldata):
            raise Forbidden(f"{action.calldata[:10]} of {action.contract} is not allowed")
        offer = self._offer(signer, nonce)
        gas = self._gas(signer, action)
        chain_id = self._chain.chain_id()
        if chain_id != self._policy.chain_id:
            raise Waiting(f"the node's chain is {chain_id}, not {self._policy.chain_id}")
        unsigned = Unsigned(
            chain_id=chain_id,
            nonce=nonce,
            priority_fee=offer.tip,
            max_fee=offer.most,
            gas=gas,
            to=action.contract,
            data=action.calldata,
        )
        signature = signer.sign(unsigned.digest())
        if recovered(unsigned.digest(), signature) != signer.address:
            raise SigningFailed("the signature is not the signer's")
        raw, hash_ = unsigned.signed(y_parity=signature.y_parity, r=signature.r, s=signature.s)
        signed = WalletTransaction(
            action=action,
            chain_id=chain_id,
            signer=signer.address,
            nonce=nonce,
            hash=hash_,
            raw=raw,
            gas=gas,
            max_fee=offer.most,
            priority_fee=offer.tip,
            signed_at=self._clock(),
        )
        self._store(signed, newest)
        return signed

    def _store(self, signed: WalletTransaction, newest: WalletTransaction | None) -> None:
        """Writes what is signed, before any node sees it; nothing where somebody else was quicker, or said stop."""
        expected = (ActionState.QUEUED,) if newest is None else IN_FLIGHT
        try:
            with self._writing(signed.action_id, *expected) as action:
                self._check_switch()
                if self._lock is not None:
                    self._lock.check_in_transaction()
                if newest is None:
                    self._check_day()
                elif action.transactions.filter(block_number=None).latest("id").pk != newest.pk:
                    raise Moved(f"action {action.pk} was signed meanwhile")
                signed.save(force_insert=True)
                if action.state == ActionState.QUEUED:
                    action.block_number = action.block_hash = action.transaction_hash = None
                    self._moves(action, ActionState.SIGNED, "signed", "", transaction=signed)
                else:
                    action.error = ""
                    action.save()
                    self._tells(action, "replaced", transaction=signed)
        except IntegrityError:
            raise Moved("another action is in flight") from None
        signed.action = action
        self.counts.signed += 1

    def _offer(self, signer: Signer, nonce: int) -> fees.Offer:
        """The market's fees; above those of whatever was signed for the nonce before."""
        policy, market = self._policy, self._chain.fees()
        offer = fees.market_offer(
            base=market.base, tip=market.tip, least_tip=policy.least_tip, most_tip=policy.most_tip, cap=policy.most_fee
        )
        if offer is None:
            raise Waiting(f"the base fee of {market.base} wei is too near to the cap of {policy.most_fee}")
        older = WalletTransaction.objects.filter(chain_id=policy.chain_id, signer=signer.address, nonce=nonce)
        offers = [fees.Offer(most=sent.max_fee, tip=sent.priority_fee) for sent in older]
        better = fees.replacing(offers, offer, policy.most_fee)
        if better is None:
            raise Waiting(f"nonce {nonce} has a transaction already, and 10% more than it pays is above the cap")
        return better

    def _gas(self, signer: Signer, action: WalletAction) -> int:
        try:
            needed = self._chain.estimate(sender=signer.address, to=action.contract, data=action.calldata)
        except Reverted as error:
            raise Refused(f"the contract would refuse: {error}") from None
        if needed * GAS_MARGIN // 100 > self._policy.most_gas:
            raise Refused(f"it would need {needed} gas")
        return needed * GAS_MARGIN // 100

    def _check_day(self) -> None:
        """Call in the transaction that signs a new action."""
        midnight = self._clock().replace(hour=0, minute=0, second=0, microsecond=0)
        today = WalletTransaction.objects.filter(chain_id=self._policy.chain_id, signed_at__gte=midnight)
        if today.values("action").distinct().count() >= self._policy.daily_limit:
            raise Waiting(f"{self._policy.daily_limit} actions are signed today: that is WALLET_DAILY_LIMIT")

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, action_id: int, *expected: ActionState) -> Iterator[WalletAction]:
        """A transaction with the action's row locked, as it is now. Raises Moved where it is in another state."""
        with log_context(actionId=action_id), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(LIMIT_PAUSES)
            action = WalletAction.objects.select_for_update().get(pk=action_id)
            if expected and action.state not in expected:
                raise Moved(f"action {action.pk} is {action.state}")
            yield action

    def _moves(
        self,
        action: WalletAction,
        state: ActionState,
        what: str,
        error: str,
        *,
        transaction: WalletTransaction | None = None,
    ) -> None:
        """Writes the action's new state, and the audit of it."""
        before, action.state, action.error = action.state, state, error
        action.save()
        self.counts.moved(state)
        self._tells(action, what, before=before, transaction=transaction)

    def _tells(
        self, action: WalletAction, what: str, *, before: str = "", transaction: WalletTransaction | None = None
    ) -> None:
        subject = f"{'market' if action.kind == Kind.RESOLVE else 'question'}:{action.subject}"
        after: dict[str, Any] = {"action": action.pk, "kind": action.kind, "state": action.state}
        if transaction is not None:
            after |= {"transaction": transaction.hash, "nonce": transaction.nonce}
        audit.record(
            ACTOR,
            f"wallet.{what}",
            subject,
            before={"state": before} if before else None,
            after=after,
            reason=action.error,
        )
        logger.info(
            *("action %d (%s of %s): %s %s", action.pk, action.kind, subject, what, action.error),
            extra={"actionId": action.pk, **({"transaction": transaction.hash} if transaction else {})},
        )

    def _may_send(self) -> bool:
        return not WalletSwitch.objects.filter(stopped=True).exists()

    def _check_switch(self) -> None:
        """Call in the transaction that signs: who stops the wallet waits for it, or is seen."""
        switch = WalletSwitch.objects.select_for_update().first()
        if switch is not None and switch.stopped:
            raise Waiting("the wallet is stopped")

    # --- telling ------------------------------------------------------------------------------------------------------

    def _hindered(self, why: str) -> bool:
        """Keeps what stands in the way, and logs it once; False for `step`."""
        if why != self._logged:
            logger.warning("the wallet waits: %s", why)
        self.hindrance = self._logged = why
        return False

    def _measure(self) -> None:
        """For the metrics."""
        waiting = WalletAction.objects.filter(
            chain_id=self._policy.chain_id, state__in=[ActionState.QUEUED, *IN_FLIGHT, ActionState.MINED]
        )
        oldest = waiting.order_by("created_at").values_list("created_at", flat=True).first()
        self.counts.pending = waiting.count()
        self.counts.oldest_seconds = (self._clock() - oldest).total_seconds() if oldest else 0.0
