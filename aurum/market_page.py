"""The admin's page of a market: what happened to it, what is stored, shown and, once asked for, on chain.

It reads every application. Each part is bounded, and found by the market through an index.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from aurum.admin import row_url, shortened, visible
from indexer.audit import CannotCompare
from indexer.models import IndexedEvent
from indexer.reconcile import Reconciliation, reconcile
from markets import corrections
from markets.candles import INTERVALS
from markets.chaintime import from_seconds, rfc3339, to_seconds
from markets.correctable import CORRECTABLE
from markets.identity import event_row_id
from markets.models import Amm, Checkpoint, CollateralToken, HistoryEntry, Market, MarketCorrection, Position, Trade
from markets.price_views import MAX_ALL_CANDLES, MAX_CANDLES
from operators.audit import record
from operators.models import AuditEntry
from oracle.models import QuestionEvent

RECONCILE = "markets.reconcile_market"
MOST_HOLDERS = 20
MOST_TRADES = 20
MOST_STEPS = 60  # of the timeline, and of each of its sources
CANDLES = 240  # that the chart aims at
MOST_LINES = 8  # outcomes that it draws
COUNTED = 4  # digits behind the point of an amount


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that happened. `who` is an address or a person's name."""

    at: datetime
    kind: str
    what: str
    who: str = ""
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """A field as a page shows it. `state` is `same`, `different` or nothing, where the chain was not asked."""

    field: str
    stored: str
    on_chain: str
    corrected: str
    state: str


def admin_urls() -> list[URLPattern]:
    """Below the admin's path, in front of its own."""
    view = admin.site.admin_view
    return [
        path("markets/market/<uuid:object_id>/change/", view(change)),
        path("markets/market/<uuid:object_id>/reconcile/", view(reconcile_market), name="reconcile_market"),
    ]


