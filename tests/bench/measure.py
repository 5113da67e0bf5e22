"""Processes that are started, timed and ended: their CPU and memory, and PostgreSQL's CPU meanwhile. Linux only.

PostgreSQL's CPU is that of the whole server: backends, background workers, and those that have ended.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import psycopg

from aurum import embedded_postgres

TICKS = os.sysconf("SC_CLK_TCK")  # of /proc, a second
STOP_TIMEOUT = 30.0  # seconds in which a process must end when it is told to
DATABASE = "bench"


class Failed(Exception):
    """A process of the benchmark ended with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What handling `log_count` logs took: seconds of time and of CPU, and megabytes (10^6 bytes) at the most."""

    name: str
    log_count: int
    wall: float
    own_cpu: float
    database_cpu: float
    peak: float

    @property
    def cpu(self) -> float:
        """Seconds, of the process and of PostgreSQL."""
        return self.own_cpu + self.database_cpu

    @property
    def logs_per_second(self) -> float:
        """Logs in one CPU second of both."""
        return self.log_count / self.cpu

    def per_log(self, seconds: float) -> float:
        """Microseconds for each log."""
        return seconds / self.log_count * 1e6


class Database:
    """A PostgreSQL server of the benchmark's own while the context lasts; `empty` before anything else.

    It can hold several databases; `name` is the one at hand.

    One for the whole benchmark: the embedded server's library does not start it twice in a process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = DATABASE

    def __enter__(self) -> Self:
        embedded_postgres.stop(self._folder)  # of a run that was killed
        try:
            self._server = embedded_postgres.start(self._folder)
            self._postmaster = int((self._folder / "postmaster.pid").read_text().split()[0])
        except BaseException:
            embedded_postgres.stop(self._folder)
            raise
        return self

    def empty(self, name: str = DATABASE) -> None:
        """Makes a database anew, and turns to it."""
        self.name = name
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"CREATE DATABASE {name}")

    @property
    def url(self) -> str:
        return self._server.replace("/postgres?", f"/{self.name}?")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        embedded_postgres.stop(self._folder)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs one statement outside any transaction, and returns its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def cpu(self) -> float:
        """Seconds that the server has used so far. A process that ends in between must not be counted twice."""
        while True:
            ended = _stat(self._postmaster)[15:17]
            used = sum(sum(_stat(pid)[13:15]) for pid in (self._postmaster, *_children(self._postmaster)))
            if _stat(self._postmaster)[15:17] == ended:
                return (used + sum(ended)) / TICKS


def process_cpu(pid: int) -> float:
    """Seconds that a process has used so far, and those of its children that have ended."""
    return sum(_stat(pid)[13:17]) / TICKS


def _stat(pid: int) -> list[int]:
    """The fields of /proc/PID/stat, counted from 0; zeros where it has ended, and for the three that come first."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0] * 52
    _, _, behind_name = text.rpartition(")")
    return [0, 0, 0, *map(int, behind_name.split()[1:])]


def _children(parent: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        if _stat(int(path.name))[3] == parent:
            yield int(path.name)


def measure(
    name: str, arguments: Sequence[str], *, log_count: int, database: Database, environment: Mapping[str, str]
) -> Cost:
    """Runs `python ARGUMENTS` to its end and to what it leaves to PostgreSQL to write. Raises Failed.

    The interpreter's start is part of it. Call from a small process: the peak of one that was just forked is its
    parent's.
    """
    database_before, started = database.cpu(), monotonic()
    usage = run(arguments, environment=environment)
    database.execute("CHECKPOINT")
    return Cost(
        name=name,
        log_count=log_count,
        wall=monotonic() - started,
        own_cpu=usage.ru_utime + usage.ru_stime,
        database_cpu=database.cpu() - database_before,
        peak=usage.ru_maxrss * 1024 / 1e6,
    )


def run(arguments: Sequence[str], *, environment: Mapping[str, str]) -> resource.struct_rusage:
    """Runs `python ARGUMENTS` to its end and returns what it used. Raises Failed."""
    with running(arguments, environment=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{' '.join(arguments)} ended with {process.returncode}")
    return usage


@contextmanager
def running(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
    output: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """`python ARGUMENTS` while the body runs; it is ended behind it unless it has ended by itself. `output` is what
    Popen takes as stdout.

    Ctrl-C does not reach it, but ends the body. What it has to say is shown when it has ended: a terminal would make
    it draw progress, which costs.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=said,
            process_group=0,
        )
        try:
            yield process
        finally:
            _end(process)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
