"""Sends what is queued, each action once, whatever happens to this process, to the nodes or to the chain.

Everything it knows is in the database; see docs/resolver.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from django.utils import timezone

from resolver.models import WalletAction
from resolver.node import Chain
from resolver.signer import Signer


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
    most_tip: int = 5_000_000_000
    least_tip: int = 1_000_000
    most_gas: int = 30_000_000
    daily_limit: int = 200  # actions that are signed a UTC day
    replace_after: float = 60.0
    attempts: int = 8
    first_pause: float = 5.0
    longest_pause: float = 600.0


class Wallet:
    """Advances the actions of one chain, with one signer; without one, it only says that it can't.

    `step` is safe to repeat and to break off anywhere; `is_ours` tells whether this process holds the signer's lock.
    """

    def __init__(
        self,
        signer: Signer | None,
        chain: Chain,
        still_needed: StillNeeded,
        *,
        policy: Policy,
        clock: Callable[[], datetime] = timezone.now,
    ) -> None: ...

    def step(self) -> bool:
        """Goes one step on. True where it changed something, so that another one may follow at once.

        Raises nothing of the node's: what can't be told now is tried again later. Raises database errors.
        """
        raise NotImplementedError
