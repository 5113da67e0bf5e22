"""Compares balances, reserves, payouts and shares with the chain: exits with 0 when equal, 1 when not, 2 when it can't.

`--repair` reads the blocks of the markets that differ once more, makes the stored logs those of the chain, and builds
the tables anew; the indexer must not run meanwhile.
"""

import sys
import threading
from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from indexer.audit import CannotCompare, audit
from indexer.chain import MalformedAnswer
from indexer.fetch import InconsistentAnswer
from indexer.ledger import CheckpointMoved, Ledger
from indexer.management.configured import configured_rpc, only_writer
from indexer.repair import ChainMoved, Differences, Repairer
from indexer.rpc import Rpc, RpcError
from markets.models import Checkpoint, Market
from operators.audit import record

DIFFERENT, NOT_COMPARED = 1, 2  # exit codes


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--block", type=int, metavar="N", help="refuse to compare at any other block")
        parser.add_argument("--repair", action="store_true", help="make what differs what the chain says")

    def handle(self, *, block: int | None, repair: bool, **options: Any) -> None:
        try:
            rpc = configured_rpc(threading.Event())
            with only_writer() if repair else nullcontext() as ledger:
                differing = self._audit(rpc, block)
                if differing and ledger is not None:
                    self._repair(rpc, ledger, differing)
                    differing = self._audit(rpc, block)
        except ChainMoved as error:
            raise CommandError(f"{error}; let the indexer follow, and try again", returncode=DIFFERENT) from None
        except (CannotCompare, RpcError, MalformedAnswer, InconsistentAnswer, CheckpointMoved, CommandError) as error:
            raise CommandError(str(error), returncode=NOT_COMPARED) from None
        if differing:
            sys.exit(DIFFERENT)

    def _audit(self, rpc: Rpc, block: int | None) -> set[str]:
        count = 0

        def report(difference: object) -> None:
            nonlocal count
            count += 1
            self.stdout.write(str(difference))

        compared, differing = audit(rpc, block=block, report=report)
        counts = ", ".join(f"{number} {what}" for what, number in compared.items()) or "no markets"
        checkpoint = Checkpoint.objects.get()
        self.stdout.write(f"block {checkpoint.block_number}: {count} differences; compared {counts}")
        return differing

    def _repair(self, rpc: Rpc, ledger: Ledger, market_ids: set[str]) -> None:
        checkpoint = Checkpoint.objects.get()
        if checkpoint.contracts != {name: address for address, name in ledger.contracts.fixed.items()}:
            raise CommandError(f"the database was indexed with contracts {checkpoint.contracts}: repair it with those")
        created = Market.objects.filter(market_id__in=market_ids).values_list("block_number", flat=True)
        first = max(checkpoint.start_block, min(created))
        self.stdout.write(f"comparing the logs of blocks {first} to {checkpoint.block_number}")
        span = {"fromBlock": first, "toBlock": checkpoint.block_number, "markets": sorted(market_ids)}

        def tell(done: Differences) -> None:
            after = span | {"stored": len(done.missing), "removed": len(done.foreign)}
            record("command", "indexer.repair", "command:audit_ledger", after=after)

        done = Repairer(rpc, ledger, batch_size=settings.INDEXER_BATCH_SIZE).repair(first, tell=tell)
        count = Checkpoint.objects.get().event_count
        self.stdout.write(
            f"{len(done.missing)} logs stored, {len(done.foreign)} removed; {count} events are applied again"
        )
