"""A market economy in memory, which emits the logs that the contracts would: consistent, and different for each seed.

It shares no code with the indexer but the position ids' formula. `copy()` it before a branch that may be orphaned.
"""

import copy
import random
from dataclasses import dataclass, field
from hashlib import sha3_256

from eth_abi import encode
from web3 import Web3

from indexer import events
from indexer.decode import Contracts
from markets.ctf import outcome_position_ids
from tests.fakes import FakeLog, Transaction

CONDITIONAL_TOKENS, MARKET_FACTORY, AURUM_ORACLE, FEE_COLLECTOR, COLLATERAL, FOREIGN = (
    "0x" + f"{number:02x}" * 20 for number in range(0xC1, 0xC7)
)
CONTRACTS = Contracts(
    {
        CONDITIONAL_TOKENS: events.CONDITIONAL_TOKENS,
        MARKET_FACTORY: events.MARKET_FACTORY,
        AURUM_ORACLE: events.AURUM_ORACLE,
        FEE_COLLECTOR: events.FEE_COLLECTOR,
    }
)
ZERO = "0x" + "00" * 20
NO_PARENT = "0x" + "00" * 32
USERS = ["0x" + f"{number:02x}" * 20 for number in range(1, 7)]
ONE = 10**18


def log(address: str, declaration: str, **arguments: object) -> FakeLog:
    """A log of the event that Solidity would declare so."""
    name, _, inside = declaration.rstrip(")").partition("(")
    parameters = [words.split() for words in inside.split(",")]
    topics = ["0x" + Web3.keccak(text=f"{name}({','.join(words[0] for words in parameters)})").hex()]
    plain: list[tuple[str, object]] = []
    for words in parameters:
        type_, value = words[0], arguments[words[-1]]
        value = bytes.fromhex(value[2:]) if type_ == "bytes32" and isinstance(value, str) else value
        if "indexed" in words:
            topics.append("0x" + encode([type_], [value]).hex())
        else:
            plain.append((type_, value))
    data = encode([type_ for type_, _ in plain], [value for _, value in plain])
    return FakeLog(address=address, topics=tuple(topics), data=data)


@dataclass
class FakeMarket:
    """One market of the world."""

    market_id: str
    question_id: str
    condition_id: str
    outcomes: int
    ids: tuple[int, ...]
    amm: str | None = None
    payouts: list[int] | None = None
    proposed: bool = False


