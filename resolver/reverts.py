"""PURE. Why a contract refused: the error that it named, from the data that a node passes on.

Source: AurumOracle.sol, MarketFactory.sol, and OpenZeppelin's AccessControl, ERC20 and SafeERC20 of version 5.
"""

import re

from eth_hash.auto import keccak

WORD = 64  # digits of 32 bytes
ERRORS = (
    "UnknownQuestion(bytes32)",
    "AlreadyResolved(bytes32)",
    "InvalidPayouts()",
    "ProposalPending(bytes32)",
    "ProposalStale(bytes32)",
    "NoProposal(bytes32)",
    "ChallengePeriodOpen(uint256)",
    "VotingOpen(uint256)",
    "AccessControlUnauthorizedAccount(address,bytes32)",
    "ERC20InsufficientAllowance(address,uint256,uint256)",
    "ERC20InsufficientBalance(address,uint256,uint256)",
    "SafeERC20FailedOperation(address)",
)
BY_SELECTOR = {"0x" + keccak(error.encode())[:4].hex(): error for error in ERRORS}
HEX = re.compile(r"0x[0-9a-f]{8,}")
NO_ALLOWANCE = "ERC20InsufficientAllowance"


def explained(said: str) -> str:
    """A contract's own error with its arguments, such as `ChallengePeriodOpen(1700000000)`; else the node's words.

    `said` is what the node answered, message and data; the data may be cut.
    """
    found = [text for text in HEX.findall(said.lower()) if text[:10] in BY_SELECTOR]
    if not found:
        return said
    data = max(found, key=len)
    name, _, types = BY_SELECTOR[data[:10]].rstrip(")").partition("(")
    words = [data[at : at + WORD] for at in range(10, len(data), WORD)]
    pairs = zip(types.split(","), words, strict=False)
    return f"{name}({', '.join(_value(type_, word) for type_, word in pairs if type_ and len(word) == WORD)})"


def _value(type_: str, word: str) -> str:
    return {"uint256": str(int(word, 16)), "address": "0x" + word[24:]}.get(type_, "0x" + word)
