"""Restores what `backup` wrote into the database of DATABASE_URL, in one transaction: all of it, or nothing.

Nothing else may use that database, and it must be empty, unless `--replace` says that what it holds may go.
"""

from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aurum.backups import BackupError, Database
from aurum.database import parameters
from aurum.postgres_tools import ToolError


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="what `backup` wrote")
        parser.add_argument("--replace", action="store_true", help="forget what the database holds")

    def handle(self, *, file: str, replace: bool, **options: Any) -> None:
        try:
            count = Database(parameters()).restore(Path(file), replace=replace, name=settings.PROCESS_NAME)
        except (BackupError, ToolError, psycopg.Error) as error:
            raise CommandError(str(error).strip()) from None
        self.stdout.write(f"{count} tables are restored; next: migrate_once, then the indexer")
