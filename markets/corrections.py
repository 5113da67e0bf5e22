"""Corrections: asked for, approved and revoked here, laid over the chain's rows in SQL. All that is done is audited.

A correction changes what is shown, never the ledger: what holdings are worth and what is paid stays the chain's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.models import JSONField, Q, QuerySet, Value
from django.http import HttpRequest
from django.utils import timezone

from markets.chaintime import rfc3339
from markets.correctable import CORRECTABLE, BadValue
from markets.models import CollateralToken, Market, MarketCorrection
from operators.audit import record

LONGEST_REASON = 1_000  # characters

# --- how they are laid over -------------------------------------------------------------------------------------------

# Of the rows `c`: which are shown. A list must fit the market's outcomes, of which a reorganisation may make others.
IN_FORCE = """
    c.since IS NOT NULL AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > now())
"""
_FITS = "CASE jsonb_typeof(c.value) WHEN 'array' THEN jsonb_array_length(c.value) = {} ELSE true END"
FITS = _FITS.format("jsonb_array_length(m.outcomes)")
# Beside the market `m`: `x.shown` has the corrected values by field, null where there are none.
SHOWN = f"""
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(c.field, c.value) AS shown FROM market_corrections c
        WHERE c.market_id = m.market_id AND {IN_FORCE} AND {FITS}
    ) x
