"""Fixtures that several folders of tests share."""

from collections.abc import Iterator

import pytest
from web3 import Web3

from aurum.log_context import begin_log_context
from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment, deploy
from indexer.devchain.node import Anvil
from tests import contract


@pytest.fixture(scope="session", autouse=True)
def heard() -> Iterator[None]:
    """All that the server says on `/ws` in any test is as its document has it; `as_documented` says where it is not."""
    with contract.listening():
        yield


@pytest.fixture(autouse=True)
def as_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    marker = request.node.get_closest_marker("django_db")
    if marker is not None and marker.kwargs.get("transaction"):
        contract.check_outbox()  # other processes have filled it
    said, contract.breaches[:] = contract.breaches[:], []
    assert not said, "\n".join(said[:3])


@pytest.fixture(autouse=True)
def as_a_new_process() -> None:
    """What a process keeps for good when it begins its work: the fields of its log lines."""
    begin_log_context("")


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
