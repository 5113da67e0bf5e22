"""The benchmark's chain: written once for each number of logs, seed and version of its source, and read by the node.

`python -m tests.bench.chain LOGS FOLDER` writes one under FOLDER, unless it is there, and prints where.
Every log and header is stored as the JSON that the node answers with.
"""

import json
import shutil
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

from eth_hash.auto import keccak

from tests.bench import logs
from tests.bench.economy import Economy, Transaction
from tests.bench.logs import Emitted

SEED = 1
CHAIN_ID = 31337
GENESIS_TIME = 1_700_000_000  # Unix seconds
SECONDS_PER_BLOCK = 2
FINALIZED_DISTANCE = 64  # blocks behind the head
SAFE_DISTANCE = 32
# Transactions of ours in a block, and how often: half of the blocks have none, a few have fifty logs.
TRANSACTIONS = ((0, 50), (1, 26), (2, 13), (5, 7), (12, 4))
CONTRACTS = {
    "CONDITIONAL_TOKENS_ADDRESS": logs.CONDITIONAL_TOKENS,
    "MARKET_FACTORY_ADDRESS": logs.MARKET_FACTORY,
    "AURUM_TOKEN_ADDRESS": logs.AURUM_TOKEN,
    "AURUM_ORACLE_ADDRESS": logs.AURUM_ORACLE,
    "FEE_COLLECTOR_ADDRESS": logs.FEE_COLLECTOR,
}
# What a block has besides, as on an OP-stack chain: a reader has to skip it.
OTHER_FIELDS = (
    f'"sha3Uncles":"0x{"1d" * 32}","miner":"0x{"42" * 20}","stateRoot":"0x{"a7" * 32}",'
    f'"transactionsRoot":"0x{"b8" * 32}","receiptsRoot":"0x{"c9" * 32}","difficulty":"0x0","gasLimit":"0x3938700",'
    f'"gasUsed":"0x1f4a51","extraData":"0x00","mixHash":"0x{"da" * 32}","nonce":"0x0000000000000000",'
    f'"baseFeePerGas":"0x2dc6c0","size":"0x2b67","uncles":[]'
)
# Columns in files of their own: the array type code of each.
COLUMNS = {"log_starts": "Q", "log_addresses": "I", "log_topics": "B", "header_starts": "Q", "first_logs": "Q"}


@dataclass(slots=True, kw_only=True)
class Columns:
    """Where things stand. Each list of starts ends with the end of the last.

    log_starts, header_starts: bytes in the files `logs` and `headers`, where a comma follows each item.
    log_addresses, log_topics: places of a log's address and topic0 in the chain's lists.
    first_logs: the number of each block's first log.
    """

    log_starts: array = field(default_factory=lambda: array("Q", [0]))
    log_addresses: array = field(default_factory=lambda: array("I"))
    log_topics: array = field(default_factory=lambda: array("B"))
    header_starts: array = field(default_factory=lambda: array("Q", [0]))
    first_logs: array = field(default_factory=lambda: array("Q", [0]))

    def write(self, folder: Path) -> None:
        for name in COLUMNS:
            (folder / name).write_bytes(getattr(self, name).tobytes())

    @classmethod
    def read(cls, folder: Path) -> "Columns":
        return cls(**{name: array(code, (folder / name).read_bytes()) for name, code in COLUMNS.items()})