"""  # noqa: S608
CORRECTED = f"ARRAY(SELECT c.market_id FROM market_corrections c WHERE {IN_FORCE})"  # noqa: S608
QUESTION = "coalesce(x.shown ->> 'question', m.question)"
OUTCOMES = "coalesce(x.shown -> 'outcomes', m.outcomes)"
RESOLUTION_TIME = "coalesce((x.shown ->> 'resolutionTime')::timestamptz, m.resolution_time)"
RESOLVED = "(CASE WHEN x.shown ? 'payouts' THEN x.shown ->> 'payouts' IS NOT NULL ELSE m.resolved END)"
PAYOUTS = "(CASE WHEN x.shown ? 'payouts' THEN nullif(x.shown -> 'payouts', 'null'::jsonb) ELSE m.payouts END)"
SYMBOL = "coalesce(x.shown -> 'collateral' ->> 'symbol', k.symbol)"
DECIMALS = "coalesce((x.shown -> 'collateral' ->> 'decimals')::int, k.decimals)"
HAS_COLLATERAL = "(k.address IS NOT NULL OR coalesce(x.shown ? 'collateral', false))"
# Each correction of the market `m`, for whoever reads the API: not who made it.
ENTRIES = f"""
    (SELECT jsonb_agg(jsonb_build_object(
                'field', c.field, 'value', c.value, 'reason', c.reason,
                'since', to_char(c.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'expiresAt', to_char(c.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            ) ORDER BY c.field)
     FROM market_corrections c WHERE c.market_id = m.market_id AND {IN_FORCE} AND {FITS})
"""  # noqa: S608


# Of markets that need not be stored as they are: a batch tells of them before it is written.
_SHOWN_OF = f"""
    SELECT c.market_id, jsonb_object_agg(c.field, c.value)
    FROM unnest(%s::text[], %s::int[]) m (market_id, outcome_count) JOIN market_corrections c USING (market_id)
    WHERE {IN_FORCE} AND {_FITS.format("m.outcome_count")}
    GROUP BY c.market_id
"""  # noqa: S608


class HasOutcomes(Protocol):
    """A market, as the database or a batch has it."""

    market_id: Any
    outcomes: Any


def in_force(markets: Sequence[HasOutcomes]) -> Mapping[str, Mapping[str, Any]]:
    """What is shown of these markets in place of the chain's: values by field, by marketId, where there are any."""
    with connection.cursor() as cursor:
        cursor.execute(_SHOWN_OF, [[each.market_id for each in markets], [len(each.outcomes) for each in markets]])
        return {market_id: json.loads(shown) for market_id, shown in cursor.fetchall()}


# --- what the chain says ----------------------------------------------------------------------------------------------


def chain_values(market: Market) -> dict[str, Any]:
    """What the chain says of each field that can be corrected, as the API shows it."""
    token = CollateralToken.objects.filter(address=market.collateral_token).first()
    return {
        "question": market.question,
        "outcomes": market.outcomes,
        "resolutionTime": rfc3339(market.resolution_time),
        "payouts": None if market.payouts is None else [str(number) for number in market.payouts],
        "collateral": None if token is None else {"symbol": token.symbol, "decimals": token.decimals},
    }


# --- making and ending ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What there is of a field: whoever confirms a change has seen this, and confirms that it takes its place."""

    chain: Any
    shown: Any  # the chain's, or a correction's

    @property
    def seal(self) -> str:
        return json.dumps([self.chain, self.shown], sort_keys=True)


def standing(market: Market, field: str) -> Standing:
    """What there is of it now."""
    chain = chain_values(market)[field]
    return Standing(chain=chain, shown=in_force([market]).get(market.market_id, {}).get(field, chain))


class Refused(Exception):
    """A step that can't be made; the text says why."""


class Changed(Refused):
    """It was confirmed over something else than there is."""

    def __init__(self, now: Standing) -> None:
        super().__init__("What is shown has changed since you saw it. This is how it is now:")
        self.now = now


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A correction that somebody wants to make, checked against the market as it is now."""

    market_id: str
    field: str
    value: Any
    reason: str
    expires_at: datetime | None
    standing: Standing

    @property
    def is_guarded(self) -> bool:
        return CORRECTABLE[self.field].is_guarded


def propose(market: Market, field: str, text: str, reason: str, expires_at: datetime | None) -> Proposal:
    """Reads what a form says. Raises Refused."""
    reason = reason.strip()
    if field not in CORRECTABLE:
        raise Refused("This field can't be corrected.")
    if not reason or len(reason) > LONGEST_REASON or "\x00" in reason:
        raise Refused(f"Give a reason, of at most {LONGEST_REASON:,} characters.")
    if expires_at is not None and expires_at <= timezone.now():
        raise Refused("It would have expired already.")
    try:
        value = CORRECTABLE[field].read(text, len(market.outcomes))
    except BadValue as error:
        raise Refused(str(error)) from None
    now = standing(market, field)
    if value == now.chain and value == now.shown:
        raise Refused("That is what the chain says already.")
    if value == now.chain:
        raise Refused("That is what the chain says: revoke the correction that is in force.")
    return Proposal(
        market_id=market.market_id,
        field=field,
        value=value,
        reason=reason,
        expires_at=expires_at,
        standing=now,
    )


def make(request: HttpRequest, proposal: Proposal, seen: str) -> MarketCorrection:
    """Puts a correction in force, or where it takes two people, has it wait for the second. Raises Refused.

    `seen` is the seal of what was shown to whoever confirms.
    """
    with transaction.atomic():
        mine, now = _of(proposal.market_id, proposal.field), timezone.now()
        before = _as_seen(_market(proposal.market_id), proposal.field, seen)
        _let_lapse(mine, request, now)
        if mine.filter(since=None).exists():
            raise Refused("One of this field waits for approval already: have it approved or rejected first.")
        if not proposal.is_guarded:
            _replace(mine, request, now)
        correction = MarketCorrection.objects.create(
            market_id=proposal.market_id,
            field=proposal.field,
            value=Value(None, JSONField()) if proposal.value is None else proposal.value,
            reason=proposal.reason,
            requested_by_id=_keys(request.user.pk),
            since=None if proposal.is_guarded else now,
            expires_at=proposal.expires_at,
        )
        record(
            request,
            "correction.request" if proposal.is_guarded else "correction.make",
            subject_of(correction),
            before={proposal.field: before.shown, "chain": before.chain},
            after={proposal.field: proposal.value, "expiresAt": _text(proposal.expires_at), "id": correction.pk},
            reason=proposal.reason,
        )
    return correction


def approve(request: HttpRequest, correction_id: int, seen: str) -> MarketCorrection:
    """Puts in force what another person asked for. Raises Refused, also for superusers who asked themselves.

    `seen` is the seal of what was shown to whoever approves.
    """
    with transaction.atomic():
        correction = _locked(correction_id)
        now = timezone.now()
        if correction.state_at(now) != "pending":
            raise Refused(f"It is {correction.state_at(now)}: there is nothing to approve.")
        if correction.requested_by_id == request.user.pk:
            raise Refused("Somebody else must approve it: you asked for it.")
        market = _market(correction.market_id)
        if not _fits(correction, market):
            raise Refused("It does not fit the market any more: reject it.")
        before = _as_seen(market, correction.field, seen)
        _replace(_of(correction.market_id, correction.field), request, now)
        correction.since, correction.approved_by_id = now, request.user.pk
        correction.save(update_fields=["since", "approved_by"])
        record(
            request,
            "correction.approve",
            subject_of(correction),
            before={correction.field: before.shown, "chain": before.chain},
            after={correction.field: correction.value, "id": correction.pk},
            reason=correction.reason,
        )
    return correction


def revoke(request: HttpRequest, correction_id: int, reason: str) -> MarketCorrection:
    """Ends a correction, or rejects a pending one. One person may: the chain's value is shown again. Raises Refused."""
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON or "\x00" in reason:
        raise Refused(f"Give a reason, of at most {LONGEST_REASON:,} characters.")
    with transaction.atomic():
        correction = _locked(correction_id)
        now = timezone.now()
        state = correction.state_at(now)
        if state not in ("pending", "in force"):
            raise Refused(f"It is {state}: there is nothing to revoke.")
        correction.revoked_at, correction.revoked_because = now, reason
        correction.revoked_by_id = request.user.pk
        correction.save(update_fields=["revoked_at", "revoked_by", "revoked_because"])
        record(
            request,
            "correction.reject" if state == "pending" else "correction.revoke",
            subject_of(correction),
            before={correction.field: correction.value, "id": correction.pk},
            after=None,
            reason=reason,
        )
    return correction


def subject_of(correction: MarketCorrection) -> str:
    """How the audit names the market."""
    return f"market:{correction.market_id}"


def awaiting_approval(now: datetime) -> Q:
    """Those that wait for a second person. One that expired before anybody approved it waits no more."""
    return Q(since=None, revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


def _of(market_id: str, field: str) -> QuerySet[MarketCorrection]:
    """Corrections of one field that are not revoked, one person at a time: whoever else changes them waits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"correction {market_id} {field}"])
    return MarketCorrection.objects.filter(market=_keys(market_id), field=field, revoked_at=None)


def _locked(correction_id: int) -> MarketCorrection:
    """A correction as it is while nobody else changes those of its field."""
    correction = MarketCorrection.objects.get(pk=correction_id)
    _of(correction.market_id, correction.field)
    correction.refresh_from_db()
    return correction


def _market(market_id: str) -> Market:
    market = Market.objects.filter(market_id=market_id).first()
    if market is None:
        raise Refused("The market is not indexed at the moment.")
    return market


def _as_seen(market: Market, field: str, seen: str) -> Standing:
    """What there is of a field, while nobody else changes its corrections. Raises Changed."""
    now = standing(market, field)
    if now.seal != seen:
        raise Changed(now)
    return now


def _fits(correction: MarketCorrection, market: Market) -> bool:
    field = CORRECTABLE[correction.field]
    try:
        return bool(field.read(field.write(correction.value), len(market.outcomes)) == correction.value)
    except BadValue:
        return False


def _let_lapse(rows: QuerySet[MarketCorrection], request: HttpRequest, now: datetime) -> None:
    """Ends the request of a field that expired before anybody approved it: another may be made."""
    for correction in rows.filter(since=None, expires_at__lte=now):
        correction.revoked_at, correction.revoked_because = now, "It expired before anybody approved it."
        correction.save(update_fields=["revoked_at", "revoked_because"])
        before = {correction.field: correction.value, "id": correction.pk}
        record(request, "correction.lapse", subject_of(correction), before=before, reason=correction.revoked_because)


def _replace(rows: QuerySet[MarketCorrection], request: HttpRequest, now: datetime) -> None:
    """Ends what is in force of a field: another takes its place. The audit names it in that one's entry."""
    rows.filter(since__isnull=False).update(
        revoked_at=now, revoked_by=request.user.pk, revoked_because="Another took its place."
    )


def _keys(values: Any) -> Any:
    """Keys that Django's stubs take for those of another column."""
    return values


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
