"""Users on markets, told twice: as the contracts' events, applied to a Book, and as what each user paid, got and holds.

The second telling is by the action, in fractions, and shares nothing with the ledger: what it says a sale earned is the
proceeds less the average of what the tokens had cost. Amounts follow the contracts' own arithmetic (tests/bench/pool).
"""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, prod

from indexer import events
from indexer.handlers import WRITE_ORDER, apply_event
from markets.book import Book, LogPosition
from markets.chaintime import from_seconds
from markets.ctf import collection_id, outcome_position_ids
from markets.models import Checkpoint, IndexedBlock
from markets.projections import batch_ended, transaction_ended
from tests.bench.pool import Pool
from tests.factories import COLLATERAL, FACTORY, START, address, hex_id

ZERO, NO_PARENT = "0x" + "00" * 20, "0x" + "00" * 32
USERS = [address("story user", number) for number in range(4)]
AMOUNTS = (1, 2, 7, 99, 1_000_003, 10**18, 2**96)
SHARES = -1


@dataclass
class Holding:
    """Tokens of one kind in one hand."""

    amount: int = 0
    cost: int = 0
    realized: int = 0
    untracked: int = 0
    away: int = 0  # tokens that became what nobody follows, and what they had cost
    away_cost: int = 0
    acquired: int = 0  # all that have ever come at a known cost, and that
    acquired_cost: int = 0

    def acquire(self, amount: int, cost: int, untracked: int = 0) -> None:
        """Tokens that have not only come back."""
        self.acquired, self.acquired_cost = self.acquired + amount - untracked, self.acquired_cost + cost
        self.get(amount, cost, untracked)

    def get(self, amount: int, cost: int, untracked: int = 0) -> None:
        self.amount += amount
        self.untracked += untracked
        if self.amount:
            self.cost += cost
        else:  # paid for nothing
            self.realized -= cost

    def lose(self, amount: int) -> tuple[int, int]:
        """The cost that goes with the tokens, and how many of them are untracked."""
        if not amount:
            return 0, 0
        share = Fraction(amount, self.amount)
        cost, untracked = floor(self.cost * share), floor(self.untracked * share)
        self.amount, self.cost, self.untracked = self.amount - amount, self.cost - cost, self.untracked - untracked
        return cost, untracked

    def sell(self, amount: int, proceeds: int) -> int:
        """Returns what the untracked ones have brought, which is what they count to have cost."""
        if not amount:
            return 0
        cost, untracked = self.lose(amount)
        unknown = ceil(proceeds * Fraction(untracked, amount))
        self.realized += proceeds - unknown - cost
        return unknown

    def leave(self, amount: int) -> None:
        """Tokens go where nobody follows them."""
        cost, untracked = self.lose(amount)
        self.realized -= cost
        self.away, self.away_cost = self.away + amount - untracked, self.away_cost + cost

    def back(self, amount: int) -> tuple[int, int]:
        """As many come from there. The cost of those that had gone there, and how many others they are."""
        known = min(amount, self.away)
        cost = floor(self.away_cost * Fraction(known, self.away)) if known else 0
        self.away, self.away_cost, self.realized = self.away - known, self.away_cost - cost, self.realized + cost
        return cost, amount - known

    def cover(self, proceeds: int) -> int:
        """What is paid for what nobody follows, up to the cost of what has gone there."""
        covered = min(proceeds, self.away_cost)
        if covered:
            self.away -= ceil(self.away * Fraction(covered, self.away_cost))
            self.away_cost, self.realized = self.away_cost - covered, self.realized + covered
        return covered


