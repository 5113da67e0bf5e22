"""The indexer in the test's own process: quick, and open to fakes. Processes: tests/processes.py."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command

from aurum.database import connect
from indexer import events
from indexer.decode import Contracts
from indexer.devchain.deploy import Deployment as Chain
from indexer.leadership import Leadership
from indexer.rpc import Rpc
from indexer.runner import Deployment, Runner
from tests.snapshots import FEED, database


def contracts(chain: Chain) -> Contracts:
    """Which contract stands where, on this chain."""
    return Contracts(
        {
            chain.conditional_tokens.lower(): events.CONDITIONAL_TOKENS,
            chain.market_factory.lower(): events.MARKET_FACTORY,
            chain.aurum_oracle.lower(): events.AURUM_ORACLE,
            chain.fee_collector.lower(): events.FEE_COLLECTOR,
        }
    )


@contextmanager
def runner(chain: Chain, **options: Any) -> Iterator[Runner]:
    """A runner on this chain, the only writer while the body runs."""
    stop = threading.Event()
    leadership = Leadership(connect, name="aurum test")
    defaults: dict[str, Any] = {
        "rpc": Rpc([chain.rpc_url], pause=lambda seconds: None),
        "batch_size": 1000,
        "poll_interval": 0.05,
        "confirmations": 64,
        "patience": 20.0,
    }
    deployment = Deployment(chain_id=chain.chain_id, contracts=contracts(chain), start_block=chain.start_block)
    try:
        yield Runner(leadership=leadership, deployment=deployment, stop=stop, **defaults | options)
    finally:
        leadership.release()


def sync(chain: Chain, **options: Any) -> None:
    """Indexes to the head."""
    with runner(chain, **options) as running:
        running.sync_once()


def assert_equals_fresh_sync(chain: Chain) -> None:
    """Every table is what indexing the chain from scratch gives. The database holds the fresh sync afterwards."""
    lived = database(without=FEED)
    call_command("flush", interactive=False, verbosity=0)
    sync(chain)
    assert lived == database(without=FEED)
