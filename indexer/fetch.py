"""A range of blocks -> the logs of ours in it, in order, with the headers that prove where they stand."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.chain import Header, Log
from indexer.decode import TOPICS, Contracts, DecodeError, decode, event_class_of
from indexer.events import AMMDeployed
from indexer.rpc import Rpc, RpcRefused

logger = logging.getLogger(__name__)


class InconsistentAnswer(Exception):
    """Answers of the node do not fit together: it changed its mind in between, or lies. Ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Blocks `first` to `last.number`: every log of ours in (block, log index) order, and the headers they need."""

    first: int
    last: Header
    logs: tuple[Log, ...]
    headers: dict[int, Header]
    contracts: Contracts


class Fetcher:
    """Reads batches. `span` is the most blocks one `eth_getLogs` asks for; it follows what the node allows."""

    def __init__(self, rpc: Rpc, *, span: int) -> None:
        self.rpc = rpc
        self._longest = span
        self._span = span

    def fetch(self, first: int, last: int, contracts: Contracts) -> Batch:
        """Raises RpcError, MalformedAnswer or InconsistentAnswer; nothing is kept of a failed attempt."""
        last_before = self.rpc.header(last)
        logs = self._logs(first, last, [*contracts.fixed, *contracts.amms])
        announced = announced_amms(logs, contracts)
        if announced:
            since = min(announced.values())
            found = self._logs(since, last, sorted(announced))
            logs += [log for log in found if log.block_number >= announced[log.address]]
        headers = self.rpc.headers(sorted({log.block_number for log in logs} | {last}))
        if headers[last].hash != last_before.hash:
            raise InconsistentAnswer(f"block {last} was replaced while it was read")
        return Batch(
            first=first,
            last=headers[last],
            logs=_in_order(logs, first, last, headers),
            headers=headers,
            contracts=contracts.with_amms(frozenset(announced)),
        )

    def _logs(self, first: int, last: int, addresses: Sequence[str]) -> list[Log]:
        logs: list[Log] = []
        while first <= last:
            end = min(first + self._span - 1, last)
            try:
                logs += self.rpc.logs(first, end, addresses, TOPICS)
            except RpcRefused as error:
                if end == first:
                    raise
                self._span = max(1, (end - first + 1) // 2)
                logger.warning(
                    "the node refuses %d blocks of logs, asking for %d: %s", end - first + 1, self._span, error
                )
                continue
            first = end + 1
        self._span = min(self._longest, self._span + max(1, self._span // 4))
        return logs


def announced_amms(logs: Sequence[Log], contracts: Contracts) -> dict[str, int]:
    """The AMMs that these logs announce and that were not known, with the block of the announcement."""
    found: dict[str, int] = {}
    for log in logs:
        if event_class_of(log, contracts) is not AMMDeployed:
            continue
        try:
            event = decode(log, AMMDeployed)
        except DecodeError:
            continue  # stored as a failed event when the batch is applied
        assert isinstance(event, AMMDeployed)  # noqa: S101 - narrows the type
        if contracts.at(event.amm) is None:
            found[event.amm] = min(log.block_number, found.get(event.amm, log.block_number))
    return found


def _in_order(logs: Sequence[Log], first: int, last: int, headers: dict[int, Header]) -> tuple[Log, ...]:
    """Each log once, sorted, and shown to stand in the canonical blocks of the range."""
    by_place: dict[tuple[int, int], Log] = {}
    for log in logs:
        if not first <= log.block_number <= last:
            raise InconsistentAnswer(f"a log of block {log.block_number} in the answer for {first} to {last}")
        if log.block_hash != headers[log.block_number].hash:
            raise InconsistentAnswer(f"logs and header of block {log.block_number} are of different blocks")
        if by_place.setdefault((log.block_number, log.log_index), log) != log:
            raise InconsistentAnswer(f"two logs with index {log.log_index} in block {log.block_number}")
    return tuple(by_place[place] for place in sorted(by_place))
