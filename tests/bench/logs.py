"""The contracts' logs, one function for each event: hand-packed, as a million of them are wanted in a minute.

Shares no code with the indexer. Addresses, hashes and topics are lower-case `0x` strings, amounts base units.
"""

from collections.abc import Sequence
from typing import NamedTuple

from eth_hash.auto import keccak

CONDITIONAL_TOKENS, MARKET_FACTORY, AURUM_ORACLE, FEE_COLLECTOR, AURUM_TOKEN, COLLATERAL = (
    "0x" + keccak(name.encode())[:20].hex()
    for name in ("ConditionalTokens", "MarketFactory", "AurumOracle", "FeeCollector", "AurumToken", "USDC")
)
ZERO = "0x" + "00" * 20
NO_PARENT = "0x" + "00" * 32


class Emitted(NamedTuple):
    """A log before it has a place in a block; `data` is hex without `0x`."""

    address: str
    topics: tuple[str, ...]
    data: str


def _topic0(signature: str) -> str:
    return "0x" + keccak(signature.encode()).hex()


MARKET_CREATED = _topic0("MarketCreated(bytes32,bytes32,bytes32,address,address,string,string[],uint256)")
AMM_DEPLOYED = _topic0("AMMDeployed(bytes32,address,uint256,uint256)")
MARKET_RESOLVED = _topic0("MarketResolved(bytes32,bytes32,uint256[])")
CONDITION_PREPARATION = _topic0("ConditionPreparation(bytes32,address,bytes32,uint256)")
CONDITION_RESOLUTION = _topic0("ConditionResolution(bytes32,address,bytes32,uint256,uint256[])")
POSITION_SPLIT = _topic0("PositionSplit(address,address,bytes32,bytes32,uint256[],uint256)")
POSITIONS_MERGE = _topic0("PositionsMerge(address,address,bytes32,bytes32,uint256[],uint256)")
PAYOUT_REDEMPTION = _topic0("PayoutRedemption(address,address,bytes32,bytes32,uint256[],uint256)")
TRANSFER_SINGLE = _topic0("TransferSingle(address,address,address,uint256,uint256)")
TRANSFER_BATCH = _topic0("TransferBatch(address,address,address,uint256[],uint256[])")
SHARE_TRANSFER = _topic0("Transfer(address,address,uint256)")
FPMM_BUY = _topic0("FPMMBuy(address,uint256,uint256,uint256,uint256)")
FPMM_SELL = _topic0("FPMMSell(address,uint256,uint256,uint256,uint256)")
FUNDING_ADDED = _topic0("FPMMFundingAdded(address,uint256[],uint256)")
FUNDING_REMOVED = _topic0("FPMMFundingRemoved(address,uint256[],uint256,uint256)")
QUESTION_REGISTERED = _topic0("QuestionRegistered(bytes32,uint256,bool)")
OUTCOME_PROPOSED = _topic0("OutcomeProposed(bytes32,address,uint256[],uint256,uint256)")
PROPOSAL_DISPUTED = _topic0("ProposalDisputed(bytes32,address,uint256[],uint256)")
VOTE_COMMITTED = _topic0("VoteCommitted(bytes32,address,bytes32)")
VOTE_REVEALED = _topic0("VoteRevealed(bytes32,address,uint256[],uint256)")
QUESTION_RESOLVED = _topic0("QuestionResolved(bytes32,uint256[])")
QUESTION_VOIDED = _topic0("QuestionVoided(bytes32)")
FEE_COLLECTED = _topic0("FeeCollected(address,bytes32,address,uint256)")
FEES_WITHDRAWN = _topic0("FeesWithdrawn(address,address,uint256)")


# --- words ------------------------------------------------------------------------------------------------------------


def words(*values: int) -> str:
    """Each value as one word, in hex."""
    return "".join([f"{value:064x}" for value in values])


