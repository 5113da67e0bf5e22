"""PURE. What the wallet calls, as calldata and back: functions of contracts.md, and nothing else.

Source of the encoding: Solidity documentation, "Contract ABI Specification".
"""

from collections.abc import Sequence
from typing import Any

from eth_hash.auto import keccak

WORD = 64  # digits of 32 bytes
# By models.Kind: each argument's Solidity type and name.
FUNCTIONS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "finalize": ("finalizeProposal", (("bytes32", "questionId"),)),
    "resolve": ("resolveMarket", (("bytes32", "marketId"),)),
    "approve_stake": ("approve", (("address", "spender"), ("uint256", "amount"))),
    "propose": ("proposeOutcome", (("bytes32", "questionId"), ("uint256[]", "payouts"))),
    "void": ("voidQuestion", (("bytes32", "questionId"),)),
}


class NotOurs(ValueError):
    """The calldata is not that of a function that the wallet calls."""


def signature(kind: str) -> str:
    """A function as its selector is made of it, such as `voidQuestion(bytes32)`."""
    name, parameters = FUNCTIONS[kind]
    return f"{name}({','.join(type_ for type_, _ in parameters)})"


def selector(kind: str) -> str:
    """`0x` and 8 digits."""
    return "0x" + keccak(signature(kind).encode())[:4].hex()


def calldata(kind: str, *arguments: Any) -> str:
    """`0x` and lower-case hex. Words and addresses are `0x` strings, amounts ints, payouts a sequence of ints."""
    parameters = FUNCTIONS[kind][1]
    heads, tail = "", ""
    for (type_, _), value in zip(parameters, arguments, strict=True):
        if type_ == "uint256[]":
            heads += _word(32 * len(parameters) + len(tail) // 2)
            tail += _word(len(value)) + "".join(map(_word, value))
        else:
            number = value if type_ == "uint256" else int(value, 16)
            heads += _word(number, bits=160 if type_ == "address" else 256)
    return selector(kind) + heads + tail


def calldata_of(kind: str, question_id: str, payouts: Sequence[int] | None) -> str:
    """The calldata of a request: `propose` with its payouts, `void` without."""
    return calldata(kind, question_id, payouts) if payouts is not None else calldata(kind, question_id)


def decoded(data: str) -> dict[str, Any]:
    """`{"kind", "function", "arguments": {name: value}}`, values as `calldata` takes them. Raises NotOurs.

    Only what `calldata` itself would write is decoded: whoever reads it reads all of it.
    """
    for kind, (_, parameters) in FUNCTIONS.items():
        if data.startswith(selector(kind)):
            try:
                values = [_read(type_, data[10:], place) for place, (type_, _) in enumerate(parameters)]
                if calldata(kind, *values) == data:
                    names = [name for _, name in parameters]
                    return {
                        "kind": kind,
                        "function": signature(kind),
                        "arguments": dict(zip(names, values, strict=True)),
                    }
            except ValueError:
                break
    raise NotOurs(f"{data[:10]} begins no call of the wallet's, or what follows is not its arguments")


def _word(number: int, *, bits: int = 256) -> str:
    if not 0 <= number < 2**bits:
        raise ValueError(f"{number} does not fit into {bits} bits")
    return f"{number:0{WORD}x}"


def _read(type_: str, text: str, place: int) -> Any:
    head = text[place * WORD : (place + 1) * WORD]
    if type_ == "uint256[]":
        start = 2 * int(head, 16) + WORD
        return [int(text[at : at + WORD], 16) for at in range(start, len(text), WORD)]
    number = int(head, 16)
    return {"uint256": number, "bytes32": f"0x{number:064x}", "address": f"0x{number:040x}"}[type_]
