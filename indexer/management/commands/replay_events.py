"""Builds every market, position, trade and question anew from the stored events, without a node. Ids stay the same."""

from typing import Any

from django.core.management.base import BaseCommand

from indexer.management.configured import only_writer, spare_the_collector


class Command(BaseCommand):
    help = __doc__

    def handle(self, **options: Any) -> None:
        spare_the_collector()
        with only_writer() as ledger:
            count = ledger.replay()
        self.stdout.write(f"applied {count} stored events again")