@dataclass
class Market:
    """A market and its pool; `payouts` once it is resolved."""

    number: int
    outcomes: int
    pool: Pool
    payouts: list[int] | None = None

    def __post_init__(self) -> None:
        self.market_id = hex_id("story market", self.number)
        self.condition_id = hex_id("story condition", self.number)
        self.ids = outcome_position_ids(COLLATERAL, self.condition_id, self.outcomes)

    def collection(self, outcome: int) -> str:
        return f"0x{collection_id(self.condition_id, 1 << outcome):064x}"

    def prices(self, reserves: list[int] | None = None) -> list[Fraction] | None:
        """What one token of each outcome is worth: its payout, or its price at these reserves (the pool's own)."""
        if self.payouts:
            return [Fraction(payout, sum(self.payouts)) for payout in self.payouts]
        reserves = reserves or self.pool.reserves
        weights = [prod(other for place, other in enumerate(reserves) if place != own) for own in range(self.outcomes)]
        return [Fraction(weight, sum(weights)) for weight in weights] if sum(weights) else None

    def worth(self, outcome: int, amount: int, reserves: list[int] | None = None) -> int:
        prices = self.prices(reserves)
        return floor(amount * prices[outcome]) if prices else 0


@dataclass
class Flows:
    """What crossed the line between a user and everything else, in collateral."""

    paid: int = 0
    received: int = 0
    cost_in: int = 0
    cost_out: int = 0
    volume: int = 0


@dataclass
class Snapshot:
    """A user at one time, by the reference."""

    value: int
    cost: int
    realized: int
    volume: int
    net_cash: int  # received less paid, and the cost that left with transfers less what came
    unknown: int = 0  # what tokens are worth whose cost nobody knows

    @property
    def profit(self) -> int:
        return self.net_cash + self.value - self.unknown


