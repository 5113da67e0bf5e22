"""The outbox as a whole: waking its readers, dropping old messages, and breaking off what can't be continued."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction

logger = logging.getLogger(__name__)

WAKE = "outbox"  # what PostgreSQL and Redis call the wake-up
# Whoever was away for longer than a day starts from a snapshot as well as from a thousand messages.
KEPT_HOURS = 24
# About a gigabyte; what a busy day has. A chain that is busier keeps less than a day.
KEPT_COUNT = 1_000_000
SLICE = 10_000  # messages that one statement deletes: no transaction of the indexer waits for long

_publisher = ThreadPoolExecutor(1, thread_name_prefix="wake")
_is_due = Event()  # a wake-up that is not on its way yet stands for those behind it

# The newest stays however old it is: a hub that finds what it read last knows that nothing behind it is gone.
PRUNE = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM (SELECT id, created_at FROM outbox ORDER BY id LIMIT %(slice)s) oldest
        WHERE id < (SELECT max(id) FROM outbox)
        AND (created_at < now() - make_interval(hours => %(hours)s) OR id <= (SELECT max(id) FROM outbox) - %(count)s)
    )
"""


def wake() -> None:
    """Tells the hubs of what a transaction has written, when it commits: by NOTIFY, and by Redis where there is one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [WAKE])
    if settings.REDIS_URL:
        transaction.on_commit(_publish_soon)


def _publish_soon() -> None:
    """On a thread: whoever has committed does not wait for Redis, which may not answer."""
    if not _is_due.is_set():
        _is_due.set()
        _publisher.submit(_publish)


def _publish() -> None:
    _is_due.clear()
    ours: Any = cache  # cache.py's
    ours.publish(WAKE)


def prune() -> None:
    """Deletes messages that are too old, or too many; at most ten slices, so that the indexer goes on."""
    values = {"slice": SLICE, "hours": KEPT_HOURS, "count": KEPT_COUNT}
    with connection.cursor() as cursor:
        for _ in range(10):
            cursor.execute(PRUNE, values)
            if cursor.rowcount < SLICE:
                return


def break_off() -> None:
    """Says that messages were left out: every channel has a gap behind its last one, and none is kept.

    Does nothing where nobody was told anything since the last time. Call in the transaction that leaves them out.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM outbox")
        if cursor.rowcount:
            cursor.execute("UPDATE channels SET seq = seq + 1")
            logger.warning("the feed has a gap: subscribers start anew from what the tables say")
