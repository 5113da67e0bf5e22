"""What the settings make of the indexer's parts, for its commands; each missing one is a clear line."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management.base import CommandError

from aurum.database import connect
from indexer import events
from indexer.decode import Contracts
from indexer.leadership import Leadership
from indexer.ledger import Ledger
from indexer.rpc import Rpc
from indexer.runner import Deployment

# When Python looks for cycles: a batch makes many objects and no cycle, and the looks cost a tenth of it.
LOOKS = (100_000, 20, 20)
CONTRACT_SETTINGS = {
    "CONDITIONAL_TOKENS_ADDRESS": events.CONDITIONAL_TOKENS,
    "MARKET_FACTORY_ADDRESS": events.MARKET_FACTORY,
    "AURUM_ORACLE_ADDRESS": events.AURUM_ORACLE,
    "FEE_COLLECTOR_ADDRESS": events.FEE_COLLECTOR,
}


def configured_rpc(
    stop: threading.Event,
    *,
    observe: Callable[[str, str, str, float], object] = lambda host, method, outcome, seconds: None,
) -> Rpc:
    """The nodes of RPC_URL; pauses end when `stop` is set. `observe` is told of each request, see Endpoint."""
    if not settings.RPC_URLS:
        raise CommandError("RPC_URL is not set")
    return Rpc(settings.RPC_URLS, pause=stop.wait, observe=observe)


def configured_deployment() -> Deployment:
    """The contracts, their chain, and where to begin."""
    missing = [name for name in CONTRACT_SETTINGS if not getattr(settings, name)]
    if missing:
        raise CommandError(f"{', '.join(missing)} must be set")
    contracts = {getattr(settings, name): contract for name, contract in CONTRACT_SETTINGS.items()}
    if len(contracts) != len(CONTRACT_SETTINGS):
        raise CommandError(f"{', '.join(CONTRACT_SETTINGS)} must be different addresses")
    return Deployment(
        chain_id=settings.CHAIN_ID, contracts=Contracts(contracts), start_block=settings.INDEXER_START_BLOCK
    )


def configured_leadership() -> Leadership:
    """The right to write, not taken yet."""
    return Leadership(connect, name=settings.PROCESS_NAME)


@contextmanager
def only_writer() -> Iterator[Ledger]:
    """The ledger, for a command that must not write beside a running indexer."""
    leadership = configured_leadership()
    try:
        if not leadership.try_acquire():
            raise CommandError("an indexer is running; stop it first")
        yield Ledger(contracts=configured_deployment().contracts, may_write=leadership.check_in_transaction)
    finally:
        leadership.release()