def array(values: Sequence[int]) -> str:
    """A `uint256[]`, from its length on."""
    return words(len(values), *values)


def string(text: str) -> str:
    """A `string`, from its length on."""
    body = text.encode()
    return words(len(body)) + body.hex().ljust((len(body) + 31) // 32 * 64, "0")


def strings(texts: Sequence[str]) -> str:
    """A `string[]`, from its length on."""
    bodies = [string(text) for text in texts]
    place, offsets = 32 * len(texts), []
    for body in bodies:
        offsets.append(place)
        place += len(body) // 2
    return words(len(texts), *offsets) + "".join(bodies)


def padded(address: str) -> str:
    """An address as a topic."""
    return f"0x000000000000000000000000{address[2:]}"


def partition(outcomes: int) -> list[int]:
    """The index sets of all outcomes, each on its own."""
    return [1 << outcome for outcome in range(outcomes)]


# --- ConditionalTokens ------------------------------------------------------------------------------------------------


def condition_preparation(condition_id: str, question_id: str, outcomes: int) -> Emitted:
    topics = (CONDITION_PREPARATION, condition_id, padded(AURUM_ORACLE), question_id)
    return Emitted(CONDITIONAL_TOKENS, topics, words(outcomes))


def condition_resolution(condition_id: str, question_id: str, payouts: Sequence[int]) -> Emitted:
    topics = (CONDITION_RESOLUTION, condition_id, padded(AURUM_ORACLE), question_id)
    return Emitted(CONDITIONAL_TOKENS, topics, words(len(payouts), 64) + array(payouts))


def position_split(holder: str, condition_id: str, outcomes: int, amount: int) -> Emitted:
    return _sets(POSITION_SPLIT, holder, condition_id, outcomes, amount)


def positions_merge(holder: str, condition_id: str, outcomes: int, amount: int) -> Emitted:
    return _sets(POSITIONS_MERGE, holder, condition_id, outcomes, amount)


def _sets(topic0: str, holder: str, condition_id: str, outcomes: int, amount: int) -> Emitted:
    data = words(int(COLLATERAL, 16), 96, amount) + array(partition(outcomes))
    return Emitted(CONDITIONAL_TOKENS, (topic0, padded(holder), NO_PARENT, condition_id), data)


def payout_redemption(holder: str, condition_id: str, outcomes: int, payout: int) -> Emitted:
    topics = (PAYOUT_REDEMPTION, padded(holder), padded(COLLATERAL), NO_PARENT)
    data = condition_id[2:] + words(96, payout) + array(partition(outcomes))
    return Emitted(CONDITIONAL_TOKENS, topics, data)


def transfer_single(operator: str, sender: str, receiver: str, token: int, amount: int) -> Emitted:
    topics = (TRANSFER_SINGLE, padded(operator), padded(sender), padded(receiver))
    return Emitted(CONDITIONAL_TOKENS, topics, words(token, amount))


def transfer_batch(operator: str, sender: str, receiver: str, tokens: Sequence[int], amounts: Sequence[int]) -> Emitted:
    topics = (TRANSFER_BATCH, padded(operator), padded(sender), padded(receiver))
    data = words(64, 96 + 32 * len(tokens)) + array(tokens) + array(amounts)
    return Emitted(CONDITIONAL_TOKENS, topics, data)


# --- MarketFactory ----------------------------------------------------------------------------------------------------


def market_created(
    market_id: str,
    question_id: str,
    condition_id: str,
    *,
    creator: str,
    question: str,
    outcomes: Sequence[str],
    resolution_time: int,
) -> Emitted:
    text, names = string(question), strings(outcomes)
    head = words(int(creator, 16), int(COLLATERAL, 16), 160, 160 + len(text) // 2, resolution_time)
    return Emitted(MARKET_FACTORY, (MARKET_CREATED, market_id, question_id, condition_id), head + text + names)


def amm_deployed(market_id: str, amm: str, liquidity: int, fee: int) -> Emitted:
    return Emitted(MARKET_FACTORY, (AMM_DEPLOYED, market_id, padded(amm)), words(liquidity, fee))


def market_resolved(market_id: str, condition_id: str, payouts: Sequence[int]) -> Emitted:
    return Emitted(MARKET_FACTORY, (MARKET_RESOLVED, market_id, condition_id), words(32) + array(payouts))


# --- FixedProductMarketMaker ------------------------------------------------------------------------------------------


def fpmm_buy(amm: str, buyer: str, outcome: int, *, invested: int, fee: int, bought: int) -> Emitted:
    return Emitted(amm, (FPMM_BUY, padded(buyer), "0x" + words(outcome)), words(invested, fee, bought))


def fpmm_sell(amm: str, seller: str, outcome: int, *, returned: int, fee: int, sold: int) -> Emitted:
    return Emitted(amm, (FPMM_SELL, padded(seller), "0x" + words(outcome)), words(returned, fee, sold))


def funding_added(amm: str, funder: str, amounts: Sequence[int], minted: int) -> Emitted:
    return Emitted(amm, (FUNDING_ADDED, padded(funder)), words(64, minted) + array(amounts))


def funding_removed(amm: str, funder: str, amounts: Sequence[int], from_fees: int, burnt: int) -> Emitted:
    return Emitted(amm, (FUNDING_REMOVED, padded(funder)), words(96, from_fees, burnt) + array(amounts))


def share_transfer(amm: str, sender: str, receiver: str, amount: int) -> Emitted:
    return Emitted(amm, (SHARE_TRANSFER, padded(sender), padded(receiver)), words(amount))


# --- AurumOracle ------------------------------------------------------------------------------------------------------


def question_registered(question_id: str, outcomes: int) -> Emitted:
    return Emitted(AURUM_ORACLE, (QUESTION_REGISTERED, question_id), words(outcomes, outcomes == 2))


def outcome_proposed(
    question_id: str, proposer: str, payouts: Sequence[int], *, stake: int, expires_at: int
) -> Emitted:
    data = words(96, stake, expires_at) + array(payouts)
    return Emitted(AURUM_ORACLE, (OUTCOME_PROPOSED, question_id, padded(proposer)), data)


def proposal_disputed(question_id: str, disputer: str, payouts: Sequence[int], *, stake: int) -> Emitted:
    return Emitted(AURUM_ORACLE, (PROPOSAL_DISPUTED, question_id, padded(disputer)), words(64, stake) + array(payouts))


def vote_committed(question_id: str, voter: str, commit_hash: str) -> Emitted:
    return Emitted(AURUM_ORACLE, (VOTE_COMMITTED, question_id, padded(voter)), commit_hash[2:])


def vote_revealed(question_id: str, voter: str, payouts: Sequence[int], weight: int) -> Emitted:
    return Emitted(AURUM_ORACLE, (VOTE_REVEALED, question_id, padded(voter)), words(64, weight) + array(payouts))


def question_resolved(question_id: str, payouts: Sequence[int]) -> Emitted:
    return Emitted(AURUM_ORACLE, (QUESTION_RESOLVED, question_id), words(32) + array(payouts))


def question_voided(question_id: str) -> Emitted:
    return Emitted(AURUM_ORACLE, (QUESTION_VOIDED, question_id), "")


# --- FeeCollector -----------------------------------------------------------------------------------------------------


def fee_collected(market_id: str, payer: str, amount: int) -> Emitted:
    return Emitted(FEE_COLLECTOR, (FEE_COLLECTED, padded(COLLATERAL), market_id, padded(payer)), words(amount))


def fees_withdrawn(receiver: str, amount: int) -> Emitted:
    return Emitted(FEE_COLLECTOR, (FEES_WITHDRAWN, padded(COLLATERAL), padded(receiver)), words(amount))
