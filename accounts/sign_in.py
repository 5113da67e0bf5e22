"""Sign-In with Ethereum: a nonce is given out, and a message that holds it, signed, becomes a session."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction

from accounts import messages, tokens, wallets
from accounts.messages import Refused
from accounts.models import ApiSession, SignInNonce

NONCE_LIFETIME = timedelta(minutes=5)
NONCE_BYTES = 12  # of randomness, as hex


def new_nonce(now: datetime) -> SignInNonce:
    """A nonce to sign, good once within NONCE_LIFETIME."""
    SignInNonce.objects.filter(expires_at__lte=now).delete()
    return SignInNonce.objects.create(value=secrets.token_hex(NONCE_BYTES), expires_at=now + NONCE_LIFETIME)


def sign_in(text: str, signature: str, now: datetime) -> dict[str, Any]:
    """A new session's tokens. `signature` is 0x and hex.

    The nonce is used up before a node is asked, so that each question costs one. Raises messages.Malformed, Refused,
    and wallets.NodeUnavailable.
    """
    message = messages.read(text)
    messages.check(message, origins=settings.SIWE_ORIGINS, chain_id=settings.CHAIN_ID, now=now)
    # One statement, so that of many uses at the same time one deletes it.
    used, _ = SignInNonce.objects.filter(value=message.nonce, expires_at__gt=now).delete()
    if not used:
        raise Refused("The nonce is unknown, was used before or has expired.")
    if not connection.in_atomic_block:
        connection.close()  # others need it while a node is asked
    if not wallets.is_signed(message, signature, settings.RPC_URLS):
        raise Refused("The signature is not of this address.")
    with transaction.atomic():
        user = _user(message.address.lower(), now)
        ApiSession.objects.filter(expires_at__lte=now).delete()
        return tokens.start(user, now)


def _user(address: str, now: datetime) -> Any:
    """The user of this address, who is made when they first sign in. Raises Refused where they are disabled."""
    user, is_new = get_user_model()._default_manager.get_or_create(
        username=address, defaults={"password": make_password(None), "last_login": now}
    )
    if not user.is_active:
        raise Refused("This account is disabled.")
    if not is_new:
        user.last_login = now
        user.save(update_fields=["last_login"])
    return user
