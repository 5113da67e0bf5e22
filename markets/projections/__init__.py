"""Events -> market rows. Each function is one event's effect; its keyword arguments are the event's fields."""

from markets.projections.batches import batch_ended
from markets.projections.definitions import (
    amm_announced,
    condition_prepared,
    condition_resolved,
    market_created,
    market_resolved,
)
from markets.projections.pools import (
    bought,
    fee_collected,
    funding_added,
    funding_removed,
    shares_moved,
    sold,
    transaction_ended,
)
from markets.projections.tokens import (
    outcome_token_moved,
    outcome_token_moved_6909,
    outcome_tokens_moved,
    payout_redeemed,
    position_merged,
    position_split,
)
from markets.rows import (
    Amm,
    Channel,
    Condition,
    HistoryEntry,
    LiquidityShare,
    Market,
    MarketTrader,
    OutcomeToken,
    Position,
    PricePoint,
    Trade,
)

__all__ = [
    "WRITE_ORDER",
    "amm_announced",
    "batch_ended",
    "bought",
    "condition_prepared",
    "condition_resolved",
    "fee_collected",
    "funding_added",
    "funding_removed",
    "market_created",
    "market_resolved",
    "outcome_token_moved",
    "outcome_token_moved_6909",
    "outcome_tokens_moved",
    "payout_redeemed",
    "position_merged",
    "position_split",
    "shares_moved",
    "sold",
    "transaction_ended",
]

# Tables in the order in which they may be written: referred ones first.
WRITE_ORDER = (
    Condition,
    Market,
    OutcomeToken,
    Amm,
    LiquidityShare,
    Position,
    Trade,
    PricePoint,
    MarketTrader,
    HistoryEntry,
    Channel,
)
