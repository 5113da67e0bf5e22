"""The rows that the ledger writes beside the projections': the columns of the models of the same names."""

from indexer import models
from markets import models as markets
from markets.table import Record, Row, table_of


@table_of(models.IndexedEvent)
class StoredLog(Row, gc=False):
    """What an event is read from again: its log, and what came of it."""

    block_number: int
    block_hash: str
    block_timestamp: int
    transaction_hash: str
    transaction_index: int
    log_index: int
    address: str
    event_name: str
    topics: list[str] | tuple[str, ...]
    data: str
    processed: bool = False
    error: str = ""


@table_of(models.IndexedEvent)
class IndexedEvent(StoredLog, gc=False):
    """The whole row: the log and its reading."""

    event_data: str = "{}"  # JSON


@table_of(models.RecentBlock)
class RecentBlock(Record, gc=False):
    number: int
    hash: str


@table_of(models.WaitingEvent)
class WaitingEvent(Row, gc=False):
    key: str
    event_id: str


@table_of(markets.IndexedBlock)
class IndexedBlock(Record, gc=False):
    number: int
    hash: str
    parent_hash: str
    timestamp: int
