"""`python -m tests.bench.ws.clients PORT COUNT [MARKET_ID]`: so many connections in one process, subscribed to one
market's prices unless there is none.

It says `ready` when all are there. At `until SEQ` on standard input it waits for the channel's message with this `seq`
on every connection, and says as JSON what came since the last time: see Report. It must cost less than any server: one
loop over epoll, in which each message is parsed once for all connections.
"""

import json
import os
import resource
import select
import socket
import sys
from array import array
from dataclasses import asdict, dataclass, field
from time import monotonic, monotonic_ns, sleep

AT_ONCE = 64  # handshakes that are under way
CONNECT_TIMEOUT = 120.0  # seconds
PATIENCE = 10.0  # seconds that a message may take
# Between two turns, in seconds. Real clients are elsewhere: to wake this process for each message would be the greater
# part of what sending one costs.
PAUSE = 0.002
READ_SIZE = 2**16
TEXT, PING, PONG = 1, 9, 10
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of the channel, and when connections had it, in nanoseconds of the monotonic clock."""

    seq: int
    block_number: int
    arrivals: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`missing` is how many messages did not come, over all connections; `disordered`, how many came out of turn."""

    messages: list[Message]
    missing: int
    disordered: int


@dataclass(slots=True, eq=False)
class Known:
    """A message that some connection had already."""

    seq: int
    block_number: int
    arrivals: "array[int]" = field(default_factory=lambda: array("q"))


class Clients:
    """All the connections."""

    def __init__(self, port: int, count: int, market_id: str | None) -> None:
        self._port = port
        self._count = count
        self._market_id = market_id
        self._sockets: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}  # what has come of a frame that is not whole
        self._shaking: set[int] = set()  # those that are not accepted yet
        self._last: dict[int, int] = {}  # the `seq` that each had last, once it is ready
        self._known: dict[bytes, Known] = {}
        self._disordered = 0
        self._poll = select.epoll()

    def connect(self) -> None:
        """Returns when all are ready. Raises ConnectionError."""
        ends_at = monotonic() + CONNECT_TIMEOUT
        while len(self._last) < self._count:
            if monotonic() > ends_at:
                raise ConnectionError(f"{len(self._last)} of {self._count} connections are ready")
            while len(self._sockets) < min(self._count, len(self._last) + AT_ONCE):
                self._open()
            self._turn(1.0)

    def until(self, seq: int) -> Report:
        """Waits for this message on every connection, or until it can't be expected any more."""
        ends_at = monotonic() + PATIENCE
        while min(self._last.values()) < seq and monotonic() < ends_at:
            self._turn(1.0)
        missing = sum(max(0, seq - last) for last in self._last.values())
        messages = [
            Message(seq=known.seq, block_number=known.block_number, arrivals=list(known.arrivals))
            for known in self._known.values()
        ]
        report = Report(messages=messages, missing=missing, disordered=self._disordered)
        self._known, self._disordered = {}, 0
        return report

    def take_until_told(self, descriptor: int) -> None:
        """Takes what comes, until the descriptor can be read."""
        self._poll.register(descriptor, select.EPOLLIN)
        while not self._turn(None):
            pass
        self._poll.unregister(descriptor)

    def _turn(self, timeout: float | None) -> bool:
        """Takes what has come; whether something else than a connection can be read."""
        is_told = False
        sleep(PAUSE)
        known, rest, last = self._known, self._rest, self._last
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor not in self._sockets:
                is_told = True
                continue
            data = os.read(descriptor, READ_SIZE)
            message = known.get(data)
            if message is None or descriptor in rest:
                self._read(descriptor, data)
            else:
                message.arrivals.append(monotonic_ns())
                if message.seq != last[descriptor] + 1:
                    self._disordered += 1
                last[descriptor] = message.seq
        return is_told

    # --- what is no message that is known ---------------------------------------------------------------------------

    def _open(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(HANDSHAKE)
        self._sockets[connection.fileno()] = connection
        self._rest[connection.fileno()] = b""
        self._shaking.add(connection.fileno())
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, descriptor: int, data: bytes) -> None:
        """Raises ConnectionError where the server closes the connection."""
        if not data:
            raise ConnectionError("the server closed a connection")
        data = self._rest.pop(descriptor, b"") + data
        if descriptor in self._shaking:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest[descriptor] = head
                return
            self._shaken(descriptor, head)
        while (length := frame_length(data)) is not None and len(data) >= length:
            self._take(descriptor, data[:length])
            data = data[length:]
        if data:
            self._rest[descriptor] = data

    def _shaken(self, descriptor: int, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(head.decode(errors="replace"))
        self._shaking.discard(descriptor)
        if self._market_id is None:
            self._last[descriptor] = 0
        else:
            subscribe = {"type": "subscribe", "channel": "prices", "marketId": self._market_id}
            self._sockets[descriptor].sendall(masked(TEXT, json.dumps(subscribe).encode()))

    def _take(self, descriptor: int, frame: bytes) -> None:
        """One whole frame."""
        opcode, payload = frame[0] & 15, frame[frame_head(frame) :]
        if opcode == PING:
            self._sockets[descriptor].sendall(masked(PONG, payload))
        elif opcode != TEXT:
            raise ConnectionError(f"a frame {frame[:40]!r}")
        elif (known := self._known.get(frame)) is not None:
            self._count_one(descriptor, known)
        else:
            said = json.loads(payload)
            if said["type"] == "subscribed":
                self._last[descriptor] = said["seq"]
            elif said["type"] == "price_update":
                self._known[frame] = Known(seq=said["seq"], block_number=said["blockNumber"])
                self._count_one(descriptor, self._known[frame])
            elif said["type"] not in ("heartbeat", "finality"):
                raise ConnectionError(payload.decode())

    def _count_one(self, descriptor: int, known: Known) -> None:
        known.arrivals.append(monotonic_ns())
        if known.seq != self._last[descriptor] + 1:
            self._disordered += 1
        self._last[descriptor] = known.seq


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame of less than 64 KiB; its mask is 0, which leaves the payload as it is."""
    length = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return bytes((0x80 | opcode,)) + length + bytes(4) + payload


def frame_head(frame: bytes) -> int:
    """How many bytes stand before the payload of a server's frame."""
    return {126: 4, 127: 10}.get(frame[1], 2)


def frame_length(data: bytes) -> int | None:
    """Of the frame that `data` begins with, as far as that can be said already."""
    if len(data) < 2 or len(data) < (head := frame_head(data)):
        return None
    return head + (data[1] if head == 2 else int.from_bytes(data[2:head]))


def main(port: int, count: int, market_id: str | None) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clients = Clients(port, count, market_id)
    clients.connect()
    print("ready", flush=True)
    while True:
        clients.take_until_told(sys.stdin.fileno())
        line = sys.stdin.readline()
        if not line:
            return
        print(json.dumps(asdict(clients.until(int(line.split()[1])))), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