@dataclass
class World:
    """State and dice. Each action changes the state and returns the logs of one transaction, or None if it can't be."""

    dice: random.Random
    markets: list[FakeMarket] = field(default_factory=list)
    balances: dict[tuple[str, int], int] = field(default_factory=dict)
    shares: dict[tuple[str, str], int] = field(default_factory=dict)
    made: int = 0

    def copy(self) -> "World":
        """The same state and dice, to go another way from here."""
        return copy.deepcopy(self)

    def block(self) -> list[Transaction]:
        """The transactions of one block, often none."""
        count = self.dice.choice([0, 0, 1, 1, 2, 4])
        return [logs for _ in range(count) if (logs := self.transaction())]

    def transaction(self) -> list[FakeLog]:
        """One transaction: one action, sometimes two."""
        logs: list[FakeLog] = []
        for _ in range(self.dice.choice([1, 1, 1, 2])):
            actions = ACTIONS if self.markets else (World.create_market,)
            logs += self.dice.choice(actions)(self) or []
        return logs

    # --- helpers of actions ----------------------------------------------------------------------------------------

    def _new(self, kind: str) -> str:
        self.made += 1
        return "0x" + sha3_256(f"{kind} {self.made} {self.dice.random()}".encode()).hexdigest()

    def _market(self, *, amm: bool = False, resolved: bool | None = None) -> FakeMarket | None:
        fitting = [
            market
            for market in self.markets
            if (market.amm or not amm) and (resolved is None or (market.payouts is not None) == resolved)
        ]
        return self.dice.choice(fitting) if fitting else None

    def _amount(self) -> int:
        return self.dice.choice([1, 7, 1_000, 10**6, 10**18, 2**96])

    def _move(self, sender: str, receiver: str, moves: list[tuple[int, int]], *, batch: bool) -> FakeLog:
        for position_id, amount in moves:
            if sender != ZERO:
                self.balances[sender, position_id] -= amount
            if receiver != ZERO:
                self.balances[receiver, position_id] = self.balances.get((receiver, position_id), 0) + amount
        operator = {"operator": USERS[0], "from": sender, "to": receiver}
        if batch:
            ids, values = zip(*moves, strict=True) if moves else ((), ())
            declaration = "TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values)"  # noqa: E501
            return log(CONDITIONAL_TOKENS, declaration, ids=ids, values=values, **operator)
        declaration = "TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value)"  # noqa: E501
        return log(CONDITIONAL_TOKENS, declaration, id=moves[0][0], value=moves[0][1], **operator)

    def _sets(self, name: str, market: FakeMarket, holder: str, amount: int) -> list[FakeLog]:
        """Complete sets made (PositionSplit) or ended (PositionsMerge)."""
        moves = [(position_id, amount) for position_id in market.ids]
        ends = (ZERO, holder) if name == "PositionSplit" else (holder, ZERO)
        why = log(
            CONDITIONAL_TOKENS,
            f"{name}(address indexed stakeholder, address collateralToken, bytes32 indexed parentCollectionId, "
            "bytes32 indexed conditionId, uint256[] partition, uint256 amount)",
            stakeholder=holder,
            collateralToken=COLLATERAL,
            parentCollectionId=NO_PARENT,
            conditionId=market.condition_id,
            partition=[1 << outcome for outcome in range(market.outcomes)],
            amount=amount,
        )
        return [self._move(*ends, moves, batch=True), why]

    def _share_move(self, amm: str, sender: str, receiver: str, value: int) -> FakeLog:
        for holder, change in ((sender, -value), (receiver, value)):
            if holder != ZERO:
                self.shares[amm, holder] = self.shares.get((amm, holder), 0) + change
        declaration = "Transfer(address indexed from, address indexed to, uint256 value)"
        return log(amm, declaration, **{"from": sender, "to": receiver, "value": value})

    # --- actions ---------------------------------------------------------------------------------------------------

    def create_market(self) -> list[FakeLog]:
        """createMarket; now and then the condition was prepared, and split, in an earlier transaction."""
        outcomes = self.dice.choice([2, 2, 3, 5])
        market_id, question_id, condition_id = (self._new(kind) for kind in ("market", "question", "condition"))
        ids = outcome_position_ids(COLLATERAL, condition_id, outcomes)
        self.markets.append(FakeMarket(market_id, question_id, condition_id, outcomes, ids))
        question = self.dice.choice(["Will it?", "<b>\x00\u202e</b>", "\U0001f680" * 50, ""])
        return [
            log(
                AURUM_ORACLE,
                "QuestionRegistered(bytes32 indexed questionId, uint256 outcomeSlotCount, bool isBinary)",
                questionId=question_id,
                outcomeSlotCount=outcomes,
                isBinary=outcomes == 2,
            ),
            log(
                CONDITIONAL_TOKENS,
                "ConditionPreparation(bytes32 indexed conditionId, address indexed oracle, bytes32 indexed questionId, "
                "uint256 outcomeSlotCount)",
                conditionId=condition_id,
                oracle=AURUM_ORACLE,
                questionId=question_id,
                outcomeSlotCount=outcomes,
            ),
            log(
                MARKET_FACTORY,
                "MarketCreated(bytes32 indexed marketId, bytes32 indexed questionId, bytes32 indexed conditionId, "
                "address creator, address collateralToken, string question, string[] outcomes, uint256 resolutionTime)",
                marketId=market_id,
                questionId=question_id,
                conditionId=condition_id,
                creator=USERS[0],
                collateralToken=COLLATERAL,
                question=question,
                outcomes=[f"{outcome}" for outcome in range(outcomes)],
                resolutionTime=2 ** self.dice.choice([31, 40, 256]) - 1,
            ),
        ]

    def deploy_amm(self) -> list[FakeLog] | None:
        market = self.dice.choice(self.markets)
        if market.amm is not None:
            return None
        market.amm = amm = self._new("amm")[:42]
        amount = 10**9
        logs = self._sets("PositionSplit", market, amm, amount)
        logs.append(self._share_move(amm, ZERO, MARKET_FACTORY, amount))
        logs.append(self._move(amm, MARKET_FACTORY, [(position_id, 0) for position_id in market.ids], batch=True))
        logs.append(self._funding_added(amm, MARKET_FACTORY, [amount] * market.outcomes, amount))
        logs.append(self._share_move(amm, MARKET_FACTORY, USERS[1], amount))
        declaration = (
            "AMMDeployed(bytes32 indexed marketId, address indexed amm, uint256 initialLiquidity, uint256 fee)"
        )
        announced = {"marketId": market.market_id, "amm": amm, "initialLiquidity": amount, "fee": 10**16}
        return [*logs, log(MARKET_FACTORY, declaration, **announced)]

    def _funding_added(self, amm: str, funder: str, amounts: list[int], shares: int) -> FakeLog:
        declaration = "FPMMFundingAdded(address indexed funder, uint256[] amountsAdded, uint256 sharesMinted)"
        return log(amm, declaration, funder=funder, amountsAdded=amounts, sharesMinted=shares)

    def buy(self) -> list[FakeLog] | None:
        market = self._market(amm=True)
        if market is None or market.amm is None:
            return None
        outcome, user, amount = self.dice.randrange(market.outcomes), self.dice.choice(USERS), self._amount()
        logs = self._sets("PositionSplit", market, market.amm, amount)
        bought = self.dice.randint(1, self.balances[market.amm, market.ids[outcome]])
        logs.append(self._move(market.amm, user, [(market.ids[outcome], bought)], batch=False))
        declaration = "FPMMBuy(address indexed buyer, uint256 investmentAmount, uint256 feeAmount, uint256 indexed outcomeIndex, uint256 outcomeTokensBought)"  # noqa: E501
        trade = {"buyer": user, "investmentAmount": amount, "feeAmount": amount // 100}
        return [*logs, log(market.amm, declaration, outcomeIndex=outcome, outcomeTokensBought=bought, **trade)]

    def sell(self) -> list[FakeLog] | None:
        market = self._market(amm=True)
        if market is None or market.amm is None:
            return None
        outcome, user = self.dice.randrange(market.outcomes), self.dice.choice(USERS)
        held = self.balances.get((user, market.ids[outcome]), 0)
        if not held:
            return None
        sold = self.dice.randint(1, held)
        logs = [self._move(user, market.amm, [(market.ids[outcome], sold)], batch=False)]
        sets = self.dice.randint(0, min(self.balances[market.amm, position_id] for position_id in market.ids))
        logs += self._sets("PositionsMerge", market, market.amm, sets)
        declaration = "FPMMSell(address indexed seller, uint256 returnAmount, uint256 feeAmount, uint256 indexed outcomeIndex, uint256 outcomeTokensSold)"  # noqa: E501
        trade = {"seller": user, "returnAmount": sets, "feeAmount": 0}
        return [*logs, log(market.amm, declaration, outcomeIndex=outcome, outcomeTokensSold=sold, **trade)]

    def remove_funding(self) -> list[FakeLog] | None:
        market = self._market(amm=True)
        if market is None or market.amm is None:
            return None
        amm, user = market.amm, USERS[1]
        burnt = self.dice.randint(0, self.shares.get((amm, user), 0))
        amounts = [self.dice.randint(0, self.balances[amm, position_id]) for position_id in market.ids]
        logs = [self._share_move(amm, user, ZERO, burnt)]
        logs.append(self._move(amm, user, list(zip(market.ids, amounts, strict=True)), batch=True))
        declaration = "FPMMFundingRemoved(address indexed funder, uint256[] amountsRemoved, uint256 collateralRemovedFromFeePool, uint256 sharesBurnt)"  # noqa: E501
        removed = {"amountsRemoved": amounts, "collateralRemovedFromFeePool": 3, "sharesBurnt": burnt}
        return [*logs, log(amm, declaration, funder=user, **removed)]

    def split(self) -> list[FakeLog]:
        return self._sets("PositionSplit", self.dice.choice(self.markets), self.dice.choice(USERS), self._amount())

    def merge(self) -> list[FakeLog] | None:
        market, user = self.dice.choice(self.markets), self.dice.choice(USERS)
        sets = min(self.balances.get((user, position_id), 0) for position_id in market.ids)
        return self._sets("PositionsMerge", market, user, self.dice.randint(1, sets)) if sets else None

    def transfer(self) -> list[FakeLog] | None:
        sender, receiver = self.dice.choice(USERS), self.dice.choice(USERS)
        held = [(position_id, amount) for (user, position_id), amount in self.balances.items() if user == sender]
        moves = [(position_id, self.dice.randint(0, amount)) for position_id, amount in held][:3]
        return [self._move(sender, receiver, moves, batch=self.dice.random() < 0.5)] if moves else None

    def propose(self) -> list[FakeLog] | None:
        market = self._market(resolved=False)
        if market is None or market.proposed:
            return None
        market.proposed = True
        declaration = "OutcomeProposed(bytes32 indexed questionId, address indexed proposer, uint256[] payouts, uint256 stake, uint256 expiresAt)"  # noqa: E501
        payouts = [ONE] + [0] * (market.outcomes - 1)
        proposal = {"proposer": USERS[2], "payouts": payouts, "stake": 100 * ONE, "expiresAt": 2**256 - 1}
        return [log(AURUM_ORACLE, declaration, questionId=market.question_id, **proposal)]

    def resolve(self) -> list[FakeLog] | None:
        market = self._market(resolved=False)
        if market is None:
            return None
        market.payouts = [self.dice.randint(0, 5) for _ in range(market.outcomes - 1)] + [1]
        logs = [
            log(
                CONDITIONAL_TOKENS,
                "ConditionResolution(bytes32 indexed conditionId, address indexed oracle, bytes32 indexed questionId, "
                "uint256 outcomeSlotCount, uint256[] payoutNumerators)",
                conditionId=market.condition_id,
                oracle=AURUM_ORACLE,
                questionId=market.question_id,
                outcomeSlotCount=market.outcomes,
                payoutNumerators=market.payouts,
            )
        ]
        if self.dice.random() < 0.3:
            return [
                *logs,
                log(AURUM_ORACLE, "QuestionVoided(bytes32 indexed questionId)", questionId=market.question_id),
            ]
        declaration = "QuestionResolved(bytes32 indexed questionId, uint256[] payouts)"
        logs.append(log(AURUM_ORACLE, declaration, questionId=market.question_id, payouts=market.payouts))
        declaration = "MarketResolved(bytes32 indexed marketId, bytes32 indexed conditionId, uint256[] payouts)"
        confirmed = {"marketId": market.market_id, "conditionId": market.condition_id, "payouts": market.payouts}
        return [*logs, log(MARKET_FACTORY, declaration, **confirmed)]

    def redeem(self) -> list[FakeLog] | None:
        market = self._market(resolved=True)
        if market is None or market.payouts is None:
            return None
        user, logs, payout = self.dice.choice(USERS), [], 0
        for outcome, position_id in enumerate(market.ids):
            held = self.balances.get((user, position_id), 0)
            if held:
                logs.append(self._move(user, ZERO, [(position_id, held)], batch=False))
                payout += held * market.payouts[outcome] // sum(market.payouts)
        declaration = "PayoutRedemption(address indexed redeemer, address indexed collateralToken, bytes32 indexed parentCollectionId, bytes32 conditionId, uint256[] indexSets, uint256 payout)"  # noqa: E501
        why = {"redeemer": user, "collateralToken": COLLATERAL, "parentCollectionId": NO_PARENT, "payout": payout}
        index_sets = [1 << outcome for outcome in range(market.outcomes)]
        return [
            *logs,
            log(CONDITIONAL_TOKENS, declaration, conditionId=market.condition_id, indexSets=index_sets, **why),
        ]

    def collect_fee(self) -> list[FakeLog]:
        market = self.dice.choice(self.markets)
        declaration = (
            "FeeCollected(address indexed token, bytes32 indexed marketId, address indexed payer, uint256 amount)"
        )
        fee = {"token": COLLATERAL, "payer": USERS[3], "amount": self._amount()}
        return [log(FEE_COLLECTOR, declaration, marketId=market.market_id, **fee)]

    def mislead(self) -> list[FakeLog]:
        """Our topics from a foreign contract, and a malformed log of one of ours."""
        genuine = self.collect_fee()[0]
        return [
            FakeLog(address=FOREIGN, topics=genuine.topics, data=genuine.data),
            FakeLog(address=FEE_COLLECTOR, topics=genuine.topics, data=b"\x01" * 5),
        ]


ACTIONS = (
    World.create_market,
    World.deploy_amm,
    World.deploy_amm,
    *[World.buy] * 6,
    *[World.sell] * 4,
    World.remove_funding,
    World.split,
    World.split,
    World.merge,
    World.transfer,
    World.transfer,
    World.propose,
    World.resolve,
    World.redeem,
    World.collect_fee,
    World.mislead,
)
