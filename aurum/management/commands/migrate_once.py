"""`migrate`, by one process at a time: the others wait, then find nothing left to do. For releases.

Beside a working system: a migration that does not get its lock soon lets the others pass, and tries again.
"""

from typing import Any

from django.core.management.base import BaseCommand

from aurum.database import connect
from aurum.migrating import migrate_alone


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def handle(self, *, verbosity: int, **options: Any) -> None:
        # A connection of its own: the lock belongs to the session, and one from the pool changes hands.
        with connect() as session:
            migrate_alone(session, verbosity=verbosity)
