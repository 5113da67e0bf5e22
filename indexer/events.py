"""PURE. One frozen struct per event of the contracts, declared beside its Solidity signature.

Units: amounts in base units of their token, fees and payouts as integers (fees of 1e18), times in Unix seconds.
Hashes and addresses are lower-case `0x` strings. `from` and `to` are called `sender` and `receiver`.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import msgspec

from indexer.abi_types import Signature, parameter_reader

CONDITIONAL_TOKENS = "ConditionalTokens"
MARKET_FACTORY = "MarketFactory"
AMM = "FixedProductMarketMaker"
AURUM_ORACLE = "AurumOracle"
FEE_COLLECTOR = "FeeCollector"


class ChainEvent(msgspec.Struct, frozen=True, gc=False):
    """What every event class has: its signature, its contract, and the name it is stored and served under."""

    signature: ClassVar[Signature]
    read: ClassVar[Callable[[tuple[str, ...], str], tuple[Any, ...]]]
    write_json: ClassVar[Callable[[Any], str]]
    contract: ClassVar[str]
    stored_name: ClassVar[str]


# How a value of each type is written as JSON, as part of an f-string; most need no escapes.
WRITTEN = dict.fromkeys(("address", "bytes32", "uint256"), '"{%s}"') | {"uint256[]": "{integers(%s)}"}


def _integers(values: tuple[int, ...]) -> str:
    return f"""["{'","'.join(map(str, values))}"]""" if values else "[]"


def _json_writer(signature: Signature) -> Callable[[Any], str]:
    """A function that writes an event as JSON: compiled for the signature, as a loop takes three times as long."""
    members = [
        f'"{item.name}":' + WRITTEN.get(item.type, "{encoded(%s)}") % f"event.{item.field}"
        for item in signature.parameters
    ]
    names: dict[str, Any] = {"integers": _integers, "encoded": lambda value: msgspec.json.encode(value).decode()}
    exec(f"def write(event):\n    return f'{{{{{','.join(members)}}}}}'", names)  # noqa: S102 - made of our own signatures
    write: Callable[[Any], str] = names["write"]
    return write


EventClass = TypeVar("EventClass", bound=type[ChainEvent])
# (contract, topic0) -> event class; decode.py reads it.
EVENTS: dict[tuple[str, str], type[ChainEvent]] = {}


def emitted_by(
    contract: str, declaration: str, *, stored_name: str | None = None
) -> Callable[[EventClass], EventClass]:
    """Registers a struct as the form of `declaration`, which must be the Solidity text with its names."""

    def register(event_class: EventClass) -> EventClass:
        event_class.signature = Signature.parse(declaration)
        event_class.read = staticmethod(parameter_reader(event_class.signature))
        event_class.write_json = staticmethod(_json_writer(event_class.signature))
        event_class.contract = contract
        event_class.stored_name = stored_name or event_class.signature.name
        EVENTS[contract, event_class.signature.topic0] = event_class
        return event_class

    return register


@emitted_by(
    MARKET_FACTORY,
    "MarketCreated(bytes32 indexed marketId, bytes32 indexed questionId, bytes32 indexed conditionId, address creator, "
    "address collateralToken, string question, string[] outcomes, uint256 resolutionTime)",
)
class MarketCreated(ChainEvent, frozen=True, gc=False):
    market_id: str
    question_id: str
    condition_id: str
    creator: str
    collateral_token: str
    question: str
    outcomes: tuple[str, ...]
    resolution_time: int


@emitted_by(
    MARKET_FACTORY,
    "AMMDeployed(bytes32 indexed marketId, address indexed amm, uint256 initialLiquidity, uint256 fee)",
)
class AMMDeployed(ChainEvent, frozen=True, gc=False):
    market_id: str
    amm: str
    initial_liquidity: int
    fee: int


@emitted_by(MARKET_FACTORY, "MarketResolved(bytes32 indexed marketId, bytes32 indexed conditionId, uint256[] payouts)")
class MarketResolved(ChainEvent, frozen=True, gc=False):
    market_id: str
    condition_id: str
    payouts: tuple[int, ...]


@emitted_by(
    CONDITIONAL_TOKENS,
    "ConditionPreparation(bytes32 indexed conditionId, address indexed oracle, bytes32 indexed questionId, "
    "uint256 outcomeSlotCount)",
)
class ConditionPreparation(ChainEvent, frozen=True, gc=False):
    condition_id: str
    oracle: str
    question_id: str
    outcome_slot_count: int


@emitted_by(
    CONDITIONAL_TOKENS,
    "ConditionResolution(bytes32 indexed conditionId, address indexed oracle, bytes32 indexed questionId, "
    "uint256 outcomeSlotCount, uint256[] payoutNumerators)",
)
class ConditionResolution(ChainEvent, frozen=True, gc=False):
    condition_id: str
    oracle: str
    question_id: str
    outcome_slot_count: int
    payout_numerators: tuple[int, ...]


@emitted_by(
    CONDITIONAL_TOKENS,
    "PositionSplit(address indexed stakeholder, address collateralToken, bytes32 indexed parentCollectionId, "
    "bytes32 indexed conditionId, uint256[] partition, uint256 amount)",
)
class PositionSplit(ChainEvent, frozen=True, gc=False):
    stakeholder: str
    collateral_token: str
    parent_collection_id: str
    condition_id: str
    partition: tuple[int, ...]
    amount: int


# On chain the name is plural; the API promises the singular.
@emitted_by(
    CONDITIONAL_TOKENS,
    "PositionsMerge(address indexed stakeholder, address collateralToken, bytes32 indexed parentCollectionId, "
    "bytes32 indexed conditionId, uint256[] partition, uint256 amount)",
    stored_name="PositionMerge",
)
class PositionMerge(ChainEvent, frozen=True, gc=False):
    stakeholder: str
    collateral_token: str
    parent_collection_id: str
    condition_id: str
    partition: tuple[int, ...]
    amount: int


@emitted_by(
    CONDITIONAL_TOKENS,
    "PayoutRedemption(address indexed redeemer, address indexed collateralToken, bytes32 indexed parentCollectionId, "
    "bytes32 conditionId, uint256[] indexSets, uint256 payout)",
)
class PayoutRedemption(ChainEvent, frozen=True, gc=False):
    redeemer: str
    collateral_token: str
    parent_collection_id: str
    condition_id: str
    index_sets: tuple[int, ...]
    payout: int


@emitted_by(
    CONDITIONAL_TOKENS,
    "TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value)",
)
class TransferSingle(ChainEvent, frozen=True, gc=False):
    operator: str
    sender: str
    receiver: str
    id: int
    value: int


@emitted_by(
    CONDITIONAL_TOKENS,
    "TransferBatch(address indexed operator, address indexed from, address indexed to, "
    "uint256[] ids, uint256[] values)",
)
class TransferBatch(ChainEvent, frozen=True, gc=False):
    operator: str
    sender: str
    receiver: str
    ids: tuple[int, ...]
    values: tuple[int, ...]


# Deployments of ConditionalTokens over ERC-6909 emit this in place of the two above.
@emitted_by(
    CONDITIONAL_TOKENS,
    "Transfer(address caller, address indexed sender, address indexed receiver, uint256 indexed id, uint256 amount)",
)
class OutcomeTransfer(ChainEvent, frozen=True, gc=False):
    caller: str
    sender: str
    receiver: str
    id: int
    amount: int


@emitted_by(
    AMM,
    "FPMMBuy(address indexed buyer, uint256 investmentAmount, uint256 feeAmount, uint256 indexed outcomeIndex, "
    "uint256 outcomeTokensBought)",
)
class FPMMBuy(ChainEvent, frozen=True, gc=False):
    buyer: str
    investment_amount: int
    fee_amount: int
    outcome_index: int
    outcome_tokens_bought: int


@emitted_by(
    AMM,
    "FPMMSell(address indexed seller, uint256 returnAmount, uint256 feeAmount, uint256 indexed outcomeIndex, "
    "uint256 outcomeTokensSold)",
)
class FPMMSell(ChainEvent, frozen=True, gc=False):
    seller: str
    return_amount: int
    fee_amount: int
    outcome_index: int
    outcome_tokens_sold: int


@emitted_by(AMM, "FPMMFundingAdded(address indexed funder, uint256[] amountsAdded, uint256 sharesMinted)")
class FPMMFundingAdded(ChainEvent, frozen=True, gc=False):
    funder: str
    amounts_added: tuple[int, ...]
    shares_minted: int


@emitted_by(
    AMM,
    "FPMMFundingRemoved(address indexed funder, uint256[] amountsRemoved, uint256 collateralRemovedFromFeePool, "
    "uint256 sharesBurnt)",
)
class FPMMFundingRemoved(ChainEvent, frozen=True, gc=False):
    funder: str
    amounts_removed: tuple[int, ...]
    collateral_removed_from_fee_pool: int
    shares_burnt: int


@emitted_by(AMM, "Transfer(address indexed from, address indexed to, uint256 value)")
class ShareTransfer(ChainEvent, frozen=True, gc=False):
    sender: str
    receiver: str
    value: int


@emitted_by(AURUM_ORACLE, "QuestionRegistered(bytes32 indexed questionId, uint256 outcomeSlotCount, bool isBinary)")
class QuestionRegistered(ChainEvent, frozen=True, gc=False):
    question_id: str
    outcome_slot_count: int
    is_binary: bool


@emitted_by(
    AURUM_ORACLE,
    "OutcomeProposed(bytes32 indexed questionId, address indexed proposer, uint256[] payouts, uint256 stake, "
    "uint256 expiresAt)",
)
class OutcomeProposed(ChainEvent, frozen=True, gc=False):
    question_id: str
    proposer: str
    payouts: tuple[int, ...]
    stake: int
    expires_at: int


@emitted_by(
    AURUM_ORACLE,
    "ProposalDisputed(bytes32 indexed questionId, address indexed disputer, uint256[] payouts, uint256 stake)",
)
class ProposalDisputed(ChainEvent, frozen=True, gc=False):
    question_id: str
    disputer: str
    payouts: tuple[int, ...]
    stake: int


@emitted_by(AURUM_ORACLE, "VoteCommitted(bytes32 indexed questionId, address indexed voter, bytes32 commitHash)")
class VoteCommitted(ChainEvent, frozen=True, gc=False):
    question_id: str
    voter: str
    commit_hash: str


@emitted_by(
    AURUM_ORACLE,
    "VoteRevealed(bytes32 indexed questionId, address indexed voter, uint256[] payouts, uint256 weight)",
)
class VoteRevealed(ChainEvent, frozen=True, gc=False):
    question_id: str
    voter: str
    payouts: tuple[int, ...]
    weight: int


@emitted_by(AURUM_ORACLE, "QuestionResolved(bytes32 indexed questionId, uint256[] payouts)")
class QuestionResolved(ChainEvent, frozen=True, gc=False):
    question_id: str
    payouts: tuple[int, ...]


@emitted_by(AURUM_ORACLE, "QuestionVoided(bytes32 indexed questionId)")
class QuestionVoided(ChainEvent, frozen=True, gc=False):
    question_id: str


@emitted_by(
    FEE_COLLECTOR,
    "FeeCollected(address indexed token, bytes32 indexed marketId, address indexed payer, uint256 amount)",
)
class FeeCollected(ChainEvent, frozen=True, gc=False):
    token: str
    market_id: str
    payer: str
    amount: int


@emitted_by(FEE_COLLECTOR, "FeesWithdrawn(address indexed token, address indexed to, uint256 amount)")
class FeesWithdrawn(ChainEvent, frozen=True, gc=False):
    token: str
    receiver: str
    amount: int


def event_data(event: ChainEvent) -> dict[str, Any]:
    """The event as JSON values: names as on chain, integers as decimal strings (a JSON number would lose digits)."""
    names = event.signature.names
    return {name: _as_json(value) for name, value in zip(names, msgspec.structs.astuple(event), strict=True)}


def _as_json(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return str(value)
    return [_as_json(item) for item in value] if kind is tuple else value


def event_json(event: ChainEvent) -> str:
    """`event_data` as JSON text, at a tenth of the cost."""
    return type(event).write_json(event)
