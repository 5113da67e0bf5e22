"""What a web process holds, for Prometheus (docs/metrics.md): sockets and connections to the database.

Read when it is asked for, on the thread that serves the metrics: sizes alone, so that the event loop need not stop.
"""

from collections.abc import Callable, Iterator, Mapping

from django.db import connections
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from markets.hub import Hub

# Of psycopg_pool's statistics: those that say whether requests wait.
POOL_SIZES = {"pool_size": "open", "pool_available": "idle", "requests_waiting": "waiting"}


class DjangoCollector(Collector):
    """django-prometheus' own metrics, which it keeps in the library's registry among others."""

    def collect(self) -> Iterator[Metric]:
        for family in REGISTRY.collect():
            if family.name.startswith("django_"):
                yield family


class SocketCollector(Collector):
    """Who is connected to the hub, and what it has handed out."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        counts = self._hub.counts()
        yield GaugeMetricFamily("sockets_connected", "Open WebSockets.", value=counts.connections)
        yield GaugeMetricFamily("sockets_subscriptions", "Subscriptions of all of them.", value=counts.subscriptions)
        yield GaugeMetricFamily(
            "sockets_following",
            "1 while the hub hears of new messages, 0 while it has no database.",
            value=int(counts.is_following),
        )
        yield CounterMetricFamily("sockets_messages_delivered", "Handed to subscribers.", value=counts.delivered)
        yield CounterMetricFamily("sockets_resyncs", "Subscriptions that lost messages.", value=counts.resyncs)


class PoolCollector(Collector):
    """The pools of database connections. `pools` gives the statistics of those that are open by now, by name."""

    def __init__(self, pools: Callable[[], Mapping[str, Mapping[str, int]]]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        sizes = GaugeMetricFamily(
            "database_pool_connections",
            "Connections by what they do; `waiting` counts who waits for one.",
            labels=["pool", "state"],
        )
        errors = CounterMetricFamily(
            "database_pool_errors", "Requests that got no connection in time.", labels=["pool"]
        )
        for name, statistics in self._pools().items():
            for key, state in POOL_SIZES.items():
                sizes.add_metric([name, state], statistics.get(key, 0))
            errors.add_metric([name], statistics.get("requests_errors", 0))
        yield sizes
        yield errors


def django_pool() -> Mapping[str, Mapping[str, int]]:
    """The pool of Django's threads, where one of them has opened it."""
    pool = connections["default"]._connection_pools.get("default")  # type: ignore[attr-defined]
    return {} if pool is None else {"requests": pool.get_stats()}
