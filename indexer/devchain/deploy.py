"""Puts Gnosis' and Aurum's contracts on a development chain, and says where they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Self

import rlp
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.types import TxReceipt, Wei

FOLDER = Path(__file__).resolve().parent
GNOSIS = FOLDER / "node_modules" / "@gnosis.pm"
# Own contracts come from artifacts/, these, bytecode untouched, from npm.
GNOSIS_PACKAGES = {
    "ConditionalTokens": "conditional-tokens-contracts",
    "FixedProductMarketMaker": "conditional-tokens-market-makers",
    "FixedProductMarketMakerFactory": "conditional-tokens-market-makers",
}
COLLATERAL = ("USD Coin", "USDC", 6)  # name, symbol, decimals
DEPLOY_GAS = 15_000_000  # the FPMM factory, the largest, takes 6.1 million
CALL_GAS = 500_000
# Wei. Twice anvil's base fee of its first block, which only falls on blocks that are nearly empty.
GAS_PRICE = 2_000_000_000
# The resolver's on a local chain, and on no other: account 10 of node.MNEMONIC, which everybody knows. It is none of
# those that anvil unlocks: bots send from these, and a wallet must be alone with its nonces.
WALLET_KEY = "0xf214f2b2cd398c806f84e317254e0f0b801d0643303237d97a22a48e01628897"
WALLET = Web3.to_checksum_address("0xbcd4042de499d14e55001ccbb24a551f3b954096")
WALLET_STAKES = 100 * 100 * 10**18  # AURUM: a hundred proposals
ROLE_CALLS = 4  # transactions of `_grant_roles`
# Fields of Deployment in the order in which `deploy` creates them, which fixes their addresses.
DEPLOY_ORDER = (
    "conditional_tokens",
    "fpmm_factory",
    "collateral",
    "aurum_token",
    "aurum_oracle",
    "market_factory",
    "fee_collector",
)
RECEIPT_TIMEOUT = 30.0  # seconds
RECEIPT_POLL = 0.002  # seconds; anvil mines at once, but not before it answers


class IncompleteDeployment(Exception):
    """The chain has blocks, but not all contracts: its first start was cut short. Delete its state."""

    def __str__(self) -> str:
        return str(self.__doc__)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where the contracts of one chain are. Addresses have a checksum."""

    rpc_url: str
    chain_id: int
    conditional_tokens: ChecksumAddress
    market_factory: ChecksumAddress
    aurum_token: ChecksumAddress
    aurum_oracle: ChecksumAddress
    fee_collector: ChecksumAddress
    start_block: int
    """The first block that can hold a log of these contracts."""
    collateral: ChecksumAddress
    fpmm_factory: ChecksumAddress

    def to_env(self) -> str:
        """The `.env` fragment that configures the backend for this chain, one NAME=value a line."""
        return "".join(f"{name}={getattr(self, field)}\n" for field, name in ENV_NAMES.items())

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The inverse of `to_env`. Raises KeyError for a name that is missing."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            text = env[ENV_NAMES[field.name]]
            if field.type is int:
                values[field.name] = int(text)
            else:
                values[field.name] = text if field.name == "rpc_url" else Web3.to_checksum_address(text)
        return cls(**values)

    @classmethod
    def from_env_file(cls, path: Path) -> Self:
        """Reads a file that `to_env` wrote."""
        lines = path.read_text().splitlines()
        return cls.from_env(dict(line.split("=", 1) for line in lines if "=" in line))


ENV_NAMES = {
    "rpc_url": "RPC_URL",
    "chain_id": "CHAIN_ID",
    "conditional_tokens": "CONDITIONAL_TOKENS_ADDRESS",
    "market_factory": "MARKET_FACTORY_ADDRESS",
    "aurum_token": "AURUM_TOKEN_ADDRESS",
    "aurum_oracle": "AURUM_ORACLE_ADDRESS",
    "fee_collector": "FEE_COLLECTOR_ADDRESS",
    "start_block": "INDEXER_START_BLOCK",
    "collateral": "DEVCHAIN_COLLATERAL_ADDRESS",
    "fpmm_factory": "DEVCHAIN_FPMM_FACTORY_ADDRESS",
}


@cache
def artifact(name: str) -> dict[str, Any]:
    """`{"abi": ..., "bytecode": ...}` of a contract, by its name. Gnosis' need `npm ci` to have run."""
    package = GNOSIS_PACKAGES.get(name)
    folder = GNOSIS / package / "build" / "contracts" if package else FOLDER / "artifacts"
    loaded = json.loads((folder / f"{name}.json").read_text())
    return {"abi": loaded["abi"], "bytecode": loaded["bytecode"]}


def deploy_contract(w3: Web3, name: str, *arguments: Any, sender: ChecksumAddress | None = None) -> Contract:
    """Deploys one contract from an unlocked account (default: the first) and waits for it."""
    factory = w3.eth.contract(**artifact(name))
    transaction = factory.constructor(*arguments).transact(
        {"from": sender or w3.eth.accounts[0], "gas": DEPLOY_GAS, "gasPrice": GAS_PRICE}
    )
    receipt = _wait(w3, transaction, name)
    return factory(receipt["contractAddress"])


