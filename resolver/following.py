"""What `resolve_markets` does with resolver and wallet: one pass and its transactions, or pass after pass.

Everything is in the database: a process that ends anywhere leaves nothing undone that the next one does not find.
"""

import logging
import threading
from collections.abc import Callable
from time import monotonic

import psycopg
from django.db import close_old_connections
from django.utils import timezone

from aurum.database import DATABASE_ERRORS, passes, renew_connections
from markets.outbox import WAKE
from resolver.models import IN_FLIGHT, ActionState, WalletAction, WalletStatus
from resolver.resolver import Pass, Resolver
from resolver.wallet import NODE_ERRORS, STANDING_BY, Wallet

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 0.5  # seconds between two looks at what is in flight
SLICE = 1.0  # seconds after which a wait looks whether it is to end
BEAT = 5.0  # seconds: what the wallet says of itself is not written more often


def settle(wallet: Wallet, *, chain_id: int, stop: threading.Event, patience: float) -> bool:
    """Steps until nothing can be begun and nothing is in flight, for `patience` seconds at most; whether it got there.

    What is in a block, and not final yet, is left to the next run.
    """
    deadline = monotonic() + patience
    while not stop.is_set():
        changed = wallet.step()
        if not changed and not is_in_flight(chain_id):
            tell(wallet)
            return True
        if monotonic() >= deadline:
            tell(wallet)
            return False
        if not changed:
            stop.wait(LOOK_INTERVAL)
    return False


def tell(wallet: Wallet) -> None:
    """Writes down for other processes how the wallet is; the one that stands by leaves that to the other."""
    if wallet.hindrance == STANDING_BY:
        return
    said = {"signer": wallet.address, "balance": wallet.counts.balance, "hindrance": wallet.hindrance}
    WalletStatus.objects.update_or_create(pk=1, defaults={"heartbeat_at": timezone.now(), **said})


def is_in_flight(chain_id: int) -> bool:
    return WalletAction.objects.filter(chain_id=chain_id, state__in=IN_FLIGHT).exists()


def failed(chain_id: int) -> int:
    """How many actions wait for an operator."""
    return WalletAction.objects.filter(chain_id=chain_id, state=ActionState.FAILED).count()


class Follower:
    """Pass after pass until `stop`, behind each new block that is indexed, and at the latest after `interval` seconds.

    Nodes and databases that fail are waited for; `connect` opens an autocommit connection to listen on.
    """

    def __init__(
        self,
        resolver: Resolver,
        wallet: Wallet,
        *,
        chain_id: int,
        stop: threading.Event,
        interval: float,
        connect: Callable[[], psycopg.Connection],
        report: Callable[[Pass], object],
    ) -> None:
        self._resolver, self._wallet, self._chain_id = resolver, wallet, chain_id
        self._stop, self._interval, self._connect, self._report = stop, interval, connect, report
        self._listening: psycopg.Connection | None = None

    def follow(self) -> None:
        """Raises what does not pass by itself: a bug, a missing migration."""
        try:
            while not self._stop.is_set():
                self._turn()
                self._wait(LOOK_INTERVAL if self._is_busy else self._interval)
        finally:
            self._forget_connection()

    _is_busy = False
    _told_at = float("-inf")

    def _turn(self) -> None:
        """One pass, and the wallet's steps for as long as they change something."""
        close_old_connections()
        try:
            self._pass()
            while not self._stop.is_set() and self._wallet.step():
                pass
            self._is_busy = is_in_flight(self._chain_id)
            if monotonic() >= self._told_at + BEAT:
                tell(self._wallet)
                self._told_at = monotonic()
        except DATABASE_ERRORS as error:
            if not passes(error):
                raise
            logger.warning("the database fails, trying again: %s", type(error).__name__)
            renew_connections()
            self._is_busy = False

    def _pass(self) -> None:
        """A node that fails keeps nothing new from being queued, and nothing that is queued from being followed."""
        try:
            self._report(self._resolver.run())
        except NODE_ERRORS as error:
            logger.warning("no pass: %s", error)

    def _wait(self, seconds: float) -> None:
        """Until the indexer has something new, the time is over, or it is to stop."""
        deadline = monotonic() + seconds
        while not self._stop.is_set() and (left := deadline - monotonic()) > 0:
            if self._is_woken(min(left, SLICE)):
                return

    def _is_woken(self, seconds: float) -> bool:
        try:
            if self._listening is None:
                self._listening = self._connect()
                self._listening.execute(f"LISTEN {WAKE}")
            return any(True for _ in self._listening.notifies(timeout=seconds, stop_after=1))
        except (psycopg.Error, OSError):
            self._forget_connection()
            self._stop.wait(seconds)
            return False

    def _forget_connection(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