@dataclass
class Story:
    """`outcome_counts` makes a market for each; each action is a block of its own, `period` seconds after the last."""

    dice: random.Random
    outcome_counts: list[int]
    period: int = 600
    held: dict[tuple[str, int, int], Holding] = field(default_factory=lambda: defaultdict(Holding))
    flows: dict[str, Flows] = field(default_factory=lambda: defaultdict(Flows))
    block: int = 0
    actions: list[str] = field(default_factory=list)
    snapshots: list[tuple[int, dict[str, Snapshot]]] = field(default_factory=list)  # (block, by user) after each action

    def __post_init__(self) -> None:
        self.markets: list[Market] = []
        for number, outcomes in enumerate(self.outcome_counts):
            fee = self.dice.choice([0, 10**16, 333_333_333_333_333_333])
            self.markets.append(Market(number, outcomes, Pool(address("story amm", number), fee, [0] * outcomes)))
        self.book = Book(lambda number: "final", _Ids(), amms={market.pool.address for market in self.markets})
        for market in self.markets:
            self._create(market)
            self._deploy(market)

    # --- telling ---------------------------------------------------------------------------------------------------

    def tell(self, *told: tuple[str, events.ChainEvent]) -> None:
        """One transaction, of (contract, event)."""
        self.block += 1
        transaction = hex_id("story transaction", self.block)
        definitions = [event for _, event in told if isinstance(event, events.AMMDeployed | events.MarketCreated)]
        for defining in (True, False):
            for log_index, (contract, event) in enumerate(told):
                if (event in definitions) == defining:
                    at = LogPosition(
                        self.block, hex_id("block", self.block), self.time(), transaction, log_index, contract
                    )
                    apply_event(self.book, at, event)
        transaction_ended(self.book, transaction)
        self.snapshots.append((self.block, {user: self.snapshot(user) for user in USERS}))

    def time(self, block: int | None = None) -> int:
        return int(START.timestamp()) + self.period * (self.block if block is None else block)

    def at(self, time: int) -> dict[str, Snapshot]:
        """Every user at a time: as after the last block by then."""
        nothing = Snapshot(value=0, cost=0, realized=0, volume=0, net_cash=0)
        found = [users for block, users in self.snapshots if self.time(block) <= time]
        return found[-1] if found else dict.fromkeys(USERS, nothing)

    def store(self) -> Checkpoint:
        """Writes what has happened, and the blocks in which it has."""
        batch_ended(self.book, LogPosition(self.block, hex_id("block", self.block), self.time(), "", 0, ""))
        self.book.write(WRITE_ORDER)
        blocks = range(1, self.block + 1)
        IndexedBlock.objects.bulk_create(
            IndexedBlock(
                number=number,
                hash=hex_id("block", number),
                parent_hash=hex_id("block", number - 1),
                timestamp=from_seconds(self.time(number)),
            )
            for number in blocks
        )
        return Checkpoint.objects.create(
            chain_id=31337,
            genesis_hash=hex_id("block", 0),
            contracts={"MarketFactory": FACTORY},
            start_block=1,
            block_number=self.block,
            block_hash=hex_id("block", self.block),
            block_timestamp=from_seconds(self.time()),
        )

    def act(self, count: int) -> None:
        """So many random actions; those that are not possible count too."""
        for _ in range(count):
            action = self.dice.choice(ACTIONS)
            if action(self, self.dice.choice(self.markets), self.dice.choice(USERS)):
                self.actions.append(action.__name__)

    # --- the reference ---------------------------------------------------------------------------------------------

    def snapshot(self, user: str) -> Snapshot:
        flows = self.flows[user]
        mine = {(number, outcome): held for (holder, number, outcome), held in self.held.items() if holder == user}
        return Snapshot(
            value=sum(self._value(number, outcome, held) for (number, outcome), held in mine.items()),
            cost=sum(held.cost for held in mine.values()),
            realized=sum(held.realized for held in mine.values()),
            volume=flows.volume,
            net_cash=flows.received - flows.paid + flows.cost_out - flows.cost_in,
            unknown=sum(self._unknown(number, outcome, held) for (number, outcome), held in mine.items()),
        )

    def lost(self, user: str) -> int:
        """What a user's tokens have cost that pay nothing, redeemed or not."""
        return sum(
            held.cost
            for (holder, number, outcome), held in self.held.items()
            if holder == user and outcome != SHARES and (self.markets[number].payouts or [1] * 8)[outcome] == 0
        )

    def _value(self, number: int, outcome: int, held: Holding) -> int:
        """At the price; at its cost where there is none."""
        market = self.markets[number]
        prices = market.prices()
        if prices is None:
            return held.cost
        if outcome != SHARES:
            return floor(held.amount * prices[outcome])
        if not held.amount:
            return 0
        worth = sum(price * reserve for price, reserve in zip(prices, market.pool.reserves, strict=True))
        return floor(held.amount * Fraction(floor(worth), market.pool.supply))

    def _unknown(self, number: int, outcome: int, held: Holding) -> int:
        """The part of the value that is not that of the tokens whose cost is known."""
        prices = self.markets[number].prices()
        if prices is None or outcome == SHARES:
            return 0
        return floor(held.amount * prices[outcome]) - floor((held.amount - held.untracked) * prices[outcome])

    def _sell(self, user: str, market: Market, outcome: int, amount: int, proceeds: int) -> None:
        self.flows[user].cost_in += self._holding(user, market, outcome).sell(amount, proceeds)

    def _cover(self, user: str, market: Market, outcomes: list[int], paid: int) -> None:
        """Collateral for sets that nobody follows: what it does not cover counts as their cost."""
        self.flows[user].received += paid
        for outcome in outcomes:
            paid -= self._holding(user, market, outcome).cover(paid)
        self.flows[user].cost_in += paid

    def _come(
        self, user: str, market: Market, outcome: int, amount: int, cost: int, untracked: int
    ) -> list[tuple[str, events.ChainEvent]]:
        """Tokens come to a user, who may pass some on before it is told what they cost. Returns the passing on."""
        held = self._holding(user, market, outcome)
        held.get(amount, 0)
        told = []
        for _ in range(self.dice.choice([0, 0, 1, 2])):
            receiver, sent = self.dice.choice(USERS), self.dice.choice([held.amount, self.dice.randint(0, held.amount)])
            if not sent or receiver == user:
                continue
            share = Fraction(sent, held.amount)
            of_cost, of_untracked = floor(cost * share), ceil(untracked * share)
            moved, unknown = held.lose(sent)
            self._holding(receiver, market, outcome).acquire(sent, moved + of_cost, unknown + of_untracked)
            self.flows[user].cost_out += moved + of_cost
            self.flows[receiver].cost_in += moved + of_cost
            cost, untracked = cost - of_cost, untracked - of_untracked
            told.append(self._single(user, receiver, market, outcome, sent))
        held.get(0, cost, untracked)
        return told

    def _holding(self, user: str, market: Market, outcome: int) -> Holding:
        return self.held[user, market.number, outcome]

    # --- events ----------------------------------------------------------------------------------------------------

    def _create(self, market: Market) -> None:
        question_id = hex_id("story question", market.number)
        outcomes = tuple(f"{index}" for index in range(market.outcomes))
        market_id, condition_id = market.market_id, market.condition_id
        self.tell(
            (TOKENS, events.ConditionPreparation(condition_id, FACTORY, question_id, market.outcomes)),
            (
                FACTORY,
                events.MarketCreated(
                    market_id, question_id, condition_id, USERS[0], COLLATERAL, "?", outcomes, 4_000_000_000
                ),
            ),
        )

    def _deploy(self, market: Market) -> None:
        """deployAMM, as the factory does it: it funds the pool, and hands the shares on to the first user."""
        amm, funds, owner = market.pool.address, self.dice.choice([10**6, 10**18]), USERS[0]
        returned, minted = market.pool.add(funds, FACTORY)
        market.pool.move_shares(FACTORY, owner, minted)
        self.flows[owner].paid += funds
        self._holding(owner, market, SHARES).get(minted, funds)
        self.tell(
            *self._sets(events.PositionSplit, market, amm, funds),
            (amm, events.ShareTransfer(ZERO, FACTORY, minted)),
            self._batch(amm, FACTORY, market, returned),
            (amm, events.FPMMFundingAdded(FACTORY, (funds,) * market.outcomes, minted)),
            (amm, events.ShareTransfer(FACTORY, owner, minted)),
            (FACTORY, events.AMMDeployed(market.market_id, amm, funds, market.pool.fee)),
        )

    def _sets(
        self, event: type[events.PositionSplit | events.PositionMerge], market: Market, holder: str, amount: int
    ) -> list[tuple[str, events.ChainEvent]]:
        ends = (ZERO, holder) if event is events.PositionSplit else (holder, ZERO)
        partition = tuple(1 << index for index in range(market.outcomes))
        return [
            self._batch(*ends, market, [amount] * market.outcomes),
            (TOKENS, event(holder, COLLATERAL, NO_PARENT, market.condition_id, partition, amount)),
        ]

    def _batch(self, sender: str, receiver: str, market: Market, amounts: list[int]) -> tuple[str, events.ChainEvent]:
        return TOKENS, events.TransferBatch(sender, sender, receiver, market.ids, tuple(amounts))

    def _single(
        self, sender: str, receiver: str, market: Market, outcome: int, amount: int
    ) -> tuple[str, events.ChainEvent]:
        return TOKENS, events.TransferSingle(sender, sender, receiver, market.ids[outcome], amount)

    # --- actions: each returns whether it was possible -------------------------------------------------------------

    def buy(self, market: Market, user: str) -> bool:
        pool, outcome, amount = market.pool, self.dice.randrange(market.outcomes), self.dice.choice(AMOUNTS)
        if not min(pool.reserves):
            return False
        fee, bought = pool.buy(amount, outcome)
        self.flows[user].paid += amount
        self.flows[user].volume += amount
        self._holding(user, market, outcome).acquired += bought
        self._holding(user, market, outcome).acquired_cost += amount
        passed = self._come(user, market, outcome, bought, amount, 0)
        self.tell(
            *self._sets(events.PositionSplit, market, pool.address, amount - fee),
            self._single(pool.address, user, market, outcome, bought),
            *passed,
            (pool.address, events.FPMMBuy(user, amount, fee, outcome, bought)),
        )
        return True

    def sell(self, market: Market, user: str) -> bool:
        pool, outcome = market.pool, self.dice.randrange(market.outcomes)
        held = self._holding(user, market, outcome)
        returned = int(held.amount * self.dice.random())
        sold = pool.sell_amount(returned, outcome) if min(pool.reserves) and returned else None
        if sold is None or sold > held.amount:
            return False
        fee, sets = pool.sell(returned, outcome, sold)
        self.flows[user].received += returned
        self.flows[user].volume += returned
        self._sell(user, market, outcome, sold, returned)
        self.tell(
            self._single(user, pool.address, market, outcome, sold),
            *self._sets(events.PositionMerge, market, pool.address, sets),
            (pool.address, events.FPMMSell(user, returned, fee, outcome, sold)),
        )
        return True

    def split(self, market: Market, user: str) -> bool:
        self.tell(*self._split(market, user))
        return True

    def split_within_a_split(self, market: Market, user: str) -> bool:
        """A wallet that is called with its tokens splits again, maybe in another market."""
        (minted, why), inner = self._split(market, user), self._split(self.dice.choice(self.markets), user)
        self.tell(minted, *inner, why)
        return True

    def _split(self, market: Market, user: str) -> list[tuple[str, events.ChainEvent]]:
        amount = self.dice.choice(AMOUNTS)
        self.flows[user].paid += amount
        for outcome, part in enumerate(_parts(amount, market.outcomes)):
            self._holding(user, market, outcome).acquire(amount, part)
        return self._sets(events.PositionSplit, market, user, amount)

    def merge(self, market: Market, user: str) -> bool:
        sets = min(self._holding(user, market, outcome).amount for outcome in range(market.outcomes))
        if not sets:
            return False
        amount = self.dice.choice([sets, self.dice.randint(1, sets)])
        self.flows[user].received += amount
        for outcome, part in enumerate(_parts(amount, market.outcomes)):
            self._sell(user, market, outcome, amount, part)
        self.tell(*self._sets(events.PositionMerge, market, user, amount))
        return True

    def transfer(self, market: Market, user: str) -> bool:
        """Of some or all outcomes at once; to oneself too."""
        receiver, amounts = self.dice.choice(USERS), []
        for outcome in range(market.outcomes):
            held = self._holding(user, market, outcome)
            amounts.append(self.dice.choice([0, held.amount, self.dice.randint(0, held.amount)]))
            cost, untracked = held.lose(amounts[-1])
            self._holding(receiver, market, outcome).acquire(amounts[-1], cost, untracked)
            self.flows[user].cost_out += cost
            self.flows[receiver].cost_in += cost
        self.tell(self._batch(user, receiver, market, amounts))
        return any(amounts)

    def add_funding(self, market: Market, user: str) -> bool:
        pool, amount = market.pool, self.dice.choice(AMOUNTS)
        if not max(pool.reserves) and pool.supply:
            return False
        returned, minted = pool.add(amount, user)
        self.flows[user].paid += amount
        values = [market.worth(outcome, number) for outcome, number in enumerate(returned)]
        for outcome, (number, value) in enumerate(zip(returned, values, strict=True)):
            self._holding(user, market, outcome).acquire(number, value)
        self._holding(user, market, SHARES).get(minted, amount - sum(values))
        self.tell(
            *self._sets(events.PositionSplit, market, pool.address, amount),
            (pool.address, events.ShareTransfer(ZERO, user, minted)),
            self._batch(pool.address, user, market, returned),
            (pool.address, events.FPMMFundingAdded(user, tuple(amount - number for number in returned), minted)),
        )
        return True

    def remove_funding(self, market: Market, user: str) -> bool:
        pool, shares = market.pool, self._holding(user, market, SHARES)
        if not shares.amount:
            return False
        burnt = self.dice.choice([shares.amount, self.dice.randint(1, shares.amount)])
        before = list(pool.reserves)
        sent, fees = pool.remove(burnt, user)
        self.flows[user].received += fees
        values = [market.worth(outcome, number, before) for outcome, number in enumerate(sent)]
        for outcome, (number, value) in enumerate(zip(sent, values, strict=True)):
            self._holding(user, market, outcome).acquire(number, value)
        shares.sell(burnt, sum(values) + fees)
        self.tell(
            (pool.address, events.ShareTransfer(user, ZERO, burnt)),
            self._batch(pool.address, user, market, sent),
            (pool.address, events.FPMMFundingRemoved(user, tuple(sent), fees, burnt)),
        )
        return True

    def transfer_shares(self, market: Market, user: str) -> bool:
        receiver, shares = self.dice.choice(USERS), self._holding(user, market, SHARES)
        if not shares.amount:
            return False
        amount = self.dice.choice([shares.amount, self.dice.randint(1, shares.amount)])
        # The contract pays the sender's fees, and no event of ours tells of it.
        market.pool.move_shares(user, receiver, amount)
        cost, _ = shares.lose(amount)
        self._holding(receiver, market, SHARES).get(amount, cost)
        self.flows[user].cost_out += cost
        self.flows[receiver].cost_in += cost
        self.tell((market.pool.address, events.ShareTransfer(user, receiver, amount)))
        return True

    def resolve(self, market: Market, user: str) -> bool:
        if market.payouts or self.dice.random() < 0.5:
            return False
        market.payouts = [self.dice.choice([0, 0, 1, 5, 333]) for _ in range(market.outcomes - 1)] + [1]
        question_id = hex_id("story question", market.number)
        payouts = tuple(market.payouts)
        self.tell(
            (
                TOKENS,
                events.ConditionResolution(market.condition_id, FACTORY, question_id, market.outcomes, payouts),
            )
        )
        return True

    def redeem(self, market: Market, user: str) -> bool:
        """Some of what a user has, outcome by outcome: losers may stay for ever."""
        if not market.payouts:
            return False
        told: list[tuple[str, events.ChainEvent]] = []
        redeemed, payout = [], 0
        for outcome, numerator in enumerate(market.payouts):
            held = self._holding(user, market, outcome)
            if held.amount and self.dice.random() < 0.7:
                paid = held.amount * numerator // sum(market.payouts)
                told.append(self._single(user, ZERO, market, outcome, held.amount))
                self._sell(user, market, outcome, held.amount, paid)
                redeemed.append(1 << outcome)
                payout += paid
        self.flows[user].received += payout
        condition = (COLLATERAL, NO_PARENT, market.condition_id)
        self.tell(*told, (TOKENS, events.PayoutRedemption(user, *condition, tuple(redeemed), payout)))
        return bool(redeemed)

    def redeem_together(self, market: Market, user: str) -> bool:
        """One token of several outcomes, which somebody must have, and one outcome's own."""
        if not market.payouts or market.outcomes < 3:
            return False
        first, *others = self.dice.sample(range(market.outcomes), self.dice.randint(3, market.outcomes))
        held, amount = self._holding(user, market, first), self.dice.choice(AMOUNTS)
        paid = held.amount * market.payouts[first] // sum(market.payouts)
        together = amount * sum(market.payouts[outcome] for outcome in others) // sum(market.payouts)
        told = [self._single(user, ZERO, market, first, held.amount)] if held.amount else []
        self.flows[user].received += paid
        self._sell(user, market, first, held.amount, paid)
        self._cover(user, market, sorted(others), together)
        index_sets = (sum(1 << outcome for outcome in others), 1 << first)
        condition = (COLLATERAL, NO_PARENT, market.condition_id)
        self.tell(*told, (TOKENS, events.PayoutRedemption(user, *condition, index_sets, paid + together)))
        return bool(together)

    def split_in_two(self, market: Market, user: str) -> bool:
        """Collateral into one outcome and all others together; or a token of two outcomes into them."""
        outcome, amount = self.dice.randrange(market.outcomes), self.dice.choice(AMOUNTS)
        if market.outcomes < 3:
            return False
        if is_whole := self.dice.random() < 0.5:
            self.flows[user].paid += amount
            self.flows[user].cost_out += amount
            outcomes, partition = [outcome], _two_sets(market, outcome)
        else:
            outcomes = sorted(self.dice.sample(range(market.outcomes), 2))
            partition = tuple(1 << each for each in outcomes)
        cost, untracked = zip(*(self._holding(user, market, each).back(amount) for each in outcomes), strict=True)
        passed = [
            told
            for each, paid, unknown in zip(outcomes, cost, untracked, strict=True)
            for told in self._come(user, market, each, amount, paid, unknown)
        ]
        minted = [self._single(ZERO, user, market, each, amount) for each in outcomes]
        why = events.PositionSplit(user, COLLATERAL, NO_PARENT, market.condition_id, partition, amount)
        self.tell(*minted, *passed, (TOKENS, why))
        return is_whole or len(outcomes) == 2

    def merge_two(self, market: Market, user: str) -> bool:
        """Back again."""
        outcome = self.dice.randrange(market.outcomes)
        if market.outcomes < 3:
            return False
        is_whole = self.dice.random() < 0.5
        outcomes = [outcome] if is_whole else sorted(self.dice.sample(range(market.outcomes), 2))
        most = min(self._holding(user, market, each).amount for each in outcomes)
        if not most:
            return False
        amount = self.dice.randint(1, most)
        for each in outcomes:
            self._holding(user, market, each).leave(amount)
        if is_whole:
            self._cover(user, market, list(range(market.outcomes)), amount)
        partition = _two_sets(market, outcome) if is_whole else tuple(1 << each for each in outcomes)
        burnt = [self._single(user, ZERO, market, each, amount) for each in outcomes]
        why = events.PositionMerge(user, COLLATERAL, NO_PARENT, market.condition_id, partition, amount)
        self.tell(*burnt, (TOKENS, why))
        return True

    def go_deeper(self, market: Market, user: str) -> bool:
        """Tokens that become sets below another condition: what they have cost is lost until they are back."""
        outcome = self.dice.randrange(market.outcomes)
        held = self._holding(user, market, outcome)
        if not held.amount:
            return False
        amount = self.dice.randint(1, held.amount)
        held.leave(amount)
        self.tell(
            self._single(user, ZERO, market, outcome, amount),
            (TOKENS, events.PositionSplit(user, COLLATERAL, market.collection(outcome), DEEPER, (1, 2), amount)),
        )
        return True

    def come_back(self, market: Market, user: str) -> bool:
        """Tokens that such sets become again: the cost is known of as many as this user has made into sets."""
        outcome, amount = self.dice.randrange(market.outcomes), self.dice.choice(AMOUNTS)
        cost, untracked = self._holding(user, market, outcome).back(amount)
        passed = self._come(user, market, outcome, amount, cost, untracked)
        # What no event says the reason of is no better known.
        parent = self.dice.choice([market.collection(outcome), DEEPER])
        self.tell(
            self._single(ZERO, user, market, outcome, amount),
            *passed,
            (TOKENS, events.PositionMerge(user, COLLATERAL, parent, DEEPER, (1, 2), amount)),
        )
        return True

    def give(self, market: Market, user: str) -> bool:
        """Tokens to a pool, for nothing: of unknown cost, 1 each is lost."""
        outcome = self.dice.randrange(market.outcomes)
        held = self._holding(user, market, outcome)
        if not held.amount:
            return False
        amount = self.dice.randint(1, held.amount)
        cost, untracked = held.lose(amount)
        held.realized -= cost + untracked
        self.flows[user].cost_in += untracked
        market.pool.reserves[outcome] += amount
        self.tell(self._single(user, market.pool.address, market, outcome, amount))
        return True


