"""`resolve_markets` as processes, beside a real indexer."""

from typing import Any

import pytest
from web3 import Web3

from aurum.secret import Secret
from indexer.devchain.actions import Actions
from resolver.models import WalletAction, WalletStatus
from resolver.signer import LocalSigner
from tests.nursery import wait_until
from tests.processes import manage, output_of, running
from tests.resolver.scenes import HOUR, ONE, Scene, states, wallet_key

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scene(actions: Actions, settings: Any) -> Scene:
    return Scene(actions, settings)


def run(scene: Scene, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and what it printed."""
    process = manage(
        "resolve_markets", *arguments, deployment=scene.actions.deployment, **{"LOG_LEVEL": "warn", **environment}
    )
    output = output_of(process, seconds=120)
    return process.returncode, output


def test_watching_beside_an_indexer(scene: Scene) -> None:
    """Both follow the chain; what is due is done once, and a run behind that finds nothing."""
    deployment, key = scene.actions.deployment, wallet_key()
    with (
        running("run_indexer", deployment=deployment, LOG_LEVEL="warn"),
        running("resolve_markets", "--watch", deployment=deployment, PRIVATE_KEY=key, LOG_LEVEL="warn"),
    ):
        market = scene.actions.create_market()
        scene.actions.propose(market, [0, ONE], sender=scene.actions.accounts[3])
        scene.actions.advance(2 * HOUR)
        wait_until(lambda: scene.announced(market) == [[0, ONE]], "announced", seconds=60)
        wait_until(lambda: not WalletAction.objects.exclude(state="mined").exists(), "all are mined")
    assert [kind for kind, _ in states()] == ["finalize", "resolve"]
    assert scene.sent() == 2
    assert run(scene, PRIVATE_KEY=key) == (0, "0 queued\n")
    assert scene.sent() == 2
    # What the admin's home shows of it.
    status, signer = WalletStatus.objects.get(), LocalSigner(Secret(key)).address
    assert (status.signer, status.hindrance) == (signer, "")
    assert status.balance == scene.actions.w3.eth.get_balance(Web3.to_checksum_address(signer))


def test_without_a_signer_what_is_due_is_queued_for_the_next_one(scene: Scene) -> None:
    deployment, signer = scene.actions.deployment, wallet_key()
    market = scene.actions.create_market()
    scene.actions.propose(market, [0, ONE], sender=scene.actions.accounts[3])
    scene.actions.advance(2 * HOUR)
    scene.sync()
    with running("resolve_markets", "--watch", deployment=deployment, LOG_LEVEL="warn") as process:
        wait_until(lambda: states() == [("finalize", "queued")], "queued", seconds=60)
        wait_until(WalletStatus.objects.exists, "told", seconds=60)
    assert process.returncode == 0
    status = WalletStatus.objects.get()
    assert (status.signer, status.balance, status.hindrance.partition(":")[0]) == ("", None, "there is no signer")
    assert scene.sent() == 0
    scene.sync()
    assert run(scene, PRIVATE_KEY=signer)[0] == 0
    assert scene.sent() == 1


def test_what_is_missing_is_one_line(scene: Scene) -> None:
    said = "CommandError: there is no signer: set PRIVATE_KEY, PRIVATE_KEY_FILE or KMS_KEY_ID (docs/resolver.md)\n"
    assert run(scene) == (1, said)
    assert run(scene, "--dry-run") == (1, "CommandError: nothing is indexed yet: run run_indexer first\n")
    code, said = run(scene, AURUM_ORACLE_ADDRESS="")
    assert (code, said) == (1, "CommandError: AURUM_ORACLE_ADDRESS must be set\n")
    code, said = run(scene, "--dry-run", CHAIN_ID="5")
    assert (code, said) == (1, "CommandError: the node's chain is 31337, CHAIN_ID is 5\n")
    scene.sync()
    other = "0x" + "12" * 20
    code, said = run(scene, "--dry-run", AURUM_ORACLE_ADDRESS=other)
    assert (code, said.startswith("CommandError: What is indexed is of another chain")) == (1, True)
    assert run(scene, "--dry-run") == (0, "0 to send; nothing was sent\n")
