"""PURE. What one process of the indexer has done since it started; metrics, status and log lines all show this.

A batch costs a handful of additions here, whatever its size, and a request to a node one.
"""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from time import monotonic, perf_counter
from typing import Any

PHASES = ("fetch", "decode", "apply", "write")
REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)  # seconds
DEPTH_BOUNDS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 64.0, 128.0)  # blocks
RATE_WINDOW = 60.0  # seconds over which a rate is an average


class BatchRecord:
    """One batch: its events, how many of them failed, and its seconds by phase."""

    def __init__(self, *, clock: Callable[[], float] = perf_counter) -> None:
        self.events = 0
        self.failed = 0
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._clock = clock
        self._lap_started = clock()

    def lap(self, phase: str) -> None:
        """Says what the time since the last lap, or since the start, was spent on."""
        now = self._clock()
        self.seconds[phase] += now - self._lap_started
        self._lap_started = now


@dataclass(slots=True)
class Distribution:
    """How many values lie up to each of the `bounds`."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)  # by bound, and those above all
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> "Distribution":
        return replace(self, counts=self.counts.copy())

    def cumulative(self) -> list[tuple[str, int]]:
        """By upper bound, how many values are not above it: the form of a Prometheus histogram."""
        return list(zip([*map(str, self.bounds), "+Inf"], accumulate(self.counts), strict=True))


@dataclass(slots=True)
class Totals:
    """Since the process started. Requests are keyed by endpoint's host, first method and, as a count, outcome.

    None is what is not known yet. `lag_seconds` is of chain time; `stopped` is why the process is about to exit.
    """

    blocks: int = 0
    events: int = 0
    failed: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    depths: Distribution = field(default_factory=lambda: Distribution(DEPTH_BOUNDS))
    reorganisations: int = 0
    requests: dict[tuple[str, str, str], int] = field(default_factory=dict)
    request_seconds: dict[tuple[str, str], Distribution] = field(default_factory=dict)
    head_block: int | None = None
    indexed_block: int | None = None
    lag_seconds: int | None = None
    failed_events: int | None = None  # stored ones, whenever they failed
    open_repairs: int | None = None
    stopped: str = ""

    def copy(self) -> "Totals":
        """Without the generic deepcopy, which takes ten times as long, and a lock is held meanwhile."""
        return replace(
            self,
            seconds=self.seconds.copy(),
            depths=self.depths.copy(),
            requests=self.requests.copy(),
            request_seconds={key: distribution.copy() for key, distribution in self.request_seconds.items()},
        )

    @property
    def lag_blocks(self) -> int | None:
        """Never negative: a head below what is indexed is a node that is behind."""
        if self.head_block is None or self.indexed_block is None:
            return None
        return max(0, self.head_block - self.indexed_block)


class Counters:
    """Counts, from any thread. `clock` counts seconds."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._totals = Totals()
        self._lock = threading.Lock()
        self._clock = clock
        self._samples: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])  # seconds, blocks, events

    def requested(self, endpoint: str, method: str, outcome: str, seconds: float) -> None:
        """One HTTP request to a node: see Endpoint, whose `observe` this is."""
        with self._lock:
            totals, key = self._totals, (endpoint, method)
            totals.requests[*key, outcome] = totals.requests.get((*key, outcome), 0) + 1
            if key not in totals.request_seconds:
                totals.request_seconds[key] = Distribution(REQUEST_BOUNDS)
            totals.request_seconds[key].add(seconds)

    def committed(self, block_count: int, record: BatchRecord) -> None:
        """One batch is in the database."""
        with self._lock:
            totals = self._totals
            totals.blocks += block_count
            totals.events += record.events
            totals.failed += record.failed
            for phase, seconds in record.seconds.items():
                totals.seconds[phase] += seconds

    def reorganised(self, depth: int) -> None:
        """`depth` blocks were replaced."""
        with self._lock:
            self._totals.reorganisations += 1
            self._totals.depths.add(depth)

    def reached(self, *, head: int, indexed: int, lag_seconds: int | None) -> None:
        """Where the chain and the checkpoint are."""
        with self._lock:
            totals = self._totals
            totals.head_block, totals.indexed_block, totals.lag_seconds = head, indexed, lag_seconds

    def stored(self, *, failed_events: int, open_repairs: int) -> None:
        """What of the database's contents needs an operator's eye."""
        with self._lock:
            self._totals.failed_events, self._totals.open_repairs = failed_events, open_repairs

    def stopped(self, reason: str) -> None:
        with self._lock:
            self._totals.stopped = reason

    def totals(self) -> Totals:
        """A copy, which nothing changes any more."""
        with self._lock:
            return self._totals.copy()

    def rates(self) -> tuple[float, float]:
        """Blocks and events a second since the call before RATE_WINDOW, or since the first."""
        with self._lock:
            now = (self._clock(), self._totals.blocks, self._totals.events)
        while len(self._samples) > 1 and self._samples[1][0] <= now[0] - RATE_WINDOW:
            self._samples.popleft()
        before = self._samples[0]
        self._samples.append(now)
        elapsed = now[0] - before[0]
        return ((now[1] - before[1]) / elapsed, (now[2] - before[2]) / elapsed) if elapsed > 0 else (0.0, 0.0)


def requests_by_outcome(totals: Totals) -> list[dict[str, Any]]:
    """As the status shows them."""
    return [
        {"endpoint": endpoint, "method": method, "outcome": outcome, "count": count}
        for (endpoint, method, outcome), count in sorted(totals.requests.items())
    ]
