"""What the real contracts would say, on a real node; and what is said where no node answers."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from indexer.devchain.actions import DAY, ONE, Actions, Market
from indexer.devchain.deploy import Deployment
from resolver import simulation as module
from resolver.actions import calldata
from resolver.configured import configured_simulator
from resolver.simulation import Simulation, Simulator, Unsimulated
from tests.chain.fixtures import chain, deployed, node  # noqa: F401
from tests.fakes import FakeChain, FakeNode

WINS = [ONE, 0]


def simulator(deployment: Deployment, signer: str, *urls: str, **overrides: Any) -> Simulator:
    said: dict[str, Any] = {
        "chain_id": deployment.chain_id,
        "oracle": deployment.aurum_oracle.lower(),
        "token": deployment.aurum_token.lower(),
        "signer": signer.lower(),
    }
    return Simulator(urls or (deployment.rpc_url,), **said | overrides)


def simulated(chain: Actions, market: Market, kind: str, *arguments: Any, signer: str = "") -> Simulation:  # noqa: F811
    question_id = "0x" + market.question_id.hex()
    run = simulator(chain.deployment, signer or chain.accounts[1]).run
    return run(question_id, calldata(kind, question_id, *arguments))


def test_a_good_proposal(chain: Actions) -> None:  # noqa: F811
    market = chain.create_market()
    chain.mint_aurum(chain.accounts[1], 100 * ONE)
    chain.transact(chain.aurum, "approve", [chain.oracle.address, 100 * ONE], sender=chain.accounts[1])
    said = simulated(chain, market, "propose", WINS)
    head = chain.w3.eth.get_block("latest")
    assert (said.error, said.note) == ("", "")
    assert (said.block_number, said.block_hash) == (head["number"], "0x" + head["hash"].hex())
    assert (said.signer, said.contract) == (chain.accounts[1].lower(), chain.oracle.address.lower())
    assert said.standing["proposer"] is None
    assert said.standing["outcomes"] == 2
    # Nothing has happened.
    assert chain.proposal(market)["proposer"] == "0x" + "00" * 20


def test_a_stake_that_the_oracle_may_not_take_yet(chain: Actions) -> None:  # noqa: F811
    market = chain.create_market()
    said = simulated(chain, market, "propose", WINS)
    assert said.error == "The wallet has less than the stake of 100 AURUM."
    chain.mint_aurum(chain.accounts[1], 100 * ONE)
    said = simulated(chain, market, "propose", WINS)
    assert (said.error, said.note[:34]) == ("", "The wallet lets the oracle take th")


def test_a_proposal_that_stands_already(chain: Actions) -> None:  # noqa: F811
    market = chain.create_market()
    chain.propose(market, [0, ONE], sender=chain.accounts[2])
    said = simulated(chain, market, "propose", WINS)
    assert said.error == f"ProposalPending(0x{market.question_id.hex()})"
    assert said.standing == {
        "outcomes": 2,
        "resolved": False,
        "voided": False,
        "proposer": chain.accounts[2].lower(),
        "payouts": ["0", str(ONE)],
        "proposed_at": chain.now(),
        "disputer": None,
        "disputed_payouts": [],
        "disputed_at": 0,
    }
    chain.dispute(market, WINS, sender=chain.accounts[3])
    disputed = simulated(chain, market, "void", signer=chain.admin).standing
    assert disputed == said.standing | {
        "disputer": chain.accounts[3].lower(),
        "disputed_payouts": [str(ONE), "0"],
        "disputed_at": chain.now(),
    }


@pytest.mark.parametrize("payouts", [[0, 0], [ONE, 1], [ONE], [ONE + 1, 0], [ONE, 0, 0]])
def test_payouts_that_the_contract_refuses(chain: Actions, payouts: list[int]) -> None:  # noqa: F811
    assert simulated(chain, chain.create_market(), "propose", payouts).error == "InvalidPayouts()"


def test_voiding_is_the_admins(chain: Actions) -> None:  # noqa: F811
    market = chain.create_market()
    refused = simulated(chain, market, "void")
    assert refused.error.startswith(f"AccessControlUnauthorizedAccount({chain.accounts[1].lower()}")
    assert simulated(chain, market, "void", signer=chain.admin).error == ""
    chain.void(market)
    settled = simulated(chain, market, "void", signer=chain.admin)
    assert settled.error == f"AlreadyResolved(0x{market.question_id.hex()})"
    assert (settled.standing["resolved"], settled.standing["voided"]) == (True, True)


def test_finalising_too_early(chain: Actions) -> None:  # noqa: F811
    market = chain.create_market()
    chain.propose(market, WINS, sender=chain.accounts[2])
    expires = chain.proposal(market)["expiresAt"]
    assert simulated(chain, market, "finalize").error == f"ChallengePeriodOpen({expires})"
    chain.advance(DAY)
    assert simulated(chain, market, "finalize").error == ""


def test_a_question_that_the_oracle_does_not_know(chain: Actions) -> None:  # noqa: F811
    nowhere = "0x" + "77" * 32
    with pytest.raises(Unsimulated, match=rf"UnknownQuestion\({nowhere}\)"):
        simulator(chain.deployment, chain.admin).run(nowhere, calldata("void", nowhere))


def run_nowhere(deployment: Deployment, *urls: str, **overrides: Any) -> str:
    with pytest.raises(Unsimulated) as error:
        simulator(deployment, "0x" + "11" * 20, *urls, **overrides).run("0x" + "77" * 32, "0x")
    return str(error.value)


def test_another_contract_than_the_oracle(chain: Actions) -> None:  # noqa: F811
    nobody = "0x" + "99" * 20
    assert "no proposal" in run_nowhere(chain.deployment, oracle=nobody)
    assert "does not know the question" in run_nowhere(chain.deployment, oracle=chain.aurum.address.lower())


def test_a_node_of_another_chain(chain: Actions) -> None:  # noqa: F811
    assert "is of another chain" in run_nowhere(chain.deployment, chain_id=1)


@pytest.fixture
def silent() -> Iterator[str]:
    """A node that takes connections and never answers; its URL holds a key."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v2/secret-key-of-the-node"


