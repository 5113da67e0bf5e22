"""What the settings make of the resolver's parts, for its command; each missing one is a clear line."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from aurum.database import connect
from resolver.contracts import Contracts
from resolver.metrics import WalletCounts
from resolver.node import NodeChain
from resolver.policy import Policy, StillNeeded
from resolver.signer import KmsSigner, LocalSigner, Signer, SigningFailed, key_in_file
from resolver.signer_lock import SignerLock
from resolver.simulation import NOBODY
from resolver.wallet import Wallet

CONTRACT_SETTINGS = {
    "oracle": "AURUM_ORACLE_ADDRESS",
    "factory": "MARKET_FACTORY_ADDRESS",
    "aurum": "AURUM_TOKEN_ADDRESS",
    "conditional_tokens": "CONDITIONAL_TOKENS_ADDRESS",
}
GWEI = 10**9  # wei


def configured_contracts() -> Contracts:
    missing = [name for name in CONTRACT_SETTINGS.values() if not getattr(settings, name)]
    if missing:
        raise CommandError(f"{', '.join(missing)} must be set")
    return Contracts(**{field: getattr(settings, name) for field, name in CONTRACT_SETTINGS.items()})


def configured_signer() -> Signer | None:
    """The one that the settings name; None where they name none."""
    try:
        if settings.PRIVATE_KEY is not None:
            return LocalSigner(settings.PRIVATE_KEY)
        if settings.PRIVATE_KEY_FILE:
            key = key_in_file(settings.PRIVATE_KEY_FILE)
            settings.REDACTOR.learn(key.reveal())
            return LocalSigner(key)
        return KmsSigner(_kms_client(), settings.KMS_KEY_ID) if settings.KMS_KEY_ID else None
    except (ImproperlyConfigured, SigningFailed) as error:
        raise CommandError(str(error)) from None


def owner_of(signer: Signer | None) -> str:
    """Whose stake and roles count: the signer's address; without a signer WALLET_ADDRESS, where it is set."""
    return signer.address if signer else settings.WALLET_ADDRESS or NOBODY


@contextmanager
def configured_wallet(
    signer: Signer | None, chain: NodeChain, still_needed: StillNeeded, contracts: Contracts, *, counts: WalletCounts
) -> Iterator[Wallet]:
    """The wallet; behind the body other processes may have its signer."""
    lock = SignerLock(connect, chain_id=settings.CHAIN_ID, address=signer.address) if signer else None
    policy = Policy(
        chain_id=settings.CHAIN_ID,
        allowed=contracts.allowed(),
        most_fee=settings.WALLET_MAX_FEE_GWEI * GWEI,
        daily_limit=settings.WALLET_DAILY_LIMIT,
    )
    try:
        yield Wallet(signer, chain, still_needed, policy=policy, lock=lock, counts=counts)
    finally:
        if lock is not None:
            lock.release()


def _kms_client() -> object:
    try:
        import boto3
    except ImportError:
        raise CommandError("KMS_KEY_ID needs boto3: pip install -r requirements-kms.txt") from None
    return boto3.client("kms")
