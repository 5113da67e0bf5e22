"""PURE. Where an answer is read: on the replica where that has what the primary has, else on the primary.

A client never goes back in time: what it has seen comes with its request, and an answer from the replica counts only
where it has the version that the primary was last heard to have. One for each process; the event loop tells it of the
primary, threads ask.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from time import monotonic

logger = logging.getLogger(__name__)

MIN_BLOCK = "X-Min-Block"
NOTHING = -1  # the block of a client that has seen none
REST = {"replica": 5.0, "primary": 1.0}  # seconds that one is not asked first after it did not answer
LAG = 0.05  # seconds that a replica is left alone after it was found to be behind
NUMBER = re.compile(rb"[0-9]{1,18}")
# The block in an ETag of ours, see markets/pages.py; others have none.
TAGGED = re.compile(rb'W/"[^"-]*-([0-9]{1,18})-[0-9a-f]{16}-')


class Server(Enum):
    """Who is asked."""

    PRIMARY = "primary"
    REPLICA = "replica"


def block_of(etags: bytes) -> int:
    """The highest block that ETags of ours name."""
    return max(map(int, TAGGED.findall(etags)), default=NOTHING)


def seen_block(min_block: bytes, if_none_match: bytes) -> int:
    """The last block that a client has seen, by these headers of its request. Raises ValueError."""
    if min_block and not NUMBER.fullmatch(min_block):
        raise ValueError("Must be a block's number.")
    return max(int(min_block or NOTHING), block_of(if_none_match))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One server to ask, and whether an answer of this version, at this block, is new enough."""

    server: Server
    takes: Callable[[int | None, str], bool]


class Sources:
    """What one process knows of the primary and its replica."""

    def __init__(self, *, has_replica: bool, clock: Callable[[], float] = monotonic) -> None:
        self._has_replica = has_replica
        self._clock = clock
        self._etag, self._current_until = "", 0.0
        self._block = NOTHING  # the last one that the primary was heard to have
        self._rest_until = dict.fromkeys(Server, 0.0)
        self._down: set[Server] = set()

    def hear(self, etag: str, lasts: float) -> None:
        """The primary has answers of this version for the next seconds; an empty one: it has others, not known yet."""
        self._etag, self._current_until = etag, self._clock() + lasts
        if etag:
            self._block = block_of(etag.encode())

    def attempts(self, seen: int | None) -> Iterator[Attempt]:
        """Whom to ask in turn for a client that has seen this block; None: the primary alone."""
        primary = Attempt(Server.PRIMARY, lambda block, etag: True)
        if seen is None or not self._has_replica:
            yield primary
            return
        # One that has another version is either behind, or ahead of what was heard: the primary tells.
        is_heard = self._clock() < self._current_until and self._etag != ""
        if is_heard and seen <= self._block and self._is_up(Server.REPLICA):
            yield Attempt(Server.REPLICA, lambda block, etag: etag == self._etag)
        # Without the primary, its last word is what a replica must have at least.
        least = max(seen, self._block)
        replica = Attempt(Server.REPLICA, lambda block, etag: block is not None and block >= least)
        if self._is_up(Server.PRIMARY):
            yield primary
            yield replica
        else:
            yield replica
            yield primary

    def answered(self, server: Server) -> None:
        if server in self._down:
            self._down.discard(server)
            logger.warning("the %s answers again", server.value)

    def behind(self) -> None:
        """The replica has no answer that is new enough."""
        self._rest_until[Server.REPLICA] = max(self._rest_until[Server.REPLICA], self._clock() + LAG)

    def failed(self, server: Server, error: Exception) -> None:
        self._rest_until[server] = self._clock() + REST[server.value]
        if server not in self._down:
            self._down.add(server)
            logger.error("the %s does not answer reads: %s", server.value, type(error).__name__)

    def _is_up(self, server: Server) -> bool:
        now = self._clock()
        if now < self._rest_until[server]:
            return False
        if server in self._down:
            # One request finds out; the others do not wait for it.
            self._rest_until[server] = now + REST[server.value]
        return True
