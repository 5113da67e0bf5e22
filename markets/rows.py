"""The rows that projections write: the columns of the models of the same names (models.py says what they mean)."""

from markets import models
from markets.table import Record, Row, table_of


class Emitted(Row, gc=False):
    """A row that is one event's: where in the chain the event stands."""

    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int
    timestamp: int


@table_of(models.Condition)
class Condition(Row, gc=False):
    condition_id: str
    oracle: str
    question_id: str
    outcome_slot_count: int
    payout_numerators: list[int] | None = None
    resolved_at: int | None = None
    resolved_block: int | None = None


@table_of(models.Market)
class Market(Row, gc=False):
    market_id: str
    question_id: str
    condition_id: str
    creator: str
    collateral_token: str
    question: str
    outcomes: list[str]
    resolution_time: int
    resolution_timestamp: int
    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int
    created_at: int
    updated_at: int
    amm_address: str | None = None
    resolved: bool = False
    payouts: list[int] | None = None
    resolved_at: int | None = None
    resolved_block: int | None = None
    confirmed_at: int | None = None
    fee: int | None = None
    reserves: list[int] | None = None
    liquidity: int = 0
    volume: int = 0
    trading_fees: int = 0
    fees_collected: int = 0
    trade_count: int = 0
    trader_count: int = 0
    suspect_since: int | None = None
    suspect_reason: str = ""


@table_of(models.Amm)
class Amm(Row, gc=False):
    address: str
    market_id: str
    fee: int
    block_number: int
    created_at: int
    total_shares: int = 0
    reserves: list[int] | None = None


@table_of(models.LiquidityShare)
class LiquidityShare(Row, gc=False):
    amm_id: str
    holder: str
    amount: int
    cost: int = 0
    realized_pnl: int = 0


@table_of(models.OutcomeToken)
class OutcomeToken(Row, gc=False):
    position_id: int
    market_id: str
    outcome_index: int
    supply: int = 0


@table_of(models.Position)
class Position(Row, gc=False):
    user_address: str
    market_id: str
    outcome_index: int
    amount: int
    is_amm: bool
    created_at: int
    updated_at: int
    cost: int = 0
    realized_pnl: int = 0
    untracked_amount: int = 0
    away_amount: int = 0
    away_cost: int = 0
    acquired_amount: int = 0
    acquired_cost: int = 0


@table_of(models.Trade)
class Trade(Emitted, gc=False):
    market_id: str
    amm_address: str
    trader: str
    side: str
    outcome: int
    amount: int
    collateral_amount: int
    fee_amount: int
    market_volume: int


@table_of(models.PricePoint)
class PricePoint(Emitted, gc=False):
    market_id: str
    reserves: list[int]


@table_of(models.MarketTrader)
class MarketTrader(Row, gc=False):
    market_id: str
    address: str
    trade_count: int = 0
    volume: int = 0


@table_of(models.HistoryEntry)
class HistoryEntry(Emitted, gc=False):
    type: str
    user_address: str
    market_id: str
    amount: int
    outcome: int | None = None
    collateral_amount: int | None = None
    outcome_amounts: list[int] | None = None
    untracked_amounts: list[int] | None = None
    counterparty: str | None = None
    realized_pnl: int = 0
    cost_change: int = 0
    sequence: int = 0


@table_of(models.Channel)
class Channel(Row, gc=False):
    name: str
    seq: int = 0


@table_of(models.OutboxMessage)
class Message(Record, gc=False):
    channel: str
    seq: int
    payload: str
    block_number: int
