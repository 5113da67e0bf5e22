"""What is asked of the nodes, typed and checked (chain.py); endpoints.py talks to them, and fails over among several.

A null block and an answer of the wrong form are failures of the endpoint, like a timeout: the next one is asked.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random
from time import monotonic
from typing import Any

from indexer.chain import (
    HEX_BYTES,
    MAX_CHAIN_ID,
    Header,
    InconsistentAnswer,
    MalformedAnswer,
    parsed,
    quantity,
    shown,
)
from indexer.endpoints import (
    NULL,
    TIMEOUT,
    Call,
    Endpoint,
    Pool,
    RpcBusy,
    RpcError,
    RpcRefused,
    RpcStruggled,
    RpcUnavailable,
)

__all__ = ["Rpc", "RpcBusy", "RpcError", "RpcRefused", "RpcStruggled", "RpcUnavailable", "View"]

BEHIND_REST = 10.0  # seconds that an endpoint is passed over whose head is behind another's
TAGS = ("finalized", "safe")
UNTAGGED = 60.0  # seconds in which a tag that an endpoint refused is not asked for: it would spoil each batch
# How clients say that the contract, not the node, refused: geth, reth and anvil, erigon, nethermind, besu.
REVERTED = re.compile(
    r"revert|execution error|opcode|out of gas|evm error|stack (?:under|over|limit)|invalid (?:jump|code)|gas uint64",
    re.I,
)
REVERT_CODE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one endpoint shows in one answer: its head, how far it calls blocks final and safe, and one more block.

    The heights are None where it knows no such tag, and may be lower than before, when it is behind. `block` is None
    where none was asked for, or its head is below it. The parts are in no order: the chain may change in between.
    """

    head: Header
    finalized: int | None
    safe: int | None
    block: Header | None


class Rpc:
    """Typed calls over one or more endpoints, the first being preferred while it works.

    `pause` waits the given seconds, `clock` counts them; `timeout` is what one request may take. `observe` is told of
    each request: host, method, outcome, seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        pause: Callable[[float], object] | None = None,
        clock: Callable[[], float] = monotonic,
        random: Random | None = None,
        timeout: float = TIMEOUT,
        observe: Callable[[str, str, str, float], object] = lambda host, method, outcome, seconds: None,
    ) -> None:
        self.pool = Pool(urls, pause=pause, clock=clock, random=random, timeout=timeout, observe=observe)
        self._highest = 0
        self._tags: set[str] = set()  # that some endpoint knew
        self._untagged: dict[tuple[int, str], float] = {}  # endpoint, tag -> until when it is not asked for it

    def chain_id(self) -> int:
        return self.pool.attempt(
            lambda endpoint: quantity(parsed(endpoint.ask([("eth_chainId", [])])[0]), "chain id", MAX_CHAIN_ID)
        )

    def look(self, number: int | None = None) -> View:
        """The chain as it is now, and its block `number`: in one request, as each new block waits for it.

        It is the view of the endpoint that is furthest where the preferred one is behind what was seen before. Its head
        may still be lower than before, when every node is stale, or the chain was rolled back: that alone is no
        reorganisation. A node that knew a tag once and does not now is at fault: RpcError, MalformedAnswer; and so is
        one without a block that is below its head.
        """
        work = partial(self._look, number)
        found: list[tuple[View, Endpoint]] = [self.pool.attempt(lambda endpoint: (work(endpoint), endpoint))]
        if found[0][0].head.number < self._highest:
            for other in self.pool.others(found[0][1]):
                try:
                    found.append((work(other), other))
                except (RpcError, MalformedAnswer) as error:
                    other.failed(error)
        furthest = max((view for view, _ in found), key=lambda view: view.head.number)
        self._highest = furthest.head.number
        for view, endpoint in found:
            if view.head.number < self._highest:
                endpoint.rest(BEHIND_REST, f"its head is {view.head.number} where another's is {self._highest}")
        return furthest

    def header(self, number: int) -> Header:
        return self.headers([number])[number]

    def headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        """The canonical headers at these heights, of one endpoint. Raises MalformedAnswer where no node has one."""
        return self.pool.attempt(partial(_headers, numbers)) if numbers else {}

    def linked_headers(self, first: int, last: int) -> list[Header]:
        """The headers of consecutive blocks, each the parent of the next. Raises InconsistentAnswer where it is not."""
        return self.pool.attempt(partial(_linked_headers, first, last))

    def eth_call(self, to: str, data: str, block: str | dict[str, str] = "latest") -> bytes | None:
        """What a contract answers; None where it reverts. Raises RpcRefused where the node itself refuses.

        `block` is a tag, a height in hex, or EIP-1898's {"blockHash": …}.
        """
        return self.pool.attempt(partial(_called, [{"to": to, "data": data}, block]), opinions=2)

    def eth_calls(self, calls: Sequence[tuple[str, str]], block_hash: str) -> list[bytes | None]:
        """What contracts answer to (address, data) at the block of this hash, of one endpoint: see eth_call.

        Raises RpcRefused also where the block is not the chain's (EIP-1898).
        """
        block = {"blockHash": block_hash, "requireCanonical": True}
        params = [[{"to": to, "data": data}, block] for to, data in calls]
        return self.pool.attempt(partial(_all_called, params), opinions=1) if calls else []

    def health(self) -> list[dict[str, Any]]:
        """What is known of each endpoint, in the order of the setting: see Endpoint.health."""
        return [endpoint.health() for endpoint in self.pool.endpoints]

    def _look(self, number: int | None, endpoint: Endpoint) -> View:
        tags = [tag for tag in TAGS if self._may_know(tag, endpoint)]
        names = ["latest", *tags, *([] if number is None else [hex(number)])]
        try:
            answers = dict(zip(names, endpoint.ask([_block_call(name) for name in names]), strict=True))
        except RpcRefused:  # one of them, which spoils the batch
            answers = {name: self._asked_alone(name, endpoint) for name in names}
        head = Header.from_json(answers["latest"])
        heights = [self._height(tag, answers.get(tag, NULL), endpoint) for tag in TAGS]
        block = None
        if number is not None and number <= head.number:
            block = read_header(answers[hex(number)], number, endpoint.host)
        return View(head=head, finalized=heights[0], safe=heights[1], block=block)

    def _may_know(self, tag: str, endpoint: Endpoint) -> bool:
        return tag in self._tags or self.pool.clock() >= self._untagged.get((id(endpoint), tag), 0.0)

    def _asked_alone(self, name: str, endpoint: Endpoint) -> bytes:
        """A refusal is null, but not of what every node must have."""
        try:
            return endpoint.ask([_block_call(name)])[0]
        except RpcRefused:
            if name == "latest" or name in self._tags:
                raise
            if name in TAGS:
                self._untagged[id(endpoint), name] = self.pool.clock() + UNTAGGED
            return NULL

    def _height(self, tag: str, answer: bytes, endpoint: Endpoint) -> int | None:
        if answer != NULL:
            self._tags.add(tag)
            return Header.from_json(answer).number
        if tag in self._tags:
            raise MalformedAnswer(f"{endpoint.host}: no {tag} block, which there was before")
        return None


def read_header(answer: bytes, number: int, host: str) -> Header:
    """The header at this height. Raises MalformedAnswer, also where there is none or it is another's."""
    if answer == NULL:
        raise MalformedAnswer(f"{host}: no block {number}")
    header = Header.from_json(answer)
    if header.number != number:
        raise MalformedAnswer(f"{host}: asked for block {number}, the node answered with {header.number}")
    return header


