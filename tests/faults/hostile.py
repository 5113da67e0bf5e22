"""A World in which everything odd happens that contracts allow, and much that they do not.

What a contract can do raises no alarm; what can't be true (a sender who holds nothing, a payout before the resolution)
leaves its markets in `doubted`. Nothing impossible is ever applied, so that the state stays what the ledger must hold.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markets.ctf import collection_id, outcome_position_ids, position_id
from tests.fakes import FakeLog, Transaction
from tests.faults.world import (
    ACTIONS,
    AURUM_ORACLE,
    COLLATERAL,
    CONDITIONAL_TOKENS,
    FEE_COLLECTOR,
    MARKET_FACTORY,
    NO_PARENT,
    ONE,
    USERS,
    ZERO,
    FakeMarket,
    World,
    log,
)

MAX = 2**256 - 1
OTHER_COLLATERAL = "0x" + "d1" * 20
HOARDERS = ["0x" + f"{number:02x}" * 20 for number in (0xE1, 0xE2)]  # their balances may be as large as they get
PHANTOM = "0x" + "e3" * 20  # holds nothing, ever
LIARS = ["0x" + f"{number:02x}" * 20 for number in (0xE4, 0xE5)]  # say more than they hold; nobody else deals with them
UNKNOWN_IDS = [0, 1, 3 * 10**70, MAX]

SPLIT = (
    "(address indexed stakeholder, address collateralToken, bytes32 indexed parentCollectionId, "
    "bytes32 indexed conditionId, uint256[] partition, uint256 amount)"
)
CREATED = (
    "MarketCreated(bytes32 indexed marketId, bytes32 indexed questionId, bytes32 indexed conditionId, "
    "address creator, address collateralToken, string question, string[] outcomes, uint256 resolutionTime)"
)
PREPARED = (
    "ConditionPreparation(bytes32 indexed conditionId, address indexed oracle, bytes32 indexed questionId, "
    "uint256 outcomeSlotCount)"
)
CONDITION_RESOLVED = (
    "ConditionResolution(bytes32 indexed conditionId, address indexed oracle, bytes32 indexed questionId, "
    "uint256 outcomeSlotCount, uint256[] payoutNumerators)"
)
MARKET_RESOLVED = "MarketResolved(bytes32 indexed marketId, bytes32 indexed conditionId, uint256[] payouts)"
ANNOUNCED = "AMMDeployed(bytes32 indexed marketId, address indexed amm, uint256 initialLiquidity, uint256 fee)"
REDEEMED = (
    "PayoutRedemption(address indexed redeemer, address indexed collateralToken, bytes32 indexed parentCollectionId, "
    "bytes32 conditionId, uint256[] indexSets, uint256 payout)"
)
SINGLE = "TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value)"
BATCH = (
    "TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values)"
)
BOUGHT = (
    "FPMMBuy(address indexed buyer, uint256 investmentAmount, uint256 feeAmount, uint256 indexed outcomeIndex, "
    "uint256 outcomeTokensBought)"
)
SHARES = "Transfer(address indexed from, address indexed to, uint256 value)"
FEE = "FeeCollected(address indexed token, bytes32 indexed marketId, address indexed payer, uint256 amount)"
QUESTION_EVENTS = (
    "ProposalDisputed(bytes32 indexed questionId, address indexed disputer, uint256[] payouts, uint256 stake)",
    "VoteCommitted(bytes32 indexed questionId, address indexed voter, bytes32 commitHash)",
    "VoteRevealed(bytes32 indexed questionId, address indexed voter, uint256[] payouts, uint256 weight)",
    "QuestionVoided(bytes32 indexed questionId)",
)


@dataclass
class HostileWorld(World):
    """World, with more actions.

    `upcoming` are conditions in use that no market has yet. `ghosts` are AMMs of branches that were replaced.
    `uneven`: market ids whose outcomes need not be equally many any more. `collaterals` by market id, where it is not
    the usual one.
    """

    balances: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    upcoming: list[FakeMarket] = field(default_factory=list)
    ghosts: list[str] = field(default_factory=list)
    amms: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    uneven: set[str] = field(default_factory=set)
    collaterals: dict[str, str] = field(default_factory=dict)
    resolved: dict[str, list[int]] = field(default_factory=dict)  # payouts by condition

    def block(self) -> list[Transaction]:
        """The transactions of one block: more of them than World has."""
        return [logs for _ in range(self.dice.choice([0, 1, 2, 3, 5])) if (logs := self.transaction())]

    def transaction(self) -> list[FakeLog]:
        """One transaction: up to three actions."""
        logs: list[FakeLog] = []
        for _ in range(self.dice.choice([1, 1, 2, 3])):
            logs += self.dice.choice(ALL_ACTIONS if self.markets else FIRST_ACTIONS)(self) or []
        return logs

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _collateral(self, market: FakeMarket) -> str:
        return self.collaterals.get(market.market_id, COLLATERAL)

    def _sets(self, name: str, market: FakeMarket, holder: str, amount: int) -> list[FakeLog]:
        ends = (ZERO, holder) if name == "PositionSplit" else (holder, ZERO)
        moved = self._move(*ends, [(id_, amount) for id_ in market.ids], batch=True)
        return [moved, self._why(name, market, holder, [1 << index for index in range(market.outcomes)], amount)]

    def _why(
        self,
        name: str,
        market: FakeMarket,
        holder: str,
        partition: Sequence[int],
        amount: int,
        *,
        parent: str = NO_PARENT,
        condition_id: str | None = None,
    ) -> FakeLog:
        return log(
            CONDITIONAL_TOKENS,
            name + SPLIT,
            stakeholder=holder,
            collateralToken=self._collateral(market),
            parentCollectionId=parent,
            conditionId=condition_id or market.condition_id,
            partition=list(partition),
            amount=amount,
        )

    def sent(self, sender: str, receiver: str, ids: Sequence[int], values: Sequence[int]) -> FakeLog:
        """The log alone: nothing moves in this world."""
        ends = {"operator": USERS[0], "from": sender, "to": receiver}
        return log(CONDITIONAL_TOKENS, BATCH, ids=list(ids), values=list(values), **ends)

    def _used(self) -> list[FakeMarket]:
        """Markets, and conditions that no market has yet."""
        return [*self.markets, *self.upcoming]

    def created(self, market: FakeMarket, **changes: object) -> FakeLog:
        arguments: dict[str, object] = {
            "marketId": market.market_id,
            "questionId": market.question_id,
            "conditionId": market.condition_id,
            "creator": USERS[0],
            "collateralToken": self._collateral(market),
            "question": self.dice.choice(["Then?", "\t\\N\n\\.", "\u2028\r'\"", ""]),
            "outcomes": [f"{index}" for index in range(market.outcomes)],
            "resolutionTime": 2 ** self.dice.choice([31, 40, 256]) - 1,
        }
        return log(MARKET_FACTORY, CREATED, **arguments | changes)

    def _announced(self, market_id: str, amm: str) -> FakeLog:
        return log(MARKET_FACTORY, ANNOUNCED, marketId=market_id, amm=amm, initialLiquidity=5, fee=MAX)

    # --- conditions that are used before they have a market --------------------------------------------------------

    def prepare(self) -> list[FakeLog]:
        """A condition, and complete sets of it at once."""
        outcomes = self.dice.choice([2, 3])
        market_id, question_id, condition_id = (self._new(kind) for kind in ("market", "question", "condition"))
        ids = outcome_position_ids(COLLATERAL, condition_id, outcomes)
        market = FakeMarket(market_id, question_id, condition_id, outcomes, ids)
        self.upcoming.append(market)
        prepared = {"oracle": AURUM_ORACLE, "questionId": question_id, "outcomeSlotCount": outcomes}
        return [
            log(CONDITIONAL_TOKENS, PREPARED, conditionId=condition_id, **prepared),
            *self._sets("PositionSplit", market, self.dice.choice(USERS), self._amount()),
        ]

    def use_upcoming(self) -> list[FakeLog] | None:
        """Splits, a fee and transfers of what no market claims yet."""
        if not self.upcoming:
            return None
        market, user = self.dice.choice(self.upcoming), self.dice.choice(USERS)
        logs = self._sets("PositionSplit", market, user, self._amount())
        id_ = self.dice.choice(market.ids)
        moved = [(id_, self.dice.randint(0, self.balances[user, id_]))]
        logs.append(self._move(user, self.dice.choice(USERS), moved, batch=self.dice.random() < 0.5))
        fee = {"token": self._collateral(market), "payer": user, "amount": self._amount()}
        logs.append(log(FEE_COLLECTOR, FEE, marketId=market.market_id, **fee))
        return logs

    def create_upcoming(self) -> list[FakeLog] | None:
        """Makes a market of one, sometimes in the middle of its use."""
        if not self.upcoming:
            return None
        logs = (self.use_upcoming() or []) if self.dice.random() < 0.3 else []
        market = self.upcoming.pop(self.dice.randrange(len(self.upcoming)))
        self.markets.append(market)
        market.payouts = self.resolved.get(market.condition_id)
        return [*logs, self.created(market)]

    def resolve_upcoming(self) -> list[FakeLog] | None:
        open_ = [market for market in self.upcoming if market.condition_id not in self.resolved]
        if not open_:
            return None
        market = self.dice.choice(open_)
        self.resolved[market.condition_id] = payouts = [1] * market.outcomes
        return [self._condition_resolved(market, payouts)]

    def _condition_resolved(self, market: FakeMarket, payouts: list[int]) -> FakeLog:
        return log(
            CONDITIONAL_TOKENS,
            CONDITION_RESOLVED,
            conditionId=market.condition_id,
            oracle=AURUM_ORACLE,
            questionId=market.question_id,
            outcomeSlotCount=len(payouts),
            payoutNumerators=payouts,
        )

    def other_collateral(self) -> list[FakeLog] | None:
        """The same condition in another collateral: used, and at some time a market of its own."""
        market = self.dice.choice(self.markets)
        known = {twin.condition_id for twin in self._used() if twin.market_id in self.collaterals}
        if market.condition_id in known:
            return None
        ids = outcome_position_ids(OTHER_COLLATERAL, market.condition_id, market.outcomes)
        twin = FakeMarket(self._new("market"), market.question_id, market.condition_id, market.outcomes, ids)
        self.collaterals[twin.market_id] = OTHER_COLLATERAL
        if market.payouts is not None:
            self.resolved[market.condition_id] = market.payouts
        self.upcoming.append(twin)
        return self._sets("PositionSplit", twin, self.dice.choice(USERS), self._amount())

    def resolve(self) -> list[FakeLog] | None:
        market = self._market(resolved=False)
        if market is None or market.condition_id in self.resolved:
            return None
        payouts = [self.dice.randint(0, 5) for _ in range(market.outcomes - 1)] + [1]
        self.resolved[market.condition_id] = payouts
        for twin in self.markets:
            if twin.condition_id == market.condition_id:
                twin.payouts = payouts
        logs = [self._condition_resolved(market, payouts)]
        confirmed = {"marketId": market.market_id, "conditionId": market.condition_id, "payouts": payouts}
        return [*logs, log(MARKET_FACTORY, MARKET_RESOLVED, **confirmed)] if self.dice.random() < 0.5 else logs

    # --- other ways that contracts allow ---------------------------------------------------------------------------

    def buy(self) -> list[FakeLog] | None:
        """As World's, with sets for what is left after the fee."""
        market = self._market(amm=True)
        if market is None or market.amm is None:
            return None
        outcome, user, amount = self.dice.randrange(market.outcomes), self.dice.choice(USERS), self._amount()
        fee = amount // 100
        logs = self._sets("PositionSplit", market, market.amm, amount - fee)
        bought = self.dice.randint(1, self.balances[market.amm, market.ids[outcome]])
        logs.append(self._move(market.amm, user, [(market.ids[outcome], bought)], batch=False))
        trade = {"buyer": user, "investmentAmount": amount, "feeAmount": fee, "outcomeTokensBought": bought}
        return [*logs, log(market.amm, BOUGHT, outcomeIndex=outcome, **trade)]

    def transfer(self) -> list[FakeLog] | None:
        """As World's, with a log of its own for each id that does not go in a batch."""
        sender, receiver = self.dice.choice(USERS), self.dice.choice(USERS)
        held = [(id_, amount) for (user, id_), amount in self.balances.items() if user == sender and amount]
        moves = [(id_, self.dice.randint(0, amount)) for id_, amount in self.dice.sample(held, min(3, len(held)))]
        if self.dice.random() < 0.5:
            return [self._move(sender, receiver, [move], batch=False) for move in moves]
        return [self._move(sender, receiver, moves, batch=True)]

    def redeem(self) -> list[FakeLog] | None:
        market = self._market(resolved=True)
        if market is None or market.payouts is None:
            return None
        self.uneven.add(market.market_id)
        user, logs, payout = self.dice.choice(USERS), [], 0
        for index, id_ in enumerate(market.ids):
            if held := self.balances.get((user, id_), 0):
                logs.append(self._move(user, ZERO, [(id_, held)], batch=False))
                payout += held * market.payouts[index] // sum(market.payouts)
        return [*logs, self._redemption(market, user, payout)]

    def _redemption(self, market: FakeMarket, user: str, payout: int, *, parent: str = NO_PARENT) -> FakeLog:
        return log(
            CONDITIONAL_TOKENS,
            REDEEMED,
            redeemer=user,
            collateralToken=self._collateral(market),
            parentCollectionId=parent,
            conditionId=market.condition_id,
            indexSets=[1 << index for index in range(market.outcomes)],
            payout=payout,
        )

    def partial_split(self) -> list[FakeLog]:
        """The first outcome alone against the others together, or back again."""
        market, user, amount = self.dice.choice(self._used()), self.dice.choice(USERS), self._amount()
        self.uneven.add(market.market_id)
        others = (1 << market.outcomes) - 2
        if market.outcomes == 2:
            return self._sets("PositionSplit", market, user, amount)
        together = position_id(self._collateral(market), collection_id(market.condition_id, others))
        moves, name, ends = [(market.ids[0], amount), (together, amount)], "PositionSplit", (ZERO, user)
        both = min(self.balances.get((user, id_), 0) for id_, _ in moves)
        if both and self.dice.random() < 0.5:
            moves, name, ends = [(id_, both) for id_, _ in moves], "PositionsMerge", (user, ZERO)
        return [self._move(*ends, moves, batch=True), self._why(name, market, user, [1, others], moves[0][1])]

    def deeper_split(self) -> list[FakeLog] | None:
        """Tokens of ours become sets of another condition below them; or such sets are ended, and ours appear."""
        market, user = self.dice.choice(self._used()), self.dice.choice(USERS)
        index = self.dice.randrange(market.outcomes)
        held = self.balances.get((user, market.ids[index]), 0)
        below, parent = self._new("condition"), collection_id(market.condition_id, 1 << index)
        if not held:
            return None
        self.uneven.add(market.market_id)
        amount = self.dice.randint(1, held)
        ids = [self.dice.randrange(10**60, MAX) for _ in range(2)]
        word = f"0x{parent:064x}"
        split = self._why("PositionSplit", market, user, [1, 2], amount, parent=word, condition_id=below)
        merged = self._why("PositionsMerge", market, user, [1, 2], amount, parent=word, condition_id=below)
        logs = [
            self._move(user, ZERO, [(market.ids[index], amount)], batch=False),
            self._move(ZERO, user, [(id_, amount) for id_ in ids], batch=True),
            split,
        ]
        if self.dice.random() < 0.5:
            logs += [
                self._move(user, ZERO, [(id_, amount) for id_ in ids], batch=True),
                self._move(ZERO, user, [(market.ids[index], amount)], batch=False),
                merged,
            ]
        return logs

    def odd_batch(self) -> list[FakeLog]:
        """Ids twice, zeros, unknown ids, to oneself, or nothing at all."""
        user = self.dice.choice(USERS)
        held = [(id_, amount) for (holder, id_), amount in self.balances.items() if holder == user and amount]
        moves: list[tuple[int, int]] = [(self.dice.choice(UNKNOWN_IDS), 0)]
        for id_, amount in self.dice.sample(held, min(2, len(held))):
            part = self.dice.randint(0, amount)
            moves += [(id_, part), (id_, 0), (id_, amount - part)]
        self.dice.shuffle(moves)
        receiver = self.dice.choice([user, *USERS])
        if receiver != user:
            moves = moves[: self.dice.randint(0, len(moves))]
        return [self._move(user, receiver, moves, batch=True)]

    def hoard(self) -> list[FakeLog]:
        """As many tokens as one address can hold, and all of them handed on or over to oneself."""
        market, (one, other) = self.dice.choice(self._used()), self.dice.sample(HOARDERS, 2)
        room = MAX - max(self.balances.get((one, id_), 0) for id_ in market.ids)
        logs = self._sets("PositionSplit", market, one, room)
        id_ = self.dice.choice(market.ids)
        logs.append(self._move(one, one, [(id_, self.balances[one, id_])], batch=False))
        part = min(self.balances[one, id_], MAX - self.balances.get((other, id_), 0))
        logs.append(self._move(one, other, [(id_, part)], batch=False))
        return logs

    def second_amm(self) -> list[FakeLog] | None:
        """Another AMM for a market; trades go to the one or the other from here on."""
        market = self._market(amm=True)
        if market is None:
            return None
        first, market.amm = market.amm, None
        logs = self._deploy(market)
        if self.dice.random() < 0.5:
            market.amm = first
        return logs

    def deploy_amm(self) -> list[FakeLog] | None:
        bare = [market for market in self.markets if market.amm is None]
        return self._deploy(self.dice.choice(bare)) if bare else None

    def _deploy(self, market: FakeMarket) -> list[FakeLog]:
        """As World.deploy_amm, of a given market."""
        kept, self.markets = self.markets, [market]
        logs = super().deploy_amm() or []
        self.markets = kept
        self.amms.add(str(market.amm))
        return logs

    def give_amm(self) -> list[FakeLog] | None:
        """Tokens that a pool gets without having asked for them, and shares that somebody hands on."""
        market, user = self._market(amm=True), self.dice.choice(USERS)
        held = [(id_, amount) for (holder, id_), amount in self.balances.items() if holder == user and amount]
        if market is None or market.amm is None or not held:
            return None
        id_, amount = self.dice.choice(held)
        shares = self.shares.get((market.amm, USERS[1]), 0)
        return [
            self._move(user, market.amm, [(id_, self.dice.randint(0, amount))], batch=False),
            self._share_move(market.amm, USERS[1], self.dice.choice(USERS), self.dice.randint(0, shares)),
        ]

    def vote(self) -> list[FakeLog]:
        """Any event of a question, in any order, of known and unknown ones."""
        market = self.dice.choice(self._used())
        more = {"payouts": [ONE, 0], "stake": MAX, "weight": MAX, "commitHash": market.condition_id}
        voter = self.dice.choice(USERS[:2])
        logs = []
        for declaration in self.dice.sample(QUESTION_EVENTS, self.dice.choice([1, 1, 2, 3])):
            arguments = more | {"questionId": market.question_id, "disputer": voter, "voter": voter}
            logs.append(log(AURUM_ORACLE, declaration, **arguments))
        return logs

    def odd_fee(self) -> list[FakeLog]:
        """In another token, of the largest amount, or for a market that never was."""
        market_id = self.dice.choice([self.dice.choice(self._used()).market_id, NO_PARENT])
        fee = {"token": self.dice.choice([COLLATERAL, OTHER_COLLATERAL]), "payer": USERS[3], "amount": MAX}
        return [log(FEE_COLLECTOR, FEE, marketId=market_id, **fee)]

    # --- what can't be -----------------------------------------------------------------------------------------------

    def phantom(self) -> list[FakeLog]:
        """Somebody sends what nobody gave them, alone or in a batch over several markets."""
        used = (self.upcoming if self.dice.random() < 0.5 else None) or self._used()
        markets = self.dice.sample(used, min(len(used), self.dice.choice([1, 1, 2, 3])))
        self.doubted |= {market.market_id for market in markets}
        ids = [self.dice.choice(market.ids) for market in markets]
        return [self.sent(PHANTOM, self.dice.choice(USERS), ids, [self.dice.choice([1, MAX]) for _ in ids])]

    def half_true(self) -> list[FakeLog] | None:
        """A batch over two markets that are not there yet, of one of which the sender has enough."""
        if len(self.upcoming) < 2:
            return self.prepare()
        one, other = self.dice.sample(self.upcoming, 2)
        self.doubted |= {one.market_id, other.market_id}
        moves = [(one.ids[0], 5), (other.ids[-1], self.balances[LIARS[0], other.ids[-1]] + 1)]
        self.dice.shuffle(moves)
        made = self._sets("PositionSplit", one, LIARS[0], 5)
        return [*made, self.sent(*LIARS, [id_ for id_, _ in moves], [amount for _, amount in moves])]

    def mismatched(self) -> list[FakeLog]:
        """As many ids as there are values, but for one."""
        market = self.dice.choice(self._used())
        self.doubted.add(market.market_id)
        return [self.sent(USERS[0], USERS[1], market.ids, [1] * (market.outcomes - 1))]

    def early_redemption(self) -> list[FakeLog] | None:
        market = self._market(resolved=False)
        if market is None:
            return None
        self.doubted.add(market.market_id)
        return [self._redemption(market, USERS[0], self._amount())]

    def unexplained(self) -> list[FakeLog]:
        """Tokens that come from nowhere."""
        market = self.dice.choice(self._used())
        self.doubted.add(market.market_id)
        self.uneven.add(market.market_id)
        return [self._move(ZERO, self.dice.choice(USERS), [(market.ids[0], self._amount())], batch=False)]

    def false_trade(self) -> list[FakeLog] | None:
        """A trade without tokens, or of an outcome that is not there."""
        market = self._market(amm=True)
        if market is None or market.amm is None:
            return None
        self.doubted.add(market.market_id)
        trade = {"buyer": USERS[0], "investmentAmount": MAX, "feeAmount": MAX, "outcomeTokensBought": MAX}
        return [log(market.amm, BOUGHT, outcomeIndex=self.dice.choice([0, market.outcomes, MAX]), **trade)]

    def false_resolution(self) -> list[FakeLog]:
        """No payouts, too many of them, or a second time; a confirmation of what the condition does not say."""
        market = self.dice.choice(self.markets)
        self.doubted |= {twin.market_id for twin in self.markets if twin.condition_id == market.condition_id}
        payouts = self.dice.choice([[0] * market.outcomes, [1] * 300, [7] * (market.outcomes + 1)])
        confirmed = {"marketId": market.market_id, "conditionId": market.condition_id, "payouts": payouts}
        return [self._condition_resolved(market, payouts), log(MARKET_FACTORY, MARKET_RESOLVED, **confirmed)]

    def false_market(self) -> list[FakeLog]:
        """A market again, its tokens under another id, too many outcomes, or not as many as the condition has."""
        market = self.dice.choice(self.markets)
        self.doubted.add(market.market_id)
        other = self._new("market")
        return [
            self.dice.choice(
                [
                    self.created(market),
                    self.created(market, marketId=other),
                    self.created(market, marketId=other, conditionId=other, outcomes=["x"] * 257),
                    self.created(market, marketId=other, outcomes=["x"] * (market.outcomes + 1)),
                ]
            )
        ]

    def false_amm(self) -> list[FakeLog]:
        """An AMM for no market, one again, one of our own contracts; and what such an address then emits."""
        market = self.dice.choice(self.markets)
        amm, market_id = self._new("amm")[:42], self.dice.choice([NO_PARENT, market.market_id])
        if market_id != NO_PARENT:
            amm = self.dice.choice([market.amm or CONDITIONAL_TOKENS, CONDITIONAL_TOKENS, PHANTOM, ZERO])
            self.doubted.add(market.market_id)
        else:
            self.ghosts.append(amm)
        return [self._announced(market_id, amm), *(self.ghost() or [])]

    def ghost(self) -> list[FakeLog] | None:
        """Logs of an address that was an AMM on another branch, or that was announced for no market."""
        ghosts = [address for address in self.ghosts if address not in self.amms]
        if not ghosts:
            return None
        amm = self.dice.choice(ghosts)
        trade = {"buyer": USERS[0], "investmentAmount": 5, "feeAmount": 0, "outcomeTokensBought": 5}
        shares = {"from": ZERO, "to": USERS[0], "value": 5}
        return [log(amm, SHARES, **shares), log(amm, BOUGHT, outcomeIndex=0, **trade)]

    def garbage(self) -> list[FakeLog]:
        """Our topics over bytes that are no such event."""
        genuine = self.dice.choice([self.collect_fee()[0], self.created(self.dice.choice(self.markets))])
        data = self.dice.choice([b"", b"\xff" * 31, b"\xff" * 640, genuine.data[:-33]])  # of 32, some are padding
        return [
            FakeLog(address=genuine.address, topics=genuine.topics[:1], data=genuine.data),
            FakeLog(address=genuine.address, topics=genuine.topics, data=data),
        ]


