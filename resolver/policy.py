"""What the wallet may do, and what it is told of an action."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from resolver.models import WalletAction


class Standing(StrEnum):
    """How an action stands on chain."""

    NEEDED = "needed"
    DONE = "done"  # by whom ever; ours are told apart by their receipts
    BLOCKED = "blocked"  # not possible now; perhaps later


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`final`, of what is done: it is so at the finalised block, too. `reason` is for people."""

    standing: Standing
    final: bool = False
    reason: str = ""


class StillNeeded(Protocol):
    """Reads the chain anew: is the action still to be done? Raises as Chain's methods do, for "I can't tell now"."""

    def __call__(self, action: WalletAction) -> Verdict: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the wallet may do. Fees in wei a unit of gas, times in seconds.

    `allowed` are (contract in lower case, beginning of the call's data as 0x and hex: a selector, or more).
    """

    chain_id: int
    allowed: frozenset[tuple[str, str]]
    most_fee: int
    daily_limit: int  # actions that are signed a UTC day
    most_tip: int = 5_000_000_000
    least_tip: int = 1_000_000
    most_gas: int = 30_000_000
    replace_after: float = 60.0
    attempts: int = 8  # refusals, by contract or node, before an action waits for an operator
    first_pause: float = 5.0  # after a refusal; doubles with each
    longest_pause: float = 600.0

    def allows(self, contract: str, calldata: str) -> bool:
        return any(
            contract.lower() == address and len(start) >= len("0x12345678") and calldata.lower().startswith(start)
            for address, start in self.allowed
        )

    def pause(self, refusals: int) -> timedelta:
        return timedelta(seconds=min(self.first_pause * 2 ** min(refusals, 30), self.longest_pause))
