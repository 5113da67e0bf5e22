"""The floor: reads the chain's logs and stores them as they are, and does nothing else. What is above it is our doing.

`python -m tests.bench.floor RPC_URL DATABASE_URL FOLDER` reads the addresses to ask for from the chain's folder.
It asks in ranges of the indexer's length, with the filter that the indexer ends up with, and takes the timestamps
from the logs. No retries, no headers, no checks, one thread, one transaction a range (some 5,000 logs).
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import requests

from tests.bench.chain import About

BLOCKS = 1000  # of one eth_getLogs, as the indexer's INDEXER_BATCH_SIZE
# The columns that indexed_events has for these, in its types.
TABLE = """
    CREATE TABLE bench_raw_logs (
        block_number bigint NOT NULL,
        block_hash varchar(66) NOT NULL,
        block_timestamp timestamptz NOT NULL,
        transaction_hash varchar(66) NOT NULL,
        transaction_index integer NOT NULL,
        log_index integer NOT NULL,
        address varchar(42) NOT NULL,
        topics jsonb NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (block_number, log_index)
    )
"""


class RawLog(msgspec.Struct, gc=False, rename="camel"):
    """A log as the node gives it."""

    address: str
    topics: list[str]
    data: str
    block_number: str
    block_hash: str
    block_timestamp: str
    transaction_hash: str
    transaction_index: str
    log_index: str

    def row(self) -> tuple[Any, ...]:
        """The columns, in the table's order."""
        return (
            int(self.block_number, 16),
            self.block_hash,
            datetime.fromtimestamp(int(self.block_timestamp, 16), UTC),
            self.transaction_hash,
            int(self.transaction_index, 16),
            int(self.log_index, 16),
            self.address,
            msgspec.json.encode(self.topics).decode(),
            bytes.fromhex(self.data[2:]),
        )


class Answer(msgspec.Struct):
    """A JSON-RPC answer to eth_getLogs."""

    result: list[RawLog]


def fetched(rpc_url: str, addresses: Sequence[str], topics: Sequence[str], head: int) -> Iterator[list[RawLog]]:
    """The logs of each range up to `head`."""
    decoder = msgspec.json.Decoder(Answer)
    with requests.Session() as session:
        for first in range(1, head + 1, BLOCKS):
            last = min(first + BLOCKS - 1, head)
            query = {"fromBlock": hex(first), "toBlock": hex(last), "address": addresses, "topics": [topics]}
            asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]}
            response = session.post(
                rpc_url, data=msgspec.json.encode(asked), headers={"Content-Type": "application/json"}, timeout=60
            )
            response.raise_for_status()
            yield decoder.decode(response.content).result


def main(rpc_url: str, database_url: str, folder: Path) -> None:
    about = About.read(folder)
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        for found in fetched(rpc_url, about.addresses, about.topics, about.head):
            with cursor.copy("COPY bench_raw_logs FROM STDIN") as copy:
                for log in found:
                    copy.write_row(log.row())
            connection.commit()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
