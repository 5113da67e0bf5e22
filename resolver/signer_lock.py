"""One process for each signer: a session's advisory lock. Others stand by until that session ends.

A process that dies loses it with its connection. One that is paused stops beating, and the server ends its session
(`idle_session_timeout`); when it wakes up, `check_in_transaction` tells it so before it writes.
"""

import logging
import threading
from collections.abc import Callable
from hashlib import sha256

import psycopg
from django.db import connection

logger = logging.getLogger(__name__)

STALE = 10.0  # seconds without a beat after which the server ends the session
BEATS = 5  # in that time

HELD = """
    SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = %s AND objsubid = 1
        AND (classid::bigint << 32 | objid::bigint) = %s
"""


class LockLost(Exception):
    """Another process may be the signer's by now; this one stands by."""


class SignerLock:
    """The right to use the signer. `connect` opens an autocommit connection of its own; `stale` in seconds."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection], *, chain_id: int, address: str, stale: float = STALE
    ) -> None:
        digest = sha256(f"wallet {chain_id} {address}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big") >> 1  # a BIGINT above zero
        self._connect = connect
        self._stale = stale
        self._connection: psycopg.Connection | None = None
        self._over = threading.Event()
        self._beating: threading.Thread | None = None

    def hold(self) -> bool:
        """Whether this process has the lock; takes it where it is free. Raises psycopg.OperationalError."""
        if self._connection is not None and not self._over.is_set():
            return True
        self.release()
        taken = self._connect()
        try:
            taken.execute(f"SET idle_session_timeout = {self._stale * 1000:.0f}")
            row = taken.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
            if row is None or not row[0]:
                taken.close()
                return False
        except BaseException:
            taken.close()
            raise
        self._connection, self._over = taken, threading.Event()
        self._beating = threading.Thread(target=self._beat, args=(taken, self._over), name="signer lock", daemon=True)
        self._beating.start()
        logger.info("this process is the signer's")
        return True

    def release(self) -> None:
        """Gives the lock up. Harmless where it is not held."""
        self._over.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def check_in_transaction(self) -> None:
        """Call before a write that only the signer's process may make. Raises LockLost."""
        if self._connection is not None and not self._over.is_set():
            with connection.cursor() as cursor:
                cursor.execute(HELD, [self._connection.info.backend_pid, self._key])
                if cursor.fetchone():
                    return
        self._over.set()
        raise LockLost("the signer's lock is lost")

    def _beat(self, beating: psycopg.Connection, over: threading.Event) -> None:
        try:
            while not over.wait(self._stale / BEATS):
                beating.execute("SELECT 1")
        except psycopg.Error as error:
            logger.warning("the signer's lock is lost: %s", type(error).__name__)
        finally:
            over.set()
