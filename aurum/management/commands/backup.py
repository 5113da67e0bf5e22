"""Writes the database to a file, with its checksum; `-` is standard output. `--verify` also restores it, and compares.

The file appears when it is whole. pg_dump must be installed, as new as the server.
"""

import sys
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aurum.backups import BackupError, Database, check, verify, whole_file
from aurum.database import parameters
from aurum.postgres_tools import ToolError


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="what to write; - is standard output")
        parser.add_argument("--verify", action="store_true", help="restore it into a new database, compare, drop it")

    def handle(self, *, file: str, **options: Any) -> None:
        if file == "-" and (options["verify"] or sys.stdout.isatty()):
            raise CommandError("give a file: a terminal shows nothing, and what is verified is a file")
        database = Database(parameters())
        try:
            if file == "-":
                database.back_up(sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                self._write(Path(file), database, compare=options["verify"])
        except (BackupError, ToolError, OSError, psycopg.Error) as error:
            raise CommandError(str(error).strip()) from None

    def _write(self, path: Path, database: Database, *, compare: bool) -> None:
        with whole_file(path) as file:
            expected = database.back_up(file, compare=compare)
        self.stdout.write(f"{path}: {path.stat().st_size} bytes, sha256 {check(path)}")
        if compare:
            count = verify(path, database, expected, name=settings.PROCESS_NAME)
            self.stdout.write(f"restored into a new database: {count} tables, the same in every row")
