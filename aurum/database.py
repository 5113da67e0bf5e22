"""Direct connections to the database that Django uses, beside its pool; which of its errors pass by themselves; and
statements that do not wait for each other's answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django.db
import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections
from psycopg.abc import PQGen
from psycopg.pq import PipelineStatus
from psycopg_pool import AsyncConnectionPool

# What Django gives psycopg for its own synchronous connections.
DJANGO_ONLY = ("context", "cursor_factory", "prepare_threshold", "pool")

MOST_READERS = 4  # connections of one process for reads on the event loop, which has one core
READER_TIMEOUT = 0.2  # seconds to wait for one of them; then it is read on a thread
RECONNECT_TIMEOUT = 5.0  # seconds
LOOK_UP = 60.0  # seconds between two looks of one that only waits
READER_LIFETIME = 60.0  # seconds: whichever server a name leads to by then, it is found

# What the server says when the same transaction may work later: SQLSTATEs, or their classes (the first two characters).
# Every other one would fail again, or worse: a bug, a missing migration or right, an amount out of bounds, corruption.
PASSING_STATES = (
    "08",  # connection exception
    "25006",  # read-only: the server is no primary any more
    "25P03",  # idle in a transaction for too long, as a process that was paused is
    "25P04",  # a transaction that took too long
    "40",  # rolled back: serialization failure, deadlock
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "55P03",  # a lock that was not to be had in time
    "57",  # operator intervention: shutdown, crash, starting up, a query or connection that was ended
    "58",  # the system underneath: input and output
)
# Without a SQLSTATE it is not the server who speaks: it can't be reached, or the connection was lost.
CONNECTION_ERRORS = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
DATABASE_ERRORS = (django.db.Error, psycopg.Error)


def passes(error: Exception) -> bool:
    """Whether this error of the database, Django's or psycopg's own, passes by itself."""
    cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return isinstance(error, CONNECTION_ERRORS) if state is None else state.startswith(PASSING_STATES)


def renew_connections() -> None:
    """Lets go of every connection that the pool holds, and of this thread's: call where no other thread uses one.

    The pool checks connections itself, when it gives them out. But it pauses longer behind each broken one, and does
    not notice that a server which answers is no primary any more.
    """
    connection.close()
    close_pool = getattr(connection, "close_pool", None)
    if close_pool is not None:
        close_pool()


def limit_lock_waits(seconds: float) -> None:
    """From here on, every connection of this process gives up waiting for a lock after this long: SQLSTATE 55P03."""
    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"{options.get('options', '')} -c lock_timeout={seconds * 1000:.0f}".strip()


@contextmanager
def pipelined() -> Iterator[None]:
    """Sends the body's statements without a wait for each one's answer: where many small ones follow on each other,
    waiting takes longer than they do. What they say of rows is not known in the body, and an error of one may be raised
    by a later one, or at the end. There is no COPY, see `is_pipelined`.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def is_pipelined() -> bool:
    """Whether the body of `pipelined` is running."""
    opened = connection.connection
    return opened is not None and opened.pgconn.pipeline_status != PipelineStatus.OFF


def connect() -> psycopg.Connection:
    """Opens an autocommit connection, for locks that live as long as it does."""
    return psycopg.connect(**parameters(settings.DIRECT), autocommit=True)


class PatientConnection(psycopg.AsyncConnection):
    """Waits for the server without looking up ten times a second, which psycopg does for the sake of Ctrl-C."""

    async def wait(self, gen: PQGen[Any], interval: float = LOOK_UP, timeout: float | None = None) -> Any:
        return await super().wait(gen, interval, timeout)


async def connect_async() -> psycopg.AsyncConnection:
    """Opens an autocommit connection, for LISTEN and plain reads."""
    return await PatientConnection.connect(**parameters(settings.DIRECT), autocommit=True)


async def open_read_pool(alias: str) -> AsyncConnectionPool:
    """Opens autocommit connections for reads on the event loop, as Django's for this alias.

    One that turns out to be broken fails the read at hand and is replaced; nobody waits long for a free one.
    """
    is_prepared = connections[alias].settings_dict["OPTIONS"].get("prepare_threshold", 0) is not None
    pool = AsyncConnectionPool(
        kwargs={**parameters(alias), "autocommit": True, "prepare_threshold": 0 if is_prepared else None},
        configure=_set_timezone,
        min_size=1,
        max_size=MOST_READERS,
        timeout=READER_TIMEOUT,
        max_lifetime=READER_LIFETIME,
        # Then the pool gives up, and the next read connects at once.
        reconnect_timeout=RECONNECT_TIMEOUT,
        open=False,
    )
    await pool.open()
    return pool


async def _set_timezone(connection: psycopg.AsyncConnection) -> None:
    await connection.execute("SET timezone = 'UTC'")


def parameters(alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """What psycopg connects with, as Django does."""
    known: dict[str, Any] = connections[alias].get_connection_params()
    return {name: value for name, value in known.items() if name not in DJANGO_ONLY}
