"""Contract wallets that vouch for a message, by a real node; and nodes that fail while they are asked."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from django.test import Client
from eth_abi import encode
from web3 import HTTPProvider, Web3

from accounts import wallets
from accounts.models import ApiSession
from indexer.devchain.deploy import artifact, created_address, deploy_contract
from indexer.devchain.node import Anvil, free_port
from tests.accounts.people import Person, new_nonce, text, verify
from tests.problems import problem_of

OWNER, MALLORY = Person(0xA11CE), Person(0xBAD)
# Deploys with CREATE2; anvil has it from the start.
DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
SALT = b"\x07" * 32
EIP6492_SUFFIX = b"\x64\x92" * 16
REFUSED = "The signature is not of this address."
UNAVAILABLE = "The wallet can't be checked at the moment. Ask for a new nonce and try again."

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def unlimited(settings: Any) -> None:
    settings.SIGN_IN_LIMIT = (100_000, 60)


@pytest.fixture(scope="module")
def w3() -> Iterator[Web3]:
    with Anvil(port=0) as node:
        yield Web3(HTTPProvider(node.url))


@pytest.fixture(scope="module")
def wallet(w3: Web3) -> str:
    """A contract wallet whose owner is OWNER."""
    return deploy_contract(w3, "SmartWallet", OWNER.address).address


@pytest.fixture
def by_node(w3: Web3, settings: Any) -> str:
    """The node's URL, which is the one in RPC_URL."""
    settings.RPC_URLS = [w3.provider.endpoint_uri]  # type: ignore[attr-defined]
    return settings.RPC_URLS[0]


def sign_in(client: Client, address: str, signer: Person = OWNER, wrap: Any = lambda signature: signature) -> Any:
    """The answer to a message of `address` that `signer` signed."""
    message = text(address, new_nonce(client))
    return verify(client, message, wrap(signer.sign(message)))


def deployed(w3: Web3, runtime: bytes) -> str:
    """A contract with this code."""
    copy = bytes.fromhex(f"61{len(runtime):04x}80600a3d393df3")  # returns what is behind it
    receipt = w3.eth.wait_for_transaction_receipt(
        w3.eth.send_transaction({"from": w3.eth.accounts[0], "data": "0x" + (copy + runtime).hex()})
    )
    assert receipt["contractAddress"]
    assert w3.eth.get_code(receipt["contractAddress"]) == runtime
    return receipt["contractAddress"]


def answering(data: bytes, *, revert: bool = False) -> bytes:
    """Code that answers every call with these bytes, or reverts with them."""
    head = f"61{len(data):04x}80600c5f395f{'fd' if revert else 'f3'}"  # copies what is behind it, and ends
    return bytes.fromhex(head).ljust(12, b"\x00") + data


# --- wallets ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("by_node")
def test_a_contract_wallet_signs_in(client: Client, wallet: str) -> None:
    answer = sign_in(client, wallet)
    assert (answer.status_code, answer.json()["address"]) == (200, wallet.lower())


@pytest.mark.usefixtures("by_node")
def test_a_contract_wallet_does_not_vouch_for_others(client: Client, wallet: str) -> None:
    assert problem_of(sign_in(client, wallet, MALLORY), 401)["detail"] == REFUSED
    problem_of(sign_in(client, wallet, wrap=lambda signature: "0x" + "00" * 65), 401)
    problem_of(sign_in(client, wallet, wrap=lambda signature: signature + "00"), 401)
    problem_of(sign_in(client, wallet, wrap=lambda signature: "0x"), 401)
    # A signature by the wallet's owner is not one for the owner's other addresses.
    problem_of(sign_in(client, MALLORY.address), 401)
    assert not ApiSession.objects.exists()