class _Ids:
    """The ids that Gnosis' contract gives."""

    def load(self, markets: object) -> None:
        pass

    def __call__(self, collateral_token: str, condition_id: str, outcome_count: int) -> tuple[int, ...]:
        return outcome_position_ids(collateral_token, condition_id, outcome_count)


def _two_sets(market: Market, outcome: int) -> tuple[int, int]:
    """One outcome, and all others."""
    return 1 << outcome, (1 << market.outcomes) - 1 - (1 << outcome)


def _parts(amount: int, count: int) -> list[int]:
    """floor(A(i+1)/n) - floor(Ai/n) for each of n outcomes."""
    return [floor(Fraction(amount * (i + 1), count)) - floor(Fraction(amount * i, count)) for i in range(count)]


TOKENS = address("story tokens", 0)
DEEPER = hex_id("story deeper", 0)
ACTIONS: tuple[Callable[[Story, Market, str], bool], ...] = (
    *[Story.buy] * 5,
    *[Story.sell] * 4,
    *[Story.split] * 2,
    *[Story.merge] * 2,
    *[Story.transfer] * 2,
    *[Story.add_funding] * 2,
    *[Story.remove_funding] * 2,
    Story.transfer_shares,
    Story.resolve,
    *[Story.redeem] * 2,
    *[Story.redeem_together] * 2,
    Story.split_within_a_split,
    *[Story.split_in_two] * 2,
    *[Story.merge_two] * 2,
    *[Story.go_deeper] * 2,
    *[Story.come_back] * 2,
    Story.give,
)
