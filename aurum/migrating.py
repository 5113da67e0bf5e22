"""Migrations beside a working system: one process at a time, and nobody waits long behind one that waits for a lock.

A migration that wants a table's lock waits for every transaction that uses the table, and meanwhile everybody else
waits behind it. So it gives up soon, lets the others pass, and tries again.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)

MIGRATION_LOCK = 0x6175_7275_6D00_0001  # PostgreSQL advisory lock: "aurum", 1
LONGEST_WAIT = 600.0  # seconds, for another release's migrations; then again for the locks of ours
LOOK_INTERVAL = 0.25  # seconds
LOCK_WAIT = 2.0  # seconds that a migration waits for a lock, and everybody else behind it
PAUSE = 3.0  # seconds between two attempts, for the others
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE


class Migrate(migrate.Command):
    """Django's `migrate`, whose migrations wait for a lock for LOCK_WAIT at most.

    But those outside of a transaction: they build indexes concurrently, which lets everybody pass while it waits, and
    leaves an invalid index behind where it gives up.
    """

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if action == "apply_start":
            _limit_lock_wait(LOCK_WAIT if migration.atomic else 0)
        super().migration_progress_callback(action, migration, fake)


def migrate_alone(session: psycopg.Connection, *, verbosity: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Applies what is missing, under a lock of this session. Raises CommandError after LONGEST_WAIT."""
    _wait_for_lock(session, sleep)
    deadline = time.monotonic() + LONGEST_WAIT
    try:
        while not _migrated(verbosity):
            if time.monotonic() > deadline:
                raise CommandError(f"a migration did not get its lock for {LONGEST_WAIT:.0f} s: see `db_status`")
            logger.warning("a migration waits for a lock, which others hold: trying again in %.0f s", PAUSE)
            sleep(PAUSE)
    finally:
        _limit_lock_wait(0)


def _migrated(verbosity: int) -> bool:
    """Applied migrations stay applied; one that did not get its lock has left nothing behind."""
    try:
        call_command(Migrate(), interactive=False, verbosity=verbosity)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


def _limit_lock_wait(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{seconds * 1000:.0f}ms"])


def _wait_for_lock(session: psycopg.Connection, sleep: Callable[[float], None]) -> None:
    # Asks again and again: a session that waits inside pg_advisory_lock holds a snapshot, and a
    # CREATE INDEX CONCURRENTLY of the other one would wait for it in turn.
    deadline = time.monotonic() + LONGEST_WAIT
    while not session.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK]).fetchone()[0]:  # type: ignore[index]
        if time.monotonic() > deadline:
            raise CommandError(f"another process has been migrating for {LONGEST_WAIT:.0f} s")
        sleep(LOOK_INTERVAL)
