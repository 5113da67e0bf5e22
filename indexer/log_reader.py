"""Logs from nodes that limit, lag, leave out and lie: by ranges far from the head, by block hash near it.

A range is as long as the endpoint allows, which is learnt; second_opinion.py decides whether its logs are believed. A
block read by its hash is read whole, and believed when its logs are all that its header's bloom asks for and none is
missing that the same node gives for our addresses alone, which shows answers that end too early. An endpoint that
another proves wrong is quarantined.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from indexer.bloom import check_part, check_whole
from indexer.chain import Header, InconsistentAnswer, Log, MalformedAnswer, read_logs
from indexer.decode import TOPICS
from indexer.endpoints import NULL, Call, Endpoint, Pool, RpcError, RpcRefused, RpcStruggled
from indexer.limits import Limit, blocks_in
from indexer.rpc import read_header

logger = logging.getLogger(__name__)

WHOLE_BLOCKS = 10  # in one HTTP request: a full block of Base has a megabyte of logs
SETTLE_ROUNDS = 5  # over all endpoints, for a block that nobody could show whole
MOST_PIECES = 8  # requests for a range that another endpoint gave in one


class TooManyPieces(RpcError):
    """The endpoint allows so little at once that this range would take too many requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLogs:
    """The logs of one block: all of them where it could be read whole, else those of the addresses asked for."""

    logs: tuple[Log, ...]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeLogs:
    """The logs of the addresses asked for, up to the block of `end`, which the same node showed with them.

    `answers` is what it wrote, where one request was enough.
    """

    endpoint: Endpoint
    end: Header
    logs: tuple[Log, ...]
    answers: tuple[bytes, ...] = field(default=(), repr=False)


class RangeReader:
    """`eth_getLogs` over ranges. `span` is the most blocks one request asks for."""

    def __init__(self, pool: Pool, *, span: int) -> None:
        self._pool = pool
        self._spans = {id(endpoint): Limit(span) for endpoint in pool.endpoints}

    def read(self, first: int, last: int, addresses: Sequence[str]) -> RangeLogs:
        """From `first` as far as one request goes, at most to `last`.

        Raises RpcRefused where every endpoint refuses even the one block `first`.
        """
        return self._pool.attempt(partial(self._read, first, last, addresses), opinions=2)

    def read_again(self, first: int, read: RangeLogs, addresses: Sequence[str], endpoint: Endpoint) -> RangeLogs:
        """What this endpoint has for the same range; the same `logs` object where it wrote the same bytes.

        Raises TooManyPieces; RpcError, MalformedAnswer, of its one attempt.
        """
        pieces: list[RangeLogs] = []
        for _ in range(MOST_PIECES):
            piece = self._read(first, read.end.number, addresses, endpoint, read)
            pieces.append(piece)
            if piece.end.number == read.end.number:
                logs = pieces[0].logs if len(pieces) == 1 else tuple([log for piece in pieces for log in piece.logs])
                return RangeLogs(endpoint=endpoint, end=piece.end, logs=logs)
            first = piece.end.number + 1
        raise TooManyPieces(f"{endpoint.host}: more than {MOST_PIECES} requests for logs that another gives in one")

    def _read(
        self, first: int, last: int, addresses: Sequence[str], endpoint: Endpoint, known: RangeLogs | None = None
    ) -> RangeLogs:
        span = self._spans[id(endpoint)]
        while True:
            end = min(first + span.value - 1, last)
            asked = end - first + 1
            try:
                found = self._ask(first, end, addresses, endpoint, known)
            except (RpcRefused, RpcStruggled) as error:
                if asked > 1:
                    hint = blocks_in(error.said, first) if isinstance(error, RpcRefused) else None
                    span.refused(asked, hint=hint)
                    logger.info("%d blocks of logs are too much, %d from now on: %s", asked, span.value, error)
                if asked == 1 or isinstance(error, RpcStruggled):
                    raise
            else:
                span.allowed(asked)
                return found

    def _ask(
        self, first: int, end: int, addresses: Sequence[str], endpoint: Endpoint, known: RangeLogs | None
    ) -> RangeLogs:
        """The last header comes with the logs: a node that is behind has none, where it would answer empty lists.

        The bytes that `known` was read from are not read again.
        """
        while True:
            size = endpoint.addresses.value
            groups = [addresses[start : start + size] for start in range(0, len(addresses), size)]
            ends = {"fromBlock": hex(first), "toBlock": hex(end)}
            calls: list[Call] = [("eth_getLogs", [ends | _filter(group)]) for group in groups]
            try:
                *answers, header = endpoint.ask([*calls, ("eth_getBlockByNumber", [hex(end), False])])
            except RpcRefused as error:
                if len(groups[0]) == 1 or "address" not in error.said.lower():
                    raise
                endpoint.addresses.refused(len(groups[0]))
                continue
            endpoint.addresses.allowed(len(groups[0]))
            written = tuple(answers)
            same = known is not None and written == known.answers
            logs = known.logs if known is not None and same else _read_range(written, first, end, endpoint.host)
            own = read_header(header, end, endpoint.host)
            return RangeLogs(endpoint=endpoint, end=own, logs=logs, answers=written)


