"""A range of blocks -> the logs of ours in it, in order, with the headers that prove where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter

from indexer.bloom import check_part
from indexer.chain import BranchChanged, Header, InconsistentAnswer, Log
from indexer.decode import Contracts, DecodeError, decode, event_class_of
from indexer.events import AMMDeployed
from indexer.log_reader import WHOLE_BLOCKS, BlockReader, RangeReader
from indexer.rpc import Rpc, RpcRefused
from indexer.second_opinion import SecondOpinion

ANNOUNCEMENT = (AMMDeployed.signature.topic0,)
PLACE = attrgetter("block_number", "log_index")

__all__ = ["Batch", "BranchChanged", "Fetcher", "InconsistentAnswer", "announced_amms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Blocks `first` to `last.number`: every log of ours in (block, log index) order, and the headers they need.

    `headers` has the first block where its parent was checked, the blocks with logs, every block that was read by its
    hash, and the last.
    """

    first: int
    last: Header
    logs: tuple[Log, ...]
    headers: dict[int, Header]
    contracts: Contracts


@dataclass(slots=True)
class _Found:
    """What was read so far, and the AMMs that it announces, with the block of the announcement."""

    contracts: Contracts
    logs: list[Log] = field(default_factory=list)
    headers: dict[int, Header] = field(default_factory=dict)
    announced: dict[str, int] = field(default_factory=dict)

    def announce(self, logs: Sequence[Log]) -> dict[str, int]:
        """Learns the AMMs that these logs announce, and returns them."""
        new = announced_amms(logs, self.contracts)
        self.announced |= new
        self.contracts = self.contracts.with_amms(frozenset(new))
        return new

    def is_ours(self, log: Log) -> bool:
        """Whether a log counts: an AMM's does from the block on in which it was announced."""
        known = event_class_of(log, self.contracts) is not None
        return known and log.block_number >= self.announced.get(log.address, 0)

    def by_block(self) -> dict[int, list[Log]]:
        """The logs of each block, by their index."""
        blocks: dict[int, list[Log]] = {}
        for log in self.logs:
            blocks.setdefault(log.block_number, []).append(log)
        for logs in blocks.values():
            logs.sort(key=lambda log: log.log_index)
        return blocks

    def addresses(self) -> list[str]:
        return [*self.contracts.fixed, *sorted(self.contracts.amms)]


