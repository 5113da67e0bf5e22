"""PURE. Whether logs are a block's, all of them or some: by their indexes, their order, and the bloom in its header.

A bloom is a number of 2,048 bits. Each address and topic of a log sets three of them, which its keccak names (Ethereum
Yellow Paper, section 4.4.1).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from eth_hash.auto import keccak

from indexer.chain import Header, InconsistentAnswer, Log


@lru_cache(maxsize=100_000)  # the addresses and topics of a busy chain repeat, and keccak costs 6 µs
def bits(value: str) -> int:
    """The bits that an address or topic (a `0x` string) sets."""
    digest = keccak(bytes.fromhex(value[2:]))
    found = 0
    for place in (0, 2, 4):
        found |= 1 << (int.from_bytes(digest[place : place + 2], "big") & 2047)
    return found


def bloom_of(logs: Iterable[Log]) -> int:
    """The bloom of a block with exactly these logs."""
    found = 0
    for log in logs:
        found |= bits(log.address)
        for topic in log.topics:
            found |= bits(topic)
    return found


def check_whole(header: Header, logs: Sequence[Log]) -> None:
    """Raises InconsistentAnswer unless these can be all logs of the block: in order, without gaps, with its bloom.

    Only logs at the very end, whose every bit other logs set too, can be missing unseen.
    """
    where = f"block {header.number}"
    for place, log in enumerate(logs):
        if (log.block_number, log.block_hash) != (header.number, header.hash):
            raise InconsistentAnswer(f"asked for the logs of {where}, one of block {log.block_number} came")
        if log.log_index != place:
            raise InconsistentAnswer(f"{where}: log {place} is missing or out of order")
    _check_transactions(where, logs)
    if bloom_of(logs) != header.logs_bloom:
        raise InconsistentAnswer(f"{where}: its bloom is not that of its {len(logs)} logs")


def check_part(header: Header, logs: Sequence[Log]) -> None:
    """Raises InconsistentAnswer unless these can be some of the block's logs; they come sorted by their index.

    One that came twice is no contradiction. A header without a bloom vouches for nothing.
    """
    where = f"block {header.number}"
    for log, following in pairwise(logs):
        if log.log_index == following.log_index and log != following:
            raise InconsistentAnswer(f"{where}: two logs with index {log.log_index}")
    _check_transactions(where, logs)
    if header.logs_bloom is not None and bloom_of(logs) & ~header.logs_bloom:
        raise InconsistentAnswer(f"{where}: its bloom lacks what its logs name")


def _check_transactions(where: str, logs: Sequence[Log]) -> None:
    for log, following in pairwise(logs):
        same = log.transaction_hash == following.transaction_hash
        if following.transaction_index < log.transaction_index:
            raise InconsistentAnswer(f"{where}: the logs' transactions are out of order")
        if same != (log.transaction_index == following.transaction_index):
            raise InconsistentAnswer(f"{where}: hash and index of the logs' transactions contradict each other")
