"""A client of REST that asks another web process each time, and remembers the last block that it has seen."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

PAUSE = 0.01  # seconds between two requests
TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered; a 304 is the answer that the client had."""

    path: str
    block: int
    body: Any


class Reader:
    """Asks for one of `paths` at a time. With several, it says in X-Min-Block what it has seen, else in If-None-Match.

    `moment` names what happens meanwhile; failures are counted by what it says at their start and end. `faults` is all
    that must not be.
    """

    def __init__(
        self, ports: Sequence[int], paths: Sequence[str], *, dice: random.Random, moment: Callable[[], str]
    ) -> None:
        self._ports = ports
        self._paths = paths
        self._dice = dice
        self._moment = moment
        self._by_etag = len(paths) == 1
        self._known: dict[str, tuple[str, Answer]] = {}
        self._seen = -1
        self._stop = threading.Event()
        self.answers: list[Answer] = []
        self.statuses: Counter[int] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.unavailable: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []

    def run(self) -> None:
        turn = self._dice.randrange(len(self._ports))
        while not self._stop.wait(PAUSE):
            turn += 1
            moment = self._moment()
            path = self._dice.choice(self._paths)
            try:
                self._take(path, moment, *self._ask(self._ports[turn % len(self._ports)], path))
            except (OSError, HTTPException):
                self.refused[moment, self._moment()] += 1

    def stop(self) -> None:
        self._stop.set()

    def _ask(self, port: int, path: str) -> tuple[int, dict[str, str], bytes]:
        headers = {} if self._by_etag or self._seen < 0 else {"X-Min-Block": str(self._seen)}
        if path in self._known and (self._by_etag or self._dice.random() < 0.5):
            headers["If-None-Match"] = self._known[path][0]
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def _take(self, path: str, moment: str, status: int, headers: dict[str, str], body: bytes) -> None:
        self.statuses[status] += 1
        if status == 503 and "retry-after" in headers:
            self.unavailable[moment, self._moment()] += 1
            return
        if status not in (200, 304):
            self.faults.append(f"{moment}: {status} to {path}: {body!r}")
            return
        etag, block = headers["etag"], int(headers["x-indexed-block"])
        if block < self._seen:
            self.faults.append(f"{moment}: {path} at {block} behind {self._seen}")
        if status == 304 and etag != self._known[path][0]:
            self.faults.append(f"{moment}: {path} is {etag}, said to be known")
        answer = self._known[path][1] if status == 304 else Answer(path=path, block=block, body=json.loads(body))
        if answer.block != block:
            self.faults.append(f"{moment}: {path} at {block} has the body of {answer.block}")
        self._seen = max(self._seen, block)
        self._known[path] = etag, answer
        self.answers.append(answer)


@contextmanager
def reading(*readers: Reader) -> Iterator[None]:
    """Runs each on a thread of its own."""
    threads = [threading.Thread(target=reader.run, name="reader") for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for reader in readers:
            reader.stop()
        for thread in threads:
            thread.join(2 * TIMEOUT)
            assert not thread.is_alive(), "a reader does not end"
