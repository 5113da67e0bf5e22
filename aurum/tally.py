"""Counts the requests that are answered in front of Django, on the event loop: there, nobody waits for Redis.

Without Redis each is counted where Django counts its own. With it, they are added to the shared counts every
FLUSH_INTERVAL, so that a client can be ahead of its limit by what it asked for meanwhile.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import caches

from aurum.log_context import apart
from aurum.throttling import Usage, client_address, key_of

FLUSH_INTERVAL = 0.2  # seconds
MOST_SUBJECTS = 50_000  # clients that are remembered between two flushes


@dataclass(slots=True)
class Count:
    """What is known of one client: the shared count as it was last heard of, and what it asked for since."""

    shared: int
    ours: int
    ends_at: float  # of time.monotonic()


class Tally:
    """The counts of one process."""

    def __init__(self) -> None:
        # Django would make one for each task.
        self._cache: Any = caches.create_connection("default")
        self._counts: dict[str, Count] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tally")
        self._task: asyncio.Future[None] | None = None

    def count(self, peer: str, forwarded_for: str) -> Usage:
        """Counts one more request without credentials."""
        subject = f"address:{client_address(peer, forwarded_for, settings.TRUSTED_PROXIES)}"
        if not settings.REDIS_URL:
            number, seconds_left = self._cache.hit(key_of(subject), settings.RATE_LIMIT_WINDOW / 1000)
            return Usage(limit=settings.RATE_LIMIT_MAX, count=number, seconds_left=seconds_left)
        now = time.monotonic()
        count = self._counts.get(subject)
        if count is None or count.ends_at <= now:
            count = self._counts[subject] = Count(0, 0, now + settings.RATE_LIMIT_WINDOW / 1000)
        count.ours += 1
        if self._task is None or self._task.done():
            self._task = apart(self._flush())
        return Usage(limit=settings.RATE_LIMIT_MAX, count=count.shared + count.ours, seconds_left=count.ends_at - now)

    async def _flush(self) -> None:
        """Adds to the shared counts until there is nothing more to add."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL)
            known = dict(self._counts)
            waiting = {subject: count.ours for subject, count in known.items() if count.ours}
            if not waiting:
                return
            shared = await asyncio.get_running_loop().run_in_executor(self._thread, self._add, waiting)
            now = time.monotonic()
            for subject, (number, seconds_left) in shared.items():
                count = known[subject]
                count.shared, count.ends_at = number, now + seconds_left
                count.ours -= waiting[subject]
            if len(self._counts) > MOST_SUBJECTS:
                self._counts = {subject: count for subject, count in self._counts.items() if count.ours}

    def _add(self, waiting: Mapping[str, int]) -> dict[str, tuple[int, float]]:
        seconds = settings.RATE_LIMIT_WINDOW / 1000
        return {subject: self._cache.hit(key_of(subject), seconds, number) for subject, number in waiting.items()}