def test_dead_nodes_are_said_to_be_dead_and_their_keys_are_not(
    chain: Actions,  # noqa: F811
    silent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ENDPOINT_TIMEOUT", 0.2)
    said = run_nowhere(chain.deployment, "http://127.0.0.1:9/v2/secret-key-of-the-node", silent)
    assert said.startswith("No node answers")
    assert "secret" not in said


def test_the_next_node_is_asked(chain: Actions) -> None:  # noqa: F811
    question_id = "0x" + chain.create_market().question_id.hex()
    two = simulator(chain.deployment, chain.admin, "http://127.0.0.1:9", chain.deployment.rpc_url)
    assert two.run(question_id, calldata("void", question_id)).error == ""


@pytest.mark.parametrize("answer", ["0x", "0x00", "0x" + "ff" * 600, "0x" + "00" * 32])
def test_answers_that_are_no_proposal(chain: Actions, answer: str) -> None:  # noqa: F811
    with FakeNode(FakeChain(chain_id=31337, calls=lambda to, data: answer), seed=1) as lying:
        assert "no proposal" in run_nowhere(chain.deployment, lying.url)


def test_few_are_simulated_at_once(chain: Actions) -> None:  # noqa: F811
    for _ in range(module.AT_ONCE):
        assert module._running.acquire(blocking=False)
    try:
        assert "Too many" in run_nowhere(chain.deployment)
    finally:
        for _ in range(module.AT_ONCE):
            module._running.release()
    assert "does not know" in run_nowhere(chain.deployment)  # and the places are given back


@pytest.mark.parametrize("name", ["RPC_URLS", "AURUM_ORACLE_ADDRESS", "AURUM_TOKEN_ADDRESS", "WALLET_ADDRESS"])
def test_what_is_not_set_is_named(settings: Any, name: str) -> None:
    for each in ("AURUM_ORACLE_ADDRESS", "AURUM_TOKEN_ADDRESS", "WALLET_ADDRESS"):
        setattr(settings, each, "0x" + "11" * 20)
    settings.RPC_URLS = ["http://127.0.0.1:9"]
    assert configured_simulator().signer == "0x" + "11" * 20
    setattr(settings, name, [] if name == "RPC_URLS" else "")
    with pytest.raises(Unsimulated, match=f"{name.removesuffix('S') if name == 'RPC_URLS' else name} must be set"):
        configured_simulator()
