"""One writer at a time: an advisory lock, a heartbeat, and an epoch that every commit checks.

A process that dies loses the lock with its connection. One that is paused keeps its connection: once its heartbeat is
stale, the next one ends its connections and takes over. When it wakes up, its epoch is over and it can't commit.
"""

import logging
import threading
from collections.abc import Callable

import psycopg
from django.db import connection

logger = logging.getLogger(__name__)

LOCK_KEY = 0x617572756D  # "aurum"
BEAT = 1.0  # seconds between heartbeats, and between a standby's looks
STALE = 5.0  # seconds without a heartbeat before a leader counts as paused

TAKE = """
    INSERT INTO leader (id, epoch, name, seen_at) VALUES (1, 1, %s, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET epoch = leader.epoch + 1, name = excluded.name, seen_at = excluded.seen_at
    RETURNING epoch
"""
TRY = "SELECT pg_try_advisory_lock(%s)"
# Waits up to a second for the end of each connection, and so of its transaction and locks.
END_PAUSED = """
    SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity, leader
    WHERE application_name = leader.name AND datname = current_database()
        AND seen_at < clock_timestamp() - make_interval(secs => %s)
"""


class Deposed(Exception):
    """Another process has taken over the writing; this one stands by."""


class Leadership:
    """The right to write. `connect` opens an autocommit connection of its own; `name` is its application_name."""

    def __init__(self, connect: Callable[[], psycopg.Connection], *, name: str) -> None:
        self._connect = connect
        self._name = name
        self._connection: psycopg.Connection | None = None
        self._over = threading.Event()
        self._beating: threading.Thread | None = None
        self.epoch = 0

    def acquire(self, stop: threading.Event) -> bool:
        """Waits until this process is the writer; False when `stop` came first. Raises psycopg.OperationalError."""
        announced = False
        while not stop.is_set():
            if self.try_acquire():
                return True
            if not announced:
                logger.info("another indexer is writing; standing by")
                announced = True
            stop.wait(BEAT)
        return False

    def try_acquire(self) -> bool:
        """Takes the lock if it is free, or if its holder is paused."""
        self.release()
        taken = self._connect()
        try:
            if not _lock(taken):
                taken.close()
                return False
            self.epoch = _first(taken, TAKE, [self._name])
        except BaseException:
            taken.close()
            raise
        self._connection, self._over = taken, threading.Event()
        self._beating = threading.Thread(target=self._beat, args=(taken, self._over), name="heartbeat", daemon=True)
        self._beating.start()
        return True

    def release(self) -> None:
        """Gives the lock up. Harmless where it is not held."""
        self._over.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def held(self) -> bool:
        """Whether nothing has shown yet that it is lost; `check_in_transaction` is what counts."""
        return self._connection is not None and not self._over.is_set()

    def check_in_transaction(self) -> None:
        """Call in the write transaction, behind the checkpoint's lock: whoever takes over then waits for it.

        Raises Deposed where somebody has taken over already.
        """
        with connection.cursor() as cursor:
            cursor.execute("SELECT epoch, name FROM leader WHERE id = 1")
            row = cursor.fetchone()
        # The name too: a standby that becomes the primary may not have heard of the last epoch, and give it out again.
        if row != (self.epoch, self._name):
            self._over.set()
            raise Deposed(f"epoch {self.epoch} is over")

    def _beat(self, beating: psycopg.Connection, over: threading.Event) -> None:
        try:
            while not over.wait(BEAT):
                beating.execute("UPDATE leader SET seen_at = clock_timestamp() WHERE epoch = %s", [self.epoch])
        except psycopg.Error as error:
            logger.warning("the writer's lock is lost: %s", type(error).__name__)
        finally:
            over.set()


def _lock(opened: psycopg.Connection) -> bool:
    """Takes the lock if it is free, or if its holder is paused: that one's connections are ended first."""
    if _first(opened, TRY, [LOCK_KEY]):
        return True
    ended = opened.execute(END_PAUSED, [STALE]).rowcount
    return ended > 0 and bool(_first(opened, TRY, [LOCK_KEY]))


def _first(opened: psycopg.Connection, query: str, parameters: list[object]) -> int:
    row = opened.execute(query, parameters).fetchone()  # type: ignore[call-overload]
    return row[0]
