"""A range of logs is believed when it was asked for twice: of two endpoints, or of one where no other is able.

Nothing in a range itself shows that a log is left out of it. Where two answers differ, the blocks concerned are read
whole by their hash, and an endpoint that was wrong about them is quarantined.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from indexer.chain import InconsistentAnswer, MalformedAnswer
from indexer.decode import TOPICS
from indexer.endpoints import Endpoint, RpcError
from indexer.log_reader import WHOLE_BLOCKS, BlockLogs, BlockReader, RangeLogs, RangeReader, TooManyPieces
from indexer.rpc import Rpc

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # with pauses between, more than a second in all, before an endpoint's opinion is done without
FIRST_EXCUSE = 60.0  # seconds for which it is not asked then; doubles until it has given one
LONGEST_EXCUSE = 600.0


@dataclass(slots=True)
class _Absence:
    """Since when an endpoint gives no opinions: `ranges` were believed without it. None of it while it does."""

    times: int = 0
    until: float = 0.0
    ranges: int = 0


class SecondOpinion:
    """Confirms what RangeReader read. Of each endpoint it remembers whether it is able to."""

    def __init__(self, rpc: Rpc, ranges: RangeReader, blocks: BlockReader) -> None:
        self._rpc = rpc
        self._pool = rpc.pool
        self._ranges = ranges
        self._blocks = blocks
        self._absences = {id(endpoint): _Absence() for endpoint in self._pool.endpoints}

    def confirm(self, first: int, read: RangeLogs, addresses: Sequence[str]) -> RangeLogs:
        """The range from `first` on as it is believed; a beginning of it where much of it is disputed.

        Raises InconsistentAnswer where the two show different blocks, or nobody shows what is right; RpcError,
        MalformedAnswer where the endpoint that is alone does not give it again.
        """
        other = self._ask_another(first, read, addresses)
        if other.end.hash != read.end.hash:
            hosts = f"{read.endpoint.host} and {other.endpoint.host}"
            raise InconsistentAnswer(f"block {read.end.number} is not the same for {hosts}")
        if other.logs is read.logs:
            return read
        disputed = sorted({log.block_number for log in set(read.logs) ^ set(other.logs)})
        return self._settled(read, other, disputed, addresses) if disputed else read

    # --- asking ----------------------------------------------------------------------------------------------------

    def _ask_another(self, first: int, read: RangeLogs, addresses: Sequence[str]) -> RangeLogs:
        """Another endpoint's answer if there is one, else the same one's a second time."""
        for endpoint in self._pool.others(read.endpoint):
            absence = self._absences[id(endpoint)]
            if absence.until > self._pool.clock():
                absence.ranges += 1
            elif not endpoint.is_quarantined or read.endpoint.is_quarantined:
                try:
                    answer = self._ask(first, read, addresses, endpoint, attempts=1 if absence.times else ATTEMPTS)
                except (RpcError, MalformedAnswer, InconsistentAnswer) as error:
                    self._excuse(endpoint, error)
                else:
                    self._welcome(endpoint)
                    return answer
        if read.endpoint.is_quarantined:
            raise InconsistentAnswer(f"{read.endpoint.host} was proved wrong, and no other endpoint confirms its logs")
        return self._pool.attempt(partial(self._ranges.read_again, first, read, addresses), opinions=2)

    def _ask(
        self, first: int, read: RangeLogs, addresses: Sequence[str], endpoint: Endpoint, *, attempts: int
    ) -> RangeLogs:
        """What this one says, tried `attempts` times with pauses between. Raises as RangeReader.read_again."""
        for number in range(attempts):
            self._pool.wait_before(number)
            try:
                answer = self._ranges.read_again(first, read, addresses, endpoint)
            except TooManyPieces:
                raise
            except (RpcError, MalformedAnswer, InconsistentAnswer) as failure:
                endpoint.failed(failure)
                error: Exception = failure
            else:
                endpoint.answered()
                return answer
        raise error

    def _excuse(self, endpoint: Endpoint, error: Exception) -> None:
        absence = self._absences[id(endpoint)]
        if not absence.times:
            logger.warning("%s gives no second opinion on logs, others are asked twice: %s", endpoint.host, error)
        absence.until = self._pool.clock() + min(FIRST_EXCUSE * 2 ** min(absence.times, 20), LONGEST_EXCUSE)
        absence.times += 1
        absence.ranges += 1

    def _welcome(self, endpoint: Endpoint) -> None:
        absence = self._absences[id(endpoint)]
        if absence.times:
            logger.info("%s gives second opinions again; %d ranges went without", endpoint.host, absence.ranges)
            self._absences[id(endpoint)] = _Absence()

    # --- where they differ -----------------------------------------------------------------------------------------

    def _settled(
        self, read: RangeLogs, other: RangeLogs, disputed: Sequence[int], addresses: Sequence[str]
    ) -> RangeLogs:
        """The range with disputed blocks read whole; up to the first of those that are too many to be."""
        some, rest = disputed[:WHOLE_BLOCKS], disputed[WHOLE_BLOCKS:]
        ends = [rest[0] - 1] if rest else []
        headers = self._rpc.headers(sorted({*some, *ends}))
        whole = self._blocks.read([headers[number] for number in some], addresses)
        if read.endpoint is not other.endpoint:
            for answer in (read, other):
                _convict(answer, whole, addresses)
        end = headers[ends[0]] if ends else read.end
        logs = [log for log in read.logs if log.block_number not in whole and log.block_number <= end.number]
        logs += [log for block in whole.values() for log in block.logs]
        return replace(read, end=end, logs=tuple(logs), answers=())


def _convict(answer: RangeLogs, whole: dict[int, BlockLogs], addresses: Sequence[str]) -> None:
    """Quarantines the endpoint if its answer is not what these blocks have."""
    asked, topics = frozenset(addresses), frozenset(TOPICS)
    for number, block in whole.items():
        true = {log for log in block.logs if log.address in asked and log.topics and log.topics[0] in topics}
        if block.whole and true != {log for log in answer.logs if log.block_number == number}:
            answer.endpoint.quarantine(InconsistentAnswer(f"its logs of block {number} are not the block's"))
            return