def change(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """The market's page with all that is known of it."""
    page = admin.site.get_model_admin(Market)
    market = Market.objects.filter(pk=object_id).first()
    if market is None or not page.has_view_permission(request, market):
        return page.change_view(request, str(object_id))
    return page.change_view(request, str(object_id), extra_context=panels(request, market))


def reconcile_market(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """Asks the chain, and shows what differs. By POST alone: each asking is audited."""
    market = get_object_or_404(Market, pk=object_id)
    if not request.user.has_perm(RECONCILE):
        raise PermissionDenied
    if request.method != "POST":
        return redirect("admin:markets_market_change", market.pk)
    subject = f"market:{market.market_id}"
    try:
        found = reconcile(market.market_id, settings.RPC_URLS)
    except CannotCompare as error:
        record(request, "market.reconcile", subject, after={"error": str(error)})
        messages.error(request, f"The chain could not be asked: {shortened(str(error), 300)}.")
        return redirect("admin:markets_market_change", market.pk)
    after = {"block": found.block_number, "compared": len(found.fields), "different": found.different}
    record(request, "market.reconcile", subject, after=after)
    return _reconciled(request, market, found)


def _reconciled(request: HttpRequest, market: Market, found: Reconciliation) -> HttpResponse:
    rows = field_rows(market, found)
    again = f"{reverse('admin:indexer_repairrequest_request')}?{urlencode({'market': market.market_id})}"
    context = admin.site.each_context(request) | {
        "title": "Stored, on chain, corrected",
        "market": market,
        "question": shortened(market.question, 200),
        "found": found,
        "rows": sorted(rows, key=lambda row: row.state != "different"),
        "different": len(found.different),
        "same": sum(each.is_same is True for each in found.fields),
        "untold": sum(each.is_same is None for each in found.fields),
        "again": again if request.user.has_perm("indexer.request_repair") else None,
    }
    return TemplateResponse(request, "admin/market_reconciled.html", context)


# --- panels -----------------------------------------------------------------------------------------------------------


def panels(request: HttpRequest, market: Market) -> dict[str, Any]:
    """What the page shows above the market's own fields."""
    token = CollateralToken.objects.filter(address=market.collateral_token).first()
    return {
        "subtitle": shortened(market.question),
        "fields": field_rows(market),
        "may_reconcile": request.user.has_perm(RECONCILE),
        "chart": _chart(market, token),
        "symbol": visible(token.symbol) if token else "base units",
        "volume": _amount(market.volume, token),
        "holders": _holders(market, token),
        "trades": _trades(market, token),
        "timeline": timeline(market, request.user),
        "most_steps": MOST_STEPS,
        "most_holders": MOST_HOLDERS,
    }


def field_rows(market: Market, found: Reconciliation | None = None) -> list[FieldRow]:
    """Stored, on chain, and corrected, by field: those that people can correct, and whatever the chain was asked."""
    shown = corrections.in_force([market]).get(market.market_id, {})
    if found is None:
        said = corrections.chain_values(market)
        return [
            FieldRow(field=name, stored=_text(said[name]), on_chain="", corrected=_corrected(shown, name), state="")
            for name in CORRECTABLE
        ]
    states = {True: "same", False: "different", None: ""}
    return [
        FieldRow(
            field=each.field,
            stored=_text(each.stored),
            on_chain=_text(each.on_chain),
            corrected=_corrected(shown, each.field),
            state=states[each.is_same],
        )
        for each in found.fields
    ]


def _corrected(shown: Any, name: str) -> str:
    return _text(shown[name]) if name in shown else ""


def _text(value: Any) -> str:
    """A value in words, its invisible marks written out."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return shortened(value, 2_000)
    if isinstance(value, list | dict):
        return shortened(json.dumps(value, ensure_ascii=False), 2_000)
    return str(value)


def _chart(market: Market, token: CollateralToken | None) -> dict[str, Any]:
    """Where the page's script finds the candles: the API's, since the market's creation or as long as one answer is."""
    count = len(market.outcomes)
    most = min(CANDLES, MAX_CANDLES, MAX_ALL_CANDLES // max(1, count))
    end = to_seconds(Checkpoint.chain_time(Checkpoint.objects.first()))
    span = max(60, end - to_seconds(market.created_at))
    name, width = next(
        ((name, width) for name, width in INTERVALS.items() if span // width + 2 <= most), ("1d", INTERVALS["1d"])
    )
    start = max(to_seconds(market.created_at), end - width * (most - 2))
    query = urlencode({"interval": name, "from": rfc3339(from_seconds(start)), "to": rfc3339(from_seconds(end + 1))})
    return {
        "url": f"/api/markets/{market.market_id}/prices/history?{query}",
        "interval": name,
        "decimals": token.decimals if token else 0,
        "names": [shortened(each, 30) for each in market.outcomes[:MOST_LINES]],
        "left_out": max(0, count - MOST_LINES),
    }


def _holders(market: Market, token: CollateralToken | None) -> list[dict[str, Any]]:
    held = Position.objects.filter(market=market, amount__gt=0).order_by("-amount", "-id")[:MOST_HOLDERS]
    return [
        {
            "address": position.user_address,
            "url": reverse("admin:markets_position_change", args=[position.pk]),
            "outcome": _outcome(market, position.outcome_index),
            "amount": _amount(position.amount, token),
            "is_amm": position.is_amm,
        }
        for position in held
    ]


def _trades(market: Market, token: CollateralToken | None) -> list[dict[str, Any]]:
    newest = Trade.objects.filter(market=market).order_by("-block_number", "-log_index")[:MOST_TRADES]
    return [
        {
            "at": trade.timestamp,
            "url": reverse("admin:markets_trade_change", args=[trade.pk]),
            "side": trade.side,
            "outcome": _outcome(market, trade.outcome),
            "amount": _amount(trade.amount, token),
            "collateral": _amount(trade.collateral_amount, token),
            "trader": trade.trader,
        }
        for trade in newest
    ]


def _outcome(market: Market, index: int | None) -> str:
    if index is None:
        return "all outcomes"
    return shortened(market.outcomes[index], 30) if index < len(market.outcomes) else f"outcome {index}"


def _amount(amount: int, token: CollateralToken | None) -> str:
    """Base units as tokens, cut behind a few digits."""
    if token is None or not token.decimals:
        return f"{int(amount):,}"
    whole, rest = divmod(int(amount), 10**token.decimals)
    return f"{whole:,}.{rest:0{token.decimals}d}"[: len(f"{whole:,}") + 1 + COUNTED].rstrip("0").rstrip(".")


# --- timeline ---------------------------------------------------------------------------------------------------------


def timeline(market: Market, user: Any) -> list[Step]:
    """What the chain, the oracle and people did, newest first. What is newest of each is newest of all."""
    sources: dict[Callable[[Market], Iterator[Step]], str] = {
        _own_steps: "markets.view_market",
        _history: "markets.view_historyentry",
        _oracle_steps: "oracle.view_question",
        _failed_events: "indexer.view_indexedevent",
        _correction_steps: "markets.view_marketcorrection",
        _audit_steps: "operators.view_auditentry",
    }
    steps = [step for source, permission in sources.items() if user.has_perm(permission) for step in source(market)]
    return sorted(steps, key=lambda step: step.at, reverse=True)[:MOST_STEPS]


def _own_steps(market: Market) -> Iterator[Step]:
    at = (market.block_number, market.log_index, market.transaction_hash)
    yield Step(at=market.created_at, kind="chain", what="created", who=market.creator, url=_event_page(*at))
    for amm in Amm.objects.filter(market=market).order_by("-block_number")[:MOST_STEPS]:
        url = reverse("admin:markets_amm_change", args=[amm.pk])
        yield Step(at=amm.created_at, kind="chain", what=f"AMM {amm.address} announced", url=url)
    if market.resolved_at is not None:
        yield Step(at=market.resolved_at, kind="chain", what=f"payouts fixed: {_text(market.payouts)}")
    if market.confirmed_at is not None:
        yield Step(at=market.confirmed_at, kind="chain", what="resolution announced by the factory")
    if market.suspect_since is not None:
        yield Step(at=market.suspect_since, kind="doubt", what=shortened(market.suspect_reason, 300))


def _history(market: Market) -> Iterator[Step]:
    token = CollateralToken.objects.filter(address=market.collateral_token).first()
    rows = HistoryEntry.objects.filter(market=market).order_by("-block_number", "-log_index", "-sequence")
    for row in rows[:MOST_STEPS]:
        yield Step(
            at=row.timestamp,
            kind="chain",
            what=f"{row.type.replace('_', ' ')} {_amount(row.amount, token)}, {_outcome(market, row.outcome)}",
            who=row.user_address,
            url=_event_page(row.block_number, row.log_index, row.transaction_hash),
        )


def _oracle_steps(market: Market) -> Iterator[Step]:
    rows = QuestionEvent.objects.filter(question__question_id=market.question_id).order_by(
        "-block_number", "-log_index"
    )
    for row in rows[:MOST_STEPS]:
        url = _event_page(row.block_number, row.log_index, row.transaction_hash)
        yield Step(at=row.timestamp, kind="oracle", what=visible(row.event), url=url)


def _failed_events(market: Market) -> Iterator[Step]:
    """Of its AMMs, and of the transaction that made it."""
    addresses = list(Amm.objects.filter(market=market).values_list("address", flat=True)[:MOST_STEPS])
    failed = IndexedEvent.objects.filter(processed=False)
    found = failed.filter(address__in=addresses) | failed.filter(transaction_hash=market.transaction_hash)
    for event in found.defer("event_data", "data").order_by("-block_number")[:MOST_STEPS]:
        url = reverse("admin:indexer_indexedevent_change", args=[event.pk])
        yield Step(
            at=event.block_timestamp, kind="failed", what=f"{visible(event.event_name)} was not applied", url=url
        )


def _correction_steps(market: Market) -> Iterator[Step]:
    now = timezone.now()
    rows = MarketCorrection.objects.filter(market_id=market.market_id).select_related("requested_by").order_by("-id")
    for row in rows[:MOST_STEPS]:
        value = shortened(_text(row.value), 200)
        yield Step(
            at=row.since or row.requested_at,
            kind="correction",
            what=f"{row.field}: {value} ({row.state_at(now)})",
            who=row.requested_by.get_username(),
            url=reverse("admin:markets_marketcorrection_change", args=[row.pk]),
        )


def _audit_steps(market: Market) -> Iterator[Step]:
    subjects = [f"market:{market.market_id}", f"question:{market.question_id}"]
    for entry in AuditEntry.objects.filter(subject__in=subjects).order_by("-id")[:MOST_STEPS]:
        reason = f": {shortened(entry.reason, 200)}" if entry.reason else ""
        url = row_url("operators_auditentry", entry.pk)
        yield Step(
            at=entry.at, kind="audit", what=f"{visible(entry.action)}{reason}", who=visible(entry.actor), url=url
        )


def _event_page(block_number: int, log_index: int, transaction_hash: str) -> str:
    """The page of a log: its id is that of its place."""
    pk = event_row_id("event", block_number, log_index, transaction_hash)
    return reverse("admin:indexer_indexedevent_change", args=[pk])
