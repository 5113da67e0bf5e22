"""Forgets what was indexed, all of it or above `--to-block`; the next `run_indexer` reads it again.

What people wrote (metadata) stays, and subscribers are not told again what they were told.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from indexer.management.configured import only_writer
from markets.models import Checkpoint
from operators.audit import record


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to-block", type=int, metavar="N", help="keep everything up to and including block N")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, to_block: int | None, yes: bool, **options: Any) -> None:
        checkpoint = Checkpoint.objects.first()
        if checkpoint is None:
            self.stdout.write("nothing is indexed")
            return
        kept = "nothing" if to_block is None else f"blocks up to {to_block}"
        if not yes and not _agreed(f"Indexed to block {checkpoint.block_number}. Keep {kept}? [y/N] "):
            raise CommandError("nothing was changed")
        with only_writer() as ledger:
            try:
                with transaction.atomic():
                    ledger.reset(to_block)
                    after = {"toBlock": to_block, "block": Checkpoint.objects.get().block_number}
                    before = {"block": checkpoint.block_number}
                    record("command", "indexer.reset", "command:reset_indexer", before=before, after=after)
            except ValueError as error:
                raise CommandError(str(error)) from None
        self.stdout.write(f"the checkpoint is at block {Checkpoint.objects.get().block_number}")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() == "y"
    except EOFError:  # nobody is there to ask
        return False
