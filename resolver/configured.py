"""What the settings make of the resolver's parts for the admin; its command has management/configured.py."""

from django.conf import settings

from resolver.simulation import Simulator, Unsimulated

NEEDED = ("RPC_URLS", "AURUM_ORACLE_ADDRESS", "AURUM_TOKEN_ADDRESS", "WALLET_ADDRESS")


def configured_simulator() -> Simulator:
    """Asks the nodes of RPC_URL, from the wallet's address. Raises Unsimulated where something is not set."""
    missing = [name.replace("RPC_URLS", "RPC_URL") for name in NEEDED if not getattr(settings, name)]
    if missing:
        raise Unsimulated(f"Nothing can be simulated: {', '.join(missing)} must be set.")
    return Simulator(
        settings.RPC_URLS,
        chain_id=settings.CHAIN_ID,
        oracle=settings.AURUM_ORACLE_ADDRESS,
        token=settings.AURUM_TOKEN_ADDRESS,
        signer=settings.WALLET_ADDRESS,
    )
