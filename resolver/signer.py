"""Who signs: a key of this host, or one that AWS KMS keeps. Neither ever shows it.

Signatures are of secp256k1, with the lower of the two s that are valid (EIP-2): nodes refuse the other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from eth_hash.auto import keccak
from eth_keys.datatypes import PrivateKey
from eth_keys.datatypes import Signature as RecoverableSignature
from eth_keys.exceptions import BadSignature, ValidationError

from aurum import environment
from aurum.secret import Secret

ORDER = environment.SECP256K1_ORDER
# SubjectPublicKeyInfo of an uncompressed secp256k1 key (RFC 5480): all but the 64 bytes of x and y, which follow.
PUBLIC_KEY_HEAD = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a03420004")
SEQUENCE, INTEGER = 0x30, 0x02  # DER tags
DIGEST_LENGTH = 32  # bytes


class SigningFailed(Exception):
    """The signer gave no signature that is its own. The text holds neither key nor digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """`s` is at most half the order; `y_parity` 0 or 1."""

    r: int
    s: int
    y_parity: int


class Signer(Protocol):
    """`address` is lower-case hex. `sign` takes 32 bytes and raises SigningFailed."""

    @property
    def address(self) -> str: ...

    def sign(self, digest: bytes) -> Signature: ...


class LocalSigner:
    """A key in this process' memory: 0x and 64 hexadecimal digits, checked by `environment.private_key`."""

    def __init__(self, key: Secret) -> None:
        self._key = key
        self.address: str = self._opened().public_key.to_address()

    def sign(self, digest: bytes) -> Signature:
        _check_digest(digest)
        try:
            signed = self._opened().sign_msg_hash(digest)
        except Exception as error:
            # Raised anew here: the frames below hold the key.
            failure = SigningFailed(f"the key can't sign ({type(error).__name__})")
        else:
            return _low(signed.r, signed.s, signed.v)
        raise failure

    def _opened(self) -> PrivateKey:
        return PrivateKey(bytes.fromhex(self._key.reveal().removeprefix("0x")))


class KmsSigner:
    """A key that never leaves AWS KMS (ECC_SECG_P256K1). `client` is boto3's for `kms`, or the like of it."""

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id
        answer = self._asked("get_public_key", KeyId=key_id)
        self.address = address_of(answer.get("PublicKey", b""))

    def sign(self, digest: bytes) -> Signature:
        _check_digest(digest)
        answer = self._asked(
            "sign", KeyId=self._key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256"
        )
        r, s = read_der(answer.get("Signature", b""))
        for y_parity in (0, 1):
            found = _low(r, s, y_parity)
            if recovered(digest, found) == self.address:
                return found
        raise SigningFailed("KMS signed with another key, or something else")

    def _asked(self, method: str, **parameters: Any) -> dict[str, Any]:
        try:
            answer = getattr(self._client, method)(**parameters)
        except Exception as error:  # boto3's own are made at run time
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            failure = SigningFailed(f"KMS does not answer {method}: {type(error).__name__} {code}".strip())
        else:
            return answer if isinstance(answer, dict) else {}
        raise failure


def address_of(public_key: Any) -> str:
    """The address of a DER public key. Raises SigningFailed for any but an uncompressed one of secp256k1."""
    head = len(PUBLIC_KEY_HEAD)
    if not isinstance(public_key, bytes) or public_key[:head] != PUBLIC_KEY_HEAD or len(public_key) != head + 64:
        raise SigningFailed("KMS gave no secp256k1 public key: the key's spec must be ECC_SECG_P256K1")
    return "0x" + keccak(public_key[head:])[12:].hex()


def read_der(signature: Any) -> tuple[int, int]:
    """r and s of a DER ECDSA-Sig-Value (RFC 3279, 2.2.3). Raises SigningFailed for everything else."""
    try:
        body, rest = _der_value(signature, SEQUENCE)
        r, after = _der_value(body, INTEGER)
        s, end = _der_value(after, INTEGER)
    except (IndexError, TypeError):
        raise SigningFailed("KMS gave no DER signature") from None
    numbers = int.from_bytes(r, "big"), int.from_bytes(s, "big")
    negative = r[:1] >= b"\x80" or s[:1] >= b"\x80"
    if rest or end or negative or not all(0 < number < ORDER for number in numbers):
        raise SigningFailed("KMS gave no DER signature of secp256k1")
    return numbers


def recovered(digest: bytes, signature: Signature) -> str | None:
    """The address whose key made the signature; None where it is nobody's."""
    try:
        made = RecoverableSignature(vrs=(signature.y_parity, signature.r, signature.s))
        return made.recover_public_key_from_msg_hash(digest).to_address()
    except (BadSignature, ValidationError, ValueError):
        return None


def key_in_file(path: str) -> Secret:
    """The key that a file holds. Raises ImproperlyConfigured, which names the variable and not what is in the file."""
    try:
        text = Secret(Path(path).read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"PRIVATE_KEY_FILE can't be read ({type(error).__name__})") from None
    return environment.checked_key(text, "PRIVATE_KEY_FILE")


def _der_value(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The value of the element at the start, and what follows it. Lengths are short: a signature has 72 bytes."""
    length = data[1]
    value = data[2 : 2 + length]
    if data[0] != tag or length == 0 or length > 127 or len(value) != length:
        raise IndexError
    return value, data[2 + length :]


def _low(r: int, s: int, y_parity: int) -> Signature:
    """The same signature with the lower s, which turns the point's y."""
    return (
        Signature(r=r, s=s, y_parity=y_parity)
        if s <= ORDER // 2
        else Signature(r=r, s=ORDER - s, y_parity=1 - y_parity)
    )


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_LENGTH:
        raise SigningFailed(f"a digest has {DIGEST_LENGTH} bytes, not {len(digest)}")
