"""Stored figures against the contracts' own answers, both at the checkpoint's block.

Compared are the ids of outcome tokens, payouts, pool reserves, balances and LP shares. What nobody is known to hold
can't be asked for: a holder whose every log is missing shows by the sums of the others, or by the market's mark.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from django.db import connection, transaction
from eth_abi import encode
from eth_hash.auto import keccak

from indexer.events import CONDITIONAL_TOKENS
from indexer.repair import check_chain
from indexer.rpc import Rpc
from markets.ctf import index_set
from markets.models import Amm, Checkpoint, Condition, LiquidityShare, Market, OutcomeToken, Position

Item = TypeVar("Item")
WORD = 32  # bytes
BALANCES = 200  # in one call: about 1,000,000 gas, where nodes allow 50,000,000 and more
ROWS = 2000  # in memory at once


class CannotCompare(Exception):
    """There is nothing to compare, or the node does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One stored figure that is not what the chain says. Amounts are in base units."""

    market_id: str
    what: str
    stored: object
    on_chain: object

    def __str__(self) -> str:
        return f"{self.market_id}: {self.what}: {self.stored} stored, {self.on_chain} on chain"


@dataclass(slots=True)
class Audit:
    """One comparison. `compared` counts what was compared, by kind, while `differences` goes on."""

    rpc: Rpc
    checkpoint: Checkpoint
    compared: Counter[str] = field(default_factory=Counter)
    _one_by_one: bool = False  # the deployment has no balanceOfBatch: ERC-6909

    def differences(self) -> Iterator[Difference]:
        """Every difference, market by market. Call within `snapshot`.

        Raises ChainMoved where the chain has another block at the end or the beginning, CannotCompare, RpcError and
        MalformedAnswer.
        """
        check_chain(self.rpc, self.checkpoint)
        for market in Market.objects.order_by("block_number", "log_index").iterator(chunk_size=100):
            yield from self._market(market)
        check_chain(self.rpc, self.checkpoint)

    def _market(self, market: Market) -> Iterator[Difference]:
        self.compared["markets"] += 1
        if market.suspect_since is not None:
            yield Difference(
                market_id=market.market_id,
                what="suspect",
                stored=market.suspect_reason,
                on_chain="logs that do not contradict each other",
            )
        tokens = list(OutcomeToken.objects.filter(market=market).order_by("outcome_index"))
        if len(tokens) != len(market.outcomes):
            yield self._named(market, "outcome tokens", len(tokens), len(market.outcomes))
        yield from self._token_ids(market, tokens)
        yield from self._payouts(market)
        yield from self._reserves(market, tokens)
        yield from self._balances(market, tokens)
        for amm in Amm.objects.filter(market=market).order_by("block_number", "address"):
            yield from self._shares(market, amm)

    # --- what is compared ---------------------------------------------------------------------------------------------

    def _token_ids(self, market: Market, tokens: Sequence[OutcomeToken]) -> Iterator[Difference]:
        for token in tokens:
            collection = self._ask(
                self._tokens,
                "getCollectionId(bytes32,bytes32,uint256)",
                bytes(WORD),
                _bytes(market.condition_id),
                index_set(token.outcome_index),
            )
            if collection is None:
                return  # a contract that does not say is taken for Gnosis', as while indexing
            truth = self._number(
                self._tokens,
                "getPositionId(address,bytes32)",
                market.collateral_token,
                collection.to_bytes(WORD, "big"),
            )
            self.compared["outcome tokens"] += 1
            if token.position_id != truth:
                yield self._named(market, f"id of outcome {token.outcome_index}", token.position_id, truth)

    def _payouts(self, market: Market) -> Iterator[Difference]:
        condition = _bytes(market.condition_id)
        self.compared["payouts"] += 1
        truth = None
        if self._number(self._tokens, "payoutDenominator(bytes32)", condition):
            truth = [
                self._number(self._tokens, "payoutNumerators(bytes32,uint256)", condition, outcome)
                for outcome in range(len(market.outcomes))
            ]
        if market.payouts != truth:
            yield self._named(market, "payouts", market.payouts, truth)
        elif market.resolved != (truth is not None):
            yield self._named(market, "resolved", market.resolved, truth is not None)
        stored = Condition.objects.filter(condition_id=market.condition_id).values_list("payout_numerators", flat=True)
        if list(stored) not in ([], [truth]):
            yield self._named(market, "payouts of its condition", stored[0], truth)

    def _reserves(self, market: Market, tokens: Sequence[OutcomeToken]) -> Iterator[Difference]:
        if market.amm_address is None:
            if market.reserves is not None:
                yield self._named(market, "reserves", market.reserves, None)
            return
        truth = self._balances_of([(market.amm_address, token.position_id) for token in tokens])
        self.compared["reserves"] += 1
        # Null until the AMM first moves.
        if (market.reserves or [0] * len(truth)) != truth:
            yield self._named(market, "reserves", market.reserves, truth)

    def _balances(self, market: Market, tokens: Sequence[OutcomeToken]) -> Iterator[Difference]:
        """Of each address that ever held one of the outcomes, each outcome: a row may be what is missing."""
        sums = [0] * len(tokens)
        rows = Position.objects.filter(market=market).order_by("user_address", "outcome_index")
        held: Iterator[tuple[str, dict[int, int]]] = _by_holder(
            rows.values_list("user_address", "outcome_index", "amount").iterator(chunk_size=ROWS)
        )
        for holders in _portions(held, max(1, BALANCES // max(1, len(tokens)))):
            asked = [(holder, token) for holder, _ in holders for token in tokens]
            truths = self._balances_of([(holder, token.position_id) for holder, token in asked])
            stored = [amounts.get(token.outcome_index, 0) for _, amounts in holders for token in tokens]
            self.compared["balances"] += len(truths)
            for (holder, token), amount, truth in zip(asked, stored, truths, strict=True):
                sums[tokens.index(token)] += truth
                if amount != truth:
                    yield self._named(market, f"balance of {holder} in outcome {token.outcome_index}", amount, truth)
        for token, truth in zip(tokens, sums, strict=True):
            self.compared["supplies"] += 1
            if token.supply != truth:
                yield self._named(market, f"supply of outcome {token.outcome_index}", token.supply, truth)

    def _shares(self, market: Market, amm: Amm) -> Iterator[Difference]:
        total = self._number(amm.address, "totalSupply()")
        self.compared["AMMs"] += 1
        if amm.total_shares != total:
            yield self._named(market, f"shares of {amm.address}", amm.total_shares, total)
        held = 0
        rows = LiquidityShare.objects.filter(amm=amm).order_by("holder").values_list("holder", "amount")
        for holder, amount in rows.iterator(chunk_size=ROWS):
            truth = self._number(amm.address, "balanceOf(address)", holder)
            self.compared["LP shares"] += 1
            held += truth
            if amount != truth:
                yield self._named(market, f"shares of {holder} in {amm.address}", amount, truth)
        if held != total:
            yield self._named(market, f"shares of all known holders of {amm.address}", held, total)

    # --- the chain ----------------------------------------------------------------------------------------------------

    @property
    def _tokens(self) -> str:
        return self.checkpoint.contracts[CONDITIONAL_TOKENS]

    def _balances_of(self, asked: Sequence[tuple[str, int]]) -> list[int]:
        """The balances of (holder, position id) pairs: in one call, or one by one where the contract has no batches."""
        if not asked:
            return []
        if not self._one_by_one:
            owners, ids = [holder for holder, _ in asked], [position_id for _, position_id in asked]
            answer = self._call(self._tokens, "balanceOfBatch(address[],uint256[])", owners, ids)
            if answer is not None and len(answer) == WORD * (2 + len(asked)):
                return [word_at(answer, 2 + place) for place in range(len(asked))]
            self._one_by_one = True
        return [self._number(self._tokens, "balanceOf(address,uint256)", *pair) for pair in asked]

    def _number(self, to: str, signature: str, *arguments: object) -> int:
        answer = self._ask(to, signature, *arguments)
        if answer is None:
            raise CannotCompare(f"{to} does not answer {signature} at block {self.checkpoint.block_number}")
        return answer

    def _ask(self, to: str, signature: str, *arguments: object) -> int | None:
        answer = self._call(to, signature, *arguments)
        return word_at(answer, 0) if answer is not None and len(answer) == WORD else None

    def _call(self, to: str, signature: str, *arguments: object) -> bytes | None:
        return self.rpc.eth_call(to, call_data(signature, *arguments), hex(self.checkpoint.block_number))

    def _named(self, market: Market, what: str, stored: object, on_chain: object) -> Difference:
        return Difference(market_id=market.market_id, what=what, stored=stored, on_chain=on_chain)


@contextmanager
def snapshot() -> Iterator[Checkpoint]:
    """A transaction in which every row is of one block, the checkpoint's. Raises CannotCompare where nothing is."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        checkpoint = Checkpoint.objects.first()
        if checkpoint is None or not checkpoint.block_hash:
            raise CannotCompare("nothing is indexed yet")
        yield checkpoint


