"""`make run`: PostgreSQL, the chain, its bots, the indexer and the web server together, until Ctrl-C or SIGTERM.

`python -m aurum.devstack` runs them, `… wait` returns when this run's chain is up (for Procfile.dev), `… stop` ends
the run of another terminal, or what a run that was killed with SIGKILL left behind.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import honcho.manager
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

from aurum import embedded_postgres, environment
from aurum.ports import free_or_exit

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = BASE_DIR / ".data"
POSTGRES_DIR = DATA_DIR / "postgres"
CHAIN_ENV = DATA_DIR / "devchain.env"
LOCK = DATA_DIR / "devstack.lock"  # held while anything of a run lives; holds the process ids
OPERATOR_PASSWORD = DATA_DIR / "operator-password"

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHAIN_TIMEOUT = 60.0  # seconds for node and contracts; they take about 3
STOP_TIMEOUT = 30.0  # seconds; the chain writes its state, the web server finishes requests
LOOK_INTERVAL = 0.2  # seconds between two looks at something that starts or stops
POLL_INTERVAL = "500"  # ms; the development chain mines when something happens, and nobody pays for its requests
# What the chain's own file says about this run's chain, whatever the shell has for another one.
CHAIN_VARIABLES = (
    "RPC_URL",
    "RPC_WS_URL",
    "CHAIN_ID",
    "INDEXER_START_BLOCK",
    "CONDITIONAL_TOKENS_ADDRESS",
    "MARKET_FACTORY_ADDRESS",
    "AURUM_TOKEN_ADDRESS",
    "AURUM_ORACLE_ADDRESS",
    "FEE_COLLECTOR_ADDRESS",
)


class Terminal(Printer):
    """A terminal that was closed must not keep us from stopping in order."""

    def write(self, message: Message) -> None:
        with suppress(OSError):
            super().write(message)


class Stack(honcho.manager.Manager):
    """Honcho's manager, which also says when the web server answers, and which process ended first."""

    def __init__(self, *, lock: IO[str], web: str, greeting: str) -> None:
        super().__init__(Terminal(sys.stdout))
        self._lock, self._web, self._greeting = lock, web, greeting
        self.ended_first = ""

    def terminate(self) -> None:
        """Honcho calls it for a signal, or once one process has ended by itself."""
        if not self._all_started():  # it can't end a process that has not told its id yet
            threading.Timer(LOOK_INTERVAL, os.kill, (os.getpid(), signal.SIGTERM)).start()
            return
        ended = [name for name, process in self._processes.items() if process.get("returncode") is not None]
        if not self._terminating and ended:
            self.ended_first = ended[0]
        super().terminate()

    def _start(self) -> None:
        super()._start()
        # Not before: it would be a thread in a process that forks.
        threading.Thread(target=self._greet, daemon=True).start()

    def _greet(self) -> None:
        while not self._all_started():
            time.sleep(LOOK_INTERVAL)
        print(*(process["pid"] for process in self._processes.values()), file=self._lock, flush=True)
        while not _answers(self._web):
            time.sleep(LOOK_INTERVAL)
        now = self._clock.now()
        self.events.put(Message(type="line", data=self._greeting, time=now, name="ready", colour=None))


