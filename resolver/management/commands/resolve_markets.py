"""Finalises proposals and resolves markets with the backend wallet: one pass, or with `--watch` until SIGTERM.

Without a signer, `--watch` only queues what is due, and says what is missing.
Exits with 0, with 1 where it can't work at all, and with 2 where something is still in flight or waits for an operator.
"""

import signal
import threading
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from aurum.database import connect
from aurum.metrics import exporting
from indexer.management.configured import configured_rpc
from markets.models import Checkpoint
from resolver.contracts import described
from resolver.following import Follower, failed, settle
from resolver.management.configured import (
    configured_contracts,
    configured_signer,
    configured_wallet,
    owner_of,
)
from resolver.metrics import WalletCollector, WalletCounts
from resolver.models import WalletAction
from resolver.node import NodeChain, Reverted
from resolver.resolver import Pass, Resolver, WrongDeployment
from resolver.truth import Truth
from resolver.wallet import NO_SIGNER, NODE_ERRORS, Wallet

UNSETTLED = 2  # exit code
PATIENCE = 300.0  # seconds


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be sent, and write nothing")
        parser.add_argument("--watch", action="store_true", help="go on until SIGTERM")
        parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds for one pass (%(default)s)")

    def handle(self, *, dry_run: bool, watch: bool, patience: float, **options: Any) -> None:
        if dry_run and watch:
            raise CommandError("--dry-run and --watch exclude each other")
        stop = threading.Event()
        contracts, signer = configured_contracts(), configured_signer()
        if signer is None and not dry_run and not watch:
            raise CommandError(NO_SIGNER)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        rpc = configured_rpc(stop)
        chain = NodeChain(rpc, confirmations=settings.INDEXER_CONFIRMATIONS)
        truth = Truth(chain.look, rpc.eth_call, contracts, owner=owner_of(signer))
        resolver = Resolver(truth, contracts, chain_id=settings.CHAIN_ID)
        counts = WalletCounts()
        try:
            if dry_run:
                _check(chain)
                self._show(resolver, chain, owner_of(signer))
                return
            with configured_wallet(signer, chain, truth, contracts, counts=counts) as wallet:
                if watch:
                    self._watch(resolver, wallet, counts, stop)
                else:
                    _check(chain)
                    self._once(resolver, wallet, stop, patience)
        except (WrongDeployment, *NODE_ERRORS) as error:
            raise CommandError(str(error)) from None

    def _watch(self, resolver: Resolver, wallet: Wallet, counts: WalletCounts, stop: threading.Event) -> None:
        follower = Follower(
            resolver,
            wallet,
            chain_id=settings.CHAIN_ID,
            stop=stop,
            interval=settings.INDEXER_POLL_INTERVAL / 1000,
            connect=connect,
            report=self._report_queued,
        )
        with ExitStack() as stack:
            if settings.METRICS_ENABLED:
                collector = WalletCollector(counts)
                stack.enter_context(exporting(collector, host=settings.METRICS_HOST, port=settings.METRICS_PORT))
            follower.follow()

    def _once(self, resolver: Resolver, wallet: Wallet, stop: threading.Event, patience: float) -> None:
        done = resolver.run()
        self._report_queued(done)
        self._report_left(done)
        self.stdout.write(f"{len(done.queued)} queued")
        if not settle(wallet, chain_id=settings.CHAIN_ID, stop=stop, patience=patience):
            raise CommandError("something is still in flight: run this again", returncode=UNSETTLED)
        if count := failed(settings.CHAIN_ID):
            raise CommandError(f"actions that have failed and wait for an operator: {count}", returncode=UNSETTLED)

    def _show(self, resolver: Resolver, chain: NodeChain, owner: str) -> None:
        """What would be queued, what the contract says to it now, and what is left alone."""
        done, count = Pass(), 0
        for actions in resolver.wanted(done):
            for action in actions:
                count += 1
                self.stdout.write(f"{_told(action)}\n    {_simulated(chain, owner, action)}")
        self._report_left(done)
        self.stdout.write(f"{count} to send; nothing was sent")

    def _report_queued(self, done: Pass) -> None:
        for action in done.queued:
            self.stdout.write(_told(action))

    def _report_left(self, done: Pass) -> None:
        for action, verdict in done.left:
            self.stdout.write(f"left alone: {action.kind} {action.subject}: {verdict.reason}")


def _told(action: WalletAction) -> str:
    return f"{action.kind}: {described(action.contract, action.calldata)} by {action.actor}: {action.reason}"


def _simulated(chain: NodeChain, owner: str, action: WalletAction) -> str:
    try:
        chain.call(sender=owner, to=action.contract, data=action.calldata)
    except Reverted as error:
        return f"as things are, the contract would refuse: {error}"
    return "the contract would accept it"


def _check(chain: NodeChain) -> None:
    """What one pass can't do without; who watches waits for it."""
    found = chain.chain_id()
    if found != settings.CHAIN_ID:
        raise CommandError(f"the node's chain is {found}, CHAIN_ID is {settings.CHAIN_ID}")
    if not Checkpoint.objects.exists():
        raise CommandError("nothing is indexed yet: run run_indexer first")