FIRST_ACTIONS: tuple[Callable[[HostileWorld], list[FakeLog] | None], ...] = (
    HostileWorld.create_market,
    HostileWorld.prepare,
    HostileWorld.use_upcoming,
    HostileWorld.create_upcoming,
)
POSSIBLE_ACTIONS: tuple[Callable[[HostileWorld], list[FakeLog] | None], ...] = (
    *[HostileWorld.prepare] * 2,
    *[HostileWorld.use_upcoming] * 3,
    *[HostileWorld.create_upcoming] * 3,
    HostileWorld.resolve_upcoming,
    *[HostileWorld.other_collateral] * 2,
    HostileWorld.partial_split,
    HostileWorld.deeper_split,
    HostileWorld.odd_batch,
    HostileWorld.hoard,
    HostileWorld.second_amm,
    HostileWorld.give_amm,
    HostileWorld.vote,
    HostileWorld.odd_fee,
    HostileWorld.garbage,
)
IMPOSSIBLE_ACTIONS: tuple[Callable[[HostileWorld], list[FakeLog] | None], ...] = (
    *[HostileWorld.phantom] * 2,
    *[HostileWorld.half_true] * 2,
    HostileWorld.mismatched,
    HostileWorld.early_redemption,
    HostileWorld.unexplained,
    HostileWorld.false_trade,
    HostileWorld.false_resolution,
    HostileWorld.false_market,
    HostileWorld.false_amm,
    HostileWorld.ghost,
)
# World's own by name, so that what this class does in another way is done so.
ALL_ACTIONS = (
    *[getattr(HostileWorld, action.__name__) for action in ACTIONS],
    *POSSIBLE_ACTIONS,
    *IMPOSSIBLE_ACTIONS,
)


def hostile_world(seed: int) -> HostileWorld:
    """A world of its own."""
    return HostileWorld(random.Random(seed))
