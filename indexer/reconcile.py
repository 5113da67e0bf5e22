"""One market's stored figures beside the contracts' own answers, both at the indexed block. Writes nothing.

Everything is asked at that block's hash, so that no two answers are of different blocks; where the chain has another
block by now, the node refuses. Three batches are asked, whatever the market's size: of its holders, the largest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from eth_abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from indexer.abi_types import DecodeError
from indexer.audit import WORD, CannotCompare, call_data, snapshot, word_at
from indexer.chain import InconsistentAnswer, MalformedAnswer, read_logs
from indexer.decode import decode
from indexer.endpoints import Endpoint
from indexer.events import CONDITIONAL_TOKENS, MARKET_FACTORY, MarketCreated
from indexer.rpc import Rpc, RpcError
from markets.chaintime import from_seconds, rfc3339
from markets.ctf import index_set
from markets.models import Amm, Checkpoint, CollateralToken, Market, OutcomeToken, Position

PATIENCE = 5.0  # seconds for all answers
REQUEST = 2.0  # seconds for one of them
MOST_BALANCES = 100  # rows of holders that are compared, the largest first
NOBODY = "0x" + "00" * 20
# MarketFactory.getMarket: questionId, conditionId, creator, collateral, AMM, slots, resolution time, binary, resolved.
MARKET = ("bytes32", "bytes32", "address", "address", "address", "uint256", "uint256", "bool", "bool")

Ask = Callable[[Sequence[tuple[str, str]]], list[bytes | None]]


class Unknown:
    """What a contract does not tell."""

    def __repr__(self) -> str:
        return "the contract does not say"


UNKNOWN = Unknown()


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One field. `field` is its name in the API where people can correct it, else its title."""

    field: str
    stored: Any
    on_chain: Any

    @property
    def is_same(self) -> bool | None:
        """None where the chain does not tell."""
        return None if self.on_chain is UNKNOWN else self.stored == self.on_chain


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What was compared, at which block."""

    block_number: int
    block_hash: str
    fields: Sequence[Compared]

    @property
    def different(self) -> list[str]:
        return [each.field for each in self.fields if each.is_same is False]


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The market's rows, all of one block."""

    checkpoint: Checkpoint
    market: Market
    tokens: Sequence[OutcomeToken]
    amm: Amm | None
    collateral: CollateralToken | None
    balances: Sequence[tuple[str, int, int]]  # holder, outcome, amount


def reconcile(market_id: str, urls: Sequence[str], *, clock: Callable[[], float] = monotonic) -> Reconciliation:
    """Compares the market's fields. Raises CannotCompare with the reason; PATIENCE bounds how long it takes."""
    if not urls:
        raise CannotCompare("no node is configured (RPC_URL)")
    with snapshot() as checkpoint:
        stored = _read(market_id, checkpoint)
    deadline = clock() + PATIENCE

    def give_up(seconds: float) -> None:
        raise CannotCompare(_trouble(rpc))

    # Whoever waits for the page would wait for each further attempt.
    rpc = Rpc(urls, pause=give_up, timeout=REQUEST)

    def ask(calls: Sequence[tuple[str, str]]) -> list[bytes | None]:
        if clock() > deadline:
            raise CannotCompare(f"the nodes took more than {PATIENCE:.0f} seconds")
        return rpc.eth_calls(calls, checkpoint.block_hash)

    try:
        fields = list(_compared(stored, ask, lambda: _created(rpc, stored)))
    except (RpcError, MalformedAnswer, InconsistentAnswer) as error:
        raise CannotCompare(str(error)) from None
    return Reconciliation(block_number=checkpoint.block_number, block_hash=checkpoint.block_hash, fields=fields)


