"""The project's own commands as processes, on the test's database and chain."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from django.db import connection

from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port

PROJECT = Path(__file__).resolve().parent.parent


def database_url() -> str:
    """The test database, for another process."""
    parameters = connection.get_connection_params()
    query = {name: str(parameters[name]) for name in ("host", "port", "user", "password") if parameters.get(name)}
    return f"postgresql:///{parameters['dbname']}?{urlencode(query)}"


def environment(deployment: Deployment | None, **more: str) -> dict[str, str]:
    """The environment of a process that works on the test's database, and on this chain if it needs one."""
    fragment = dict(line.split("=", 1) for line in deployment.to_env().splitlines()) if deployment else {}
    ours: Mapping[str, str] = {
        "AURUM_ENV_FILES": "",
        "DATABASE_URL": database_url(),
        "DJANGO_ENV": "development",
        "DJANGO_SETTINGS_MODULE": "aurum.settings",
        "INDEXER_POLL_INTERVAL": "100",
    }
    return {**os.environ, **fragment, **ours, **more}


def manage(*arguments: str, deployment: Deployment | None, **more: str) -> subprocess.Popen[str]:
    """Starts `manage.py` with these arguments; its output is readable."""
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "manage.py"), *arguments],
        env=environment(deployment, **more),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, see `output_of`
    )


def index_once(deployment: Deployment, **more: str) -> str:
    """Runs `run_indexer --once` to its end, which must be exit 0, and returns what it printed."""
    process = manage("run_indexer", "--once", deployment=deployment, **more)
    output = output_of(process, seconds=300)
    assert process.returncode == 0, output
    return output


@contextmanager
def running(*arguments: str, deployment: Deployment, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A command of `manage.py` that runs while the body does; it must then end cleanly on SIGTERM."""
    process = manage(*arguments, deployment=deployment, **more)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        output = output_of(process, seconds=60)
        print(output)  # pytest shows it where the test fails
    assert process.returncode == 0, output


def output_of(process: subprocess.Popen[str], *, seconds: float) -> str:
    """What it printed until its end. One that does not end is killed with what it has started: it would disturb others."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"{process.communicate()[0]}\nkilled: it did not end in {seconds} s"


@contextmanager
def serving(deployment: Deployment, *arguments: str, **more: str) -> Iterator[str]:
    """The web server on a port of its own, answering; yields `127.0.0.1:port`."""
    port = free_port()
    with running("serve", *arguments, deployment=deployment, HOST="127.0.0.1", PORT=str(port), **more) as process:
        wait_until_it_answers(process, port)
        yield f"127.0.0.1:{port}"


def wait_until_it_answers(process: subprocess.Popen[Any], port: int) -> None:
    """Until something listens on the port; bounded."""
    deadline = monotonic() + 60
    while not _answers(port):
        assert process.poll() is None, "the server has ended"
        assert monotonic() < deadline, "the server does not answer"
        Event().wait(0.05)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class WebServer:
    """`manage.py serve` on one port, again and again, on the test's database."""

    def __init__(self, **environment: str) -> None:
        self.port = free_port()
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        more = {"HOST": "127.0.0.1", "PORT": str(self.port), "LOG_LEVEL": "warn", **self._environment}
        self._process = manage("serve", deployment=None, **more)
        wait_until_it_answers(self._process, self.port)

    def tell(self, number: int) -> None:
        """Sends a signal, behind which `end` waits for the end."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int) -> None:
        """Ends it by this signal, which must be exit 0 for SIGTERM."""
        assert self._process is not None
        self.tell(number)
        output = output_of(self._process, seconds=30)
        code, self._process = self._process.returncode, None
        assert code == (0 if number == signal.SIGTERM else -number), output

    def kill(self) -> None:
        """Ends it, if it runs, however it ends."""
        if self._process is not None:
            self._process.kill()
            output_of(self._process, seconds=30)
            self._process = None
