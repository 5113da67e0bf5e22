"""Builds every market, position, trade and question anew from the stored events, without a node. Ids stay the same."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from aurum.garbage import spare_the_collector
from indexer.management.configured import LOOKS, only_writer
from markets.models import Checkpoint
from operators.audit import record


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: tuple[str, ...] = ()  # they import the whole web side, and `migrate` has run them

    def handle(self, **options: Any) -> None:
        spare_the_collector(*LOOKS)
        if not Checkpoint.objects.exists():
            self.stdout.write("nothing is indexed")
            return
        with only_writer() as ledger, transaction.atomic():
            count = ledger.replay()
            record("command", "indexer.replay", "command:replay_events", after={"events": count})
        self.stdout.write(f"applied {count} stored events again")