def _read(market_id: str, checkpoint: Checkpoint) -> _Stored:
    market = Market.objects.filter(market_id=market_id).first()
    if market is None:
        raise CannotCompare("the market is not indexed")
    held = Position.objects.filter(market=market, amount__gt=0).order_by("-amount", "-id")
    return _Stored(
        checkpoint=checkpoint,
        market=market,
        tokens=list(OutcomeToken.objects.filter(market=market).order_by("outcome_index")),
        amm=Amm.objects.filter(address=market.amm_address).first() if market.amm_address else None,
        collateral=CollateralToken.objects.filter(address=market.collateral_token).first(),
        balances=list(held.values_list("user_address", "outcome_index", "amount")[:MOST_BALANCES]),
    )


def _trouble(rpc: Rpc) -> str:
    said = "; ".join(f"{node['host']}: {node['last_error']}" for node in rpc.health() if node["last_error"])
    return f"no node answers: {said}" if said else "no node answers"


# --- what is compared -------------------------------------------------------------------------------------------------


def _compared(stored: _Stored, ask: Ask, created: Callable[[], MarketCreated | None]) -> Iterator[Compared]:
    market, contracts, outcomes = stored.market, stored.checkpoint.contracts, range(len(stored.market.outcomes))
    tokens, condition = contracts[CONDITIONAL_TOKENS], bytes.fromhex(market.condition_id[2:])
    calls = [
        (contracts[MARKET_FACTORY], call_data("getMarket(bytes32)", bytes.fromhex(market.market_id[2:]))),
        (tokens, call_data("payoutDenominator(bytes32)", condition)),
        (market.collateral_token, call_data("symbol()")),
        (market.collateral_token, call_data("decimals()")),
        (market.amm_address or NOBODY, call_data("fee()")),
        (market.amm_address or NOBODY, call_data("totalSupply()")),
        *((tokens, call_data("payoutNumerators(bytes32,uint256)", condition, outcome)) for outcome in outcomes),
        *(
            (tokens, call_data("getCollectionId(bytes32,bytes32,uint256)", bytes(WORD), condition, index_set(outcome)))
            for outcome in outcomes
        ),
    ]
    said, denominator, symbol, decimals, fee, shares, *rest = ask(calls)
    numerators, collections = rest[: len(outcomes)], rest[len(outcomes) :]
    yield from _texts(market, created())
    yield from _facts(market, said)
    yield Compared(
        field="payouts", stored=market.payouts, on_chain=_payouts(_number(denominator), list(map(_number, numerators)))
    )
    yield Compared(
        field="collateral",
        stored=None
        if stored.collateral is None
        else {"symbol": stored.collateral.symbol, "decimals": stored.collateral.decimals},
        on_chain=_collateral(symbol, _number(decimals)),
    )
    if market.amm_address:
        yield Compared(field="AMM's fee", stored=market.fee, on_chain=_number(fee))
        yield Compared(
            field="AMM's shares", stored=stored.amm and int(stored.amm.total_shares), on_chain=_number(shares)
        )
    yield from _tokens(stored, ask, tokens, collections)


def _texts(market: Market, event: MarketCreated | None) -> Iterator[Compared]:
    """What no contract keeps: the event of its creation has it."""
    question = UNKNOWN if event is None else event.question
    yield Compared(field="question", stored=market.question, on_chain=question)
    yield Compared(field="outcomes", stored=market.outcomes, on_chain=UNKNOWN if event is None else [*event.outcomes])


def _facts(market: Market, answer: bytes | None) -> Iterator[Compared]:
    stored = {
        "question id": market.question_id,
        "condition id": market.condition_id,
        "creator": market.creator,
        "collateral token": market.collateral_token,
        "AMM": market.amm_address or NOBODY,
        "number of outcomes": len(market.outcomes),
        "resolutionTimestamp": market.resolution_timestamp,
        "resolutionTime": rfc3339(market.resolution_time),
        "announced by the factory": market.confirmed_at is not None,
    }
    said: dict[str, Any] = {}
    try:
        if answer is not None and len(answer) == WORD * len(MARKET):
            question, condition, creator, token, amm, slots, time, _binary, resolved = abi_decode(MARKET, answer)
            ids = {"question id": f"0x{question.hex()}", "condition id": f"0x{condition.hex()}"}
            people = {"creator": creator.lower(), "collateral token": token.lower(), "AMM": amm.lower()}
            times = {"resolutionTimestamp": time, "resolutionTime": rfc3339(from_seconds(time))}
            said = {**ids, **people, **times, "number of outcomes": slots, "announced by the factory": resolved}
    except DecodingError:
        said = {}
    for name, value in stored.items():
        yield Compared(field=name, stored=value, on_chain=said.get(name, UNKNOWN))


