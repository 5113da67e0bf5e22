"""The ledger on blocks of a FakeChain, without nodes: quick, and in any steps. The contracts are those of World."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from indexer.chain import Header, Log
from indexer.decode import event_class_of
from indexer.fetch import Batch, announced_amms
from indexer.ledger import Ledger, known_amms
from markets.models import Checkpoint
from tests.fakes import FakeBlock, FakeChain
from tests.faults.world import CONTRACTS
from tests.snapshots import FEED, database

LEDGER = Ledger(contracts=CONTRACTS, may_write=lambda: None)
Snapshot = dict[str, list[dict[str, Any]]]


# --- blocks -> batches ------------------------------------------------------------------------------------------------


def header_of(block: FakeBlock) -> Header:
    return Header(number=block.number, hash=block.hash, parent_hash=block.parent_hash, timestamp=block.timestamp)


def _logs_of(block: FakeBlock) -> Iterator[Log]:
    """A block's logs as the node's answer would be read."""
    log_index = 0
    for index, (transaction_hash, logs) in enumerate(block.transactions):
        for log in logs:
            yield Log(
                address=log.address,
                topics=log.topics,
                data="0x" + log.data.hex(),
                block_number=block.number,
                block_hash=block.hash,
                transaction_hash=transaction_hash,
                transaction_index=index,
                log_index=log_index,
            )
            log_index += 1


def batch_of(chain: FakeChain, first: int, last: int) -> Batch:
    """What the Fetcher gives of these blocks: an AMM's logs count from the block that announces it."""
    blocks = chain.blocks[first : last + 1]
    known = CONTRACTS.with_amms(known_amms(before=first))
    logs = [log for block in blocks for log in _logs_of(block)]
    announced = announced_amms(logs, known)
    contracts = known.with_amms(frozenset(announced))
    return Batch(
        first=first,
        last=header_of(blocks[-1]),
        logs=tuple(
            log for log in logs if event_class_of(log, contracts) and log.block_number >= announced.get(log.address, 0)
        ),
        headers={block.number: header_of(block) for block in blocks},
        contracts=contracts,
    )


# --- the database -----------------------------------------------------------------------------------------------------


def empty() -> None:
    """No row of ours, and a checkpoint before the first block."""
    with connection.cursor() as cursor:
        for app in ("markets", "oracle", "indexer"):
            for model in apps.get_app_config(app).get_models():
                cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608
    genesis = "0x" + "00" * 32
    Checkpoint.objects.create(
        id=1, chain_id=31337, genesis_hash=genesis, contracts={}, start_block=1, block_number=0, finalized_block=0
    )


@contextmanager
def taken_back() -> Iterator[None]:
    """Nothing that the body writes stays."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def append(chain: FakeChain, count: int, *, finalized: int) -> None:
    """Applies the next `count` blocks, of which those up to `finalized` are final."""
    checkpoint = Checkpoint.objects.get()
    checkpoint.finalized_block = max(checkpoint.finalized_block, finalized)
    checkpoint.save()
    first = checkpoint.block_number + 1
    last = min(first + count - 1, chain.head.number)
    if first <= last:
        LEDGER.append(batch_of(chain, first, last), after=checkpoint)
        connection.check_constraints()


def from_scratch(chain: FakeChain, last: int, sizes: Iterator[int], finalized: Iterator[int]) -> Snapshot:
    """The rows that an emptied database has after batches of these sizes; the database itself stays as it is."""
    with taken_back():
        empty()
        while (at := Checkpoint.objects.get().block_number) < last:
            append(chain, min(next(sizes), last - at), finalized=next(finalized))
        return database(without=FEED)


def differences(one: Snapshot, other: Snapshot) -> dict[str, dict[Any, Any]]:
    """By table and primary key, what differs: whole rows that only the one has, and columns of those that both have.

    Which block the checkpoint is at counts only where both know it: a reset may not, until the next batch.
    """
    places = [snapshot["checkpoint"][0] for snapshot in (one, other)]
    if not all(place["block_hash"] for place in places):
        places = [place | {"block_hash": "", "block_timestamp": None} for place in places]
        one, other = one | {"checkpoint": places[:1]}, other | {"checkpoint": places[1:]}
    return {table: _differing(rows, other[table]) for table, rows in one.items() if rows != other[table]}


def _differing(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[Any, Any]:
    mine, theirs = ({next(iter(row.values())): row for row in each} for each in (rows, others))
    return {
        key: {name: (value, theirs[key][name]) for name, value in mine[key].items() if value != theirs[key][name]}
        if key in mine and key in theirs
        else (mine.get(key), theirs.get(key))
        for key in mine.keys() | theirs.keys()
        if mine.get(key) != theirs.get(key)
    }
