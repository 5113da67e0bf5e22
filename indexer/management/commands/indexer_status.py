"""How far the indexer is, as /api/indexer/status says it; exits with 1 when it does not run or is behind."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from djangorestframework_camel_case.render import CamelCaseJSONRenderer

from indexer.status import MOST_LAG, read_status


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")
        parser.add_argument("--max-lag", type=int, default=MOST_LAG, metavar="BLOCKS", help="default: %(default)s")

    def handle(self, *, max_lag: int, **options: Any) -> None:
        status = read_status()
        if options["json"]:
            self.stdout.write(CamelCaseJSONRenderer().render(status).decode())
        else:
            for name, value in status.items():
                self.stdout.write(f"{name.replace('_', ' '):<20}{'-' if value in (None, []) else value}")
        # No lag is known before the first block is indexed.
        if status["state"] != "running" or status["lag_blocks"] is None or status["lag_blocks"] > max_lag:
            sys.exit(1)
