"""The process that tests/nursery.py forks indexers from: Django and the command are imported, nothing is connected.

Reads one JSON object a line, and answers each with a number: `start` forks an indexer, and tells its process id; `wait`
waits for one to end, and tells its exit code, negative for a signal; null where it does not end for a minute. Its own
end is the end of those it has forked.
"""

import gc
import json
import os
import secrets
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from threading import Event, current_thread, main_thread
from time import monotonic
from typing import Any, NoReturn

import django
import psycopg
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import execute_from_command_line
from django.db import connection

LONGEST_WAIT = 60.0  # seconds
PRELOADED = ("indexer.management.commands.run_indexer", "aurum.urls", "psycopg_pool")


def main() -> None:
    django.setup()
    for module in PRELOADED:
        import_module(module)
    run_checks()  # they import much
    gc.freeze()  # what is never collected is never copied
    children: set[int] = set()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "start":
                answer = os.fork() or live(request)
                children.add(answer)
            else:
                answer = exit_code(request["pid"])
                children.discard(request["pid"])
            print(json.dumps(answer), flush=True)
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def exit_code(pid: int) -> int | None:
    deadline = monotonic() + LONGEST_WAIT
    while monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        Event().wait(0.002)
    os.kill(pid, signal.SIGKILL)
    return None


def live(request: dict[str, Any]) -> NoReturn:
    """The indexer's life, in the forked process."""
    code = 1
    try:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # As if the settings had been read in this process.
        settings.PROCESS_NAME = f"aurum forked {os.getpid()} {secrets.token_hex(3)}"
        settings.DATABASES["default"]["OPTIONS"]["application_name"] = settings.PROCESS_NAME
        if request["die_at"]:
            from indexer import runner

            die_at(request["die_at"])
            runner.REORG_PAUSE = 0.0  # only time, and many such processes are started
        execute_from_command_line(["manage.py", "run_indexer", *request["arguments"]])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def die_at(place: int, *, since: tuple[str, ...] = ('FROM "checkpoint"', "FOR UPDATE")) -> None:
    """Kills this process before its n-th exchange with the database from the first batch's transaction on.

    -n: when that has been sent, before the answer. `since` are words of the statement that the count begins with.
    """
    wait, count, counting = psycopg.Connection.wait, 0, False

    def watched(execute: Any, sql: str, *arguments: Any) -> Any:
        nonlocal counting
        counting = counting or all(words in sql for words in since)
        return execute(sql, *arguments)

    def counted(self: psycopg.Connection, generator: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        # Connection._set_autocommit_gen and the like only note what the next statement is to begin with.
        if counting and current_thread() is main_thread() and not generator.__name__.startswith("_set_"):
            count += 1
            if count == place:
                os.kill(os.getpid(), signal.SIGKILL)
            if count == -place:
                generator = sent(generator)
        return wait(self, generator, *arguments, **options)

    connection.execute_wrappers.append(watched)
    psycopg.Connection.wait = counted  # type: ignore[method-assign]


def sent(generator: Any) -> Any:
    """Goes on until there is nothing left but to wait for the answer."""
    with suppress(StopIteration):
        wanted = next(generator)
        while wanted != psycopg.waiting.Wait.R:
            wanted = generator.send((yield wanted))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