def deploy(w3: Web3) -> Deployment:
    """Deploys everything. On a fresh chain the addresses are always the same.

    Account 0 becomes the admin of all contracts, and a market creator and resolver.
    """
    admin = w3.eth.accounts[0]
    start_block = w3.eth.block_number + 1
    first_nonce = w3.eth.get_transaction_count(admin)
    at = addresses(admin, first_nonce)
    for name, arguments in (
        ("ConditionalTokens", ()),
        ("FixedProductMarketMakerFactory", ()),
        ("DevCollateral", COLLATERAL),
        ("AurumToken", (admin,)),
        ("AurumOracle", (at["conditional_tokens"], at["aurum_token"], admin)),
        ("MarketFactory", (at["conditional_tokens"], at["fpmm_factory"], at["aurum_oracle"], admin)),
        ("FeeCollector", (admin,)),
    ):
        deploy_contract(w3, name, *arguments)
    _grant_roles(w3, at)
    return Deployment(rpc_url=_endpoint(w3), chain_id=w3.eth.chain_id, start_block=start_block, **at)


def existing(w3: Web3) -> Deployment | None:
    """What `deploy` put first on this chain; None on a chain without it. Raises IncompleteDeployment."""
    admin = w3.eth.accounts[0]
    at = addresses(admin, 0)
    if w3.eth.block_number == 0:
        return None
    if w3.eth.get_transaction_count(admin) < len(at) + ROLE_CALLS or not all(map(w3.eth.get_code, at.values())):
        raise IncompleteDeployment
    return Deployment(rpc_url=_endpoint(w3), chain_id=w3.eth.chain_id, start_block=1, **at)


def provide_wallet(w3: Web3, deployment: Deployment) -> None:
    """Gives WALLET gas, stakes and the roles that the resolver needs, unless it has them. Call on the local chain."""
    w3.provider.make_request("anvil_setBalance", [WALLET, hex(10**21)])  # type: ignore[arg-type]
    admin = w3.eth.accounts[0]
    oracle, factory, aurum = (
        w3.eth.contract(address=at, abi=artifact(name)["abi"])
        for name, at in (
            ("AurumOracle", deployment.aurum_oracle),
            ("MarketFactory", deployment.market_factory),
            ("AurumToken", deployment.aurum_token),
        )
    )
    admin_role = oracle.functions.DEFAULT_ADMIN_ROLE().call()
    if oracle.functions.hasRole(admin_role, WALLET).call():
        return
    for call in (
        factory.functions.grantMarketResolver(WALLET),
        aurum.functions.mint(WALLET, WALLET_STAKES),
        oracle.functions.grantRole(admin_role, WALLET),
    ):
        _wait(w3, call.transact({"from": admin, "gas": CALL_GAS, "gasPrice": Wei(GAS_PRICE)}), call.fn_name)


def addresses(deployer: ChecksumAddress, first_nonce: int) -> dict[str, ChecksumAddress]:
    """Where `deploy` puts each contract, by the name of its field in Deployment."""
    return {field: created_address(deployer, first_nonce + i) for i, field in enumerate(DEPLOY_ORDER)}


def created_address(creator: ChecksumAddress, nonce: int) -> ChecksumAddress:
    """The address of what `creator` creates with its `nonce`: the last 20 bytes of keccak(rlp([creator, nonce]))."""
    return Web3.to_checksum_address(Web3.keccak(rlp.encode([bytes.fromhex(creator[2:]), nonce]))[12:])


def _grant_roles(w3: Web3, at: Mapping[str, ChecksumAddress]) -> None:
    admin = w3.eth.accounts[0]
    oracle = w3.eth.contract(address=at["aurum_oracle"], abi=artifact("AurumOracle")["abi"])
    factory = w3.eth.contract(address=at["market_factory"], abi=artifact("MarketFactory")["abi"])
    for call in (
        oracle.functions.grantRole(oracle.functions.REGISTRAR_ROLE().call(), factory.address),
        factory.functions.grantMarketCreator(admin),
        factory.functions.grantMarketResolver(admin),
        factory.functions.addCollateral(at["collateral"]),
    ):
        sent = call.transact({"from": admin, "gas": CALL_GAS, "gasPrice": Wei(GAS_PRICE)})
        _wait(w3, sent, call.fn_name)


def _wait(w3: Web3, transaction: HexBytes, what: str) -> TxReceipt:
    receipt = w3.eth.wait_for_transaction_receipt(transaction, timeout=RECEIPT_TIMEOUT, poll_latency=RECEIPT_POLL)
    if receipt["status"] != 1:
        raise RuntimeError(f"{what} was reverted")
    return receipt


def _endpoint(w3: Web3) -> str:
    return str(w3.provider.endpoint_uri)  # type: ignore[attr-defined]
