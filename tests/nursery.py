"""Indexers as processes that start in a tenth of a second: forked from one process that has imported everything."""

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

from indexer.devchain.deploy import Deployment
from tests.processes import PROJECT, environment


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

    def request(self, **request: Any) -> int:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        print(json.dumps(request), file=self._zygote.stdin, flush=True)
        return int(self._zygote.stdout.readline())

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
        """Its exit code, negative for a signal. Unbounded: for a process that has been told to end, or will."""
        return self.nursery.request(do="wait", pid=self.pid)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL, self.output

    def stop(self) -> None:
        """Ends it as an operator would, which must be exit 0."""
        self.send_signal(signal.SIGCONT)
        self.send_signal(signal.SIGTERM)
        assert self.wait() == 0, self.output


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 30.0, look: float = 0.02) -> float:
    """Looks until the condition is true, and returns how long that took."""
    started = monotonic()
    while not condition():
        assert monotonic() - started < seconds, f"{what}: not within {seconds} s"
        Event().wait(look)
    return monotonic() - started
