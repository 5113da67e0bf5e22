"""Position ids as the deployment's ConditionalTokens computes them, learnt from it where it is not Gnosis' way.

Gnosis' contract makes collection ids curve points (markets/ctf.py); a deployment over ERC-6909 may hash plainly. What
is learnt is stored once for each condition and collateral, so that replaying stored events needs no node.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from eth_hash.auto import keccak

from indexer.decode import Contracts, DecodeError, decode, event_class_of
from indexer.events import CONDITIONAL_TOKENS, MarketCreated
from indexer.fetch import Batch
from indexer.rpc import Rpc
from markets.ctf import index_set, outcome_position_ids
from markets.models import LearntPositionIds

GET_COLLECTION_ID = keccak(b"getCollectionId(bytes32,bytes32,uint256)")[:4].hex()
GET_POSITION_ID = keccak(b"getPositionId(address,bytes32)")[:4].hex()
NO_PARENT = "00" * 32
MAX_OUTCOMES = 256  # ConditionalTokens.sol, prepareCondition


def created_markets(batch: Batch) -> list[MarketCreated]:
    """The markets that a batch creates, of the logs that can be read."""
    markets = []
    for log in batch.logs:
        if event_class_of(log, batch.contracts) is MarketCreated:
            try:
                event = decode(log, MarketCreated)
            except DecodeError:
                continue  # kept as a failed event when the batch is applied
            assert isinstance(event, MarketCreated)  # noqa: S101 - narrows the type
            markets.append(event)
    return markets


@dataclass(slots=True)
class PositionIdLearner:
    """Asks the contract for the ids of new markets, until one market shows that it computes them Gnosis' way."""

    rpc: Rpc
    contracts: Contracts
    _is_gnosis: bool = False

    def learn(self, markets: list[MarketCreated]) -> None:
        """Stores the ids of markets whose ids do not follow from the formula. Raises RpcError."""
        for market in markets:
            if self._is_gnosis:
                return
            outcome_count = len(market.outcomes)
            ids = [self._ask(market, outcome) for outcome in range(min(outcome_count, MAX_OUTCOMES))]
            # A contract that does not say is taken for Gnosis'.
            known = [position_id for position_id in ids if position_id is not None]
            formula = outcome_position_ids(market.collateral_token, market.condition_id, len(ids))
            if len(known) < len(ids) or tuple(known) == formula:
                self._is_gnosis = bool(ids)
                continue
            LearntPositionIds.objects.get_or_create(
                condition_id=market.condition_id,
                collateral_token=market.collateral_token,
                defaults={"position_ids": known},
            )

    def _ask(self, market: MarketCreated, outcome: int) -> int | None:
        tokens = next(address for address, name in self.contracts.fixed.items() if name == CONDITIONAL_TOKENS)
        condition, members = market.condition_id[2:], f"{index_set(outcome):064x}"
        collection = self.rpc.eth_call(tokens, f"0x{GET_COLLECTION_ID}{NO_PARENT}{condition}{members}")
        if collection is None or len(collection) != 32:
            return None
        collateral = market.collateral_token[2:].rjust(64, "0")
        position = self.rpc.eth_call(tokens, f"0x{GET_POSITION_ID}{collateral}{collection.hex()}")
        return int.from_bytes(position, "big") if position is not None and len(position) == 32 else None


class StoredPositionIds:
    """The ids that were learnt, else those of the formula. What was asked for once is known."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, ...] | None] = {}

    def load(self, markets: Iterable[MarketCreated]) -> None:
        """Fetches what was learnt of these markets, in one query."""
        missing = {(m.collateral_token, m.condition_id) for m in markets} - self._known.keys()
        if not missing:
            return
        self._known |= dict.fromkeys(missing)
        for row in LearntPositionIds.objects.filter(condition_id__in={condition_id for _, condition_id in missing}):
            self._known[row.collateral_token, row.condition_id] = tuple(row.position_ids)

    def __call__(self, collateral_token: str, condition_id: str, outcome_count: int) -> tuple[int, ...]:
        learnt = self._known.get((collateral_token, condition_id))
        return learnt or _formula(collateral_token, condition_id, outcome_count)


@lru_cache(maxsize=256)  # it costs a millisecond, and is asked for when a batch is prepared and when it is applied
def _formula(collateral_token: str, condition_id: str, outcome_count: int) -> tuple[int, ...]:
    return outcome_position_ids(collateral_token, condition_id, min(outcome_count, MAX_OUTCOMES))
