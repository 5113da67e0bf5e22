"""A wire to PostgreSQL that can be cut at the worst moment: when a batch's COMMIT has been sent."""

import socket
import tempfile
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

SOCKET = ".s.PGSQL.5432"
WRITES_A_BATCH = b"indexed_events"
CHUNK = 65536  # bytes
LONGEST_WAIT = 20.0  # seconds


class Proxy:
    """Listens on a Unix socket in `host`, and passes on what it hears to the server's socket in `server_host`."""

    def __init__(self, server_host: str) -> None:
        self._server_host = server_host
        self._folder = tempfile.TemporaryDirectory(prefix="wire-")
        self.host = self._folder.name
        self._listener = socket.socket(socket.AF_UNIX)
        self._armed = False
        self._heard = False
        self._cut = Event()
        self.swallowed: list[bytes] = []  # the server's answers that its client never got: command tags

    def cut(self, *, heard: bool) -> None:
        """Cuts the next batch's connection at its COMMIT: behind it, or before the server has heard it."""
        self._cut.clear()
        self._heard = heard
        self._armed = True

    def wait_until_cut(self) -> None:
        assert self._cut.wait(LONGEST_WAIT), "no batch was committed"

    def __enter__(self) -> Self:
        self._listener.bind(f"{self.host}/{SOCKET}")
        self._listener.listen()
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _shut(self._listener)
        self._folder.cleanup()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(f"{self._server_host}/{SOCKET}")
                except OSError:
                    client.close()
                    continue
                Wire(self, client, server)

    def take(self) -> bool:
        """Whether a batch's commit is to be cut; once each time."""
        armed, self._armed = self._armed, False
        return armed

    @property
    def heard(self) -> bool:
        return self._heard

    def has_cut(self, answer: bytes) -> None:
        if answer:
            self.swallowed.append(answer)
        self._cut.set()


class Wire:
    """One connection, both ways."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._swallowing = False
        for pump in (self._to_server, self._to_client):
            Thread(target=pump, daemon=True).start()

    def _to_server(self) -> None:
        batch = False
        with suppress(OSError):
            while data := self._client.recv(CHUNK):
                batch = batch or WRITES_A_BATCH in data
                if b"COMMIT\0" in data:
                    if batch and self._proxy.take():
                        if not self._proxy.heard:
                            self._end()
                            self._proxy.has_cut(b"")
                            return
                        self._swallowing = True
                    batch = False
                self._server.sendall(data)
        if not self._swallowing:
            self._end()

    def _to_client(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(CHUNK):
                if self._swallowing:
                    # CommandComplete: a C, four bytes of length, the command's tag.
                    tag = data[data.index(b"COMMIT") :].split(b"\0")[0]
                    self._end()
                    self._proxy.has_cut(tag)
                    return
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        for end in (self._client, self._server):
            _shut(end)


def _shut(end: socket.socket) -> None:
    """Closes it; whoever waits for it wakes up."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