class Fetcher:
    """Reads batches. `span` is the most blocks one `eth_getLogs` asks for; what the nodes allow is learnt."""

    def __init__(self, rpc: Rpc, *, span: int) -> None:
        self.rpc = rpc
        self._blocks = BlockReader(rpc.pool)
        self._ranges = RangeReader(rpc.pool, span=span)
        self._opinion = SecondOpinion(rpc, self._ranges, self._blocks)

    def fetch(
        self,
        first: int,
        last: int,
        contracts: Contracts,
        *,
        trusted_below: int | None = None,
        parent_hash: str = "",
        head: Header | None = None,
    ) -> Batch:
        """Reads `first` to `last`: by ranges up to `trusted_below`, the height that the chain calls final, and above it
        by block hash. Everything is near the head where it is None.

        `parent_hash` is the hash of `first - 1`, where it is known. `head` is the head's header: it is not asked for
        again where it is all there is to read. Raises BranchChanged when the chain does not go on from the parent;
        RpcError, MalformedAnswer or InconsistentAnswer. Nothing is kept of a failed attempt.
        """
        near = first if trusted_below is None else max(first, min(trusted_below, last) + 1)
        found = _Found(contracts)
        if near > first:
            if parent_hash:
                found.headers[first] = self.rpc.header(first)
                _check_parent(found.headers[first], parent_hash)
            self._read_far(first, near - 1, found)
        if near <= last:
            if head is not None and near == last == head.number and head.logs_bloom is not None:
                self._read_near([head], found, parent_hash)
            else:
                self._read_near(self.rpc.linked_headers(near, last), found, parent_hash)
        return Batch(
            first=first,
            last=found.headers[last],
            logs=tuple(log for log in _in_order(found.logs, first, last, found.headers) if found.is_ours(log)),
            headers=found.headers,
            contracts=found.contracts,
        )

    def _read_far(self, first: int, last: int, found: _Found) -> None:
        new = self._read_range(first, last, found.addresses(), found)
        read_whole: set[int] = set()
        while True:
            if new:
                self._read_range(min(new.values()), last, sorted(new), found)
            by_block = found.by_block()
            found.headers |= self.rpc.headers(sorted(by_block.keys() - found.headers.keys()))
            doubtful = [n for n in by_block.keys() - read_whole if not _fits(found.headers[n], by_block[n])]
            if not doubtful:
                return
            some, others = sorted(doubtful)[:WHOLE_BLOCKS], sorted(doubtful)[WHOLE_BLOCKS:]
            new = self._read_anew(some, found)
            read_whole.update(some)
            for number in others:
                del found.headers[number]  # perhaps it is the headers that are wrong

    def _read_anew(self, numbers: Sequence[int], found: _Found) -> dict[str, int]:
        """Replaces the logs of these blocks by what they are when read whole. Returns the AMMs that they announce."""
        read = self._blocks.read([found.headers[number] for number in numbers], found.addresses())
        logs = [log for block in read.values() for log in block.logs]
        new = found.announce(logs)
        found.logs = [log for log in found.logs if log.block_number not in read]
        found.logs += [log for log in logs if found.is_ours(log)]
        return new

    def _read_range(self, first: int, last: int, addresses: Sequence[str], found: _Found) -> dict[str, int]:
        """Returns the AMMs that are announced in these blocks. Each round of the loop reads at least one of them."""
        new: dict[str, int] = {}
        wanted = frozenset(addresses)
        while first <= last:
            try:
                read = self._opinion.confirm(first, self._ranges.read(first, last, addresses), addresses)
                end, logs = read.end, read.logs
            except RpcRefused:
                end = self.rpc.header(first)
                logs = self._blocks.read([end], addresses)[first].logs
            if found.headers.setdefault(end.number, end).hash != end.hash:
                raise InconsistentAnswer(f"block {end.number} was replaced while it was read")
            new |= found.announce(logs)
            found.logs += [log for log in logs if log.address in wanted]
            first = end.number + 1
        return new

    def _read_near(self, headers: Sequence[Header], found: _Found, parent_hash: str) -> None:
        first = headers[0].number
        if first - 1 in found.headers:
            if headers[0].parent_hash != found.headers[first - 1].hash:
                raise InconsistentAnswer(f"block {first - 1} was replaced while it was read")
        elif parent_hash:
            _check_parent(headers[0], parent_hash)
        found.headers |= {header.number: header for header in headers}
        for start in range(0, len(headers), WHOLE_BLOCKS):
            self._read_blocks(headers[start : start + WHOLE_BLOCKS], found)

    def _read_blocks(self, headers: Sequence[Header], found: _Found) -> None:
        """Reads the blocks; again those that no node gives whole, where an AMM was announced that was not asked for."""
        logs: list[Log] = []
        known: dict[int, float] = {}  # block -> for how many AMMs it was read
        while waiting := [h for h in headers if known.get(h.number, -1) < len(found.contracts.amms)]:
            read = self._blocks.read(waiting, found.addresses())
            known |= {number: inf if block.whole else len(found.contracts.amms) for number, block in read.items()}
            for block in read.values():
                found.announce(block.logs)
                logs += block.logs
        found.logs += [log for log in logs if found.is_ours(log)]


def _check_parent(header: Header, parent_hash: str) -> None:
    if header.parent_hash != parent_hash:
        raise BranchChanged(f"block {header.number} follows on {header.parent_hash}, {parent_hash} is known here")


def _fits(header: Header, logs: Sequence[Log]) -> bool:
    try:
        check_part(header, logs)
    except InconsistentAnswer:
        return False
    return True


def announced_amms(logs: Sequence[Log], contracts: Contracts) -> dict[str, int]:
    """The AMMs that these logs announce and that were not known, with the block of the announcement."""
    found: dict[str, int] = {}
    for log in logs:
        if log.topics[:1] != ANNOUNCEMENT or event_class_of(log, contracts) is not AMMDeployed:
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
    found: list[Log] = []
    blocks: dict[str, int] = {}  # of transactions, each of which is in one
    number, index, block_hash = -1, -1, ""  # of the log before
    for log in sorted(logs, key=PLACE):
        if log.block_number != number:
            number, index = log.block_number, -1
            if not first <= number <= last:
                raise InconsistentAnswer(f"a log of block {number} in the answer for {first} to {last}")
            block_hash = headers[number].hash
        if log.block_hash != block_hash:
            raise InconsistentAnswer(f"logs and header of block {number} are of different blocks")
        if log.log_index == index:
            if log != found[-1]:
                raise InconsistentAnswer(f"two logs with index {index} in block {number}")
            continue
        index = log.log_index
        if blocks.setdefault(log.transaction_hash, number) != number:
            raise InconsistentAnswer(f"transaction {log.transaction_hash} in two blocks")
        found.append(log)
    return tuple(found)
