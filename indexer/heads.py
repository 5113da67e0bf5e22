"""New blocks as the node announces them, by WebSocket: a reason to look at once, and nothing that is believed.

The indexer polls underneath, so that a socket that is away, silent or wrong costs time alone.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random
from time import monotonic
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.sync.client import connect
from websockets.sync.connection import Connection

logger = logging.getLogger(__name__)
# The library's lines hold the URL's path. One that has no parent, and that no configuration reaches.
_silent = logging.Logger(f"{__name__}.websocket", logging.CRITICAL + 1)

OPEN_TIMEOUT = 10.0  # seconds
FIRST_PAUSE = 0.5  # seconds between two connections; doubles with each that ends too soon
GOOD_CONNECTION = 10.0  # seconds that one must last
LONGEST_PAUSE = 60.0
LARGEST_MESSAGE = 2**20  # bytes; a header has two thousand
SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})


class HeadSubscription:
    """`wait` ends when a block is announced, at the latest after its timeout. Without URLs it only waits.

    A thread subscribes to `newHeads` at the URLs in turn. One that announces nothing for `silence` seconds is left: a
    stalled socket looks like a quiet one. A context manager, or `start` and `stop`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        silence: float = 30.0,
        clock: Callable[[], float] = monotonic,
        random: Random | None = None,
    ) -> None:
        self.connected = False  # subscribed, and not yet left
        self.announced = 0  # blocks, ever
        self._urls = list(urls)
        self._silence = silence
        self._clock = clock
        self._random = random or Random()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        if self._urls and self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="heads", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the thread, within a second where the node answers, and any `wait`."""
        self._stopping.set()
        self.wake()
        if self._thread is not None:
            self._thread.join(OPEN_TIMEOUT + 1)
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, timeout: float) -> bool:
        """True as soon as a block was announced since the last call, False after `timeout` seconds."""
        found = self._news.wait(timeout)
        self._news.clear()
        return found

    def wake(self) -> None:
        """Ends a `wait` that another thread, or a signal's handler, does not want to last."""
        self._news.set()

    def _run(self) -> None:
        failures = 0
        for url in cycle(self._urls):
            started = self._clock()
            try:
                self._listen(url)
            except Exception as error:
                # Texts of the library hold the URL.
                logger.info("no new heads from %s (%s)", urlsplit(url).hostname, type(error).__name__)
            self.connected = False
            failures = failures + 1 if self._clock() - started < min(self._silence, GOOD_CONNECTION) else 0
            pause = min(FIRST_PAUSE * 2 ** min(failures, 20), LONGEST_PAUSE)
            if self._stopping.wait(pause * self._random.uniform(0.5, 1)):
                return

    def _listen(self, url: str) -> None:
        """Until the node is silent for too long. Raises what the library does."""
        with connect(
            url, open_timeout=OPEN_TIMEOUT, close_timeout=1, max_size=LARGEST_MESSAGE, logger=_silent
        ) as socket:
            socket.send(SUBSCRIBE)
            heard = self._clock()
            while not self._stopping.is_set():
                message = self._receive(socket)
                if message is not None and self._read(message):
                    heard = self._clock()
                if self._clock() - heard > self._silence:
                    raise TimeoutError

    def _receive(self, socket: Connection) -> str | bytes | None:
        try:
            return socket.recv(timeout=min(0.5, self._silence))
        except TimeoutError:
            return None

    def _read(self, message: str | bytes) -> bool:
        """Whether it is an announcement. Raises ValueError for what is no JSON-RPC, and where the node refuses."""
        answer: Any = json.loads(message)
        if not isinstance(answer, dict) or answer.get("error") is not None:
            raise ValueError("the node refuses to announce blocks")
        if answer.get("id") == 1:
            self.connected = True
        if answer.get("method") != "eth_subscription":
            return False
        self.announced += 1
        self._news.set()
        return True
