"""`manage.py run_devchain`: the local development chain, until SIGTERM or Ctrl-C."""

import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from indexer.devchain import supervisor
from indexer.devchain.deploy import IncompleteDeployment
from indexer.devchain.node import NodeError


class Command(BaseCommand):
    help = "Runs anvil with all contracts deployed; a second start continues the same chain. Needs no database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8545, help="0 picks a free one (default: %(default)s)")
        parser.add_argument("--state", type=Path, default=settings.DATA_DIR / "devchain" / "state.json")
        parser.add_argument("--env-file", type=Path, default=settings.DATA_DIR / "devchain.env")
        parser.add_argument(
            "--history-days", type=int, default=30, help="age of a new chain's first block (default: %(default)s)"
        )

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        names = ("host", "port", "state", "env_file", "history_days")
        try:
            supervisor.run(**{name: options[name] for name in names}, stopping=stopping, say=self._say)
        except (NodeError, IncompleteDeployment) as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
