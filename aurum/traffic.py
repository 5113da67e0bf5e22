"""Takes note of each answered HTTP request: in the metrics, and as a line of the log."""

import logging
from typing import Any

from aurum.metrics import count_request
from aurum.request_id import about

logger = logging.getLogger(__name__)
LONGEST_PATH = 200  # characters that the log shows; never the query, where people put what is secret


def record(method: str, path: str, route: str, status: int, seconds: float, request_id: bytes) -> None:
    """`route` is the path's (metrics.route_of); `seconds` from the request to its answer."""
    count_request(method, route, status, seconds)
    if not logger.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {"requestId": request_id.decode("latin-1"), **about(path), "status": status}
    fields["milliseconds"] = round(seconds * 1000, 2)
    logger.info("%s %s %d", method[:10], path[:LONGEST_PATH], status, extra=fields)
