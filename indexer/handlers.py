"""The one table: which projection applies which event. tests/indexer/test_handlers.py proves that none is missing."""

from collections.abc import Callable

from msgspec.structs import astuple

from indexer import events
from markets import projections as markets
from markets.book import Book, LogPosition
from oracle import projections as oracle

HANDLERS: dict[type[events.ChainEvent], Callable[..., None]] = {
    events.MarketCreated: markets.market_created,
    events.AMMDeployed: markets.amm_announced,
    events.MarketResolved: markets.market_resolved,
    events.ConditionPreparation: markets.condition_prepared,
    events.ConditionResolution: markets.condition_resolved,
    events.PositionSplit: markets.position_split,
    events.PositionMerge: markets.position_merged,
    events.PayoutRedemption: markets.payout_redeemed,
    events.TransferSingle: markets.outcome_token_moved,
    events.TransferBatch: markets.outcome_tokens_moved,
    events.OutcomeTransfer: markets.outcome_token_moved_6909,
    events.FPMMBuy: markets.bought,
    events.FPMMSell: markets.sold,
    events.FPMMFundingAdded: markets.funding_added,
    events.FPMMFundingRemoved: markets.funding_removed,
    events.ShareTransfer: markets.shares_moved,
    events.FeeCollected: markets.fee_collected,
    events.QuestionRegistered: oracle.question_registered,
    events.OutcomeProposed: oracle.outcome_proposed,
    events.ProposalDisputed: oracle.proposal_disputed,
    events.VoteCommitted: oracle.vote_committed,
    events.VoteRevealed: oracle.vote_revealed,
    events.QuestionResolved: oracle.question_resolved,
    events.QuestionVoided: oracle.question_voided,
}

# Stored, and nothing follows from them.
IGNORED: frozenset[type[events.ChainEvent]] = frozenset({events.FeesWithdrawn})

# Definitions hold from the start of their block: logs of the same block that precede them already concern what they
# define (an AMM's first funding stands before the AMMDeployed that announces it).
DEFINITIONS: tuple[type[events.ChainEvent], ...] = (events.MarketCreated, events.AMMDeployed)

WRITE_ORDER = markets.WRITE_ORDER + oracle.WRITE_ORDER


def apply_event(book: Book, at: LogPosition, event: events.ChainEvent) -> None:
    """Applies one event. Raises whatever its projection raises; the Book is then as it was before."""
    book.begin()
    handler = HANDLERS.get(type(event))
    if handler is None:
        return
    try:
        handler(book, at, *astuple(event))
    except Exception:
        book.undo()
        raise
