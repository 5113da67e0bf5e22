"""Health answers for load balancers and orchestrators, before SSL redirects and Host checks can meet them."""

import logging
import time
from collections.abc import Callable

from django.db import DatabaseError, close_old_connections, connection
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from psycopg_pool import PoolTimeout

from indexer.status import indexer_state, is_behind

logger = logging.getLogger(__name__)
STARTED = time.monotonic()


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except (DatabaseError, PoolTimeout) as error:
        logger.error("the database does not answer: %s", error)
        return False


def health() -> tuple[int, dict[str, object]]:
    """The seed's four keys. `degraded` (still 200) when the API serves while the indexer does not run, or is behind:
    what it serves is right, but old, and no restart of this process would help.
    """
    indexer = "unknown"
    connected = _database_answers()
    if connected:
        try:
            indexer = indexer_state()
            if indexer == "running" and is_behind():
                indexer = "behind"
        except (DatabaseError, PoolTimeout):
            connected = False
    status = "unhealthy" if not connected else "healthy" if indexer == "running" else "degraded"
    body: dict[str, object] = {
        "status": status,
        "database": "connected" if connected else "disconnected",
        "indexer": indexer,
        "uptime": int(time.monotonic() - STARTED),
    }
    return (200 if connected else 503), body


def live() -> tuple[int, dict[str, object]]:
    """The process answers."""
    return 200, {"status": "live"}


def ready() -> tuple[int, dict[str, object]]:
    """The process can serve: its database answers."""
    connected = _database_answers()
    return (200, {"status": "ready"}) if connected else (503, {"status": "not ready"})


PROBES: dict[str, Callable[[], tuple[int, dict[str, object]]]] = {
    "/health": health,
    "/health/live": live,
    "/health/ready": ready,
}


class HealthMiddleware:
    """Answers the probes' paths; first in line, so that no redirect or Host check comes before."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path)
        if probe is None:
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        close_old_connections()
        status, body = probe()
        return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
