"""The web server's metrics, and the port that metrics are served on (docs/metrics.md)."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.request import urlopen

from django.conf import settings
from django.db.backends.signals import connection_created
from django.urls import URLPattern, get_resolver
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)
# Seconds: an answer that is kept takes microseconds, a page milliseconds, and reads end after ten seconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ADMIN, STATIC = "/admin/…", "/static/…"  # routes, each of many paths
OTHER = "other"  # the route of what fits none: a label must not be whatever somebody asks for
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
CHILD_TIMEOUT = 2.0  # seconds

# A registry of its own, not the library's: two servers in one process, as in tests, would collide.
WEB = CollectorRegistry()
requests = Counter("http_requests", "Answered HTTP requests.", ["method", "route", "status"], registry=WEB)
seconds = Histogram(
    "http_request_duration_seconds",
    "From the request's last byte to the answer's first.",
    ["method", "route"],
    buckets=BUCKETS,
    registry=WEB,
)
queries = Counter("database_queries", "Statements sent to the database.", registry=WEB)


def count_request(method: str, route: str, status: int, duration: float) -> None:
    """Counts an answer; `route` is one of `route_of`, `duration` in seconds."""
    counted, timed = _of(method if method in METHODS else OTHER, route, status)
    counted.inc()
    timed.observe(duration)


@cache
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return requests.labels(method, route, str(status)), seconds.labels(method, route)


# --- routes -----------------------------------------------------------------------------------------------------------


def route_of(path: str) -> str:
    """The path as docs write it, with names for what varies: `/api/markets/:id/trades`."""
    parts = path.split("/")
    for route in _routes().get(len(parts), ()):
        if all(name == part or (name.startswith(":") and part) for name, part in zip(route, parts, strict=True)):
            return "/".join(route)
    below = {f"/{settings.ADMIN_PATH}/": ADMIN, settings.STATIC_URL: STATIC}
    return next((route for first, route in below.items() if path.startswith(first)), OTHER)


@cache
def _routes() -> dict[int, list[list[str]]]:
    """The project's paths, in parts, by how many these are; those without names first."""
    found: dict[int, list[list[str]]] = {}
    for path in ["/health", "/health/live", "/health/ready", *sorted(_paths(get_resolver().url_patterns))]:
        parts = path.split("/")
        found.setdefault(len(parts), []).append(parts)
    for routes in found.values():
        routes.sort(key=lambda route: sum(part.startswith(":") for part in route))
    return found


def _paths(patterns: list[Any], before: str = "/") -> Iterator[str]:
    for each in patterns:
        path = before + re.sub(r"<\w+:(\w+)>", r":\1", str(each.pattern))
        if isinstance(each, URLPattern):
            yield path
        elif path != f"/{settings.ADMIN_PATH}/":
            yield from _paths(each.url_patterns, path)


# --- queries ----------------------------------------------------------------------------------------------------------


def count_queries() -> None:
    """From here on, every statement of Django's connections is counted."""
    connection_created.connect(_count_on, dispatch_uid=__name__)


def _count_on(connection: Any, **_: Any) -> None:
    if _counted not in connection.execute_wrappers:
        connection.execute_wrappers.append(_counted)


def _counted(execute: Any, *arguments: Any) -> Any:
    queries.inc()
    return execute(*arguments)


# --- the port ---------------------------------------------------------------------------------------------------------


class ChildCollector(Collector):
    """The metrics that another process on this host serves, without those of the process itself."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def collect(self) -> Iterator[Metric]:
        try:
            with urlopen(self._url, timeout=CHILD_TIMEOUT) as answer:  # noqa: S310 (the scheme is ours)
                text = answer.read().decode()
        except OSError:
            return  # it starts, or starts again
        for family in text_string_to_metric_families(text):
            if not family.name.startswith("process_"):
                yield family


@contextmanager
def exporting(*collectors: Collector, host: str, port: int) -> Iterator[bool]:
    """Serves the metrics while the body runs; without them, and with a warning, where the port can't be used."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        logger.warning("no metrics: port %d on %s can't be used (%s); set METRICS_PORT", port, host, error.strerror)
        yield False
        return
    logger.info("metrics at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)
    try:
        yield True
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
