"""Indexers as processes that start in a tenth of a second: forked from one process that has imported everything.

Tests stop them, kill them, and take away what they need; afterwards the database must be as if nothing had happened.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Any, Self

from django.core.management import call_command
from web3 import Web3

from indexer.devchain.deploy import Deployment
from markets.models import Checkpoint
from tests.processes import PROJECT, environment
from tests.snapshots import FEED, assert_messages_are_complete, database
from tests.truth import Truth


class Nursery:
    """Starts `manage.py run_indexer` again and again, in one environment; `folder` keeps what they print."""

    def __init__(self, deployment: Deployment, folder: Path, **more: str) -> None:
        self._folder = folder
        self._count = 0
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote"],
            env=environment(deployment, LOG_LEVEL="info", LOG_FORMAT="terminal", **more),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *arguments: str, die_at: int = 0) -> "Indexer":
        """`die_at`: before the n-th exchange with the database; -n: when it has been sent, before the answer."""
        self._count += 1
        output = self._folder / f"indexer-{self._count}.log"
        pid = self.request(do="start", arguments=arguments, die_at=die_at, output=str(output))
        return Indexer(self, pid, output)

    def index_once(self) -> None:
        """Reads to the head, and ends."""
        indexer = self.start("--once")
        assert indexer.wait() == 0, indexer.output

    def request(self, **request: Any) -> Any:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        print(json.dumps(request), file=self._zygote.stdin, flush=True)
        return json.loads(self._zygote.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zygote.communicate(timeout=30)


@dataclass(frozen=True, slots=True)
class Indexer:
    """One process of a nursery."""

    nursery: Nursery
    pid: int
    _output: Path

    @property
    def output(self) -> str:
        return self._output.read_text() if self._output.exists() else ""

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        code = self.nursery.request(do="wait", pid=self.pid)
        assert code is not None, f"it does not end: {self.output}"
        return int(code)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL, self.output

    def stop(self) -> None:
        """Ends it as an operator would, which must be exit 0."""
        self.send_signal(signal.SIGCONT)
        self.send_signal(signal.SIGTERM)
        assert self.wait() == 0, self.output


def assert_as_undisturbed(w3: Web3, deployment: Deployment, nursery: Nursery) -> None:
    """Reads on to the head; then every table is what the chain says, and what a sync from the start gives."""
    nursery.index_once()
    assert Truth(w3, deployment).differences() == []
    assert_messages_are_complete()
    lived = database(without=FEED)
    assert lived["trades"]
    call_command("flush", interactive=False, verbosity=0)
    nursery.index_once()
    assert database(without=FEED) == lived


def wait_until_indexed(w3: Web3, *, seconds: float = 10.0) -> float:
    """Until the checkpoint is the chain's latest block; returns how long that took."""
    head = w3.eth.block_number
    return wait_until(lambda: Checkpoint.objects.filter(block_number=head).exists(), "indexed", seconds=seconds)


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 30.0, look: float = 0.02) -> float:
    """Looks until the condition is true, and returns how long that took."""
    started = monotonic()
    while not condition():
        assert monotonic() - started < seconds, f"{what}: not within {seconds} s"
        Event().wait(look)
    return monotonic() - started
