"""`migrate`, by one process at a time: the others wait, then find nothing left to do. For releases."""

import time
from typing import Any

import psycopg
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from aurum.database import DJANGO_ONLY

LOCK = 0x6175_7275_6D00_0001  # PostgreSQL advisory lock: "aurum", 1
LONGEST_WAIT = 600.0  # seconds for another release's migrations
LOOK_INTERVAL = 0.25  # seconds


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def handle(self, *, verbosity: int, **options: Any) -> None:
        # A connection of its own: the lock belongs to the session, and one from the pool changes hands.
        parameters = {
            name: value for name, value in connection.get_connection_params().items() if name not in DJANGO_ONLY
        }
        with psycopg.connect(**parameters, autocommit=True) as session:
            self._wait_for_lock(session)
            call_command("migrate", interactive=False, verbosity=verbosity)

    def _wait_for_lock(self, session: psycopg.Connection) -> None:
        # Asks again and again: a session that waits inside pg_advisory_lock holds a snapshot, and a
        # CREATE INDEX CONCURRENTLY of the other one would wait for it in turn.
        deadline = time.monotonic() + LONGEST_WAIT
        while not session.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()[0]:  # type: ignore[index]
            if time.monotonic() > deadline:
                raise CommandError(f"another process has been migrating for {LONGEST_WAIT:.0f} s")
            time.sleep(LOOK_INTERVAL)
