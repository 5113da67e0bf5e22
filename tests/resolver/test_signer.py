"""Signers: a key of this host, and AWS KMS as a fake that signs with a real key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils import to_checksum_address

from aurum.secret import Secret
from resolver.signer import (
    ORDER,
    PUBLIC_KEY_HEAD,
    KmsSigner,
    LocalSigner,
    Signature,
    SigningFailed,
    key_in_file,
    read_der,
    recovered,
)
from resolver.transactions import Unsigned

KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"  # of the web3.js documentation
ADDRESS = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23"
DIGEST = bytes(range(32))


def der(r: int, s: int) -> bytes:
    parts = b""
    for number in (r, s):
        raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts += bytes([2, len(raw)]) + raw
    return bytes([0x30, len(parts)]) + parts


@dataclass
class FakeKms:
    """KMS with one key. `high` signs with the higher s; `answer` is given instead of a signature."""

    key: PrivateKey
    high: bool = False
    answer: Any = None
    error: Exception | None = None

    def get_public_key(self, *, KeyId: str) -> dict[str, Any]:  # noqa: N803
        assert KeyId == "alias/wallet"
        return {"PublicKey": PUBLIC_KEY_HEAD + self.key.public_key.to_bytes()}

    def sign(self, *, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> dict[str, Any]:  # noqa: N803
        assert (KeyId, MessageType, SigningAlgorithm) == ("alias/wallet", "DIGEST", "ECDSA_SHA_256")
        if self.error is not None:
            raise self.error
        if self.answer is not None:
            return {"Signature": self.answer}
        signed = self.key.sign_msg_hash(Message)
        return {"Signature": der(signed.r, ORDER - signed.s if self.high else signed.s)}


class AccessDeniedException(Exception):
    response = {"Error": {"Code": "AccessDeniedException", "Message": "arn:aws:kms:c4n4ry"}}


def kms(**more: Any) -> KmsSigner:
    return KmsSigner(FakeKms(PrivateKey(bytes.fromhex(KEY[2:])), **more), "alias/wallet")


def test_a_local_key() -> None:
    signer = LocalSigner(Secret(KEY))
    assert signer.address == ADDRESS
    signature = signer.sign(DIGEST)
    assert signature.s <= ORDER // 2
    assert recovered(DIGEST, signature) == ADDRESS


@pytest.mark.parametrize("high", [False, True])
def test_kms_signs_as_the_local_key_does(high: bool) -> None:
    signer = kms(high=high)
    assert signer.address == ADDRESS
    for number in range(5):
        digest = bytes([number]) * 32
        assert signer.sign(digest) == LocalSigner(Secret(KEY)).sign(digest)


JUNK = {
    "nothing": b"",
    "no bytes": "3006",
    "no sequence": b"\x31" + der(1, 2)[1:],
    "cut": der(1, 2)[:-1],
    "more behind it": der(1, 2) + b"\0",
    "one number": bytes([0x30, 3, 2, 1, 1]),
    "an empty number": bytes([0x30, 5, 2, 0, 2, 1, 1]),
    "a negative number": bytes([0x30, 6, 2, 1, 0x80, 2, 1, 1]),
    "zero": der(0, 1),
    "the order itself": der(1, ORDER),
    "a long form of length": b"\x30\x81\x06" + der(1, 2)[2:],
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_instead_of_a_signature(junk: Any) -> None:
    with pytest.raises(SigningFailed, match="DER signature"):
        read_der(junk)
    with pytest.raises(SigningFailed, match="DER signature"):
        kms(answer=junk if junk else b"\0").sign(DIGEST)


def test_a_signature_of_another_key() -> None:
    other = PrivateKey(b"\x07" * 32).sign_msg_hash(DIGEST)
    with pytest.raises(SigningFailed, match="another key"):
        kms(answer=der(other.r, other.s)).sign(DIGEST)


def test_kms_refuses() -> None:
    with pytest.raises(SigningFailed) as failure:
        kms(error=AccessDeniedException("c4n4ry")).sign(DIGEST)
    assert str(failure.value) == "KMS does not answer sign: AccessDeniedException AccessDeniedException"
    assert failure.value.__context__ is None


@pytest.mark.parametrize("public_key", [b"", None, PUBLIC_KEY_HEAD + b"\1" * 63, b"\0" * 88])
def test_kms_with_another_kind_of_key(public_key: Any) -> None:
    client = FakeKms(PrivateKey(b"\x07" * 32))
    client.get_public_key = lambda KeyId: {"PublicKey": public_key}  # type: ignore[method-assign]  # noqa: N803
    with pytest.raises(SigningFailed, match="ECC_SECG_P256K1"):
        KmsSigner(client, "alias/wallet")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_what_is_no_digest(length: int) -> None:
    for signer in (LocalSigner(Secret(KEY)), kms()):
        with pytest.raises(SigningFailed, match=f"not {length}"):
            signer.sign(b"\1" * length)


def test_nobodys_signature() -> None:
    assert recovered(DIGEST, Signature(r=ORDER - 1, s=1, y_parity=0)) != ADDRESS
    assert recovered(DIGEST, Signature(r=0, s=1, y_parity=0)) is None


def test_a_key_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY[2:].upper() + "\n")
    assert LocalSigner(key_in_file(str(path))).address == ADDRESS
    path.write_text("c4n4ry")
    with pytest.raises(ImproperlyConfigured, match=r"^PRIVATE_KEY_FILE must be a secp256k1 key: 0x and 64 hex"):
        key_in_file(str(path))
    with pytest.raises(ImproperlyConfigured, match=r"^PRIVATE_KEY_FILE can't be read \(FileNotFoundError\)$"):
        key_in_file(str(tmp_path / "none"))


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 2**40])
def test_a_transaction_is_as_other_libraries_make_it(nonce: int) -> None:
    to, data = "0x" + "ab" * 20, "0x" + "0c" * 36
    fees = {"maxFeePerGas": 30 * 10**9, "maxPriorityFeePerGas": 10**9}
    ours = Unsigned(chain_id=84532, nonce=nonce, priority_fee=10**9, max_fee=30 * 10**9, gas=100_000, to=to, data=data)
    signature = LocalSigner(Secret(KEY)).sign(ours.digest())
    raw, hash_ = ours.signed(y_parity=signature.y_parity, r=signature.r, s=signature.s)
    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": 84532,
            "nonce": nonce,
            "gas": 100_000,
            "to": to_checksum_address(to),
            "value": 0,
            "data": data,
            **fees,
        },
        KEY,
    )
    assert raw == bytes(theirs.raw_transaction)
    assert hash_ == "0x" + bytes(theirs.hash).hex()
