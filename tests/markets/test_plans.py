"""How PostgreSQL finds a page: by an index that begins where the page does, never by reading or sorting a table."""

import json
from typing import Any

import pytest
from django.db import connection

from markets import listings
from markets.models import Market
from markets.pages import Listing, _page_statement
from tests import factories

pytestmark = pytest.mark.django_db

LARGE = {"markets", "trades", "positions", "history", "price_points", "ranked_users", "watched_markets"}
# Sorted for each page: what the last 24 hours were changes with each block, also without a trade.
SORTED = {"volume24h", "-volume24h"}
LISTINGS = {
    "markets": listings.markets,
    "holders": listings.holders,
    "trades": listings.trades,
    "positions": listings.user_positions,
    "history": listings.user_history,
}
VALUES: dict[str, Any] = {
    "uuid": None,
    "address": "0x" + "ce" * 20,
    "cursor0": "0",
    "cursor1": "0",
    "cursor2": "0",
}


@pytest.fixture(autouse=True)
def rows() -> Market:
    """A little of everything; that a table is small must be no reason to read it whole."""
    factories.make_checkpoint()
    market = factories.make_market()
    factories.make_trade(market)
    factories.make_position(market)
    factories.make_history_entry(market)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
    return market


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def plan_of(listing: Listing, filters: tuple[str, ...], order: str, backwards: bool | None, market: Market) -> Any:
    statement = _page_statement(listing, filters, order, backwards, 51)
    cursor_values = {f"cursor{n}": _example(key.type) for n, key in enumerate(listing.orders[order])}
    values = VALUES | {"market_id": market.market_id} | cursor_values
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
        [[plan]] = cursor.fetchall()
    return nodes((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"])


def _example(kind: str) -> str:
    return {"timestamptz": "2026-01-01T00:00:00Z", "uuid": "00000000-0000-4000-8000-000000000000"}.get(kind, "0")


def cases() -> list[Any]:
    return [
        pytest.param(listing, order, backwards, id=f"{name} {order} {backwards}")
        for name, listing in LISTINGS.items()
        for order in listing.orders
        if order not in SORTED
        for backwards in (None, False, True)
    ]


@pytest.mark.parametrize(("listing", "order", "backwards"), cases())
def test_a_page_starts_in_an_index_and_sorts_nothing(
    listing: Listing, order: str, backwards: bool | None, rows: Market
) -> None:
    plan = plan_of(listing, (), order, backwards, rows)
    scanned = [node for node in plan if node.get("Relation Name") in LARGE and node["Node Type"] == "Seq Scan"]
    assert scanned == []
    of_rows = [node for node in plan if "Sort" in node["Node Type"] and node.get("Disabled")]
    assert of_rows == [], "the whole list is sorted"
