"""Which rows a batch will ask for, so that the Book asks the database once for each table.

Nothing depends on this being complete: what is missing here costs a query later.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from indexer import events
from indexer.entries import Entry
from markets import feeds
from markets.book import Book, LogPosition
from markets.identity import row_id
from markets.rows import (
    Amm,
    Channel,
    Condition,
    LiquidityShare,
    Market,
    MarketTrader,
    OutcomeToken,
    Position,
)
from oracle.rows import Question


@dataclass(slots=True)
class Wanted:
    """What events name, by chain identity. `holders` are those of outcome tokens, by position id.

    `tokens` are outcomes by position id, (market id, index), and `pools` the markets of AMMs: what these events
    define, to which what the tables know is added.
    """

    addresses: set[str] = field(default_factory=set)
    conditions: set[str] = field(default_factory=set)
    markets: set[str] = field(default_factory=set)
    questions: set[str] = field(default_factory=set)
    holders: dict[int, set[str]] = field(default_factory=dict)
    traders: set[tuple[str, str]] = field(default_factory=set)  # AMM, trader
    shareholders: set[tuple[str, str]] = field(default_factory=set)  # AMM, holder
    created: list[events.MarketCreated] = field(default_factory=list)
    tokens: dict[int, tuple[str, int]] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)


def prefetch(book: Book, entries: Sequence[Entry]) -> None:
    """Loads what the projections of these events read, in one query a table."""
    wanted = Wanted()
    for entry in entries:
        wanted.addresses.add(entry.at.address)
        collect = COLLECTORS.get(type(entry.event))  # type: ignore[arg-type]  # None has none
        if collect is not None:
            collect(wanted, entry.at, entry.event)
    book.position_ids.load(wanted.created)
    _load_definitions(book, wanted)
    book.load(Question, [row_id("question", question_id) for question_id in wanted.questions])
    _load_holdings(book, wanted)
    _load_of_pools(book, wanted)
    if entries and book.publishes(entries[-1].at.block_number):
        _load_channels(book, wanted)


def moves(event: events.ChainEvent) -> Iterator[tuple[int, int]]:
    """The (position id, amount) pairs that a transfer of outcome tokens moves."""
    if isinstance(event, events.TransferSingle):
        yield event.id, event.value
    elif isinstance(event, events.OutcomeTransfer):
        yield event.id, event.amount
    elif isinstance(event, events.TransferBatch):
        yield from zip(event.ids, event.values, strict=False)


def _load_definitions(book: Book, wanted: Wanted) -> None:
    """AMMs, tokens, conditions and markets: those that are stored, and what the events in hand add to them."""
    book.load(Condition, [row_id("condition", condition_id) for condition_id in wanted.conditions])
    book.load_markets_of_conditions(wanted.conditions)
    addresses = [address for address in wanted.addresses.union(*wanted.holders.values()) if address in book.amms]
    book.load(Amm, [row_id("amm", address) for address in addresses])
    for address in addresses:
        if (amm := book.get(Amm, row_id("amm", address))) is not None:
            wanted.pools[address] = amm.market_id
    for market in wanted.created:
        ids = book.position_ids(market.collateral_token, market.condition_id, len(market.outcomes))
        wanted.tokens |= {position_id: (market.market_id, outcome) for outcome, position_id in enumerate(ids)}
    book.load(OutcomeToken, [row_id("outcome_token", id_) for id_ in wanted.holders.keys() | wanted.tokens.keys()])
    for position_id in wanted.holders:
        if (token := book.get(OutcomeToken, row_id("outcome_token", position_id))) is not None:
            wanted.tokens[position_id] = (token.market_id, token.outcome_index)
    wanted.markets |= {market_id for market_id, _ in wanted.tokens.values()} | set(wanted.pools.values())
    book.load(Market, [row_id("market", market_id) for market_id in wanted.markets])


def _load_holdings(book: Book, wanted: Wanted) -> None:
    """The positions that transfers change, and all of the pools, whose reserves they are."""
    ids = [
        row_id("position", *token, holder)
        for position_id, holders in wanted.holders.items()
        if (token := wanted.tokens.get(position_id)) is not None
        for holder in holders
    ]
    outcomes = {market.market_id: len(market.outcomes) for market in wanted.created}
    for address, market_id in wanted.pools.items():
        market = book.get(Market, row_id("market", market_id))
        count = len(market.outcomes) if market is not None else outcomes.get(market_id, 0)
        ids += [row_id("position", market_id, outcome, address) for outcome in range(count)]
    book.load(Position, ids)


def _load_of_pools(book: Book, wanted: Wanted) -> None:
    pools = wanted.pools
    book.load(
        MarketTrader,
        [row_id("market_trader", pools[amm], trader) for amm, trader in wanted.traders if amm in pools],
    )
    book.load(LiquidityShare, [row_id("liquidity_share", amm, holder) for amm, holder in wanted.shareholders])


def _load_channels(book: Book, wanted: Wanted) -> None:
    """Those of what the events change; what a market was resolved by, or created, is rare."""
    pools, users = set(wanted.pools.values()), set[str]().union(*wanted.holders.values())
    names = [of(market_id) for market_id in pools for of in (feeds.market_channel, feeds.prices_channel)]
    names += [feeds.user_channel(address) for address in users if address not in book.amms]
    book.load(Channel, [row_id("channel", name) for name in names])


# --- what an event names ----------------------------------------------------------------------------------------------


def _transfer(wanted: Wanted, at: LogPosition, event: Any) -> None:
    _hold(wanted, event.id, event)


def _transfers(wanted: Wanted, at: LogPosition, event: Any) -> None:
    for position_id in event.ids:
        _hold(wanted, position_id, event)


def _hold(wanted: Wanted, position_id: int, event: Any) -> None:
    holders = wanted.holders.get(position_id)
    if holders is None:
        holders = wanted.holders[position_id] = set()
    holders.add(event.sender)
    holders.add(event.receiver)


def _condition(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.conditions.add(event.condition_id)


def _market(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.markets.add(event.market_id)


def _created(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.markets.add(event.market_id)
    wanted.conditions.add(event.condition_id)
    wanted.created.append(event)


def _announced(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.markets.add(event.market_id)
    wanted.addresses.add(event.amm)
    wanted.pools[event.amm] = event.market_id


def _buy(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.traders.add((at.address, event.buyer))


def _sell(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.traders.add((at.address, event.seller))


def _shares(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.shareholders |= {(at.address, event.sender), (at.address, event.receiver)}


def _question(wanted: Wanted, at: LogPosition, event: Any) -> None:
    wanted.questions.add(event.question_id)


COLLECTORS: dict[type[events.ChainEvent], Callable[[Wanted, LogPosition, Any], None]] = {
    events.TransferSingle: _transfer,
    events.TransferBatch: _transfers,
    events.OutcomeTransfer: _transfer,
    events.PositionSplit: _condition,
    events.PositionMerge: _condition,
    events.PayoutRedemption: _condition,
    events.ConditionPreparation: _condition,
    events.ConditionResolution: _condition,
    events.MarketCreated: _created,
    events.AMMDeployed: _announced,
    events.MarketResolved: _market,
    events.FeeCollected: _market,
    events.FPMMBuy: _buy,
    events.FPMMSell: _sell,
    events.ShareTransfer: _shares,
    events.QuestionRegistered: _question,
    events.OutcomeProposed: _question,
    events.ProposalDisputed: _question,
    events.VoteCommitted: _question,
    events.VoteRevealed: _question,
    events.QuestionResolved: _question,
    events.QuestionVoided: _question,
}
