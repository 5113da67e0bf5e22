"""Fixtures that several folders of tests share."""

from collections.abc import Iterator

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment, deploy
from indexer.devchain.node import Anvil


@pytest.fixture
def chain() -> Iterator[tuple[Web3, Deployment]]:
    """A real node with every contract deployed."""
    with Anvil(port=0) as node:
        w3 = Web3(Web3.HTTPProvider(node.url))
        yield w3, deploy(w3)


@pytest.fixture
def actions(chain: tuple[Web3, Deployment]) -> Actions:
    """Everything that the contracts can be made to do, on a node of its own."""
    return Actions(*chain)
