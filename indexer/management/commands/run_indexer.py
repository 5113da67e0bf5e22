"""Reads the chain into the database: to the head with `--once`, to a block with `--to-block`, else until SIGTERM."""

import signal
import sys
import threading
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aurum.database import limit_lock_waits
from aurum.garbage import spare_the_collector
from aurum.metrics import exporting
from indexer.counters import Counters
from indexer.heads import HeadSubscription
from indexer.management.configured import (
    LOOKS,
    configured_deployment,
    configured_leadership,
    configured_rpc,
)
from indexer.metrics import LINGER, IndexerCollector
from indexer.reorg import BelowFinality
from indexer.runner import GaveUp, Progress, Runner, WrongChain

# In seconds. Whoever has been deposed without noticing may wait for a row that the next leader holds; if that one is
# paused then, this one must get to where it can take over.
LONGEST_LOCK_WAIT = 3.0


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: tuple[str, ...] = ()  # they import the whole web side, and `migrate` has run them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="sync to the head, then exit 0")
        parser.add_argument("--from-block", type=int, help="forget what was read from this block on, and read it again")
        parser.add_argument("--to-block", type=int, help="end once this block is indexed")

    def handle(self, *, once: bool, from_block: int | None, to_block: int | None, **options: Any) -> None:
        spare_the_collector(*LOOKS)
        limit_lock_waits(LONGEST_LOCK_WAIT)
        stop = threading.Event()
        heads = HeadSubscription(settings.RPC_WS_URLS)

        def end(*_: object) -> None:
            stop.set()
            heads.wake()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        leadership = configured_leadership()
        counters = Counters()
        rpc = configured_rpc(stop, observe=counters.requested)
        runner = Runner(
            rpc=rpc,
            leadership=leadership,
            deployment=configured_deployment(),
            batch_size=settings.INDEXER_BATCH_SIZE,
            poll_interval=settings.INDEXER_POLL_INTERVAL / 1000,
            confirmations=settings.INDEXER_CONFIRMATIONS,
            stop=stop,
            heads=heads,
            from_block=from_block,
            to_block=to_block,
            progress=_progress_bar() if sys.stderr.isatty() else Progress(),
            counters=counters,
        )
        collector = IndexerCollector(counters, health=rpc.health, is_leader=lambda: leadership.held)
        with ExitStack() as stack:
            exports = settings.METRICS_ENABLED and stack.enter_context(
                exporting(collector, host=settings.METRICS_HOST, port=settings.METRICS_PORT)
            )
            try:
                _run(runner, once=once)
            except (WrongChain, BelowFinality) as error:
                if exports and not once:
                    stop.wait(LINGER)  # or nobody could see the metric that says why
                raise CommandError(str(error)) from None
            except GaveUp as error:
                raise CommandError(str(error)) from None


def _run(runner: Runner, *, once: bool) -> None:
    """Until it ends; afterwards another process may write."""
    try:
        with runner.heads, ExitStack() as stack:
            if sys.stderr.isatty():
                stack.enter_context(logging_redirect_tqdm())  # lines stand above the bar
            if once:
                runner.sync_once()
            else:
                runner.follow()
    finally:
        runner.leadership.release()


def _progress_bar() -> Progress:
    """A bar with rate and time left while it catches up; nothing while it follows block by block."""
    bar: tqdm | None = None

    def report(done: int, target: int, events: int) -> None:
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