def _tokens(stored: _Stored, ask: Ask, tokens: str, collections: Sequence[bytes | None]) -> Iterator[Compared]:
    """The ids of the outcome tokens; and by the contract's ids, reserves and balances."""
    market = stored.market
    ids = [token.position_id for token in stored.tokens]
    if collections and all(answer is not None and len(answer) == WORD for answer in collections):
        signature, token = "getPositionId(address,bytes32)", market.collateral_token
        answers = ask([(tokens, call_data(signature, token, collection)) for collection in collections])
        said = [_number(answer) for answer in answers]
        yield Compared(field="ids of outcome tokens", stored=ids, on_chain=UNKNOWN if UNKNOWN in said else said)
        ids = ids if UNKNOWN in said else said
    pairs = [(market.amm_address, number) for number in ids] if market.amm_address else []
    held = [row for row in stored.balances if row[1] < len(ids)]
    asked = [*pairs, *((holder, ids[outcome]) for holder, outcome, _ in held)]
    balances = [_number(answer) for answer in ask([_balance_of(tokens, *pair) for pair in asked])]
    if pairs:
        reserves = balances[: len(pairs)]
        # Null until the AMM first moves.
        kept = market.reserves if market.reserves is not None or any(reserves) else reserves
        yield Compared(field="reserves", stored=kept, on_chain=UNKNOWN if UNKNOWN in reserves else reserves)
    for (holder, outcome, amount), truth in zip(held, balances[len(pairs) :], strict=True):
        yield Compared(field=f"balance of {holder}, outcome {outcome}", stored=amount, on_chain=truth)


# --- the chain --------------------------------------------------------------------------------------------------------


def _created(rpc: Rpc, stored: _Stored) -> MarketCreated | None:
    """The event that made the market, read once more; None where its block does not have it."""
    market, factory = stored.market, stored.checkpoint.contracts[MARKET_FACTORY]
    query = {
        "blockHash": market.block_hash,
        "address": factory,
        "topics": [MarketCreated.signature.topic0, market.market_id],
    }

    def logs(endpoint: Endpoint) -> bytes:
        return endpoint.ask([("eth_getLogs", [query])])[0]

    try:
        found = [decode(log, MarketCreated) for log in read_logs(rpc.pool.attempt(logs, opinions=1))]
    except DecodeError:
        return None
    return found[0] if found and isinstance(found[0], MarketCreated) else None


def _balance_of(tokens: str, holder: str, position_id: int) -> tuple[str, str]:
    # ERC-1155 and ERC-6909 have it alike; balanceOfBatch only the former.
    return tokens, call_data("balanceOf(address,uint256)", holder, position_id)


def _number(answer: bytes | None) -> Any:
    return word_at(answer, 0) if answer is not None and len(answer) == WORD else UNKNOWN


def _payouts(denominator: Any, numerators: Sequence[Any]) -> Any:
    if denominator is UNKNOWN or UNKNOWN in numerators:
        return UNKNOWN
    return list(numerators) if denominator else None


def _collateral(symbol: bytes | None, decimals: Any) -> Any:
    try:
        text = abi_decode(["string"], symbol or b"")[0]
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return UNKNOWN
    return UNKNOWN if decimals is UNKNOWN else {"symbol": text, "decimals": decimals}
