"""The indexer's metrics for Prometheus (docs/metrics.md), served by HTTP on a port of their own.

They are made from the counters when they are asked for: counting costs the indexer nothing that the status would not.
"""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from indexer.counters import Counters, Totals

STOP_REASONS = ("below_finality", "wrong_chain")
# Seconds that a process which stopped for one of them is still there to be scraped: several intervals.
LINGER = 60.0


class IndexerCollector(Collector):
    """Shows the counters. `health` tells of the endpoints, `is_leader` whether this process is the one that writes."""

    def __init__(
        self, counters: Counters, *, health: Callable[[], list[dict[str, Any]]], is_leader: Callable[[], bool]
    ) -> None:
        self._counters = counters
        self._health = health
        self._is_leader = is_leader

    def collect(self) -> Iterator[Metric]:
        totals = self._counters.totals()
        yield from _work(totals)
        yield from _position(totals)
        yield from _requests(totals)
        quarantines = CounterMetricFamily(
            "indexer_quarantines", "Times that another endpoint proved this one wrong.", labels=["endpoint"]
        )
        lies: dict[str, int] = {}
        for endpoint in self._health():  # two may share a host
            lies[endpoint["host"]] = lies.get(endpoint["host"], 0) + endpoint["quarantines"]
        for host, count in lies.items():
            quarantines.add_metric([host], count)
        yield quarantines
        yield GaugeMetricFamily(
            "indexer_is_leader", "1 in the process that writes, 0 in one that stands by.", value=int(self._is_leader())
        )


def _work(totals: Totals) -> Iterator[Metric]:
    # A gauge, for a counter's name would end in _total.
    yield GaugeMetricFamily(
        "indexer_blocks_processed", "Blocks committed since the process started.", value=totals.blocks
    )
    yield CounterMetricFamily(
        "indexer_events_processed", "Events stored since the process started, failed ones too.", value=totals.events
    )
    phases = CounterMetricFamily("indexer_phase_seconds", "Where the time of committed batches went.", labels=["phase"])
    for phase, seconds in totals.seconds.items():
        phases.add_metric([phase], seconds)
    yield phases
    yield CounterMetricFamily(
        "indexer_reorganisations", "Times that blocks were replaced.", value=totals.reorganisations
    )
    yield HistogramMetricFamily(
        "indexer_reorganisation_depth_blocks",
        "Blocks that were replaced at once.",
        buckets=totals.depths.cumulative(),
        sum_value=totals.depths.sum,
    )


def _position(totals: Totals) -> Iterator[Metric]:
    known = (
        ("indexer_head_block", "The chain's latest block.", totals.head_block),
        ("indexer_indexed_block", "The last block that is in the database.", totals.indexed_block),
        ("indexer_lag_blocks", "Blocks from the one to the other.", totals.lag_blocks),
        ("indexer_lag_seconds", "Chain time from the one to the other.", totals.lag_seconds),
        ("indexer_failed_events", "Stored events that could not be decoded or applied.", totals.failed_events),
        ("indexer_repairs_open", "Repairs that are asked for and not done.", totals.open_repairs),
    )
    for name, text, value in known:
        if value is not None:
            yield GaugeMetricFamily(name, text, value=value)
    stopped = GaugeMetricFamily(
        "indexer_stopped", "1: the process ends for this reason, and needs an operator.", labels=["reason"]
    )
    for reason in STOP_REASONS:
        stopped.add_metric([reason], int(totals.stopped == reason))
    yield stopped


def _requests(totals: Totals) -> Iterator[Metric]:
    counts = CounterMetricFamily(
        "indexer_rpc_requests", "HTTP requests to nodes.", labels=["endpoint", "method", "outcome"]
    )
    for labels, count in totals.requests.items():
        counts.add_metric(labels, count)
    yield counts
    seconds = HistogramMetricFamily("indexer_rpc_request_seconds", "How long they took.", labels=["endpoint", "method"])
    for key, distribution in totals.request_seconds.items():
        seconds.add_metric(key, buckets=distribution.cumulative(), sum_value=distribution.sum)
    yield seconds
