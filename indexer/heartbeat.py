"""What the writing indexer says of itself in the table indexer_status, for readers in other processes."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError
from django.db.models import F
from django.utils import timezone

from indexer.chain import Header
from indexer.counters import Counters, requests_by_outcome
from indexer.models import IndexedEvent, IndexerStatus, RepairRequest
from markets.chaintime import from_seconds

logger = logging.getLogger(__name__)
AWAY = (OperationalError, InterfaceError, psycopg.OperationalError)  # the database is
BEAT = 1.0  # seconds between two heartbeats: blocks can come faster, and each must not cost a write


class Heartbeat:
    """Writes the row: at most once in BEAT seconds as long as all goes well, at once what is out of the ordinary.

    `health` tells of the endpoints, `clock` counts seconds.
    """

    def __init__(
        self,
        counters: Counters,
        health: Callable[[], list[dict[str, Any]]],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._counters = counters
        self._health = health
        self._clock = clock
        self._started_at = datetime.now(tz=UTC).replace(microsecond=0)
        self._head: Header | None = None
        self._is_told = True  # whether the row says all that is known here
        self._told_at = float("-inf")
        self._error = ""
        self._error_at: datetime | None = None

    def beat(self, head: Header) -> None:
        """The node and the stored chain fit together, and the chain's head is this."""
        self._head, self._is_told = head, False
        if self._clock() - self._told_at >= BEAT:
            self.flush()

    def flush(self) -> None:
        """Writes what the last `beat` left out."""
        if self._is_told or self._head is None:
            return
        self._counters.stored(
            failed_events=IndexedEvent.objects.filter(processed=False).count(),
            open_repairs=RepairRequest.objects.filter(done_at=None, cancelled_at=None).count(),
        )
        _write(
            heartbeat_at=timezone.now(),
            head_block=self._head.number,
            head_timestamp=from_seconds(self._head.timestamp),
            stop_reason="",
            **self._what_is_known(),
        )
        self._is_told, self._told_at = True, self._clock()

    def reorganised(self, depth: int) -> None:
        """`depth` blocks were replaced."""
        self._counters.reorganised(depth)
        self.flush()
        IndexerStatus.objects.update(
            reorganisations=F("reorganisations") + 1,
            last_reorganisation_at=timezone.now(),
            last_reorganisation_depth=depth,
        )

    def failed(self, error: Exception, *, tell: bool = True) -> None:
        """What will be tried again. No heartbeat: an indexer that gets nowhere must look like one.

        `tell`: now, else with the next heartbeat, where it is the database that failed.
        """
        self._error, self._error_at = f"{type(error).__name__}: {error}"[:1000], timezone.now()
        if not tell:
            return
        with suppress(*AWAY):  # the next heartbeat says it
            IndexerStatus.objects.filter(id=1).update(**self._what_is_known())

    def stopped(self, reason: str, error: Exception) -> None:
        """This process ends and must not go on by itself; stays until the next one's first heartbeat."""
        self._error, self._error_at = f"{type(error).__name__}: {error}"[:1000], timezone.now()
        self._is_told = True  # a heartbeat would say that all is well
        logger.error("stopped: %s", error, extra={"reason": reason})
        try:
            _write(stop_reason=reason, **self._what_is_known())
        except AWAY as failure:
            logger.warning("the status does not say so: %s", failure)
        self._counters.stopped(reason)

    def _what_is_known(self) -> dict[str, Any]:
        totals = self._counters.totals()
        blocks_per_second, events_per_second = self._counters.rates()
        return {
            "last_error": self._error,
            "last_error_at": self._error_at,
            "endpoints": self._health(),
            "counters": {
                "started_at": f"{self._started_at:%Y-%m-%dT%H:%M:%SZ}",
                "blocks": totals.blocks,
                "events": totals.events,
                "failed_events": totals.failed,
                "blocks_per_second": round(blocks_per_second, 3),
                "events_per_second": round(events_per_second, 3),
                "reorganisations": totals.reorganisations,
                "phase_seconds": {phase: round(seconds, 3) for phase, seconds in totals.seconds.items()},
                "rpc_requests": requests_by_outcome(totals),
            },
        }


def _write(**columns: Any) -> None:
    """One UPDATE; the first time ever an INSERT behind it."""
    if not IndexerStatus.objects.filter(id=1).update(**columns):
        IndexerStatus.objects.get_or_create(id=1, defaults={"heartbeat_at": timezone.now(), **columns})