class Writer:
    """Writes blocks one by one."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._logs: BinaryIO = (folder / "logs").open("wb")
        self._headers: BinaryIO = (folder / "headers").open("wb")
        self._folder = folder
        self._seed = seed
        self.columns = Columns()
        self.hashes: list[str] = []
        self.addresses: dict[str, int] = {}
        self.topics: dict[str, int] = {}

    @property
    def next_block(self) -> int:
        return len(self.hashes)

    def append(self, transactions: Iterable[Transaction]) -> None:
        """Mines a block with these transactions."""
        number = self.next_block
        parent = self.hashes[-1] if number else "0x" + "00" * 32
        timestamp = block_time(number)
        block_hash = _hash(self._seed, "block", parent)
        place = (
            f'"blockNumber":"{number:#x}","blockHash":"{block_hash}","blockTimestamp":"{timestamp:#x}","removed":false'
        )
        bloom, log_index, hashes = 0, 0, []
        for index, emitted in enumerate(transactions):
            hashes.append(_hash(block_hash, index))
            sent_in = f'"transactionHash":"{hashes[-1]}","transactionIndex":"{index:#x}",{place}'
            for log in emitted:
                self._append_log(log, f'"logIndex":"{log_index:#x}",{sent_in}')
                bloom |= _bloom_of(log)
                log_index += 1
        listed = ",".join(f'"{transaction}"' for transaction in hashes)
        header = (
            f'{{"number":"{number:#x}","hash":"{block_hash}","parentHash":"{parent}","timestamp":"{timestamp:#x}",'
            f'"logsBloom":"0x{bloom:0512x}","transactions":[{listed}],{OTHER_FIELDS}}},'
        )
        self._headers.write(header.encode())
        self.columns.header_starts.append(self.columns.header_starts[-1] + len(header))
        self.columns.first_logs.append(len(self.columns.log_addresses))
        self.hashes.append(block_hash)

    def _append_log(self, log: Emitted, place: str) -> None:
        topics = '","'.join(log.topics)
        text = f'{{"address":"{log.address}","topics":["{topics}"],"data":"0x{log.data}",{place}}},'
        self._logs.write(text.encode())
        columns = self.columns
        columns.log_starts.append(columns.log_starts[-1] + len(text))
        columns.log_addresses.append(self.addresses.setdefault(log.address, len(self.addresses)))
        columns.log_topics.append(self.topics.setdefault(log.topics[0], len(self.topics)))

    def close(self) -> None:
        """Ends the files; the one that is written last says what is in them."""
        self._logs.close()
        self._headers.close()
        self.columns.write(self._folder)
        about = {"addresses": list(self.addresses), "topics": list(self.topics), "hashes": self.hashes}
        (self._folder / "about.json").write_text(json.dumps(about))


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Addresses and topics by the numbers that the columns have, and the blocks' hashes by height."""

    addresses: list[str]
    topics: list[str]
    hashes: list[str]

    @classmethod
    def read(cls, folder: Path) -> "About":
        return cls(**json.loads((folder / "about.json").read_text()))

    @property
    def head(self) -> int:
        return len(self.hashes) - 1


def block_time(number: int) -> int:
    """Unix seconds."""
    return GENESIS_TIME + number * SECONDS_PER_BLOCK


def generated(log_count: int, under: Path, *, seed: int = SEED) -> Path:
    """The folder of the chain with this many logs, which is written unless it is there."""
    name = f"{log_count}-{seed}-"
    folder = under / f"{name}{_source_version()}"
    if not folder.exists():
        for outdated in under.glob(f"{name}*"):
            shutil.rmtree(outdated)
        unfinished = under / f"{name}unfinished"
        unfinished.mkdir(parents=True)
        _generate(log_count, unfinished, seed)
        unfinished.rename(folder)
    return folder


def _generate(log_count: int, folder: Path, seed: int) -> None:
    economy = Economy(seed=seed, log_count=log_count)
    writer = Writer(folder, seed)
    writer.append([])  # the genesis
    for transactions in _transaction_counts(seed):
        writer.append(_block(economy, writer, transactions, log_count))
        if len(writer.columns.log_addresses) == log_count:
            break
    writer.close()


def _transaction_counts(seed: int) -> Iterator[int]:
    counts, weights = zip(*TRANSACTIONS, strict=True)
    dice = Random(seed)
    while True:
        yield from dice.choices(counts, weights, k=1000)


def _block(economy: Economy, writer: Writer, transactions: int, log_count: int) -> Iterator[Transaction]:
    """The transactions of the next block, each made when the one before is written."""
    for _ in range(transactions):
        if len(writer.columns.log_addresses) < log_count:
            yield economy.transaction(writer.next_block, block_time(writer.next_block))


def _bloom_of(log: Emitted) -> int:
    bloom = _bits(log.address)
    for topic in log.topics:
        bloom |= _bits(topic)
    return bloom


@cache
def _bits(value: str) -> int:
    """The three of 2,048 bits that an address or topic sets (Ethereum Yellow Paper, section 4.4.1)."""
    digest = keccak(bytes.fromhex(value[2:]))
    return sum({1 << (int.from_bytes(digest[place : place + 2], "big") & 2047) for place in (0, 2, 4)})


def _hash(*parts: Any) -> str:
    return "0x" + blake2b(repr(parts).encode(), digest_size=32).hexdigest()


def _source_version() -> str:
    """Changes with every file that the chain depends on."""
    here = Path(__file__).parent
    sources = b"".join((here / name).read_bytes() for name in ("chain.py", "economy.py", "logs.py", "pool.py"))
    return blake2b(sources, digest_size=8).hexdigest()


if __name__ == "__main__":
    print(generated(int(sys.argv[1]), Path(sys.argv[2])))
