"""A pool's arithmetic, exactly as the contract does it.

Source: FixedProductMarketMaker.sol of @gnosis.pm/conditional-tokens-market-makers 1.8.1. Amounts are base units.
"""

from dataclasses import dataclass, field

from tests.bench.logs import ZERO

ONE = 10**18


def _ceildiv(x: int, y: int) -> int:
    return -(-x // y)


@dataclass(slots=True)
class Pool:
    """One AMM: its reserves by outcome, who holds its shares, and the fees that wait for them; `fee` is of 1e18."""

    address: str
    fee: int
    reserves: list[int]
    shares: dict[str, int] = field(default_factory=dict)
    supply: int = 0
    fee_weight: int = 0
    withdrawn: dict[str, int] = field(default_factory=dict)

    def buy(self, invested: int, outcome: int) -> tuple[int, int]:
        """The fee, and the outcome tokens bought (calcBuyAmount, buy)."""
        fee = invested * self.fee // ONE
        sets = invested - fee
        ending = self.reserves[outcome] * ONE
        for index, reserve in enumerate(self.reserves):
            if index != outcome:
                ending = _ceildiv(ending * reserve, reserve + sets)
        bought = self.reserves[outcome] + sets - _ceildiv(ending, ONE)
        self.fee_weight += fee
        self.reserves = [reserve + sets for reserve in self.reserves]
        self.reserves[outcome] -= bought
        return fee, bought

    def sell_amount(self, returned: int, outcome: int) -> int | None:
        """The outcome tokens that `returned` collateral costs (calcSellAmount); None where the pool hasn't as much."""
        sets = returned * ONE // (ONE - self.fee)
        if min(self.reserves) <= sets:
            return None
        ending = self.reserves[outcome] * ONE
        for index, reserve in enumerate(self.reserves):
            if index != outcome:
                ending = _ceildiv(ending * reserve, reserve - sets)
        return sets + _ceildiv(ending, ONE) - self.reserves[outcome]

    def sell(self, returned: int, outcome: int, sold: int) -> tuple[int, int]:
        """The fee, and the complete sets merged (sell); `sold` is what `sell_amount` says."""
        fee = returned * self.fee // (ONE - self.fee)
        sets = returned + fee
        self.fee_weight += fee
        self.reserves = [reserve - sets for reserve in self.reserves]
        self.reserves[outcome] += sold
        return fee, sets

    def add(self, funds: int, funder: str) -> tuple[list[int], int]:
        """What is sent back of each outcome, and the shares minted (addFunding, without a hint)."""
        if self.supply:
            weight = max(self.reserves)
            kept = [funds * reserve // weight for reserve in self.reserves]
            minted = funds * self.supply // weight
        else:
            kept, minted = [funds] * len(self.reserves), funds
        self.move_shares(ZERO, funder, minted)
        self.reserves = [reserve + more for reserve, more in zip(self.reserves, kept, strict=True)]
        return [funds - more for more in kept], minted

    def remove(self, burnt: int, funder: str) -> tuple[list[int], int]:
        """What is sent of each outcome, and the collateral paid out of the fees (removeFunding)."""
        sent = [reserve * burnt // self.supply for reserve in self.reserves]
        paid = self.move_shares(funder, ZERO, burnt)
        self.reserves = [reserve - less for reserve, less in zip(self.reserves, sent, strict=True)]
        return sent, paid

    def move_shares(self, sender: str, receiver: str, amount: int) -> int:
        """Moves shares and the claim on fees that goes with them; returns the fees paid to the sender.

        The contract's totalWithdrawnFees is left out: no amount that an event shows depends on it.
        """
        paid = self._withdraw(sender) if sender != ZERO else 0
        claim = self.fee_weight * amount // self.supply if self.supply else amount
        if sender == ZERO:
            self.fee_weight += claim
            self.supply += amount
        else:
            self.withdrawn[sender] = self.withdrawn.get(sender, 0) - claim
            self.shares[sender] -= amount
        if receiver == ZERO:
            self.fee_weight -= claim
            self.supply -= amount
        else:
            self.withdrawn[receiver] = self.withdrawn.get(receiver, 0) + claim
            self.shares[receiver] = self.shares.get(receiver, 0) + amount
        return paid

    def _withdraw(self, holder: str) -> int:
        entitled = self.fee_weight * self.shares[holder] // self.supply
        paid = entitled - self.withdrawn.get(holder, 0)
        if paid > 0:
            self.withdrawn[holder] = entitled
        return max(paid, 0)
