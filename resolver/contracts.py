"""PURE. Where the wallet's calls go, which of them it may make at all, and how they read."""

from dataclasses import dataclass
from typing import Any

from resolver.actions import FUNCTIONS, NotOurs, calldata, decoded, selector

STAKE = 100 * 10**18  # base units of AURUM, that a proposal takes (AurumOracle.sol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracts:
    """A deployment's addresses, in lower case."""

    oracle: str
    factory: str
    aurum: str
    conditional_tokens: str

    def of(self, kind: str) -> str:
        """The contract that an action of this kind calls."""
        return {"resolve": self.factory, "approve_stake": self.aurum}.get(kind, self.oracle)

    def approval(self) -> str:
        """The calldata that lets the oracle take one stake, and no more."""
        return calldata("approve_stake", self.oracle, STAKE)

    def allowed(self) -> frozenset[tuple[str, str]]:
        """What the wallet may sign: contract, and how the call's data begins. Of an approval that is all of it."""
        starts = {kind: self.approval() if kind == "approve_stake" else selector(kind) for kind in FUNCTIONS}
        return frozenset((self.of(kind), start) for kind, start in starts.items())


def described(contract: str, data: str) -> str:
    """A call for people and logs, such as `0x5fb0….voidQuestion(questionId=0x12ab…)`; of others the beginning."""
    try:
        call = decoded(data)
    except NotOurs:
        return f"{contract}: unknown call {data[:10]}"
    name = FUNCTIONS[call["kind"]][0]
    return f"{contract}.{name}({', '.join(f'{key}={_shown(value)}' for key, value in call['arguments'].items())})"


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
