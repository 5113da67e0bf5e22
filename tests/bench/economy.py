"""Users who trade on markets, and the logs of every transaction of theirs: consistent, and the same for each seed.

The order of one call's logs is that of the real contracts. Time is the one liberty: the oracle's periods are minutes
instead of hours and days, so that a chain of a few hours has resolved markets in it.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import accumulate, count
from math import log
from random import Random

from eth_hash.auto import keccak

from markets.ctf import outcome_position_ids
from tests.bench import logs
from tests.bench.logs import AURUM_ORACLE, COLLATERAL, MARKET_FACTORY, ZERO, Emitted
from tests.bench.pool import ONE, Pool

LOGS_PER_MARKET = 500
LOGS_PER_USER = 50
FIRST_MARKETS = 8  # at once, so that nobody waits for something to trade
LARGEST_TRANSACTION = 10  # logs: a redemption of eight outcomes has nine
UNIT = 10**6  # of the collateral
STAKE = 100 * ONE  # AURUM
PERIOD = 60  # blocks: the challenge period, and each of commit and reveal
BINARY = ("Yes", "No")
NAMES = ("Aster", "Birch", "Cedar", "Dahlia", "Elm", "Fern", "Gorse", "Hazel")

Transaction = list[Emitted]


@dataclass(slots=True)
class Market:
    """One market, who holds its tokens, and where it stands in its life."""

    market_id: str
    question_id: str
    condition_id: str
    creator: str
    tokens: tuple[int, ...]
    popularity: float
    pool: Pool | None = None
    payouts: list[int] | None = None
    held: dict[tuple[str, int], int] = field(default_factory=dict)  # (user, outcome) -> amount
    holders: list[tuple[str, int]] = field(default_factory=list)  # the keys of `held`, to draw from
    splitters: list[str] = field(default_factory=list)

    @property
    def outcomes(self) -> int:
        return len(self.tokens)

    def move(self, sender: str, receiver: str, outcome: int, amount: int) -> None:
        """Keeps what users hold; ZERO is the pool, or nobody."""
        if sender != ZERO:
            self.held[sender, outcome] -= amount
        if receiver != ZERO and amount:
            if (receiver, outcome) not in self.held:
                self.held[receiver, outcome] = 0
                self.holders.append((receiver, outcome))
            self.held[receiver, outcome] += amount

    def holdings(self, user: str) -> list[tuple[int, int]]:
        """(outcome, amount) of what a user holds."""
        amounts = ((outcome, self.held.get((user, outcome), 0)) for outcome in range(self.outcomes))
        return [(outcome, amount) for outcome, amount in amounts if amount]


class Economy:
    """`transaction` is what happens next. `log_count` is how many logs there will be in all."""

    def __init__(self, *, seed: int, log_count: int) -> None:
        self.dice = Random(seed)
        self.markets: list[Market] = []
        self.block_number = 0
        self.timestamp = 0
        self._seed = seed
        self._log_count = log_count
        self._emitted = 0
        self._numbers = count()
        self._users = [self._new("user")[:42] for _ in range(max(20, log_count // LOGS_PER_USER))]
        self._open: list[Market] = []  # with a pool, and not resolved
        self._popularity: list[float] = []  # sums up to each of `_open`
        self._due: list[tuple[int, int, Callable[[], Transaction]]] = []  # (block, number, what)
        self._fees = 0
        self._actions, weights = zip(*ACTIONS, strict=True)
        self._weights = list(accumulate(weights))

    def transaction(self, block_number: int, timestamp: int) -> Transaction:
        """The logs of the next transaction, which is mined in this block; at least one, and never above the count."""
        self.block_number, self.timestamp = block_number, timestamp
        left = self._log_count - self._emitted
        emitted: Transaction = []
        while not emitted:
            emitted = self._collect_fee() if left <= LARGEST_TRANSACTION and self.markets else self._next()
        self._emitted += len(emitted)
        return emitted

    def _next(self) -> Transaction:
        if self._due and self._due[0][0] <= self.block_number:
            return heappop(self._due)[2]()
        last = max(self._log_count // LOGS_PER_MARKET, 2)
        if len(self.markets) < min(last, FIRST_MARKETS + last * self._emitted // self._log_count):
            return self._create_market()
        if not self._open:
            return self._collect_fee()
        return self._actions[bisect(self._weights, self.dice.random() * self._weights[-1])](self)

    # --- draws -----------------------------------------------------------------------------------------------------

    def _new(self, kind: str) -> str:
        text = f"{self._seed} {kind} {next(self._numbers)}"
        return "0x" + blake2b(text.encode(), digest_size=32).hexdigest()

    def _user(self) -> str:
        """A few users do much of everything."""
        return self._users[int(len(self._users) * self.dice.random() ** 3)]

    def _market(self) -> Market:
        return self._open[bisect(self._popularity, self.dice.random() * self._popularity[-1])]

    def _amount(self, median: int, *, spread: float = 1.2) -> int:
        """An amount of collateral, given its median in whole units."""
        return max(UNIT, int(self.dice.lognormvariate(log(median), spread) * UNIT))

    def _holding(self, market: Market) -> tuple[str, int, int] | None:
        """(user, outcome, amount) of somebody who holds more than dust, if one is soon found."""
        for _ in range(4):
            if market.holders:
                user, outcome = self.dice.choice(market.holders)
                if market.held[user, outcome] > UNIT:
                    return user, outcome, market.held[user, outcome]
        return None

    def _later(self, blocks: int, what: Callable[[], Transaction]) -> None:
        heappush(self._due, (self.block_number + blocks, next(self._numbers), what))

    # --- markets begin ---------------------------------------------------------------------------------------------

    def _create_market(self) -> Transaction:
        outcomes = self.dice.choice((2, 2, 2, 2, 2, 2, 2, 3, 4, 8))
        market_id, question_id, creator = self._new("market"), self._new("question"), self._user()
        packed = f"{AURUM_ORACLE[2:]}{question_id[2:]}{logs.words(outcomes)}"
        condition_id = "0x" + keccak(bytes.fromhex(packed)).hex()
        tokens = outcome_position_ids(COLLATERAL, condition_id, outcomes)
        popularity = min(self.dice.paretovariate(1.1), 50)
        market = Market(market_id, question_id, condition_id, creator, tokens, popularity)
        self.markets.append(market)
        self._later(self.dice.randint(1, 5), partial(self._deploy_amm, market))
        return [
            logs.question_registered(question_id, outcomes),
            logs.condition_preparation(condition_id, question_id, outcomes),
            logs.market_created(
                market_id,
                question_id,
                condition_id,
                creator=creator,
                question=f"Who will be ahead after round {len(self.markets)} of the series, by the official count?",
                outcomes=BINARY if outcomes == 2 else NAMES[:outcomes],
                resolution_time=self.timestamp + 7 * 86400,
            ),
        ]

    def _deploy_amm(self, market: Market) -> Transaction:
        funds, fee = self._amount(5_000, spread=1.0), self.dice.choice((ONE // 100, ONE // 50))
        amm, creator = self._new("amm")[:42], market.creator
        pool = market.pool = Pool(amm, fee, [0] * market.outcomes)
        sent_back, minted = pool.add(funds, MARKET_FACTORY)
        pool.move_shares(MARKET_FACTORY, creator, minted)
        self._open.append(market)
        self._weigh()
        if self.dice.random() < 0.6:
            self._later(self.dice.randint(500, 6000), partial(self._propose, market))
        return [
            *self._split_logs(market, amm, funds),
            logs.share_transfer(amm, ZERO, MARKET_FACTORY, minted),
            logs.transfer_batch(amm, amm, MARKET_FACTORY, market.tokens, sent_back),
            logs.funding_added(amm, MARKET_FACTORY, [funds] * market.outcomes, minted),
            logs.share_transfer(amm, MARKET_FACTORY, creator, minted),
            logs.amm_deployed(market.market_id, amm, funds, fee),
        ]

    def _weigh(self) -> None:
        self._popularity = list(accumulate(market.popularity for market in self._open))

    def _split_logs(self, market: Market, holder: str, amount: int) -> Transaction:
        return [
            logs.transfer_batch(holder, ZERO, holder, market.tokens, [amount] * market.outcomes),
            logs.position_split(holder, market.condition_id, market.outcomes, amount),
        ]

    def _merge_logs(self, market: Market, holder: str, amount: int) -> Transaction:
        return [
            logs.transfer_batch(holder, holder, ZERO, market.tokens, [amount] * market.outcomes),
            logs.positions_merge(holder, market.condition_id, market.outcomes, amount),
        ]

    # --- trades ----------------------------------------------------------------------------------------------------

    def _buy(self) -> Transaction:
        """Of what is cheap more often than of what is dear, which keeps prices from running away."""
        market, user, invested = self._market(), self._user(), self._amount(30)
        pool = _pool(market)
        outcome = self.dice.choices(range(market.outcomes), pool.reserves)[0]
        fee, bought = pool.buy(invested, outcome)
        market.move(ZERO, user, outcome, bought)
        return [
            *self._split_logs(market, pool.address, invested - fee),
            logs.transfer_single(pool.address, pool.address, user, market.tokens[outcome], bought),
            logs.fpmm_buy(pool.address, user, outcome, invested=invested, fee=fee, bought=bought),
        ]

    def _sell(self) -> Transaction:
        market = self._market()
        pool, holding = _pool(market), self._holding(market)
        if holding is None:
            return []
        user, outcome, held = holding
        most = held if self.dice.random() < 0.35 else int(held * self.dice.uniform(0.1, 0.9))
        price = 1 / pool.reserves[outcome] / sum(1 / reserve for reserve in pool.reserves)
        returned = int(most * price)
        sold = pool.sell_amount(returned, outcome)
        while sold is None or sold > held:
            returned = returned * 4 // 5
            sold = pool.sell_amount(returned, outcome)
        if not returned:
            return []
        fee, sets = pool.sell(returned, outcome, sold)
        market.move(user, ZERO, outcome, sold)
        return [
            logs.transfer_single(pool.address, user, pool.address, market.tokens[outcome], sold),
            *self._merge_logs(market, pool.address, sets),
            logs.fpmm_sell(pool.address, user, outcome, returned=returned, fee=fee, sold=sold),
        ]

    def _add_funding(self) -> Transaction:
        market, user, funds = self._market(), self._user(), self._amount(500)
        pool = _pool(market)
        sent_back, minted = pool.add(funds, user)
        for outcome, amount in enumerate(sent_back):
            market.move(ZERO, user, outcome, amount)
        return [
            *self._split_logs(market, pool.address, funds),
            logs.share_transfer(pool.address, ZERO, user, minted),
            logs.transfer_batch(pool.address, pool.address, user, market.tokens, sent_back),
            logs.funding_added(pool.address, user, [funds - amount for amount in sent_back], minted),
        ]

    def _remove_funding(self) -> Transaction:
        """At most half of what somebody has in it: a pool does not run dry while its market is open."""
        market = self._market()
        pool = _pool(market)
        user = self.dice.choice([*pool.shares])
        burnt = int(pool.shares[user] * self.dice.uniform(0.1, 0.5))
        if not burnt:
            return []
        sent, from_fees = pool.remove(burnt, user)
        for outcome, amount in enumerate(sent):
            market.move(ZERO, user, outcome, amount)
        return [
            logs.share_transfer(pool.address, user, ZERO, burnt),
            logs.transfer_batch(pool.address, pool.address, user, market.tokens, sent),
            logs.funding_removed(pool.address, user, sent, from_fees, burnt),
        ]

    # --- what users do among themselves ----------------------------------------------------------------------------

    def _split(self) -> Transaction:
        market, user, amount = self._market(), self._user(), self._amount(100)
        for outcome in range(market.outcomes):
            market.move(ZERO, user, outcome, amount)
        market.splitters.append(user)
        return self._split_logs(market, user, amount)

    def _merge(self) -> Transaction:
        market = self._market()
        if not market.splitters:
            return []
        user = self.dice.choice(market.splitters)
        sets = min(market.held[user, outcome] for outcome in range(market.outcomes))
        amount = sets if self.dice.random() < 0.5 else int(sets * self.dice.random())
        if not amount:
            return []
        for outcome in range(market.outcomes):
            market.move(user, ZERO, outcome, amount)
        return self._merge_logs(market, user, amount)

    def _transfer(self) -> Transaction:
        """Of one outcome, or of all that somebody holds in a market at once."""
        market, receiver = self._market(), self._user()
        holding = self._holding(market)
        if holding is None:
            return []
        sender, outcome, held = holding
        if self.dice.random() < 0.7:
            amount = int(held * self.dice.uniform(0.1, 1))
            market.move(sender, receiver, outcome, amount)
            return [logs.transfer_single(sender, sender, receiver, market.tokens[outcome], amount)]
        outcomes, amounts = zip(*market.holdings(sender), strict=True)
        for outcome, amount in zip(outcomes, amounts, strict=True):
            market.move(sender, receiver, outcome, amount)
        tokens = [market.tokens[outcome] for outcome in outcomes]
        return [logs.transfer_batch(sender, sender, receiver, tokens, amounts)]

    def _collect_fee(self) -> Transaction:
        amount = self._amount(3)
        self._fees += amount
        return [logs.fee_collected(self.dice.choice(self.markets).market_id, self._user(), amount)]

    def _withdraw_fees(self) -> Transaction:
        amount, self._fees = self._fees, 0
        return [logs.fees_withdrawn(self._users[0], amount)] if amount else []

    # --- markets end -----------------------------------------------------------------------------------------------

    def _propose(self, market: Market) -> Transaction:
        winner = self.dice.randrange(market.outcomes)
        payouts = [ONE if outcome == winner else 0 for outcome in range(market.outcomes)]
        proposer, fate = self._user(), self.dice.random()
        if fate < 0.03:
            self._later(self.dice.randint(1, PERIOD), partial(self._void, market))
        elif fate < 0.15:
            self._later(self.dice.randint(1, PERIOD - 1), partial(self._dispute, market, proposer, payouts))
        else:
            self._later(self.dice.randint(PERIOD, 2 * PERIOD), partial(self._finalize, market, payouts))
        expires_at = self.timestamp + 2 * PERIOD
        return [logs.outcome_proposed(market.question_id, proposer, payouts, stake=STAKE, expires_at=expires_at)]

    def _dispute(self, market: Market, proposer: str, payouts: list[int]) -> Transaction:
        disputed = payouts[1:] + payouts[:1]
        disputer = next(user for user in iter(self._user, None) if user != proposer)
        voters = sorted({self._user() for _ in range(5)})
        for voter in voters:
            choice = self.dice.choice((payouts, disputed))
            self._later(self.dice.randint(1, PERIOD - 1), partial(self._commit, market, voter))
            self._later(
                self.dice.randint(PERIOD, 2 * PERIOD - 1),
                partial(self._reveal, market, voter, choice),
            )
        self._later(2 * PERIOD + 100, partial(self._finalize, market, payouts))
        return [logs.proposal_disputed(market.question_id, disputer, disputed, stake=STAKE)]

    def _commit(self, market: Market, voter: str) -> Transaction:
        return [logs.vote_committed(market.question_id, voter, self._new("commitment"))]

    def _reveal(self, market: Market, voter: str, payouts: Sequence[int]) -> Transaction:
        return [logs.vote_revealed(market.question_id, voter, payouts, self.dice.randint(1, 10**4) * ONE)]

    def _finalize(self, market: Market, payouts: list[int]) -> Transaction:
        return [self._resolved(market, payouts), logs.question_resolved(market.question_id, payouts)]

    def _void(self, market: Market) -> Transaction:
        payouts = [ONE // market.outcomes] * market.outcomes
        return [self._resolved(market, payouts), logs.question_voided(market.question_id)]

    def _resolved(self, market: Market, payouts: list[int]) -> Emitted:
        """From here on nobody trades; most come for their money, the losers among them for a clean wallet."""
        market.payouts = payouts
        self._open.remove(market)
        self._weigh()
        if self.dice.random() < 0.9:
            self._later(self.dice.randint(1, 300), partial(self._confirm, market, payouts))
        for user in sorted({user for (user, _), amount in market.held.items() if amount}):
            if self.dice.random() < 0.6:
                self._later(self.dice.randint(1, 2000), partial(self._redeem, market, user, payouts))
        return logs.condition_resolution(market.condition_id, market.question_id, payouts)

    def _confirm(self, market: Market, payouts: list[int]) -> Transaction:
        return [logs.market_resolved(market.market_id, market.condition_id, payouts)]

    def _redeem(self, market: Market, user: str, payouts: list[int]) -> Transaction:
        emitted, payout = [], 0
        for outcome, amount in market.holdings(user):
            market.move(user, ZERO, outcome, amount)
            payout += amount * payouts[outcome] // sum(payouts)
            emitted.append(logs.transfer_single(user, user, ZERO, market.tokens[outcome], amount))
        return [*emitted, logs.payout_redemption(user, market.condition_id, market.outcomes, payout)]


def _pool(market: Market) -> Pool:
    assert market.pool is not None
    return market.pool


# What happens when nothing is due, and how often. Markets begin and end besides.
ACTIONS: tuple[tuple[Callable[[Economy], Transaction], float], ...] = (
    (Economy._buy, 55),
    (Economy._sell, 25),
    (Economy._transfer, 6),
    (Economy._split, 4),
    (Economy._merge, 3),
    (Economy._add_funding, 2.5),
    (Economy._remove_funding, 1.5),
    (Economy._collect_fee, 2.9),
    (Economy._withdraw_fees, 0.1),
)
