"""PURE. EIP-1559 transactions: what is signed, and the bytes that nodes take. Fees in wei a unit of gas."""

from dataclasses import dataclass

import rlp
from eth_hash.auto import keccak

TYPE = b"\x02"  # EIP-2718's number of EIP-1559's transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A call without value. `to` and `data` are 0x and hex."""

    chain_id: int
    nonce: int
    priority_fee: int
    max_fee: int
    gas: int
    to: str
    data: str

    def digest(self) -> bytes:
        """What is signed: keccak(0x02 || rlp(fields)) (EIP-1559)."""
        return keccak(TYPE + rlp.encode(self._fields()))

    def signed(self, *, y_parity: int, r: int, s: int) -> tuple[bytes, str]:
        """The bytes that nodes take, and their hash, by which the transaction is known."""
        raw = TYPE + rlp.encode([*self._fields(), y_parity, r, s])
        return raw, "0x" + keccak(raw).hex()

    def _fields(self) -> list[object]:
        to, data = bytes.fromhex(self.to[2:]), bytes.fromhex(self.data[2:])
        fees = [self.priority_fee, self.max_fee, self.gas]
        return [self.chain_id, self.nonce, *fees, to, 0, data, []]
