"""The admin's home: how the chain, the indexer, the wallet, the sockets and the database are, for people on duty.

All of it comes from a fixed number of statements, whatever the tables hold: counts stop at MOST_COUNTED, and what an
hour had is read through indexed_blocks_by_time and indexed_events_order, at most MOST_EVENTS rows of it. Texts are made
here, once for the page and for the JSON that keeps it fresh; whoever shows them escapes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any

from django.contrib import admin
from django.db import connection
from django.db.models import Count
from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from aurum.admin import MOST_COUNTED, list_url, row_url, shortened
from indexer.models import Reorganisation, RepairRequest
from indexer.status import health_of, read_status, state_in_words
from markets.chaintime import rfc3339
from markets.corrections import awaiting_approval
from markets.hub import SOCKETS_OF_ALL
from markets.models import Checkpoint, IndexedBlock, MarketCorrection, OutboxMessage
from resolver.models import ActionState, ResolutionRequest, WalletAction, WalletStatus, WalletSwitch

SEEN_BY = "indexer.view_indexerstatus"  # as every group's members may
MINUTES = 60  # that the charts go back
MOST_EVENTS = 50_000  # that are read for them
LONGEST_ERROR = 200  # characters
MOST_ROWS = 5  # reorganisations, repairs and actions that are shown
# Seconds from which on it is no longer in order, and from which on it is bad.
LAG = (60, 300)
LOW_BALANCE = 5 * 10**15  # wei; WalletLow in ops/prometheus/alerts.yml
TRADES = ("FPMMBuy", "FPMMSell")
# What waits for the wallet, or for a person who looks after it.
PENDING_ACTIONS = [
    state
    for state in ActionState
    if state not in (ActionState.DONE, ActionState.UNNEEDED, ActionState.CANCELLED, ActionState.FAILED)
]

# By minute of chain time: events, trades, and how long the slowest took from its block to the database, in seconds.
BY_MINUTE = """
    SELECT extract(epoch FROM date_bin('1 minute', block_timestamp, 'epoch'::timestamptz))::bigint,
           count(*), count(*) FILTER (WHERE event_name = ANY(%s)),
           greatest(0, extract(epoch FROM max(created_at - block_timestamp)))::float8
    FROM (
        SELECT block_timestamp, created_at, event_name FROM indexed_events
        WHERE block_number > %s ORDER BY block_number DESC, log_index DESC LIMIT %s
    ) newest
    GROUP BY 1
