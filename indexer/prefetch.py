"""Which rows a batch will ask for, so that the Book asks the database once for each table.

Nothing depends on this being complete: what is missing here costs a query later.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from indexer import events
from markets import feeds
from markets.book import Book, LogPosition
from markets.identity import row_id
from markets.models import (
    Amm,
    Channel,
    Condition,
    LiquidityShare,
    Market,
    MarketTrader,
    OutcomeToken,
    Position,
)
from oracle.models import Question

Applied = tuple[LogPosition, events.ChainEvent]
HOLDERS = ("sender", "receiver", "stakeholder", "buyer", "seller", "funder", "amm")


def prefetch(book: Book, applied: Iterable[Applied]) -> None:
    """Loads what the projections of these events read, in one query a table."""
    applied = list(applied)
    named = [(at, event, {field.name: getattr(event, field.name) for field in fields(event)}) for at, event in applied]  # type: ignore[arg-type]

    addresses = {at.address for at, _ in applied} | {
        value for _, _, values in named for name, value in values.items() if name in HOLDERS
    }
    book.load(Amm, [row_id("amm", address) for address in addresses])
    book.load(
        OutcomeToken, [row_id("outcome_token", position_id) for _, event in applied for position_id, _ in moves(event)]
    )
    conditions = _values(named, "condition_id")
    book.load(Condition, [row_id("condition", condition_id) for condition_id in conditions])
    book.load_markets_of_conditions(conditions)
    book.load(Question, [row_id("question", question_id) for question_id in _values(named, "question_id")])

    amms = [amm for address in addresses if (amm := book.get(Amm, row_id("amm", address)))]
    tokens = [
        (event, token, values)
        for _, event, values in named
        for position_id, _ in moves(event)
        if (token := book.get(OutcomeToken, row_id("outcome_token", position_id)))
    ]
    market_ids = (
        _values(named, "market_id") | {amm.market_id for amm in amms} | {token.market_id for _, token, _ in tokens}
    )
    book.load(Market, [row_id("market", market_id) for market_id in market_ids])
    _load_positions(book, amms, tokens)
    _load_of_amms(book, amms, named)


def moves(event: events.ChainEvent) -> Iterator[tuple[int, int]]:
    """The (position id, amount) pairs that a transfer of outcome tokens moves."""
    if isinstance(event, events.TransferSingle):
        yield event.id, event.value
    elif isinstance(event, events.OutcomeTransfer):
        yield event.id, event.amount
    elif isinstance(event, events.TransferBatch):
        yield from zip(event.ids, event.values, strict=False)


def _load_positions(book: Book, amms: list[Amm], tokens: list[tuple[Any, OutcomeToken, dict[str, Any]]]) -> None:
    ids = {
        row_id("position", token.market_id, token.outcome_index, holder)
        for _, token, values in tokens
        for holder in (values["sender"], values["receiver"])
    }
    for amm in amms:
        market = book.get(Market, row_id("market", amm.market_id))
        outcomes = range(len(market.outcomes)) if market else ()
        ids |= {row_id("position", amm.market_id, outcome, amm.address) for outcome in outcomes}
    book.load(Position, ids)


def _load_of_amms(book: Book, amms: list[Amm], named: list[tuple[LogPosition, Any, dict[str, Any]]]) -> None:
    markets = {amm.address: amm.market_id for amm in amms}
    book.load(
        MarketTrader,
        {
            row_id("market_trader", markets[at.address], values[trader])
            for at, _, values in named
            for trader in ("buyer", "seller")
            if at.address in markets and trader in values
        },
    )
    book.load(
        LiquidityShare,
        {
            row_id("liquidity_share", at.address, holder)
            for at, event, values in named
            if isinstance(event, events.ShareTransfer)
            for holder in (values["sender"], values["receiver"])
        },
    )
    channels = (feeds.market_channel, feeds.prices_channel)
    book.load(Channel, {row_id("channel", of(market_id)) for market_id in markets.values() for of in channels})


def _values(named: list[tuple[LogPosition, Any, dict[str, Any]]], name: str) -> set[str]:
    return {values[name] for _, _, values in named if name in values}