def _block_call(name: str) -> Call:
    """A header by its tag, or its height in hex."""
    return "eth_getBlockByNumber", [name, False]


def _headers(numbers: Sequence[int], endpoint: Endpoint) -> dict[int, Header]:
    answers = endpoint.ask([_block_call(hex(number)) for number in numbers])
    return {number: read_header(answer, number, endpoint.host) for number, answer in zip(numbers, answers, strict=True)}


def _linked_headers(first: int, last: int, endpoint: Endpoint) -> list[Header]:
    headers = list(_headers(range(first, last + 1), endpoint).values())
    if any(header.logs_bloom is None for header in headers):
        raise MalformedAnswer(f"{endpoint.host}: headers without logsBloom")
    for parent, header in pairwise(headers):
        if header.parent_hash != parent.hash:
            raise InconsistentAnswer(f"{endpoint.host}: block {parent.number} is not the parent of {header.number}")
    return headers


def _all_called(params: Sequence[list[Any]], endpoint: Endpoint) -> list[bytes | None]:
    try:
        return [_bytes_of(answer, endpoint) for answer in endpoint.ask([("eth_call", each) for each in params])]
    except RpcRefused:  # one of them, which spoils the batch
        if len(params) == 1:
            return [_called(params[0], endpoint)]
        half = len(params) // 2
        return _all_called(params[:half], endpoint) + _all_called(params[half:], endpoint)


def _called(params: list[Any], endpoint: Endpoint) -> bytes | None:
    try:
        answer = endpoint.ask([("eth_call", params)])[0]
    except RpcRefused as error:
        if error.code == REVERT_CODE or REVERTED.search(error.said):
            return None
        raise
    return _bytes_of(answer, endpoint)


def _bytes_of(answer: bytes, endpoint: Endpoint) -> bytes:
    data = parsed(answer)
    if not isinstance(data, str) or not HEX_BYTES.fullmatch(data):
        raise MalformedAnswer(f"{endpoint.host}: eth_call answered {shown(answer)}")
    return bytes.fromhex(data[2:])
