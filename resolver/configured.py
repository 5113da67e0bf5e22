"""What the settings make of the wallet's parts, for its commands and the admin."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from eth_hash.auto import keccak

from aurum.database import connect
from indexer.rpc import Rpc
from resolver.node import NodeChain
from resolver.policy import Policy, StillNeeded
from resolver.signer import KmsSigner, LocalSigner, Signer, key_in_file
from resolver.signer_lock import SignerLock
from resolver.simulation import Simulator, Unsimulated
from resolver.wallet import Wallet

GWEI = 10**9  # wei
SIMULATED_WITH = ("RPC_URLS", "AURUM_ORACLE_ADDRESS", "AURUM_TOKEN_ADDRESS", "WALLET_ADDRESS")

# What the wallet may call: the setting of the contract's address, and the function.
CALLS = (
    ("AURUM_ORACLE_ADDRESS", "finalizeProposal(bytes32)"),
    ("MARKET_FACTORY_ADDRESS", "resolveMarket(bytes32)"),
    ("AURUM_ORACLE_ADDRESS", "proposeOutcome(bytes32,uint256[])"),
    ("AURUM_ORACLE_ADDRESS", "voidQuestion(bytes32)"),
)


def selector(function: str) -> str:
    """0x and the four bytes that stand for a function, such as `resolveMarket(bytes32)`."""
    return "0x" + keccak(function.encode())[:4].hex()


def configured_signer() -> Signer | None:
    """None where no signer is set. Raises ImproperlyConfigured, SigningFailed."""
    if settings.PRIVATE_KEY is not None:
        return LocalSigner(settings.PRIVATE_KEY)
    if settings.PRIVATE_KEY_FILE:
        return LocalSigner(key_in_file(settings.PRIVATE_KEY_FILE))
    return KmsSigner(_kms(), settings.KMS_KEY_ID) if settings.KMS_KEY_ID else None


def configured_policy() -> Policy:
    """The allow-list has the contracts that are set; AURUM may be approved for the oracle alone."""
    allowed = {(getattr(settings, name), selector(function)) for name, function in CALLS if getattr(settings, name)}
    if settings.AURUM_TOKEN_ADDRESS and settings.AURUM_ORACLE_ADDRESS:
        spender = settings.AURUM_ORACLE_ADDRESS[2:].rjust(64, "0")
        allowed.add((settings.AURUM_TOKEN_ADDRESS, selector("approve(address,uint256)") + spender))
    return Policy(
        chain_id=settings.CHAIN_ID,
        allowed=frozenset(allowed),
        most_fee=settings.WALLET_MAX_FEE_GWEI * GWEI,
        daily_limit=settings.WALLET_DAILY_LIMIT,
    )


def configured_chain(rpc: Rpc) -> NodeChain:
    """The chain as these nodes show it."""
    return NodeChain(rpc, confirmations=settings.INDEXER_CONFIRMATIONS)


def configured_wallet(chain: NodeChain, still_needed: StillNeeded) -> Wallet:
    """The wallet, whose lock is not taken yet. Raises as configured_signer."""
    signer, policy = configured_signer(), configured_policy()
    lock = None if signer is None else SignerLock(connect, chain_id=policy.chain_id, address=signer.address)
    return Wallet(signer, chain, still_needed, policy=policy, lock=lock)


def configured_simulator() -> Simulator:
    """Asks the nodes of RPC_URL, from the wallet's address. Raises Unsimulated where something is not set."""
    missing = [name.replace("RPC_URLS", "RPC_URL") for name in SIMULATED_WITH if not getattr(settings, name)]
    if missing:
        raise Unsimulated(f"Nothing can be simulated: {', '.join(missing)} must be set.")
    return Simulator(
        settings.RPC_URLS,
        chain_id=settings.CHAIN_ID,
        oracle=settings.AURUM_ORACLE_ADDRESS,
        token=settings.AURUM_TOKEN_ADDRESS,
        signer=settings.WALLET_ADDRESS,
    )


def _kms() -> Any:
    try:
        boto3 = import_module("boto3")
    except ImportError:
        raise ImproperlyConfigured("KMS_KEY_ID needs boto3: pip install -r requirements-kms.txt") from None
    return boto3.client("kms")