def counterfactual(w3: Web3) -> tuple[str, bytes]:
    """A wallet of OWNER's that is not deployed yet: its address, and the call of DEPLOYER that deploys it."""
    code = bytes.fromhex(artifact("SmartWallet")["bytecode"][2:]) + encode(["address"], [OWNER.address])
    address = w3.keccak(b"\xff" + bytes.fromhex(DEPLOYER[2:]) + SALT + w3.keccak(code))[12:]
    return w3.to_checksum_address(address), SALT + code


@pytest.mark.usefixtures("by_node")
def test_a_wallet_that_is_not_deployed_yet(client: Client, w3: Web3) -> None:
    address, call = counterfactual(w3)

    def wrap(signature: str) -> str:
        parts = encode(["address", "bytes", "bytes"], [DEPLOYER, call, bytes.fromhex(signature[2:])])
        return "0x" + (parts + EIP6492_SUFFIX).hex()

    assert sign_in(client, address, wrap=wrap).json()["address"] == address.lower()
    problem_of(sign_in(client, address, MALLORY, wrap=wrap), 401)
    problem_of(sign_in(client, w3.eth.accounts[3], wrap=wrap), 401)
    problem_of(sign_in(client, address), 401)
    # Checking has deployed nothing.
    assert w3.eth.get_code(w3.to_checksum_address(address)) == b""


@pytest.mark.usefixtures("by_node")
@pytest.mark.parametrize("number", range(1, 10))
def test_a_precompiled_contract_is_no_wallet(client: Client, number: int) -> None:
    """The fourth answers with what it is asked, which begins with the magic value."""
    problem_of(sign_in(client, "0x" + number.to_bytes(20, "big").hex()), 401)


MAGIC = bytes.fromhex("1626ba7e")


@pytest.mark.usefixtures("by_node")
@pytest.mark.parametrize(
    ("runtime", "status"),
    [
        (answering(MAGIC.ljust(32, b"\x00")), 200),
        (answering(MAGIC.rjust(32, b"\x00")), 401),
        (answering(MAGIC), 401),
        (answering(MAGIC + b"\xff" * 28), 401),
        (answering(b"\x00" * 32), 401),
        (answering(b"\xff" * 32), 401),
        (answering((1).to_bytes(32, "big")), 401),
        (answering(b""), 401),
        (answering(b"", revert=True), 401),
        (answering(MAGIC.ljust(32, b"\x00"), revert=True), 401),
        (b"\xfe", 401),
    ],
    ids=lambda value: value.hex()[:16] if isinstance(value, bytes) else str(value),
)
def test_what_contracts_may_answer(client: Client, w3: Web3, runtime: bytes, status: int) -> None:
    assert sign_in(client, deployed(w3, runtime)).status_code == status


@pytest.mark.usefixtures("by_node")
def test_a_contract_that_wastes_gas_is_no_wallet(client: Client, w3: Web3) -> None:
    address = deployed(w3, bytes.fromhex("5b5f56"))  # JUMPDEST PUSH0 JUMP
    limit = w3.eth.get_block("latest")["gasLimit"]
    w3.provider.make_request("evm_setBlockGasLimit", [hex(5_000_000)])  # type: ignore[arg-type]
    try:
        problem_of(sign_in(client, address), 401)
    finally:
        w3.provider.make_request("evm_setBlockGasLimit", [hex(limit)])  # type: ignore[arg-type]


@pytest.fixture
def listener() -> Iterator[tuple[str, Event]]:
    """A web server, and whether anybody asked it."""
    asked = Event()

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            self.send_error(500)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("by_node")
def test_a_contract_can_not_make_us_open_a_url(client: Client, w3: Web3, listener: tuple[str, Event]) -> None:
    """EIP-3668: web3 would ask the URL that a contract names when it reverts."""
    url, asked = listener
    creator = w3.eth.accounts[0]
    itself = created_address(creator, w3.eth.get_transaction_count(creator))
    selector = bytes.fromhex("556f1830")  # OffchainLookup(address,string[],bytes,bytes4,bytes)
    parts = [itself, [url + "/{sender}/{data}"], b"", MAGIC, b""]
    lookup = selector + encode(["address", "string[]", "bytes", "bytes4", "bytes"], parts)
    assert deployed(w3, answering(lookup, revert=True)) == itself
    problem_of(sign_in(client, itself), 401)
    assert not asked.is_set()