def audit(rpc: Rpc, *, block: int | None, report: Callable[[Difference], object]) -> tuple[Counter[str], set[str]]:
    """Compares everything, tells `report` of each difference, and returns what was counted and the markets that differ.

    `block` must be the checkpoint's where it is given: rows of other blocks are not kept. Raises as Audit.differences.
    """
    differing = set()
    with snapshot() as checkpoint:
        if block is not None and block != checkpoint.block_number:
            raise CannotCompare(f"the tables are of block {checkpoint.block_number}, not of {block}")
        running = Audit(rpc, checkpoint)
        for difference in running.differences():
            report(difference)
            differing.add(difference.market_id)
    return running.compared, differing


def _by_holder(rows: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, dict[int, int]]]:
    holder: str = ""
    amounts: dict[int, int] = {}
    for address, outcome, amount in rows:
        if address != holder:
            if holder:
                yield holder, amounts
            holder, amounts = address, {}
        amounts[outcome] = amount
    if holder:
        yield holder, amounts


def _portions(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion


def call_data(signature: str, *arguments: object) -> str:
    """A call of a function, such as `balanceOf(address)`, in hex."""
    types = [name for name in signature.partition("(")[2][:-1].split(",") if name]
    return "0x" + (keccak(signature.encode())[:4] + encode(types, arguments)).hex()


def word_at(answer: bytes, place: int) -> int:
    """One word of an answer as a number."""
    return int.from_bytes(answer[WORD * place : WORD * (place + 1)], "big")


def _bytes(word: str) -> bytes:
    return bytes.fromhex(word[2:])
