"""A node that serves the benchmark's chain by JSON-RPC over HTTP, as fast as it can; it has no limits and no faults.

`python -m tests.bench.node FOLDER DESCRIPTOR` serves on a listening socket that it inherits.
"""

import mmap
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from eth_hash.auto import keccak

from markets.ctf import collection_id, position_id
from tests.bench.chain import CHAIN_ID, FINALIZED_DISTANCE, SAFE_DISTANCE, About, Columns
from tests.bench.logs import string, words


class Refused(Exception):
    """The call gets an error: its code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


class Node:
    """Answers calls from the files of one chain."""

    def __init__(self, folder: Path) -> None:
        about = About.read(folder)
        self._columns = Columns.read(folder)
        self._logs = _mapped(folder / "logs")
        self._headers = _mapped(folder / "headers")
        self._head = about.head
        self._numbers = {block_hash: number for number, block_hash in enumerate(about.hashes)}
        self._addresses = {address: place for place, address in enumerate(about.addresses)}
        self._topics = {topic: place for place, topic in enumerate(about.topics)}

    def respond(self, body: bytes) -> bytes:
        """The answer to one HTTP request: a call, or a batch of them."""
        asked = msgspec.json.decode(body)
        if isinstance(asked, list):
            return b"[" + b",".join([self._answer(call) for call in asked]) + b"]"
        return self._answer(asked)

    def _answer(self, call: dict[str, Any]) -> bytes:
        try:
            method = METHODS.get(call["method"])
            if method is None:
                raise Refused(-32601, "the method does not exist")
            return b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (call["id"], method(self, *call["params"]))
        except Refused as refused:
            return b'{"jsonrpc":"2.0","id":%d,"error":%s}' % (call["id"], msgspec.json.encode(refused.error))

    # --- blocks ----------------------------------------------------------------------------------------------------

    def chain_id(self) -> bytes:
        return f'"{CHAIN_ID:#x}"'.encode()

    def block_by_number(self, tag: str, full: bool) -> bytes:
        return self._header(self._number(tag))

    def block_by_hash(self, block_hash: str, full: bool) -> bytes:
        return self._header(self._numbers.get(block_hash, -1))

    def _number(self, tag: str) -> int:
        named = {"latest": 0, "safe": SAFE_DISTANCE, "finalized": FINALIZED_DISTANCE}
        return max(0, self._head - named[tag]) if tag in named else int(tag, 16)

    def _header(self, number: int) -> bytes:
        if not 0 <= number <= self._head:
            return b"null"
        starts = self._columns.header_starts
        return self._headers[starts[number] : starts[number + 1] - 1]

    # --- logs ------------------------------------------------------------------------------------------------------

    def logs(self, query: dict[str, Any]) -> bytes:
        first, last = self._blocks(query)
        start, end = self._columns.first_logs[first], self._columns.first_logs[last + 1]
        addresses = _places(self._addresses, query.get("address"))
        topic0, *others = query.get("topics") or [None]
        if any(others):
            raise Refused(-32602, "only the first topic can be filtered")
        topics = _places(self._topics, topic0)
        emitters, kinds = self._columns.log_addresses[start:end], self._columns.log_topics[start:end]
        wanted = [
            number
            for number, (emitter, kind) in enumerate(zip(emitters, kinds, strict=True), start)
            if (addresses is None or emitter in addresses) and (topics is None or kind in topics)
        ]
        return b"[" + b",".join(self._runs(wanted)) + b"]"

    def _blocks(self, query: dict[str, Any]) -> tuple[int, int]:
        if "blockHash" in query:
            number = self._numbers.get(query["blockHash"])
            if number is None:
                raise Refused(-32000, "unknown block")
            return number, number
        first, last = self._number(query["fromBlock"]), min(self._number(query["toBlock"]), self._head)
        return min(first, last + 1), last

    def _runs(self, wanted: Sequence[int]) -> list[bytes]:
        """The logs with these numbers; those that follow on each other in one piece."""
        if not wanted:
            return []
        starts = self._columns.log_starts
        breaks = [place for place, (log, following) in enumerate(pairwise(wanted), 1) if following != log + 1]
        runs = pairwise([0, *breaks, len(wanted)])
        return [self._logs[starts[wanted[first]] : starts[wanted[end - 1] + 1] - 1] for first, end in runs]

    # --- contracts -------------------------------------------------------------------------------------------------

    def call(self, transaction: dict[str, str], block: str) -> bytes:
        data = bytes.fromhex(transaction["data"][2:])
        function = FUNCTIONS.get(data[:4])
        if function is None:
            raise Refused(3, "execution reverted")
        arguments = [int.from_bytes(data[place : place + 32], "big") for place in range(4, len(data), 32)]
        return f'"0x{function(*arguments)}"'.encode()


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _places(known: dict[str, int], asked: str | list[str] | None) -> set[int] | None:
    """The places of what a filter asks for; None where it asks for everything."""
    if not asked:
        return None
    return {known[value] for value in ([asked] if isinstance(asked, str) else asked) if value in known}


METHODS: dict[str, Callable[..., bytes]] = {
    "eth_chainId": Node.chain_id,
    "eth_getBlockByNumber": Node.block_by_number,
    "eth_getBlockByHash": Node.block_by_hash,
    "eth_getLogs": Node.logs,
    "eth_call": Node.call,
}


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


# What the collateral and ConditionalTokens answer, as ABI words in hex; every other call reverts.
FUNCTIONS: dict[bytes, Callable[..., str]] = {
    _selector("symbol()"): lambda: words(32) + string("USDC"),
    _selector("decimals()"): lambda: words(6),
    _selector("getCollectionId(bytes32,bytes32,uint256)"): lambda parent, condition, index_set: words(
        collection_id("0x" + words(condition), index_set)
    ),
    _selector("getPositionId(address,bytes32)"): lambda collateral, collection: words(
        position_id(f"{collateral:#042x}", collection)
    ),
}


def application(node: Node) -> Callable[..., Awaitable[None]]:
    """The node as an ASGI application."""

    async def answer(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        response = node.respond(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(response))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": response})

    return answer


def serve(folder: Path, listening: socket.socket) -> None:
    """Until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        application(Node(folder)),
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=3600,  # seconds: the connection outlives what a batch takes
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