# --- nodes ------------------------------------------------------------------------------------------------------------


def test_without_a_node_keys_sign_in_and_contracts_do_not(client: Client, wallet: str, settings: Any) -> None:
    settings.RPC_URLS = []
    assert sign_in(client, OWNER.address).status_code == 200
    assert problem_of(sign_in(client, wallet), 401)["detail"] == REFUSED


def test_a_key_of_its_own_asks_no_node(client: Client, settings: Any, listener: tuple[str, Event]) -> None:
    settings.RPC_URLS = [listener[0]]
    assert sign_in(client, OWNER.address).status_code == 200
    problem_of(sign_in(client, OWNER.address, wrap=lambda _: "0x" + "00" * 65), 401)
    assert not listener[1].is_set()


def test_the_next_node_is_asked_where_one_fails(
    client: Client, wallet: str, by_node: str, settings: Any, listener: tuple[str, Event]
) -> None:
    settings.RPC_URLS = [f"http://127.0.0.1:{free_port()}", listener[0], by_node]
    assert sign_in(client, wallet).status_code == 200
    assert listener[1].is_set()
    problem_of(sign_in(client, wallet, MALLORY), 401)


def test_no_node_answers(
    client: Client, wallet: str, settings: Any, listener: tuple[str, Event], caplog: pytest.LogCaptureFixture
) -> None:
    settings.RPC_URLS = [f"http://127.0.0.1:{free_port()}/v2/c4n4ry", f"{listener[0]}/v2/c4n4ry"]
    answer = sign_in(client, wallet)
    assert problem_of(answer, 503)["detail"] == UNAVAILABLE
    assert answer["Retry-After"] == "5"
    assert not ApiSession.objects.exists()
    assert "c4n4ry" not in caplog.text + answer.content.decode()


def test_a_node_that_hangs_is_not_waited_for(
    client: Client, wallet: str, by_node: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wallets, "ENDPOINT_TIMEOUT", 0.2)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # listens, and never answers
    try:
        hanging = f"http://127.0.0.1:{server.server_port}"
        settings.RPC_URLS = [hanging, by_node]
        assert sign_in(client, wallet).status_code == 200
        settings.RPC_URLS = [hanging]
        problem_of(sign_in(client, wallet), 503)
    finally:
        server.server_close()


def test_a_node_of_another_chain_vouches_for_nobody(client: Client, settings: Any) -> None:
    with Anvil(port=0, chain_id=8453) as node:
        w3 = Web3(HTTPProvider(node.url))
        wallet = deploy_contract(w3, "SmartWallet", OWNER.address).address
        settings.RPC_URLS = [node.url]
        problem_of(sign_in(client, wallet), 503)


def test_few_are_checked_at_once(client: Client, wallet: str, by_node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(wallets.AT_ONCE):
        assert wallets._checks.acquire(timeout=5)
    try:
        problem_of(sign_in(client, wallet), 503)
        assert sign_in(client, OWNER.address).status_code == 200
    finally:
        for _ in range(wallets.AT_ONCE):
            wallets._checks.release()
    assert sign_in(client, wallet).status_code == 200


def test_a_limit_is_met_before_a_node_is_asked(
    client: Client, wallet: str, settings: Any, listener: tuple[str, Event]
) -> None:
    nonces = [new_nonce(client) for _ in range(3)]
    settings.SIGN_IN_LIMIT = (1, 3600)
    problem_of(verify(client, text(wallet, nonces[0]), "0x00"), 401)
    settings.RPC_URLS = [listener[0]]
    for nonce in nonces[1:]:
        message = text(wallet, nonce)
        problem_of(verify(client, message, OWNER.sign(message)), 429)
    assert not listener[1].is_set()