class BlockReader:
    """Blocks by their hash, each whole and checked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sizes = {id(endpoint): Limit(WHOLE_BLOCKS) for endpoint in pool.endpoints}

    def read(self, headers: Sequence[Header], addresses: Sequence[str]) -> dict[int, BlockLogs]:
        """The logs of these blocks, by height; those of `addresses` alone where no node gives all of a block.

        Raises InconsistentAnswer where no endpoint's answers fit a block, or it is no longer in the chain; RpcError.
        """
        found: dict[int, BlockLogs] = {}
        while len(found) < len(headers):
            waiting = headers[len(found) :]
            endpoint, answers = self._pool.attempt(partial(self._ask, waiting, addresses))
            for header, answer in zip(waiting, answers, strict=False):
                try:
                    logs = _whole(header, answer)
                except (MalformedAnswer, InconsistentAnswer) as error:
                    found[header.number] = self._settle(header, addresses, endpoint, error)
                else:
                    found[header.number] = BlockLogs(logs=logs, whole=True)
        return found

    def _ask(
        self, headers: Sequence[Header], addresses: Sequence[str], endpoint: Endpoint
    ) -> tuple[Endpoint, list[list[bytes]]]:
        """What the endpoint says of as many of these blocks as it gives at once; `[NULL]` for one that it refuses."""
        size = self._sizes[id(endpoint)]
        while True:
            some = headers[: size.value]
            each = [_block_calls(header, addresses, endpoint) for header in some]
            try:
                answers = endpoint.ask([call for calls in each for call in calls])
            except RpcRefused:
                if len(some) == 1:
                    return endpoint, [[NULL]]  # unknown, or too large: that is settled for the block alone
                size.refused(len(some))
            except RpcStruggled:
                size.refused(len(some))
                raise
            else:
                size.allowed(len(some))
                step = len(each[0])
                return endpoint, [answers[start : start + step] for start in range(0, len(answers), step)]

    def _settle(self, header: Header, addresses: Sequence[str], accused: Endpoint, doubt: Exception) -> BlockLogs:
        """Asks again, the other endpoints first, until the header and the logs of one of them fit together."""
        doubts: dict[int, Exception] = {id(accused): doubt}
        endpoints = [*self._pool.others(accused), accused]
        for number in range(SETTLE_ROUNDS):
            self._pool.wait_before(number)
            refused = False
            for endpoint in endpoints:
                try:
                    logs = self._one_block(header, addresses, endpoint)
                except (RpcError, MalformedAnswer, InconsistentAnswer) as error:
                    refused = refused or isinstance(error, RpcRefused)
                    doubt = error
                    if isinstance(error, InconsistentAnswer):
                        doubts[id(endpoint)] = error
                else:
                    self._convict(endpoint, doubts)
                    return BlockLogs(logs=logs, whole=True)
            self._check_in_chain(header)
            if refused and number:
                try:
                    return BlockLogs(logs=self._agreed(header, addresses, endpoints), whole=False)
                except (RpcError, MalformedAnswer, InconsistentAnswer) as error:
                    doubt = error
        raise InconsistentAnswer(str(doubt))

    def _convict(self, witness: Endpoint, doubts: dict[int, Exception]) -> None:
        """Quarantines whoever contradicted itself about a block that the witness shows whole."""
        for endpoint in self._pool.others(witness):
            error = doubts.get(id(endpoint))
            if isinstance(error, InconsistentAnswer):
                endpoint.quarantine(error)

    def _one_block(self, header: Header, addresses: Sequence[str], endpoint: Endpoint) -> tuple[Log, ...]:
        """The block from one endpoint alone: the first one's header may be the lie."""
        by_hash: Call = ("eth_getBlockByHash", [header.hash, False])
        block, *answers = endpoint.ask([by_hash, *_block_calls(header, addresses, endpoint)])
        own = read_header(block, header.number, endpoint.host)
        if (own.hash, own.parent_hash) != (header.hash, header.parent_hash):
            raise InconsistentAnswer(f"{endpoint.host}: asked for a block by its hash, another came")
        return _whole(own, answers)

    def _check_in_chain(self, header: Header) -> None:
        """Raises InconsistentAnswer where the chain has another block by now: nobody can show an orphan whole."""
        by_number: Call = ("eth_getBlockByNumber", [hex(header.number), False])
        now = self._pool.attempt(
            lambda endpoint: read_header(endpoint.ask([by_number])[0], header.number, endpoint.host)
        )
        if now.hash != header.hash:
            raise InconsistentAnswer(f"block {header.number} was replaced while it was read")

    def _agreed(self, header: Header, addresses: Sequence[str], endpoints: Sequence[Endpoint]) -> tuple[Log, ...]:
        """What two endpoints say of these addresses, or one says twice, of a block that no node gives whole."""
        said: Counter[tuple[Log, ...]] = Counter()
        doubt: Exception = InconsistentAnswer(f"block {header.number}: no two answers are the same")
        for endpoint in (*endpoints, *endpoints):
            try:
                logs = self._filtered(header, addresses, endpoint)
            except (RpcError, MalformedAnswer, InconsistentAnswer) as error:
                doubt = error
                continue
            said[logs] += 1
            if said[logs] == 2:
                return logs
        raise doubt

    def _filtered(self, header: Header, addresses: Sequence[str], endpoint: Endpoint) -> tuple[Log, ...]:
        """The logs of these addresses alone: nothing shows whether some are left out."""
        logs: list[Log] = []
        done = 0
        while done < len(addresses):
            group = addresses[done : done + endpoint.addresses.value]
            try:
                answer = endpoint.ask([("eth_getLogs", [{"blockHash": header.hash} | _filter(group)])])[0]
            except RpcRefused:
                if len(group) == 1:
                    raise
                endpoint.addresses.refused(len(group))
                continue
            endpoint.addresses.allowed(len(group))
            logs += read_logs(answer)
            done += len(group)
        logs.sort(key=lambda log: log.log_index)
        if any((log.block_number, log.block_hash) != (header.number, header.hash) for log in logs):
            raise InconsistentAnswer(f"{endpoint.host}: logs of another block than {header.number}")
        check_part(header, logs)
        return tuple(logs)


