"""Bots that fill a development chain with a life like the real one's: deterministic by their seed."""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from eth_abi import decode
from web3 import Web3
from web3.exceptions import ContractLogicError
from web3.types import LogReceipt

from indexer.devchain.actions import DAY, ONE, Actions, Address, Market, TransactionReverted
from indexer.devchain.deploy import Deployment
from indexer.devchain.questions import BINARY, CATEGORICAL

logger = logging.getLogger(__name__)

USDC = 10**6  # smallest units of one coin of the default collateral
HOUR = 3_600  # seconds
TRADING_SPAN = 12 * DAY  # over which `play` spreads its steps
ENDING_SPAN = 4 * DAY  # more than the two waves of endings take: twice 48 h of voting
FEES = (0, ONE // 100, ONE // 50)  # of AMMs: none, 1%, 2%
FOLLOW_NEW_MARKET = 60  # in `follow`, a new market about every so many steps
FOLLOW_END_MARKET = 80  # and an end of an old one
FOLLOW_OPEN_MARKETS = 4  # fewer open markets with an AMM than this, and a new one comes at once
# AURUM (18 decimals) of the voters, accounts 1 to 4: the first two are equal, for ties.
VOTING_WEIGHTS = (1_000 * ONE, 1_000 * ONE, 600 * ONE, 400 * ONE)
SPLITTER = 2  # holds sets from the start, so that whoever redeems has something


class Ending(Enum):
    """How a market's life ends in `play`."""

    OPEN = "stays open"
    UNDISPUTED = "the proposal stands"
    FRACTIONAL = "the proposal stands, with 0.7/0.3"
    EVEN = "the proposal stands, with 0.5/0.5"
    DISPUTE_WON = "the dispute wins the vote"
    DISPUTE_LOST = "the proposal wins the vote"
    TIE = "a tie: the proposal stands"
    VOID = "void"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One market of `play`."""

    ending: Ending
    categorical: bool = False
    amm: bool = True
    announced: bool = True  # by resolveMarket


# The first six hold each way that a question can end, a market that stays open, and one without an AMM.
PLANS = (
    Plan(ending=Ending.UNDISPUTED),
    Plan(ending=Ending.OPEN),
    Plan(ending=Ending.DISPUTE_WON, categorical=True),
    Plan(ending=Ending.VOID),
    Plan(ending=Ending.FRACTIONAL, categorical=True, amm=False, announced=False),
    Plan(ending=Ending.TIE, announced=False),
    Plan(ending=Ending.OPEN, categorical=True),
    Plan(ending=Ending.EVEN),
    Plan(ending=Ending.DISPUTE_LOST, categorical=True),
    Plan(ending=Ending.OPEN, amm=False),
)

# How often each step of trading is dealt; a whole deck is played before the next is shuffled, so none is missed.
DECK = {
    "buy": 10,
    "sell": 5,
    "split": 2,
    "merge": 1,
    "transfer": 1,
    "transfer_batch": 1,
    "add_funding": 2,
    "remove_funding": 1,
    "collect_fee": 1,
    "two_amms": 1,
    "burst": 1,
}


@dataclass(kw_only=True)
class Life:
    """A market and how far it is."""

    market: Market
    plan: Plan
    providers: list[Address] = field(default_factory=list)  # who may hold LP shares
    proposed: bool = False
    ended: bool = False


def play(
    w3: Web3,
    deployment: Deployment,
    *,
    seed: int,
    markets: int = 6,
    steps: int = 120,
    span: int = TRADING_SPAN,
    stopping: threading.Event | None = None,
) -> "Bots":
    """Creates markets, trades for `steps` steps spread over `span` seconds of the chain's clock, ends some markets.

    The same seed on the same chain gives the same transactions. `stopping` ends it early, between two steps.
    Raises TransactionReverted.
    """
    bots = Bots(Actions(w3, deployment), seed=seed)
    bots.settle_in()
    for _ in range(markets):
        bots.open_market()
    waves = (steps - steps // 2, steps // 2)
    for wave, count in enumerate(waves):
        for _ in range(count):
            if stopping and stopping.is_set():
                return bots
            bots.step()
            bots.actions.advance(bots.rng.randint(1, max(1, 2 * span // max(1, steps))))
        bots.end_wave([life for i, life in enumerate(bots.lives) if i % len(waves) == wave])
    return bots


class Bots:
    """Traders, a contract wallet, voters; every choice comes from one generator, seeded once."""

    def __init__(self, actions: Actions, *, seed: int) -> None:
        self.actions = actions
        self.rng = random.Random(seed)
        self.lives: list[Life] = []
        accounts = actions.accounts
        self.traders = accounts[1:6]
        self.voters = accounts[1:5]
        self.proposer, self.disputer = accounts[6:8]
        self.wallet_owner = accounts[8]
        self.bystander = accounts[9]  # never holds anything: redeems nothing
        self.wallet: Address | None = None
        self._deck: list[str] = []
        self._opened = 0
        self._questions: dict[bool, list[tuple[str, tuple[str, ...], int]]] = {False: [], True: []}

    # --- setting up ---------------------------------------------------------------------------------------------------

    def settle_in(self) -> None:
        """Gives the voters their weights and deploys the contract wallet."""
        self.wallet = self.actions.deploy_wallet(self.wallet_owner)
        for voter, weight in zip(self.voters, VOTING_WEIGHTS, strict=True):
            missing = weight - self.actions.aurum.functions.balanceOf(voter).call()
            if missing > 0:
                self.actions.mint_aurum(voter, missing)

    def open_market(self) -> Life:
        plan = PLANS[self._opened % len(PLANS)]
        self._opened += 1
        question, outcomes, days = self._question(plan.categorical)
        market = self.actions.create_market(question, outcomes, resolves_in=days * DAY + self.rng.randint(0, DAY))
        life = Life(market=market, plan=plan)
        if plan.amm:
            liquidity = self.rng.choice((5_000, 20_000, 50_000)) * USDC
            life.market = self.actions.deploy_amm(market, liquidity=liquidity, fee=self.rng.choice(FEES))
            life.providers.append(self.actions.admin)
        self.actions.split(life.market, 100 * USDC, sender=self.traders[SPLITTER])
        self.lives.append(life)
        return life

    def adopt_markets(self) -> None:
        """Takes over the markets that the chain has, from their logs."""
        known = {life.market.market_id for life in self.lives}
        for life in _lives_on_chain(self.actions):
            if life.market.market_id not in known:
                self.lives.append(life)
        self._opened = len(self.lives)

    def _question(self, categorical: bool) -> tuple[str, tuple[str, ...], int]:
        if not self._questions[categorical]:
            catalogue = list(CATEGORICAL if categorical else BINARY)
            self.rng.shuffle(catalogue)
            self._questions[categorical] = catalogue
        return self._questions[categorical].pop()

    # --- trading ------------------------------------------------------------------------------------------------------

    def step(self) -> str | None:
        """One step of trading; its name, None when no market is open for it."""
        if not self._deck:
            self._deck = [name for name, count in DECK.items() for _ in range(count)]
            self.rng.shuffle(self._deck)
        name = self._deck.pop()
        if not self._open_lives(amm=True):
            return None
        moves: dict[str, Callable[[], None]] = {
            "buy": self._buy,
            "sell": self._sell,
            "split": self._split,
            "merge": self._merge,
            "transfer": self._transfer,
            "transfer_batch": self._transfer_batch,
            "add_funding": self._add_funding,
            "remove_funding": self._remove_funding,
            "collect_fee": self._collect_fee,
            "two_amms": self._two_amms,
            "burst": self._burst,
        }
        moves[name]()
        return name

    def _open_lives(self, *, amm: bool) -> list[Life]:
        return [life for life in self.lives if not life.ended and (life.market.amm or not amm)]

    def _life(self, *, amm: bool = True) -> Life:
        return self.rng.choice(self._open_lives(amm=amm))

    def _outcome(self, market: Market) -> int:
        return self.rng.randrange(len(market.outcomes))

    def _stake(self) -> int:
        return self.rng.randint(5 * USDC, 400 * USDC)

    def _buy(self) -> None:
        market = self._life().market
        self.actions.buy(market, self._outcome(market), self._stake(), sender=self.rng.choice(self.traders))

    def _sell(self) -> None:
        """Sells a part of what a trader holds; one who holds nothing buys first."""
        market, trader = self._life().market, self.rng.choice(self.traders)
        balances = self.actions.balances(market, trader)
        outcome = max(range(len(balances)), key=balances.__getitem__)
        if not balances[outcome]:
            self.actions.buy(market, outcome, self._stake(), sender=trader)
            balances = self.actions.balances(market, trader)
        wanted = balances[outcome] // self.rng.randint(2, 5)
        while wanted and not self._can_sell(market, outcome, wanted, balances[outcome]):
            wanted //= 2
        if wanted:
            self.actions.sell(market, outcome, wanted, sender=trader)

    def _can_sell(self, market: Market, outcome: int, wanted: int, balance: int) -> bool:
        try:
            return self.actions.tokens_to_sell(market, outcome, wanted) <= balance
        except ContractLogicError:
            return False  # more than the pool has

    def _split(self) -> None:
        market = self._life(amm=False).market
        self.actions.split(market, self._stake(), sender=self.rng.choice(self.traders))

    def _merge(self) -> None:
        market, trader = self._life(amm=False).market, self.rng.choice(self.traders)
        sets = min(self.actions.balances(market, trader))
        if not sets:
            sets = self._stake()
            self.actions.split(market, sets, sender=trader)
        self.actions.merge(market, max(1, sets // 2), sender=trader)

    def _transfer(self) -> None:
        market, holder = self._holding()
        balances = self.actions.balances(market, holder)
        outcome = max(range(len(balances)), key=balances.__getitem__)
        self.actions.transfer(market, outcome, max(1, balances[outcome] // 3), sender=holder, to=self._receiver())

    def _transfer_batch(self) -> None:
        market, holder = self._holding()
        amounts = [(i, balance // 4) for i, balance in enumerate(self.actions.balances(market, holder))]
        self.actions.transfer_batch(market, amounts, sender=holder, to=self._receiver())

    def _holding(self) -> tuple[Market, Address]:
        """An open market and a trader who holds some of it."""
        market, holder = self._life(amm=False).market, self.rng.choice(self.traders)
        if not any(self.actions.balances(market, holder)):
            self.actions.split(market, self._stake(), sender=holder)
        return market, holder

    def _receiver(self) -> Address:
        return self.rng.choice([*self.traders, self.wallet or self.wallet_owner])

    def _add_funding(self) -> None:
        life, trader = self._life(), self.rng.choice(self.traders)
        self.actions.add_funding(life.market, 10 * self._stake(), sender=trader)
        if trader not in life.providers:
            life.providers.append(trader)

    def _remove_funding(self) -> None:
        """Never all of it: an empty pool would end the trading."""
        life = self._life()
        if not life.providers:
            return
        provider = self.rng.choice(life.providers)
        shares = self.actions.shares(life.market, provider) // self.rng.randint(3, 6)
        if shares:
            self.actions.remove_funding(life.market, shares, sender=provider)

    def _collect_fee(self) -> None:
        market, payer = self._life(amm=False).market, self.rng.choice(self.traders)
        self.actions.collect_fee(market, self._stake() // 50, sender=payer)

    def _two_amms(self) -> None:
        """The contract wallet trades on two AMMs in one transaction (on one twice, if there is only one)."""
        if self.wallet is None:
            return
        first, second = self._life().market, self._life().market
        others = [life.market for life in self._open_lives(amm=True) if life.market.amm != first.amm]
        second = self.rng.choice(others or [first])
        with self.actions.through(self.wallet):
            for market in (first, second):
                self.actions.buy(market, self._outcome(market), self._stake(), sender=self.wallet)

    def _burst(self) -> None:
        """Several traders, one block."""
        market = self._life().market
        with self.actions.several_in_one_block():
            for trader in self.rng.sample(self.traders, 3):
                self.actions.buy(market, self._outcome(market), self._stake(), sender=trader)
            self.actions.split(market, self._stake(), sender=self.rng.choice(self.traders))

    # --- the end of a market ------------------------------------------------------------------------------------------

    def end_wave(self, lives: Sequence[Life]) -> None:
        """Ends these markets side by side: about two days of the chain's clock."""
        ending = [life for life in lives if life.plan.ending is not Ending.OPEN and not life.ended]
        voided = [life for life in ending if life.plan.ending is Ending.VOID]
        proposed = [life for life in ending if life.plan.ending is not Ending.VOID]
        disputed = [life for life in proposed if life.plan.ending in VOTES]
        for life in proposed:
            self.actions.propose(life.market, self._payouts(life, 0), sender=self.proposer)
        for life in voided:
            self._unless_settled(self.actions.void, life.market)
        for life in disputed:
            self.actions.dispute(life.market, self._payouts(life, 1), sender=self.disputer)
        ballots = [(life, *ballot) for life in disputed for ballot in self._ballots(life)]
        for life, voter, payouts, salt in ballots:
            self.actions.commit(life.market, payouts, salt, sender=voter)
        if proposed:
            self.actions.advance(24 * HOUR + 60)
        for life in proposed:
            if life not in disputed:
                self._unless_settled(self.actions.finalize, life.market)
        for life, voter, payouts, salt in ballots:
            self.actions.reveal(life.market, payouts, salt, sender=voter)
        if disputed:
            self.actions.advance(24 * HOUR + 60)
        for life in disputed:
            self._unless_settled(self.actions.finalize, life.market)
        for life in ending:
            life.ended = True
            self._settle(life)

    def _unless_settled(self, settle: Callable[[Market], object], market: Market) -> None:
        """A resolver beside the bots may be quicker: then the contract refuses, and all is as it should be."""
        try:
            settle(market)
        except TransactionReverted:
            if not self.actions.proposal(market)["resolved"]:
                raise

    def _payouts(self, life: Life, winner: int) -> list[int]:
        count = len(life.market.outcomes)
        if life.plan.ending is Ending.FRACTIONAL:
            return [7 * ONE // 10, 3 * ONE // 10] + [0] * (count - 2)
        if life.plan.ending is Ending.EVEN:
            return [ONE // 2, ONE // 2] + [0] * (count - 2)
        return [ONE if i == winner else 0 for i in range(count)]

    def _ballots(self, life: Life) -> list[tuple[Address, list[int], bytes]]:
        return [
            (self.voters[voter], self._payouts(life, side), self.rng.randbytes(32))
            for voter, side in VOTES[life.plan.ending]
        ]

    def _settle(self, life: Life) -> None:
        """Announces the resolution, or not; winners, losers and one with nothing redeem, some holders do not."""
        if life.plan.announced:
            self._unless_settled(self.actions.resolve_market, life.market)
        for holder in (self.traders[SPLITTER], self.bystander, *self.rng.sample(self.traders, 2)):
            sets = life.market.full_partition if self.rng.random() < 0.7 else [1 << self._outcome(life.market)]
            self.actions.redeem(life.market, sender=holder, index_sets=sets)

    # --- going on forever ---------------------------------------------------------------------------------------------

    def follow(self, stopping: threading.Event, *, pace: float) -> None:
        """Trades, now and then opens or ends a market, a step every `pace` seconds until `stopping` is set.

        The chain's clock is the wall clock's here. Others (a resolver) may act on the same markets at the same time,
        so a revert is logged, not raised.
        """
        while not stopping.wait(pace):
            try:
                self._follow_step()
            except TransactionReverted as error:
                logger.warning("a bot's transaction failed: %s", error)

    def _follow_step(self) -> None:
        few = len(self._open_lives(amm=True)) < FOLLOW_OPEN_MARKETS
        if few or self.rng.randrange(FOLLOW_NEW_MARKET) == 0:
            self.open_market()
        elif self.rng.randrange(FOLLOW_END_MARKET) == 0:
            self._end_one()
        else:
            self.step()

    def _end_one(self) -> None:
        """Finalises a proposal whose time is up; without one, voids a market or proposes an outcome for later."""
        life = self._life(amm=False)
        for candidate in [life for life in self.lives if life.proposed and not life.ended]:
            if self._try_to_finalize(candidate):
                return
        if life.proposed or self.rng.random() < 0.5:
            self._unless_settled(self.actions.void, life.market)
            life.ended = True
            self._settle(life)
        else:
            life.proposed = True
            self.actions.propose(life.market, self._payouts(life, self._outcome(life.market)), sender=self.proposer)

    def _try_to_finalize(self, life: Life) -> bool:
        proposal = self.actions.proposal(life.market)
        due = proposal["revealEndsAt"] or proposal["expiresAt"]
        if not proposal["resolved"] and not due <= self.actions.now():
            return False
        life.ended = True
        if not proposal["resolved"]:
            self._unless_settled(self.actions.finalize, life.market)
        self._settle(life)
        return True

    def catch_up(self, wall_clock: float) -> None:
        """Moves the chain's clock to the present, if it is behind, with some proposals whose time is up by then."""
        behind = int(wall_clock) - self.actions.now()
        if behind <= 0:
            return
        if 25 * HOUR < behind < 6 * DAY:
            for life in self._open_lives(amm=True)[FOLLOW_OPEN_MARKETS:]:
                if not life.proposed:
                    self.actions.propose(life.market, self._payouts(life, 0), sender=self.proposer)
                    life.proposed = True
        self.actions.advance(behind)


# Who (an index of voters) votes for which side (0: the proposal's outcome, 1: the dispute's). See VOTING_WEIGHTS.
VOTES = {
    Ending.DISPUTE_WON: ((0, 1), (2, 1), (1, 0)),
    Ending.DISPUTE_LOST: ((0, 0), (1, 0), (3, 1)),
    Ending.TIE: ((0, 0), (1, 1)),
}


def _lives_on_chain(actions: Actions) -> list[Life]:
    factory, oracle, tokens = actions.market_factory, actions.oracle, actions.conditional_tokens
    amms = {
        bytes(log["topics"][1]): Web3.to_checksum_address(log["topics"][2][12:])
        for log in _logs(actions, factory.events.AMMDeployed().topic, factory.address)
    }
    resolved = {
        bytes(log["topics"][1]) for log in _logs(actions, tokens.events.ConditionResolution().topic, tokens.address)
    }
    proposals = _logs(actions, oracle.events.OutcomeProposed().topic, oracle.address)
    proposed = {bytes(log["topics"][1]) for log in proposals}
    lives = []
    for log in _logs(actions, factory.events.MarketCreated().topic, factory.address):
        market = _market_of(log, amms)
        lives.append(
            Life(
                market=market,
                plan=Plan(ending=Ending.OPEN, categorical=len(market.outcomes) > 2, amm=market.amm is not None),
                providers=[market.creator] if market.amm else [],
                proposed=market.question_id in proposed,
                ended=market.condition_id in resolved,
            )
        )
    return lives


def _logs(actions: Actions, topic: str, address: Address) -> Sequence[LogReceipt]:
    start = actions.deployment.start_block
    return actions.w3.eth.get_logs({"address": address, "topics": [topic], "fromBlock": start})


def _market_of(log: LogReceipt, amms: dict[bytes, Address]) -> Market:
    # By hand: the texts may be no UTF-8, which web3's decoder refuses.
    types = ["address", "address", "bytes", "bytes[]", "uint256"]
    creator, collateral, question, outcomes, resolution_time = decode(types, log["data"])
    market_id, question_id, condition_id = (bytes(topic) for topic in log["topics"][1:])
    return Market(
        market_id=market_id,
        question_id=question_id,
        condition_id=condition_id,
        creator=Web3.to_checksum_address(creator),
        collateral=Web3.to_checksum_address(collateral),
        question=question,
        outcomes=tuple(outcomes),
        resolution_time=resolution_time,
        amm=amms.get(market_id),
    )
