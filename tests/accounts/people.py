"""People with keys, who sign in as a page's wallet would."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from eth_account import Account
from eth_account.messages import encode_defunct

from accounts import tokens

ORIGIN = "http://localhost:5173"  # the default of CORS_ORIGIN
DOMAIN = "localhost:5173"


def iso(moment: datetime) -> str:
    """A time as pages write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def text(address: str, nonce: str, **parts: Any) -> str:
    """A message as EIP-4361 says, by default one that signs in here and now. `after` goes behind the last line."""
    lines = {
        "domain": DOMAIN,
        "statement": "Sign in to Aurum.",
        "uri": ORIGIN,
        "chain_id": 31337,
        "issued_at": iso(timezone.now()),
        "after": "",
    } | parts
    return (
        f"{lines['domain']} wants you to sign in with your Ethereum account:\n{address}\n\n{lines['statement']}\n\n"
        f"URI: {lines['uri']}\nVersion: 1\nChain ID: {lines['chain_id']}\nNonce: {nonce}\n"
        f"Issued At: {lines['issued_at']}{lines['after']}"
    )


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a key of their own, the same for the same number."""

    number: int = 1

    @property
    def account(self) -> Any:
        return Account.from_key(self.number.to_bytes(32, "big"))

    @property
    def address(self) -> str:
        """With its checksum, as wallets show it."""
        return self.account.address

    def sign(self, message: str) -> str:
        return "0x" + self.account.sign_message(encode_defunct(text=message)).signature.hex()

    def sign_in(self, client: Client, **parts: Any) -> Any:
        """The answer to a message of this person with a new nonce."""
        message = text(self.address, new_nonce(client), **parts)
        return verify(client, message, self.sign(message))


def post(client: Client, path: str, body: object, **more: Any) -> Any:
    return client.post(path, body, content_type="application/json", **more)


def new_nonce(client: Client) -> str:
    answer = client.post("/api/auth/nonce")
    assert answer.status_code == 200, answer.content
    return answer.json()["nonce"]


def verify(client: Client, message: str, signature: str) -> Any:
    return post(client, "/api/auth/verify", {"message": message, "signature": signature})


def token_headers(access: str) -> dict[str, Any]:
    """For `client.get(path, **token_headers(…))`."""
    return {"headers": {"Authorization": f"Bearer {access}"}}


def signed_in(name: str = "0x" + "11" * 20, **columns: Any) -> dict[str, Any]:
    """A user's request headers, without the ceremony; the user is made where there is none."""
    user, _ = User.objects.get_or_create(username=name, defaults=columns)
    pair = tokens.start(user, timezone.now())
    return token_headers(pair["access"])
