"""The next batch of final blocks, read by a thread while the one before is written.

Only final blocks are read ahead: what is near the head must be looked at as it is now.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from aurum.log_context import in_this_context, log_context
from indexer.decode import Contracts
from indexer.fetch import Batch, Fetcher

LOGS = 5000  # in a batch, give or take: what one transaction writes best


Spawn = Callable[[Callable[[], None]], object]


def in_thread(work: Callable[[], None]) -> None:
    """A daemon: a node that does not answer must not keep the process from ending."""
    threading.Thread(target=in_this_context(work), name="read ahead", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Range:
    """What is read: final blocks, the first of which follows on the block with `parent_hash`."""

    first: int
    last: int
    parent_hash: str


class ReadAhead:
    """Final blocks in batches of about LOGS logs, and at most `batch_size` blocks.

    Not thread-safe: one thread calls it, and the one that it starts does nothing but fetch.
    """

    def __init__(self, fetcher: Fetcher, *, batch_size: int, spawn: Spawn = in_thread) -> None:
        """`spawn` starts a piece of work beside what the caller does."""
        self._fetcher = fetcher
        self._batch_size = batch_size
        self._spawn = spawn
        self._blocks = batch_size  # that probably have LOGS logs
        self._next: tuple[Range, Future[Batch]] | None = None

    def read(self, first: int, last: int, contracts: Contracts, *, parent_hash: str) -> Batch:
        """The batch from `first` on, at most to `last`, which is final; the one behind it is begun. Raises as `fetch`.

        `contracts` are those known before `first`.
        """
        begun, self._next = self._next, None
        if begun is not None and (begun[0].first, begun[0].parent_hash) == (first, parent_hash):
            batch = begun[1].result()
        else:
            if begun is not None:
                begun[1].exception()  # waits: two must not use the nodes at once
            batch = self._fetch(Range(first, self._end(first, last), parent_hash), contracts)
        self._learn(batch)
        if batch.last.number < last:
            following = Range(batch.last.number + 1, self._end(batch.last.number + 1, last), batch.last.hash)
            self._next = following, self._begin(following, batch.contracts)
        return batch

    def _begin(self, wanted: Range, contracts: Contracts) -> Future[Batch]:
        future: Future[Batch] = Future()

        def work() -> None:
            try:
                # Under the id of the batch that is written meanwhile.
                with log_context(readingFrom=wanted.first, readingTo=wanted.last):
                    future.set_result(self._fetch(wanted, contracts))
            except BaseException as error:
                future.set_exception(error)

        self._spawn(work)
        return future

    def _fetch(self, wanted: Range, contracts: Contracts) -> Batch:
        return self._fetcher.fetch(
            wanted.first, wanted.last, contracts, trusted_below=wanted.last, parent_hash=wanted.parent_hash
        )

    def _end(self, first: int, last: int) -> int:
        return min(first + self._blocks - 1, last)

    def _learn(self, batch: Batch) -> None:
        """From how many logs these blocks had, how many blocks the next batch should have; never many more at once."""
        blocks = batch.last.number - batch.first + 1
        fitting = LOGS * blocks // max(1, len(batch.logs))
        self._blocks = max(1, min(self._batch_size, fitting, 2 * self._blocks))
