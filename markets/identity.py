"""PURE. Ids of stored rows, derived from what names the thing on chain: a replay gives the same ids.

A row that many events change has a UUIDv5 of its name. A row that is one event's alone has a UUIDv8 (RFC 9562, section
5.8) of the event's place, so that new rows come last in their table's index, however long it is:

    bbbbbbbb-bbbb-8lll-8lll-kssssstttttt

    b  block number, 48 bits
    8  the version; and the variant, followed by two zero bits
    l  log index, 24 bits
    k  what the row is (KINDS), 4 bits
    s  sequence among rows of one kind and log, 20 bits
    t  the transaction hash's first 24 bits: logs at one place of two branches have two ids
"""

from functools import lru_cache
from hashlib import sha1
from uuid import UUID

NAMESPACE = UUID("6f1d6a5e-2c1b-5a57-9a34-617572756d00")
_PREFIX = NAMESPACE.bytes
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the two highest bits of this digit are 10

# Rows of one event; an entry of the history is of the kind of its type.
KINDS = {
    "event": "0",
    "trade": "1",
    "price_point": "2",
    "question_event": "3",
    "buy": "4",
    "sell": "5",
    "split": "6",
    "merge": "7",
    "transfer_in": "8",
    "transfer_out": "9",
    "redeem": "a",
    "add_liquidity": "b",
    "remove_liquidity": "c",
    "question_anomaly": "d",
}
MAX_PLACED_BLOCK = 2**48 - 1
MAX_PLACED_LOG = 2**24 - 1  # in a block; a log costs 375 gas
MAX_SEQUENCE = 2**20 - 1


def event_row_id(kind: str, block_number: int, log_index: int, transaction_hash: str, sequence: int = 0) -> str:
    """The id of a row that is one event's alone, of one of KINDS. `transaction_hash` is a lower-case `0x` string.

    Raises ValueError where block number, log index or sequence have more bits than their place.
    """
    return _of_block(block_number) + _of_log(log_index) + _of_row(kind, sequence) + transaction_hash[2:8]


# What the rows of a batch share is written once.


@lru_cache(maxsize=5000)
def _of_block(number: int) -> str:
    digits = _digits(number, 12, "block number")
    return f"{digits[:8]}-{digits[8:]}-8"


@lru_cache(maxsize=5000)
def _of_log(index: int) -> str:
    digits = _digits(index, 6, "log index")
    return f"{digits[:3]}-8{digits[3:]}-"


@lru_cache(maxsize=5000)
def _of_row(kind: str, sequence: int) -> str:
    return KINDS[kind] + _digits(sequence, 5, "sequence")


def _digits(number: int, count: int, what: str) -> str:
    digits = f"{number:0{count}x}"
    if len(digits) > count:
        raise ValueError(f"the id of a row has no room for {what} {number}")
    return digits


@lru_cache(maxsize=50_000)  # a batch asks for the same rows many times
def row_id(kind: str, *parts: object) -> str:
    """The id of the `kind` of row that `parts` name, such as `row_id("market", market_id)`.

    A UUIDv5 (RFC 9562, section 5.5) in its usual form of 36 characters.
    """
    name = f"{kind}:{':'.join([str(part) for part in parts])}"
    text = sha1(_PREFIX + name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"
