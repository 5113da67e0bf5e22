"""Reads the chain into the database: `--once` to the head, else it follows until SIGTERM."""

import logging
import signal
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from aurum.database import connect
from indexer import events
from indexer.decode import Contracts
from indexer.leadership import Leadership
from indexer.reorg import BelowFinality
from indexer.rpc import Rpc
from indexer.runner import Deployment, GaveUp, Progress, Runner, WrongChain

logger = logging.getLogger("indexer")
CONTRACT_SETTINGS = {
    "CONDITIONAL_TOKENS_ADDRESS": events.CONDITIONAL_TOKENS,
    "MARKET_FACTORY_ADDRESS": events.MARKET_FACTORY,
    "AURUM_ORACLE_ADDRESS": events.AURUM_ORACLE,
    "FEE_COLLECTOR_ADDRESS": events.FEE_COLLECTOR,
}


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="sync to the head, then exit 0")

    def handle(self, *, once: bool, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        leadership = Leadership(connect, name=settings.PROCESS_NAME)
        runner = Runner(
            rpc=Rpc(self._rpc_urls(), pause=stop.wait),
            leadership=leadership,
            deployment=self._deployment(),
            batch_size=settings.INDEXER_BATCH_SIZE,
            poll_interval=settings.INDEXER_POLL_INTERVAL / 1000,
            confirmations=settings.INDEXER_CONFIRMATIONS,
            stop=stop,
            progress=_progress_bar() if sys.stderr.isatty() else Progress(report=_log_progress),
        )
        try:
            if once:
                runner.sync_once()
            else:
                runner.follow()
        except (WrongChain, BelowFinality, GaveUp) as error:
            raise CommandError(str(error)) from None
        finally:
            leadership.release()

    def _rpc_urls(self) -> list[str]:
        if not settings.RPC_URLS:
            raise CommandError("RPC_URL is not set")
        return settings.RPC_URLS

    def _deployment(self) -> Deployment:
        missing = [name for name in CONTRACT_SETTINGS if not getattr(settings, name)]
        if missing:
            raise CommandError(f"{', '.join(missing)} must be set")
        contracts = {getattr(settings, name): contract for name, contract in CONTRACT_SETTINGS.items()}
        if len(contracts) != len(CONTRACT_SETTINGS):
            raise CommandError(f"{', '.join(CONTRACT_SETTINGS)} must be different addresses")
        return Deployment(
            chain_id=settings.CHAIN_ID, contracts=Contracts(contracts), start_block=settings.INDEXER_START_BLOCK
        )


def _log_progress(done: int, target: int, event_count: int) -> None:
    logger.info("indexed %d of %d blocks, %d events in this batch", done, target, event_count)


def _progress_bar() -> Progress:
    """A bar with rate and time left while it catches up; nothing while it follows block by block."""
    bar: tqdm | None = None

    def report(done: int, target: int, event_count: int) -> None:
        nonlocal bar
        if bar is None and done < target:
            bar = tqdm(unit="block", desc="indexing", dynamic_ncols=True)
        if bar is not None:
            bar.total = target
            bar.update(done - bar.n)

    def finish() -> None:
        nonlocal bar
        if bar is not None:
            bar.close()
            bar = None

    return Progress(report=report, finish=finish)
