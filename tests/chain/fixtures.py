"""Fixtures on a real anvil. Import those you need: `from tests.chain.fixtures import chain, node  # noqa: F401`."""

from collections.abc import Iterator

import pytest
from web3 import HTTPProvider, Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import deploy
from indexer.devchain.node import Anvil

GENESIS_TIME = 1_700_000_000  # unix seconds


def new_node() -> Anvil:
    """Not started. Block times are counted, so that two such chains can be compared."""
    return Anvil(genesis_time=GENESIS_TIME, seconds_per_block=1)


def new_actions(node: Anvil) -> Actions:
    """On a started node: deploys everything."""
    w3 = Web3(HTTPProvider(node.url))
    return Actions(w3, deploy(w3))


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    """One anvil for a test module."""
    with new_node() as started:
        yield started


@pytest.fixture(scope="module")
def deployed(node: Anvil) -> Actions:
    return new_actions(node)


@pytest.fixture
def chain(deployed: Actions) -> Iterator[Actions]:
    """The module's chain with all contracts and nothing else: every test's blocks are taken back after it."""
    snapshot = deployed.request("evm_snapshot")
    yield Actions(deployed.w3, deployed.deployment)
    deployed.request("evm_revert", snapshot)
