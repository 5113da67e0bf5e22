"""`manage.py trade_devchain`: bots that give the development chain something to index."""

import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from indexer.devchain import trading
from indexer.devchain.actions import TransactionReverted
from indexer.devchain.node import NodeError


class Command(BaseCommand):
    help = "Creates markets on the chain of run_devchain and trades on them. Needs no database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="same seed, same trades (default: %(default)s)")
        parser.add_argument("--markets", type=int, default=12, help="default: %(default)s")
        parser.add_argument("--steps", type=int, default=240, help="of trading (default: %(default)s)")
        parser.add_argument("--follow", action="store_true", help="go on forever; continues with existing markets")
        parser.add_argument("--pace", type=float, default=1.0, help="seconds between followed steps")
        parser.add_argument("--env-file", type=Path, default=settings.DATA_DIR / "devchain.env")
        parser.add_argument(
            "--wait", type=float, nargs="?", const=60.0, default=0.0, help="wait for the chain, 60 s unless given"
        )

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        names = ("env_file", "seed", "markets", "steps", "follow", "pace", "wait")
        try:
            trading.trade(**{name: options[name] for name in names}, stopping=stopping, say=self._say)
        except (NodeError, TransactionReverted) as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
