"""What is asked of the nodes, typed and checked (chain.py); endpoints.py talks to them, and fails over among several.

A null block and an answer of the wrong form are failures of the endpoint, like a timeout: the next one is asked.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from random import Random
from time import monotonic
from typing import Any

from indexer.chain import (
    HEX_BYTES,
    MAX_BLOCK_NUMBER,
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
    Endpoint,
    Pool,
    RpcBusy,
    RpcError,
    RpcRefused,
    RpcStruggled,
    RpcUnavailable,
)

__all__ = ["Rpc", "RpcBusy", "RpcError", "RpcRefused", "RpcStruggled", "RpcUnavailable"]

BEHIND_REST = 10.0  # seconds that an endpoint is passed over whose head is behind another's
# How clients say that the contract, not the node, refused: geth, reth and anvil, erigon, nethermind, besu.
REVERTED = re.compile(
    r"revert|execution error|opcode|out of gas|evm error|stack (?:under|over|limit)|invalid (?:jump|code)|gas uint64",
    re.I,
)
REVERT_CODE = 3


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
        self._tags: set[str] = set()

    def chain_id(self) -> int:
        return self.pool.attempt(
            lambda endpoint: quantity(parsed(endpoint.ask([("eth_chainId", [])])[0]), "chain id", MAX_BLOCK_NUMBER)
        )

    def head(self) -> Header:
        """The latest block, of the endpoint that is furthest where the preferred one is behind what was seen before.

        It may still be lower than before, when every node is stale, or the chain was rolled back: that alone is no
        reorganisation.
        """
        found: list[tuple[Header, Endpoint]] = [self.pool.attempt(lambda endpoint: (_latest(endpoint), endpoint))]
        if found[0][0].number < self._highest:
            for other in self.pool.others(found[0][1]):
                try:
                    found.append((_latest(other), other))
                except (RpcError, MalformedAnswer) as error:
                    other.failed(error)
        head = max((header for header, _ in found), key=lambda header: header.number)
        for header, endpoint in found:
            if header.number < head.number:
                endpoint.rest(BEHIND_REST, f"its head is {header.number} where another's is {head.number}")
        self._highest = head.number
        return head

    def header(self, number: int) -> Header:
        return self.headers([number])[number]

    def headers(self, numbers: Sequence[int]) -> dict[int, Header]:
        """The canonical headers at these heights, of one endpoint. Raises MalformedAnswer where no node has one."""
        return self.pool.attempt(partial(_headers, numbers)) if numbers else {}

    def linked_headers(self, first: int, last: int) -> list[Header]:
        """The headers of consecutive blocks, each the parent of the next. Raises InconsistentAnswer where it is not."""
        return self.pool.attempt(partial(_linked_headers, first, last))

    def tagged_block(self, tag: str) -> int | None:
        """The height of `safe` or `finalized`; None where the nodes know no such tag.

        A node that knew it once and does not now is at fault: RpcError, MalformedAnswer. The height may be lower than
        before, when a node is behind.
        """
        return self.pool.attempt(partial(self._tagged, tag))

    def eth_call(self, to: str, data: str, block: str = "latest") -> bytes | None:
        """What a contract answers; None where it reverts. Raises RpcRefused where the node itself refuses."""
        return self.pool.attempt(partial(_called, [{"to": to, "data": data}, block]), opinions=2)

    def health(self) -> list[dict[str, Any]]:
        """What is known of each endpoint, in the order of the setting: see Endpoint.health."""
        return [endpoint.health() for endpoint in self.pool.endpoints]

    def _tagged(self, tag: str, endpoint: Endpoint) -> int | None:
        try:
            answer = endpoint.ask([("eth_getBlockByNumber", [tag, False])])[0]
            number = None if answer == NULL else Header.from_json(answer).number
        except RpcRefused:
            if tag in self._tags:
                raise
            return None
        if number is not None:
            self._tags.add(tag)
        elif tag in self._tags:
            raise MalformedAnswer(f"{endpoint.host}: no {tag} block, which there was before")
        return number


def read_header(answer: bytes, number: int, host: str) -> Header:
    """The header at this height. Raises MalformedAnswer, also where there is none or it is another's."""
    if answer == NULL:
        raise MalformedAnswer(f"{host}: no block {number}")
    header = Header.from_json(answer)
    if header.number != number:
        raise MalformedAnswer(f"{host}: asked for block {number}, the node answered with {header.number}")
    return header


def _headers(numbers: Sequence[int], endpoint: Endpoint) -> dict[int, Header]:
    answers = endpoint.ask([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
    return {number: read_header(answer, number, endpoint.host) for number, answer in zip(numbers, answers, strict=True)}


def _linked_headers(first: int, last: int, endpoint: Endpoint) -> list[Header]:
    headers = list(_headers(range(first, last + 1), endpoint).values())
    if any(header.logs_bloom is None for header in headers):
        raise MalformedAnswer(f"{endpoint.host}: headers without logsBloom")
    for parent, header in pairwise(headers):
        if header.parent_hash != parent.hash:
            raise InconsistentAnswer(f"{endpoint.host}: block {parent.number} is not the parent of {header.number}")
    return headers


def _latest(endpoint: Endpoint) -> Header:
    return Header.from_json(endpoint.ask([("eth_getBlockByNumber", ["latest", False])])[0])


def _called(params: list[Any], endpoint: Endpoint) -> bytes | None:
    try:
        answer = endpoint.ask([("eth_call", params)])[0]
    except RpcRefused as error:
        if error.code == REVERT_CODE or REVERTED.search(error.said):
            return None
        raise
    data = parsed(answer)
    if not isinstance(data, str) or not HEX_BYTES.fullmatch(data):
        raise MalformedAnswer(f"{endpoint.host}: eth_call answered {shown(answer)}")
    return bytes.fromhex(data[2:])
