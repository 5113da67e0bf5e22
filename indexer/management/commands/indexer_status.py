"""How far the indexer is, as /api/indexer/status says it; exits with 1 when it does not run or is behind."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand
from djangorestframework_camel_case.render import CamelCaseJSONRenderer

from indexer.status import MOST_LAG, health_of, read_status, state_in_words


def _lines(status: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values to read, a line for each node; what is counted since the start is for --json."""
    for name, value in status.items():
        if name == "state":
            yield name, state_in_words(status)
        elif name == "endpoints":
            for node in value:
                yield "node", f"{node['host']} {health_of(node)} {node['last_error']}".strip()
        elif name.startswith("lag_") and status["state"] != "running":
            yield name, None  # from a head that nobody sees any more
        elif name != "since_start":
            yield name, value


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: tuple[str, ...] = ()  # they import the whole web side, and `migrate` has run them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")
        parser.add_argument("--max-lag", type=int, default=MOST_LAG, metavar="BLOCKS", help="default: %(default)s")

    def handle(self, *, max_lag: int, **options: Any) -> None:
        status = read_status()
        if options["json"]:
            self.stdout.write(CamelCaseJSONRenderer().render(status).decode())
        else:
            for name, value in _lines(status):
                self.stdout.write(f"{name.replace('_', ' '):<26}{'-' if value is None else value}")
        # No lag is known before the first block is indexed.
        if status["state"] != "running" or status["lag_blocks"] is None or status["lag_blocks"] > max_lag:
            sys.exit(1)