"""
DATABASE = """
    SELECT pg_database_size(current_database()),
           (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
           current_setting('max_connections')::int,
           (SELECT extract(epoch FROM max(now() - xact_start))::float8 FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend')
"""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One figure. `state` is `good`, `warn`, `bad` or nothing; `url` leads to what it counts."""

    key: str
    title: str
    text: str
    state: str = ""
    note: str = ""
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A small table. The first cell of a row leads to its page, where it has one; a row has a state as a fact has."""

    key: str
    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, str | None, Sequence[str]]]  # state, URL, cells
    empty: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """Facts and tables of one thing."""

    title: str
    facts: Sequence[Fact]
    tables: Sequence[Rows] = ()


def home(request: HttpRequest) -> dict[str, Any]:
    """What the home page's template shows beside the list of tables: nothing to whoever is in no group."""
    if not request.user.has_perm(SEEN_BY):
        return {}
    return {"sections": read_sections(), "shown_at": timezone.now()}


@never_cache
@require_safe
def as_json(request: HttpRequest) -> JsonResponse:
    """The same for the page's script, with the charts' figures. 403 for whoever may not see them."""
    if not (admin.site.has_permission(request) and request.user.has_perm(SEEN_BY)):
        return JsonResponse({"detail": "Sign in to the admin, as somebody who may see this."}, status=403)
    sections = read_sections()
    return JsonResponse(
        {
            "at": f"{timezone.now():%H:%M:%S} UTC",
            "facts": {
                fact.key: {"text": fact.text, "note": fact.note, "state": fact.state}
                for section in sections
                for fact in section.facts
            },
            "tables": {
                table.key: [{"state": state, "url": url, "cells": cells} for state, url, cells in table.rows]
                for section in sections
                for table in section.tables
            },
            "charts": read_charts(),
        }
    )


def read_sections() -> list[Section]:
    """Everything but the charts, as of now."""
    now = timezone.now()
    status = read_status()
    chain = [_nodes(status), _reorganisations(), _repairs()]
    return [
        Section(title="Chain and indexer", facts=_indexer(status, now), tables=chain),
        Section(title="Waiting for somebody", facts=_waiting(status, now), tables=[_actions()]),
        Section(title="Database and sockets", facts=[*_database(now), _sockets()]),
    ]


# --- charts -----------------------------------------------------------------------------------------------------------


def read_charts() -> dict[str, Any]:
    """By minute of the last hour of chain time: its start in Unix seconds, events, trades, and the longest delay.

    A minute without events has no delay. `complete` is false where the hour had more than MOST_EVENTS events.
    """
    end = _last_minute()
    first = end - timedelta(minutes=MINUTES - 1)
    after = IndexedBlock.number_at(first - timedelta(microseconds=1))
    with connection.cursor() as cursor:
        cursor.execute(BY_MINUTE, [list(TRADES), after, MOST_EVENTS])
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    starts = [int((first + timedelta(minutes=number)).timestamp()) for number in range(MINUTES)]
    rows = [found.get(start, (0, 0, None)) for start in starts]
    return {
        "minutes": starts,
        "events": [events for events, _, _ in rows],
        "trades": [trades for _, trades, _ in rows],
        "delay": [None if delay is None else round(delay, 1) for _, _, delay in rows],
        "complete": sum(events for events, _, _ in found.values()) < MOST_EVENTS,
    }


def _last_minute() -> datetime:
    """The minute of the indexed block, or of the clock, whichever is later: what stands still shows as nothing."""
    moment = max(Checkpoint.chain_time(Checkpoint.objects.first()), timezone.now())
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


# --- sections ---------------------------------------------------------------------------------------------------------


def _indexer(status: dict[str, Any], now: datetime) -> list[Fact]:
    is_running = status["state"] == "running"
    lag = status["lag_seconds"] if is_running else None  # from a head that nobody sees any more
    failed, depth = status["failed_events"], status["last_reorganisation_depth"]
    silence = _seconds(now, status["heartbeat_at"])
    indexer = list_url("indexer_indexerstatus")
    return [
        Fact(
            key="state",
            title="Indexer",
            text=state_in_words(status),
            state="good" if is_running else "bad",
            note=shortened(status["stop_reason"] or "") or _ago("all was well", silence),
            url=indexer,
        ),
        Fact(
            key="head",
            title="Chain head",
            text=_number(status["head_block"]),
            note=f"{_ago('mined', _seconds(now, status['head_at']))}, safe {_number(status['safe_block'])}, "
            f"final {_number(status['finalized_block'])}".removeprefix(", "),
            state=_graded(_seconds(now, status["head_at"]), LAG).replace("good", "") if is_running else "",
        ),
        Fact(
            key="indexed",
            title="Indexed block",
            text=_number(status["indexed_block"]),
            note=f"{status['events']:,} events in all",
            url=list_url("markets_checkpoint"),
        ),
        Fact(
            key="lag",
            title="Lag",
            text=_unit(status["lag_blocks"], "block") if is_running else "unknown",
            note=f"{_duration(lag)} of chain time" if lag is not None else "",
            state=_graded(lag, LAG),
        ),
        Fact(
            key="reorganisations",
            title="Last reorganisation",
            text="none" if depth is None else f"{_unit(depth, 'block')} deep",
            note=f"{_ago('', _seconds(now, status['last_reorganisation_at']))}; {status['reorganisations']:,} in all"
            if depth is not None
            else "",
            url=indexer,
        ),
        Fact(
            key="failed",
            title="Failed events",
            text=f"{failed:,}",
            state="warn" if failed else "good",
            note="they can be tried again" if failed else "",
            url=list_url("indexer_indexedevent", processed__exact=0),
        ),
        Fact(
            key="error",
            title="Last error",
            text=shortened(status["last_error"] or "none", LONGEST_ERROR),
            note=_ago("", _seconds(now, status["last_error_at"])),
            url=indexer,
        ),
    ]


def _nodes(status: dict[str, Any]) -> Rows:
    rows = [
        (
            "good" if node.get("healthy") else "bad",
            None,
            [
                shortened(str(node.get("host", ""))),
                shortened(health_of(node)),
                "unknown" if node.get("latency_ms") is None else f"{node['latency_ms']:,} ms",
                f"{node.get('failures', 0):,}",
                f"{node.get('quarantines', 0):,}",
                shortened(str(node.get("last_error", ""))),
            ],
        )
        for node in status["endpoints"]
    ]
    heads = ("node", "health", "latency", "failures in a row", "quarantines", "last error")
    return Rows(key="nodes", title="Nodes", heads=heads, rows=rows, empty="The indexer has not told of any.")


def _reorganisations() -> Rows:
    rows = [
        (
            "",
            row_url("indexer_reorganisation", each.pk),
            [rfc3339(each.at), _unit(each.depth, "block"), _number(each.fork_block)],
        )
        for each in Reorganisation.objects.order_by("-id")[:MOST_ROWS]
    ]
    heads = ("at", "replaced", "above")
    return Rows(
        key="reorganisations",
        title="Last reorganisations",
        heads=heads,
        rows=rows,
        empty="No block was ever replaced.",
    )


def _repairs() -> Rows:
    opened = RepairRequest.objects.filter(done_at=None, cancelled_at=None).order_by("id")[:MOST_ROWS]
    rows = [
        (
            "bad" if repair.state == "waiting" else "",
            reverse("admin:indexer_repairrequest_change", args=[repair.pk]),
            [
                str(repair),
                repair.state,
                f"{100 * repair.blocks_done // repair.blocks}%",
                shortened(repair.reason),
                shortened(repair.error),
            ],
        )
        for repair in opened
    ]
    heads = ("blocks", "state", "done", "reason", "error")
    return Rows(key="repairs", title="Open repairs", heads=heads, rows=rows, empty="Nothing is read again.")


def _wallet(now: datetime) -> list[Fact]:
    switch = WalletSwitch.objects.filter(stopped=True).first()
    status = WalletStatus.objects.first()
    silence = _seconds(now, status.heartbeat_at) if status else None
    note = _ago("heard of", silence)
    if switch is not None:
        text, state, note = "stopped", "bad", shortened(switch.reason)
    elif status is None or silence is None:
        text, state, note = "has not run yet", "", "resolve_markets --watch"
    elif silence >= LAG[0]:
        text, state = "silent", _graded(silence, LAG)
    elif status.hindrance:
        text, state, note = "waits", "warn", shortened(status.hindrance)
    else:
        text, state = "runs", "good"
    balance = status.balance if status else None
    return [
        Fact(key="wallet", title="Wallet", text=text, state=state, note=note, url=list_url("resolver_walletswitch")),
        Fact(
            key="balance",
            title="Signer balance",
            text="not known" if balance is None else f"{Decimal(balance).scaleb(-18):.4f} ETH",
            state="warn" if balance is not None and balance < LOW_BALANCE else "",
            note=status.signer if status else "",
            url=list_url("resolver_walletstatus"),
        ),
    ]


def _waiting(status: dict[str, Any], now: datetime) -> list[Fact]:
    counts = dict(
        WalletAction.objects.filter(state__in=[*PENDING_ACTIONS, ActionState.FAILED])
        .order_by()
        .values_list("state")
        .annotate(Count("pk"))
    )
    failed = counts.pop(ActionState.FAILED, 0)
    repairs = _count(RepairRequest.objects.filter(done_at=None, cancelled_at=None))
    corrections = _count(MarketCorrection.objects.filter(awaiting_approval(now)))
    wishes = _count(ResolutionRequest.objects.filter(state=ResolutionRequest.State.PENDING))
    return [
        *_wallet(now),
        Fact(
            key="pending",
            title="Pending transactions",
            text=f"{sum(counts.values()):,}",
            note=", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())),
            url=list_url("resolver_walletaction"),
        ),
        Fact(
            key="failed_actions",
            title="Failed transactions",
            text=f"{failed:,}",
            state="warn" if failed else "good",
            url=list_url("resolver_walletaction", state__exact=ActionState.FAILED),
        ),
        Fact(
            key="corrections",
            title="Corrections to approve",
            text=corrections,
            state="warn" if corrections != "0" else "",
            url=list_url("markets_marketcorrection", state="pending"),
        ),
        Fact(
            key="wishes",
            title="Resolutions to approve",
            text=wishes,
            state="warn" if wishes != "0" else "",
            url=list_url("resolver_resolutionrequest", state__exact="pending"),
        ),
        Fact(
            key="repairs",
            title="Open repairs",
            text=repairs,
            state="warn" if repairs != "0" else "",
            url=list_url("indexer_repairrequest", state="open"),
        ),
    ]


def _actions() -> Rows:
    pending = WalletAction.objects.filter(state__in=[*PENDING_ACTIONS, ActionState.FAILED])
    rows = [
        (
            "bad" if action.state == ActionState.FAILED else "",
            row_url("resolver_walletaction", action.pk),
            [str(action), action.state, f"{action.attempts:,}", shortened(action.error)],
        )
        for action in pending.order_by("state", "id")[:MOST_ROWS]
    ]
    heads = ("action", "state", "refusals", "error")
    return Rows(key="actions", title="Wallet actions", heads=heads, rows=rows, empty="The wallet has nothing to do.")


def _database(now: datetime) -> list[Fact]:
    started = perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(DATABASE)
        size, connections, most, oldest = cursor.fetchone()
    milliseconds = (perf_counter() - started) * 1000
    ends = [OutboxMessage.objects.order_by(order).values_list("id", "created_at").first() for order in ("id", "-id")]
    (first, since), (last, until) = [end or (0, None) for end in ends]
    return [
        Fact(
            key="database",
            title="Database",
            text=f"{size / 2**20:,.0f} MiB",
            note=f"answers in {milliseconds:,.0f} ms",
        ),
        Fact(
            key="connections",
            title="Database connections",
            text=f"{connections:,} of {most:,}",
            state="warn" if connections > 0.8 * most else "",
            note=f"longest transaction {_duration(oldest)}" if oldest is not None else "",
        ),
        Fact(
            key="outbox",
            title="Outbox",
            text=_ago("newest", _seconds(now, until)) or "empty",
            note=f"about {last - first + 1:,} messages, the oldest {_ago('', _seconds(now, since))}" if since else "",
            url=list_url("markets_outboxmessage"),
        ),
    ]


def _sockets() -> Fact:
    with connection.cursor() as cursor:
        cursor.execute(SOCKETS_OF_ALL)
        processes, sockets = cursor.fetchone()
    note = f"in {processes:,} web processes" if processes else "no web process has had one"
    return Fact(key="sockets", title="Sockets", text=f"{sockets:,}", note=note)


# --- words ------------------------------------------------------------------------------------------------------------


def _count(rows: Any) -> str:
    """How many there are, up to a bound."""
    count = rows.order_by()[: MOST_COUNTED + 1].count()
    return f"more than {MOST_COUNTED:,}" if count > MOST_COUNTED else f"{count:,}"


def _number(value: int | None) -> str:
    return "unknown" if value is None or value < 0 else f"{value:,}"


def _unit(value: int | None, noun: str) -> str:
    return "unknown" if value is None else f"{value:,} {noun}{'' if value == 1 else 's'}"


def _seconds(now: datetime, moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())


def _duration(seconds: float | None) -> str:
    """In the largest unit of which there are two at least, such as `90 s`, `14 min`, `3 h`, `12 d`."""
    if seconds is None:
        return "unknown"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def _ago(what: str, seconds: float | None) -> str:
    return "" if seconds is None else f"{what} {_duration(seconds)} ago".strip()


def _graded(seconds: float | None, limits: tuple[int, int]) -> str:
    if seconds is None:
        return "warn"
    return "bad" if seconds > limits[1] else "warn" if seconds > limits[0] else "good"