def run() -> int:
    """Runs everything and returns the exit code: 0 when it was asked to stop, else not."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with _locked() as lock:
        inherited = dict(os.environ)
        environment.read_env_files(BASE_DIR)
        database_url = os.environ.get("DATABASE_URL", "")
        # The settings would start the embedded database, and we don't know yet that the ports are free.
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "aurum.settings",
            "DATABASE_URL": database_url or "postgresql:///later",
        }
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured

        try:
            settings.PORT  # noqa: B018 - reads them all
        except ImproperlyConfigured as error:
            sys.exit(f"make run: {error}")
        if not settings.DEVELOPMENT:
            sys.exit(f"make run is for development, and DJANGO_ENV is {settings.ENVIRONMENT}")
        free_or_exit(settings.HOST, settings.PORT, "PORT")
        free_or_exit("127.0.0.1", settings.DEVCHAIN_PORT, "DEVCHAIN_PORT")
        try:
            database_url = database_url or _start_postgres()
            variables = _variables(inherited, database_url, settings.DEVCHAIN_PORT)
            for command in (["migrate", "--verbosity", "0"], ["create_demo_operator"]):
                subprocess.run(  # noqa: S603
                    [sys.executable, "manage.py", *command],
                    cwd=BASE_DIR,
                    env=variables,
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            return _run_processes(lock, variables, settings.PORT)
        except subprocess.CalledProcessError:
            return 1  # its own words say why
        finally:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave the database running
            embedded_postgres.stop(POSTGRES_DIR)


def _start_postgres() -> str:
    # Its own programs would die of a Ctrl-C, with a page of words: it waits until they are through.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        return embedded_postgres.start(POSTGRES_DIR)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _variables(inherited: dict[str, str], database_url: str, chain_port: int) -> dict[str, str]:
    """The environment of every process of the run: one database, and the local chain before one that .env names."""
    from indexer.devchain.deploy import WALLET, WALLET_KEY  # with web3, which takes a second

    variables = {name: value for name, value in inherited.items() if name not in CHAIN_VARIABLES}
    variables.setdefault("INDEXER_POLL_INTERVAL", POLL_INTERVAL)
    variables.setdefault("LOG_FORMAT", "terminal")
    variables.setdefault("PYTHONWARNINGS", "ignore:No directory at:UserWarning")  # staticfiles: development has none
    return variables | {
        "AURUM_ENV_FILES": f"{CHAIN_ENV.relative_to(BASE_DIR)},.env",
        "DATABASE_URL": database_url,
        "DEVCHAIN_PORT": str(chain_port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        # Of the local chain alone: whatever .env has for another one must not sign here.
        "PRIVATE_KEY": WALLET_KEY,
        "PRIVATE_KEY_FILE": "",
        "KMS_KEY_ID": "",
        "WALLET_ADDRESS": WALLET.lower(),
    }


def _run_processes(lock: IO[str], variables: dict[str, str], port: int) -> int:
    CHAIN_ENV.unlink(missing_ok=True)  # an earlier run's; whoever waits for it must see this run's
    web = f"http://127.0.0.1:{port}"
    stack = Stack(lock=lock, web=web, greeting=_greeting(web))
    for name, command in parse_procfile((BASE_DIR / "Procfile.dev").read_text()).processes.items():
        stack.add_process(name, command, env=variables, cwd=str(BASE_DIR))
    honcho.manager.KILL_WAIT = STOP_TIMEOUT
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))  # honcho knows SIGTERM and SIGINT
    stack.loop()
    if not stack.ended_first:
        return 0
    print(f"make run: {stack.ended_first} ended by itself, so everything was stopped; its lines above say why.")
    return int(stack.returncode) if stack.returncode > 0 else 1


def _greeting(web: str) -> str:
    from django.conf import settings

    return "\n".join(
        (
            "",
            f"  API      {web}/api/markets",
            f"  Docs     {web}/api/docs",
            f"  Admin    {web}/{settings.ADMIN_PATH}/  (operator / {OPERATOR_PASSWORD.read_text().strip()})",
            f"  Sockets  {web.replace('http', 'ws', 1)}/ws",
            "  Ctrl-C stops everything; `make run` continues with the same chain and data, `make reset` forgets them.",
            "",
        )
    )


def _answers(web: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{web}/health/live", timeout=2) as response:  # noqa: S310
        return bool(response.status == 200)
    return False


@contextmanager
def _locked() -> Iterator[IO[str]]:
    """Holds the lock, with our process id in it, or exits. Honcho's forks hold it too, should we be killed."""
    DATA_DIR.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        if not _lock(lock):
            sys.exit("make run is running in this folder already: end it there, or with `make stop`")
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield lock


def _lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait() -> None:
    """Returns once this run's chain has said where its contracts are."""
    deadline = time.monotonic() + CHAIN_TIMEOUT
    while not CHAIN_ENV.is_file():
        if time.monotonic() > deadline:
            sys.exit(f"the development chain was not there after {CHAIN_TIMEOUT:.0f} s")
        time.sleep(LOOK_INTERVAL)


def stop() -> None:
    """Ends the run of this folder, if there is one, and its embedded PostgreSQL."""
    DATA_DIR.mkdir(exist_ok=True)
    with LOCK.open("a+") as lock:
        if not _lock(lock):
            _end_processes(lock)
        deadline = time.monotonic() + STOP_TIMEOUT
        while not _lock(lock):
            if time.monotonic() > deadline:
                sys.exit("make run did not stop")
            time.sleep(LOOK_INTERVAL)
        embedded_postgres.stop(POSTGRES_DIR)


def _end_processes(lock: IO[str]) -> None:
    lock.seek(0)
    runner, *groups = (int(word) for word in lock.read().split())
    try:
        os.kill(runner, signal.SIGTERM)
    except ProcessLookupError:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(run())
        case ["wait"]:
            wait()
        case ["stop"]:
            stop()
        case _:
            sys.exit("usage: python -m aurum.devstack [wait | stop]")
