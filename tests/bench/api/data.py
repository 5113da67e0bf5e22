"""Rows for the benchmark of the API: made up by PostgreSQL, alike each time, and spread over markets and users."""

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import psycopg

FILL = Path(__file__).with_name("data.sql")


def fill(url: str, markets: int, trades: int, positions: int) -> None:
    """Fills the tables of an empty, migrated database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL.read_text().format(markets=markets, trades=trades, positions=positions))
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def paths_of(url: str, count: int) -> dict[str, Sequence[str]]:
    """So many different requests for each kind of page, as far as there are."""
    with psycopg.connect(url) as connection:
        markets = [row[0] for row in connection.execute("SELECT market_id FROM markets ORDER BY id LIMIT %s", [count])]
        users = [
            row[0]
            for row in connection.execute("SELECT DISTINCT user_address FROM positions ORDER BY 1 LIMIT %s", [count])
        ]
    seconds = (f"{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}" for number in range(count))
    return {
        # Every market ends later than that.
        "markets": [f"/api/markets?endsAfter=2001-01-01T{second}Z" for second in seconds],
        "holders": _all(count, markets, "/api/markets/{}/positions"),
        "trades": _all(count, markets, "/api/markets/{}/trades"),
        "positions": _all(count, users, "/api/users/{}/positions"),
        "history": _all(count, users, "/api/users/{}/history"),
    }


def _all(count: int, names: Sequence[str], path: str) -> list[str]:
    return [path.format(name) for name in islice(cycle(names), count)]
