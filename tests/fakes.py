"""A chain in memory, and nodes that serve it by JSON-RPC over HTTP: truthfully, or with any fault that nodes have.

    chain = FakeChain()
    chain.append([[FakeLog(address=..., topics=(...), data=b"")]])   # a block of one transaction with one log
    with FakeNode(chain, seed=1, faults={"null_block": 0.1}) as node:
        Rpc([node.url])

One chain can stand behind several nodes. The same seed, chain and order of requests give the same faults.
"""

import json
import logging
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha3_256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Self

from eth_hash.auto import keccak
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

_silent = logging.Logger(f"{__name__}.websocket", logging.CRITICAL + 1)  # no configuration reaches it
SECONDS_PER_BLOCK = 2
GENESIS_TIME = 1_700_000_000  # Unix seconds


# --- the chain --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FakeLog:
    """What a contract emits; lower-case `0x` strings and bytes."""

    address: str
    topics: tuple[str, ...]
    data: bytes = b""


@dataclass(frozen=True, kw_only=True)
class FakeBlock:
    """A block with its transactions, each by its hash with the logs that it emits."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    transactions: tuple[tuple[str, tuple[FakeLog, ...]], ...] = ()

    def header(self) -> dict[str, Any]:
        """As `eth_getBlockByNumber` gives it."""
        return {
            "number": hex(self.number),
            "hash": self.hash,
            "parentHash": self.parent_hash,
            "timestamp": hex(self.timestamp),
            "logsBloom": bloom_of(log for _, logs in self.transactions for log in logs),
            "transactions": [transaction for transaction, _ in self.transactions],
        }

    def logs(self) -> list[dict[str, Any]]:
        """As `eth_getLogs` gives them without a filter."""
        found: list[dict[str, Any]] = []
        for index, (transaction, logs) in enumerate(self.transactions):
            for log in logs:
                found.append(
                    {
                        "address": log.address,
                        "topics": list(log.topics),
                        "data": "0x" + log.data.hex(),
                        "blockNumber": hex(self.number),
                        "blockHash": self.hash,
                        "blockTimestamp": hex(self.timestamp),
                        "transactionHash": transaction,
                        "transactionIndex": hex(index),
                        "logIndex": hex(len(found)),
                        "removed": False,
                    }
                )
        return found

    def receipts(self) -> list[dict[str, Any]]:
        """As `eth_getBlockReceipts` gives them."""
        logs = self.logs()
        return [
            {
                "transactionHash": transaction,
                "transactionIndex": hex(index),
                "blockHash": self.hash,
                "blockNumber": hex(self.number),
                "status": "0x1",
                "logsBloom": bloom_of(emitted),
                "logs": [log for log in logs if log["transactionIndex"] == hex(index)],
            }
            for index, (transaction, emitted) in enumerate(self.transactions)
        ]


# One element of a block: a transaction's logs, under a new hash, or under one that it had in another block.
Transaction = Sequence[FakeLog] | tuple[str, Sequence[FakeLog]]


class FakeChain:
    """Blocks from the genesis on. Hashes depend on content, parents and the branch alone: repeatable.

    Orphaned blocks stay in `blocks_by_hash`, for a node that still serves them; the canonical ones are in `blocks`.
    Thread-safe: `lock` is held while a node answers one call.
    """

    def __init__(self, *, chain_id: int = 31337, calls: Callable[[str, str], str | None] | None = None) -> None:
        """`calls` answers `eth_call`: (to, data) -> `0x` data, or None for a revert; by default all reverts."""
        self.chain_id = chain_id
        self.calls = calls or (lambda to, data: None)
        self.lock = threading.RLock()
        self.branch = 0
        self.safe_distance = 4  # blocks behind the head
        self.finalized_distance = 8
        genesis = FakeBlock(number=0, hash=_hash("genesis", chain_id), parent_hash=_hash(), timestamp=GENESIS_TIME)
        self.blocks = [genesis]
        self.blocks_by_hash = {genesis.hash: genesis}

    @property
    def head(self) -> FakeBlock:
        return self.blocks[-1]

    def append(self, transactions: Sequence[Transaction] = ()) -> FakeBlock:
        """Mines one block with these transactions."""
        with self.lock:
            parent = self.head
            number = parent.number + 1
            named = tuple(
                (transaction[0], tuple(transaction[1]))
                if transaction and isinstance(transaction[0], str)
                else (_hash("transaction", parent.hash, self.branch, index), tuple(transaction))
                for index, transaction in enumerate(transactions)
            )
            block = FakeBlock(
                number=number,
                hash=_hash("block", parent.hash, self.branch, named),
                parent_hash=parent.hash,
                timestamp=GENESIS_TIME + number * SECONDS_PER_BLOCK,
                transactions=named,
            )
            self.blocks.append(block)
            self.blocks_by_hash[block.hash] = block
            return block

    def mine(self, count: int) -> None:
        """Appends empty blocks."""
        for _ in range(count):
            self.append()

    def rollback(self, depth: int) -> list[FakeBlock]:
        """Orphans the last blocks and returns them; the head is lower until others are appended."""
        with self.lock:
            kept = len(self.blocks) - depth
            assert kept > 0, "the genesis cannot be orphaned"
            orphans = self.blocks[kept:]
            del self.blocks[kept:]
            self.branch += 1
            return orphans

    def reorg(self, depth: int, blocks: Sequence[Sequence[Transaction]]) -> list[FakeBlock]:
        """Replaces the last `depth` blocks by these, in one step, and returns the orphans."""
        with self.lock:
            orphans = self.rollback(depth)
            for transactions in blocks:
                self.append(transactions)
            return orphans

    def restore(self, orphans: Sequence[FakeBlock]) -> None:
        """Makes a former branch canonical again: the blocks that `rollback` or `reorg` returned."""
        with self.lock:
            del self.blocks[orphans[0].number :]
            assert self.head.hash == orphans[0].parent_hash
            self.blocks += orphans
            self.branch += 1  # what is mined on top is new


def bloom_of(logs: Iterable[FakeLog]) -> str:
    """The logs bloom, computed byte by byte: shares no code with the indexer."""
    bloom = bytearray(256)
    for log in logs:
        for value in (log.address, *log.topics):
            digest = keccak(bytes.fromhex(value[2:]))
            for place in (0, 2, 4):
                bit = (digest[place] << 8 | digest[place + 1]) & 0x7FF
                bloom[255 - bit // 8] |= 1 << (bit % 8)
    return "0x" + bloom.hex()


def _hash(*parts: Any) -> str:
    return "0x" + sha3_256(repr(parts).encode()).hexdigest() if parts else "0x" + "00" * 32


# --- what nodes get wrong ---------------------------------------------------------------------------------------------

# Faults of a whole HTTP request.
TRANSPORT_FAULTS = (
    "busy",  # 429 with Retry-After
    "error_500",
    "timeout",  # no answer for FakeNode.stall seconds
    "reset",  # the connection is cut before an answer
    "cut",  # the body ends in the middle
    "html",
    "no_json",
    "wrong_id",
    "batch_missing",
    "batch_extra",
    "batch_duplicate",
    "batch_null_item",
    "batch_error_item",
    "batch_one_error",
)
# Faults of one call's result; each leaves an answer alone that it does not concern.
ANSWER_FAULTS = (
    "null_block",
    "unknown_block",  # eth_getLogs: "block not found"
    "internal_error",
    "empty_logs",
    "omitted_log",  # not the last of several
    "truncated_logs",  # an answer without a filter ends too early
    "altered_log",
    "duplicated_log",
    "doubled_index",
    "shuffled_logs",
    "removed_log",
    "null_logs",
    "foreign_logs",  # those of the parent block
    "false_bloom",
)
FAULTS = TRANSPORT_FAULTS + ANSWER_FAULTS

# How nodes say that a range has too many blocks, results or bytes. `{limit}`, `{first}` and `{last}` are filled in.
RANGE_REFUSALS: tuple[tuple[int, str], ...] = (
    (-32005, "query returned more than {limit} results"),
    (-32602, "Log response size exceeded. this block range should work: [{first}, {last}]"),
    (-32600, "You can make eth_getLogs requests with up to a {limit} block range"),
    (-32000, "block range is too wide"),
    (-32000, "exceed maximum block range: {limit}"),
    (-32000, "eth_getLogs is limited to a {limit} range"),
    (-32614, "eth_getLogs is limited to {limit},000 blocks"),  # and that is a lie
    (-32701, "Please limit the query to at most {limit} blocks; retry with the range {first}-{last}"),
    (-32000, "response is too big, exceeded max limit of 10000000 bytes"),
    (-32603, "request timed out"),
    (-32000, "query timeout exceeded"),
    (-32005, "limit exceeded"),
    (35, "ranges over {limit} blocks are not supported on freetier"),
    (-32002, "backend response too large"),
    (-32000, "Requested entity is 1 MB larger than allowed, try a smaller range"),
    (-32603, "oops"),
)


class _Refusal(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


@dataclass(kw_only=True)
class Limits:
    """What a node allows; None is everything. `refusal` is one of RANGE_REFUSALS, `status` the HTTP status of it."""

    blocks: int | None = None
    results: int | None = None
    addresses: int | None = None
    batch: int | None = None
    refusal: tuple[int, str] = RANGE_REFUSALS[0]
    whole_blocks: bool = True  # else eth_getLogs needs an address
    ranges: bool = True  # else it needs a block's hash
    calls: tuple[int, str] | None = None  # how eth_call is refused
    stall: bool = False  # a range above the limit is answered by silence


@dataclass
class _Script:
    """A fault that is to come `times` times, at requests that have this method."""

    fault: str
    times: int
    method: str | None


@dataclass
class FakeNode:
    """A JSON-RPC server over a chain, in a thread of its own. A context manager, or `start` and `stop`.

    faults: by name, how often (0 to 1) a request has it; `fail` scripts single ones, which come first.
    lag: blocks that this node is behind its chain; it knows nothing above, and answers empty lists.
    tags: whether it knows `safe` and `finalized`.
    `requests` counts the calls by method, `posts` the HTTP requests, `served` the faults.
    """

    chain: FakeChain
    seed: int = 0
    faults: Mapping[str, float] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    lag: int = 0
    tags: bool = True
    stall: float = 3.0  # seconds
    retry_after: str | None = "0"
    path: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    posts: int = 0
    _scripts: list[_Script] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _port: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.faults) - set(FAULTS)
        assert not unknown, unknown
        self._random = Random(self.seed)
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Serves; after a `stop`, on the same port as before."""
        node = self

        class Handler(_Handler):
            serves = node

        self._stopped.clear()
        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuses connections from now on, and cuts those that are open."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_connections()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self.path}"

    def fail(self, fault: str, *, times: int = 1, method: str | None = None) -> None:
        """Scripts a fault for the next requests that have a call of `method`."""
        assert fault in FAULTS, fault
        self._scripts.append(_Script(fault, times, method))

    def heal(self) -> None:
        """No more faults, scripted or by chance."""
        self._scripts.clear()
        self.faults = {}

    # --- answers ---------------------------------------------------------------------------------------------------

    def _fault(self, methods: Sequence[str]) -> str | None:
        for script in self._scripts:
            if script.times > 0 and (script.method is None or script.method in methods):
                script.times -= 1
                return script.fault
        drawn = self._random.random()
        for name, rate in self.faults.items():
            drawn -= rate
            if drawn < 0:
                return name
        return None

    def respond(self, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body, which is shorter than Content-Length where it is cut; None for a reset."""
        asked = json.loads(body)
        calls = asked if isinstance(asked, list) else [asked]
        with self._lock:
            self.posts += 1
            self.requests.update(call["method"] for call in calls)
            fault = self._fault([call["method"] for call in calls])
            if fault is not None:
                self.served[fault] += 1
        if fault == "busy":
            return 429, {"Retry-After": self.retry_after} if self.retry_after is not None else {}, b"slow down"
        if fault == "error_500":
            return 500, {}, b"<html>it broke</html>"
        if fault == "reset":
            return None
        if fault == "html":
            return 200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>"
        if fault == "no_json":
            return 200, {}, b"NaN{" * 20
        if fault == "timeout":
            self._stopped.wait(self.stall)
            return None
        answer = self._body(asked, calls, fault)
        if fault == "cut":
            return 200, {"Content-Length": str(len(answer))}, answer[: len(answer) // 2]
        return 200, {}, answer

    def _body(self, asked: Any, calls: list[dict[str, Any]], fault: str | None) -> bytes:
        if isinstance(asked, list) and self.limits.batch is not None and len(calls) > self.limits.batch:
            return _encoded({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}})
        answers: list[Any] = [self._answer(call, fault) for call in calls]
        if fault == "wrong_id":
            answers[0]["id"] = "x"
        if fault in ("batch_one_error", "batch_error_item", "batch_null_item") and not isinstance(asked, list):
            fault = None
        error = {"code": -32603, "message": "internal error"}
        if fault == "batch_missing":
            answers.pop()
        elif fault == "batch_extra":
            answers.append({"jsonrpc": "2.0", "id": 10**9, "result": None})
        elif fault == "batch_duplicate":
            answers.append(answers[0])
        elif fault == "batch_null_item":
            answers[-1] = None
        elif fault == "batch_error_item":
            answers[-1] = {"jsonrpc": "2.0", "id": calls[-1]["id"], "error": error}
        elif fault == "batch_one_error":
            return _encoded({"jsonrpc": "2.0", "id": None, "error": error})
        if isinstance(asked, list):
            self._random.shuffle(answers)  # the specification allows any order
            return _encoded(answers)
        return _encoded(answers[0] if len(answers) == 1 else answers)

    def _answer(self, call: dict[str, Any], fault: str | None) -> dict[str, Any]:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        method, params = call["method"], call["params"]
        try:
            if fault == "internal_error":
                raise _Refusal(-32603, "internal error")
            with self.chain.lock:
                result = self._call(method, params)
            if method == "eth_getLogs":
                result = self._spoilt_logs(result, params[0], fault)
            elif method.startswith("eth_getBlockBy") and result is not None:
                if fault == "null_block":
                    result = None
                elif fault == "false_bloom":
                    result = result | {"logsBloom": "0x" + "00" * 255 + "01"}
        except _Refusal as refusal:
            return answer | {"error": refusal.error}
        return answer | {"result": result}

    def _call(self, method: str, params: list[Any]) -> Any:
        chain = self.chain
        if method == "eth_chainId":
            return hex(chain.chain_id)
        if method == "eth_blockNumber":
            return hex(self._head())
        if method == "eth_getBlockByNumber":
            block = self._block_at(params[0])
            return block and block.header()
        if method == "eth_getBlockByHash":
            block = self._block_by_hash(params[0])
            return block and block.header()
        if method == "eth_getBlockReceipts":
            block = self._block_by_hash(params[0]) if len(params[0]) == 66 else self._block_at(params[0])
            return block and block.receipts()
        if method == "eth_getLogs":
            return self._logs(params[0])
        if method == "eth_call":
            if self.limits.calls is not None:
                raise _Refusal(*self.limits.calls)
            answer = chain.calls(params[0]["to"], params[0]["data"])
            if answer is None:
                raise _Refusal(3, "execution reverted")
            return answer
        raise _Refusal(-32601, f"the method {method} does not exist")

    def _head(self) -> int:
        return max(0, self.chain.head.number - self.lag)

    def _block_at(self, tag: str) -> FakeBlock | None:
        head = self._head()
        if tag in ("safe", "finalized"):
            if not self.tags:
                raise _Refusal(-32602, f"invalid argument 0: {tag}")
            distance = self.chain.safe_distance if tag == "safe" else self.chain.finalized_distance
            number = max(0, head - distance)
        else:
            number = head if tag == "latest" else int(tag, 16)
        return self.chain.blocks[number] if number <= head else None

    def _block_by_hash(self, block_hash: str) -> FakeBlock | None:
        block = self.chain.blocks_by_hash.get(block_hash)
        if block is None or block.number > self._head() or self.chain.blocks[block.number] is not block:
            return None  # as anvil and geth's pruned pools answer for an orphan
        return block

    def _logs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        limits = self.limits
        if "blockHash" in query:
            block = self._block_by_hash(query["blockHash"])
            if block is None:
                raise _Refusal(-32000, "unknown block")
            if "address" not in query and not limits.whole_blocks:
                raise _Refusal(-32602, "specify an address")
            blocks = [block]
            first = last = block.number
        else:
            first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
            if not limits.ranges:
                self._refuse(first)
            if first > self.chain.head.number:
                raise _Refusal(-32602, "fromBlock is above the head")
            blocks = self.chain.blocks[first : min(last, self._head()) + 1]
        addresses = query.get("address")
        if limits.addresses is not None and addresses is not None and len(addresses) > limits.addresses:
            raise _Refusal(-32602, f"exceed max addresses: {limits.addresses}")
        found = [log for block in blocks for log in block.logs() if _matches(log, addresses, query.get("topics"))]
        too_many = limits.results is not None and len(found) > limits.results
        if too_many or (limits.blocks is not None and last - first + 1 > limits.blocks):
            self._refuse(first)
        return found

    def _refuse(self, first: int) -> None:
        if self.limits.stall:
            self._stopped.wait(self.stall)
        code, message = self.limits.refusal
        limit = self.limits.blocks or self.limits.results or 1
        raise _Refusal(code, message.format(limit=limit, first=hex(first), last=hex(first + limit - 1)))

    def _spoilt_logs(self, logs: list[dict[str, Any]], query: dict[str, Any], fault: str | None) -> Any:
        if fault == "unknown_block":
            raise _Refusal(-32000, "block not found")
        if fault == "null_logs":
            return None
        if not logs:
            return logs
        place = self._random.randrange(len(logs))
        log = logs[place]
        if fault == "empty_logs":
            return []
        if fault == "omitted_log":
            place = min(place, max(0, len(logs) - 2))
            return logs[:place] + logs[place + 1 :]
        if fault == "truncated_logs":
            return logs if "address" in query else logs[:-1]
        if fault == "altered_log":
            altered = replace_last_digit(log["topics"][-1]) if log["topics"] else log["blockHash"]
            return [*logs[:place], log | {"topics": [*log["topics"][:-1], altered]}, *logs[place + 1 :]]
        if fault == "duplicated_log":
            return [*logs[: place + 1], *logs[place:]]
        if fault == "doubled_index":
            twin = log | {"data": log["data"] + "00"}
            return [*logs[: place + 1], twin, *logs[place + 1 :]]
        if fault == "shuffled_logs":
            return logs[1:] + logs[:1]
        if fault == "removed_log":
            return [*logs[:place], log | {"removed": True}, *logs[place + 1 :]]
        if fault == "foreign_logs" and "blockHash" in query:
            with self.chain.lock:
                parent = self.chain.blocks[int(log["blockNumber"], 16) - 1]
            return parent.logs()
        return logs


def replace_last_digit(value: str) -> str:
    return value[:-1] + ("1" if value[-1] == "0" else "0")


def _matches(log: dict[str, Any], addresses: list[str] | None, topics: list[Any] | None) -> bool:
    if addresses is not None and log["address"] not in addresses:
        return False
    for place, wanted in enumerate(topics or ()):
        if wanted is None:
            continue
        if place >= len(log["topics"]) or log["topics"][place] not in ([wanted] if isinstance(wanted, str) else wanted):
            return False
    return True


def _encoded(answer: Any) -> bytes:
    return json.dumps(answer).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are no news."""


class _Handler(BaseHTTPRequestHandler):
    """One connection. `serves` is the node."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    serves: FakeNode

    def do_POST(self) -> None:
        answer = self.serves.respond(self.rfile.read(int(self.headers["Content-Length"])))
        if answer is None:
            # A reset, not an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Content-Length" in headers

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


# --- new heads --------------------------------------------------------------------------------------------------------


class FakeHeads:
    """A WebSocket server that announces blocks to whoever subscribed to `newHeads`. A context manager.

    `connections` counts those that there were; `subscribed` is set while somebody listens.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.subscribed = threading.Event()
        self.refuses = False  # answers eth_subscribe with an error
        self._open: list[ServerConnection] = []
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Serves; after a `stop`, on the same port as before."""
        self._server = serve(self._listen, "127.0.0.1", self._port, logger=_silent)
        self._port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None
        self.drop()

    def drop(self) -> None:
        """Cuts the connections that are open."""
        for connection in self._open:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        self._open.clear()
        self.subscribed.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def announce(self, message: Any) -> None:
        """Sends a block's header, or any other text as it is, to each subscriber."""
        if isinstance(message, FakeBlock):
            result = {"subscription": "0x1", "result": message.header()}
            message = json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": result})
        for connection in list(self._open):
            try:
                connection.send(message)
            except ConnectionClosed:
                self._open.remove(connection)

    def _listen(self, connection: ServerConnection) -> None:
        self.connections += 1
        with suppress(ConnectionClosed):
            self._answer(connection)

    def _answer(self, connection: ServerConnection) -> None:
        for message in connection:
            call = json.loads(message)
            answer = {"error": {"code": -32601, "message": "no"}} if self.refuses else {"result": "0x1"}
            connection.send(json.dumps({"jsonrpc": "2.0", "id": call["id"]} | answer))
            if not self.refuses:
                self._open.append(connection)
                self.subscribed.set()