def _read_range(answers: Sequence[bytes], first: int, end: int, host: str) -> tuple[Log, ...]:
    logs = tuple([log for answer in answers for log in read_logs(answer)])
    for log in logs:
        if not first <= log.block_number <= end:
            raise MalformedAnswer(f"{host}: a log of block {log.block_number} in the answer for {first} to {end}")
    return logs


def _block_calls(header: Header, addresses: Sequence[str], endpoint: Endpoint) -> list[Call]:
    """All logs of a block, then those of the addresses."""
    size = endpoint.addresses.value
    queries: list[dict[str, Any]] = [{"blockHash": header.hash}]
    queries += [queries[0] | _filter(addresses[start : start + size]) for start in range(0, len(addresses), size)]
    return [("eth_getLogs", [query]) for query in queries]


def _whole(header: Header, answers: Sequence[bytes]) -> tuple[Log, ...]:
    """Reads what was asked by `_block_calls`. Raises MalformedAnswer, or InconsistentAnswer where it is not all."""
    whole, *filtered = [read_logs(answer) for answer in answers]
    check_whole(header, whole)
    if not {log for logs in filtered for log in logs} <= set(whole):
        raise InconsistentAnswer(f"block {header.number}: logs at its end are left out")
    return tuple(whole)


def _filter(addresses: Sequence[str]) -> dict[str, Any]:
    return {"address": list(addresses), "topics": [TOPICS]}
