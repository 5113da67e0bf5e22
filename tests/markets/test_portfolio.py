"""Portfolios and leaderboards as the API gives them, against what users' stories (tests/story.py) say at each time."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from indexer import events
from markets import leaderboard
from markets.amm import weights
from markets.models import Checkpoint, HistoryEntry, RankedUser, Ranking
from tests import factories
from tests.factories import COLLATERAL, UNIT
from tests.problems import problem_of
from tests.story import NO_PARENT, TOKENS, USERS, ZERO, Story

pytestmark = pytest.mark.django_db

HOUR = 3_600
DAY = 24 * HOUR
SPANS = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
STEPS = {"1d": 600, "7d": HOUR, "30d": 4 * HOUR}


def get(client: Client, path: str, **query: object) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content[:500]
    return response.json()


def told(seed: int, *, count: int = 70, period: int = 3 * HOUR, outcomes: tuple[int, ...] = (2, 3)) -> Story:
    """A stored story: blocks of three hours, so that every window ends somewhere in it."""
    story = Story(random.Random(seed), list(outcomes), period)
    story.act(count)
    story.store()
    return story


# --- portfolio --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_totals(client: Client, seed: int) -> None:
    story = told(seed)
    for user in USERS:
        portfolio, flows, snapshot = (
            get(client, f"/api/users/{user}/portfolio"),
            story.flows[user],
            story.snapshot(user),
        )
        realized, unrealized = int(portfolio["realizedPnl"]), int(portfolio["unrealizedPnl"])
        lost = story.lost(user)
        assert portfolio["userAddress"] == user
        assert portfolio["collateralToken"] == COLLATERAL
        assert portfolio["value"] == str(snapshot.value)
        assert portfolio["untrackedValue"] == str(snapshot.unknown)
        assert portfolio["cost"] == str(snapshot.cost + snapshot.unknown - lost)
        assert (realized, unrealized) == (
            snapshot.realized - lost,
            snapshot.value - snapshot.unknown - snapshot.cost + lost,
        )
        assert (int(portfolio["cashIn"]), int(portfolio["cashOut"])) == (flows.paid, flows.received)
        assert int(portfolio["costTransferredIn"]) - int(portfolio["costTransferredOut"]) == (
            flows.cost_in + snapshot.unknown - flows.cost_out
        )
        assert portfolio["volume"] == str(flows.volume)
        assert realized + unrealized == snapshot.profit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("interval", SPANS)
def test_the_series_is_what_was_at_each_time(client: Client, seed: int, interval: str) -> None:
    story = told(seed)
    end = story.time()
    for user in USERS:
        series = get(client, f"/api/users/{user}/portfolio", interval=interval)["series"]
        times = [int(datetime.fromisoformat(point["time"]).timestamp()) for point in series]
        step = STEPS[interval]
        assert times == [*range((end - SPANS[interval]) // step * step, end, step), end]
        for time, point in zip(times, series, strict=True):
            snapshot = story.at(time)[user]
            assert (point["value"], point["pnl"]) == (str(snapshot.value), str(snapshot.profit)), (user, point)


def test_the_series_of_all_time_begins_with_the_user_and_is_bounded(client: Client) -> None:
    story = told(5, count=60, period=DAY)
    series = get(client, f"/api/users/{USERS[1]}/portfolio", interval="all")["series"]
    assert 150 < len(series) <= 202
    entries = HistoryEntry.objects.filter(user_address=USERS[1]).order_by("block_number")
    first = entries.values_list("block_number", flat=True)[0]
    begin = datetime.fromisoformat(series[0]["time"]).timestamp()
    step = datetime.fromisoformat(series[1]["time"]).timestamp() - begin
    assert story.time(first) - 2 * step < begin <= story.time(first)
    for point in series:
        snapshot = story.at(int(datetime.fromisoformat(point["time"]).timestamp()))[USERS[1]]
        assert (point["value"], point["pnl"]) == (str(snapshot.value), str(snapshot.profit))


def test_nobody_has_nothing(client: Client) -> None:
    expected = {
        "userAddress": "0x" + "ab" * 20,
        "collateralToken": None,
        "value": "0",
        "liquidityValue": "0",
        "untrackedValue": "0",
        "cost": "0",
        "realizedPnl": "0",
        "unrealizedPnl": "0",
        "openPositions": 0,
        "closedPositions": 0,
        "markets": 0,
        "cashIn": "0",
        "cashOut": "0",
        "costTransferredIn": "0",
        "costTransferredOut": "0",
        "volume": "0",
        "trades": 0,
        "interval": "30d",
        "series": [],
    }
    assert get(client, f"/api/users/0x{'AB' * 20}/portfolio") == expected


def test_what_counts_as_what(client: Client) -> None:
    """An open position, one that is closed, one that lost, and one without a price."""
    user = factories.address("user")
    factories.make_checkpoint()
    open_ = factories.make_market()  # 0.65 and 0.35
    factories.make_position(open_, user_address=user, outcome_index=0, amount=10 * UNIT, cost=5 * UNIT, realized_pnl=7)
    factories.make_position(open_, user_address=user, outcome_index=1, amount=0, realized_pnl=-3)
    lost = factories.make_market(payouts=[0, 1])
    factories.make_position(lost, user_address=user, outcome_index=0, amount=10, cost=40)
    unpriced = factories.make_market(reserves=None)
    factories.make_position(unpriced, user_address=user, outcome_index=1, amount=20, cost=9)
    portfolio = get(client, f"/api/users/{user}/portfolio")
    assert portfolio["value"] == str(65 * UNIT // 10 + 9)
    assert portfolio["cost"] == str(5 * UNIT + 9)
    assert portfolio["realizedPnl"] == str(7 - 3 - 40)
    assert portfolio["unrealizedPnl"] == str(15 * UNIT // 10)
    assert (portfolio["openPositions"], portfolio["closedPositions"], portfolio["markets"]) == (3, 1, 3)


def test_tokens_of_another_kind_are_not_added(client: Client) -> None:
    user, other = factories.address("user"), "0x" + "c1" * 20
    factories.make_checkpoint()
    for token, amount in ((COLLATERAL, 10), (other, 1_000)):
        market = factories.make_market(collateral_token=token, payouts=[1, 0])
        factories.make_position(market, user_address=user, amount=amount)
    assert get(client, f"/api/users/{user}/portfolio")["value"] == "10"
    assert (
        get(client, f"/api/users/{user}/portfolio", collateralToken=other.upper().replace("X", "x"))["value"] == "1000"
    )
    assert [row["profit"] for row in get(client, "/api/leaderboard")["results"]] == ["10"]
    assert [row["profit"] for row in get(client, "/api/leaderboard", collateralToken=other)["results"]] == ["1000"]


def test_an_amm_has_no_portfolio(client: Client) -> None:
    story = told(1, count=20)
    portfolio = get(client, f"/api/users/{story.markets[0].pool.address}/portfolio")
    assert (portfolio["value"], portfolio["markets"], portfolio["series"]) == ("0", 0, [])


@pytest.mark.parametrize(
    ("query", "named"),
    [({"interval": "1h"}, "interval"), ({"collateralToken": "0x1"}, "collateralToken"), ({"limit": "5"}, "limit")],
)
def test_a_bad_parameter_of_a_portfolio_is_400(client: Client, query: dict[str, str], named: str) -> None:
    response = client.get(f"/api/users/{USERS[0]}/portfolio", query)
    assert set(problem_of(response, 400)["errors"]) == {named}


def test_a_malformed_address_is_400(client: Client) -> None:
    assert set(problem_of(client.get("/api/users/0x12/portfolio"), 400)["errors"]) == {"address"}


def test_a_portfolio_costs_a_few_queries_whatever_is_in_it(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    told(2, count=90, outcomes=(2, 5, 8))
    with django_assert_max_num_queries(12):  # ten, and a savepoint
        get(client, f"/api/users/{USERS[0]}/portfolio")


# --- leaderboard ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, what these tests compute is cheap."""
    monkeypatch.setattr(leaderboard, "CHEAP", 30.0)
    monkeypatch.setattr(leaderboard, "ATTEMPT", 30.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_leaderboard_of_each_window(client: Client, seed: int) -> None:
    story = told(seed)
    for window, span in [*SPANS.items(), ("all", 10**9)]:
        then, now = story.at(story.time() - span), story.at(story.time())
        figures = {user: (now[user].profit - then[user].profit, now[user].volume - then[user].volume) for user in USERS}
        for by, place in (("profit", 0), ("volume", 1)):
            rows = get(client, "/api/leaderboard", by=by, window=window)["results"]
            ranked = sorted((user for user in USERS if any(figures[user])), key=lambda u: (-figures[u][place], u))
            expected = [
                {
                    "rank": rank,
                    "userAddress": user,
                    "profit": str(figures[user][0]),
                    "volume": str(figures[user][1]),
                    "asOfBlock": story.block,
                }
                for rank, user in enumerate(ranked, start=1)
            ]
            assert rows == expected, (window, by)


def test_tokens_of_unknown_cost_are_no_profit(client: Client) -> None:
    """Held, merged or given to a pool: who makes sets in a way that nobody follows has no place for it."""
    story = Story(random.Random(1), [2], HOUR)
    [market], user = story.markets, USERS[1]
    below = [(story._single(ZERO, user, market, outcome, 9 * UNIT), market.collection(outcome)) for outcome in range(2)]
    for moved, parent in below:
        story.tell(moved, (TOKENS, events.PositionMerge(user, COLLATERAL, parent, NO_PARENT, (1, 2), 9 * UNIT)))
    story.tell(*story._sets(events.PositionMerge, market, user, 4 * UNIT))
    story.tell(story._batch(user, market.pool.address, market, [UNIT, UNIT]))
    story.store()
    for window in ("1d", "all"):
        rows = get(client, "/api/leaderboard", window=window)["results"]
        assert [row["profit"] for row in rows if row["userAddress"] == user] == [str(-2 * UNIT)]
    portfolio = get(client, f"/api/users/{user}/portfolio")
    assert (portfolio["value"], portfolio["untrackedValue"], portfolio["cashOut"]) == (
        portfolio["untrackedValue"],
        str(4 * UNIT),
        str(4 * UNIT),
    )
    assert int(portfolio["realizedPnl"]) + int(portfolio["unrealizedPnl"]) == -2 * UNIT


def test_contracts_have_no_place_in_it(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    factories.make_position(market, user_address=factories.FACTORY, amount=5)
    factories.make_position(market, user_address="0x" + "00" * 20, amount=5)
    user = factories.make_position(market, amount=3).user_address
    rows = get(client, "/api/leaderboard")["results"]
    assert [(row["userAddress"], row["profit"]) for row in rows] == [(user, "3")]


def test_it_pages(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    for amount in range(1, 8):
        factories.make_position(market, amount=amount)
    page = get(client, "/api/leaderboard", limit=3)
    ranks = [[row["rank"] for row in page["results"]]]
    while page["next"]:
        page = client.get(page["next"]).json()
        ranks.append([row["rank"] for row in page["results"]])
    assert ranks == [[1, 2, 3], [4, 5, 6], [7]]
    elsewhere = client.get(page["previous"].replace("/api/leaderboard?", "/api/leaderboard?window=1d&"))
    assert set(problem_of(elsewhere, 400)["errors"]) == {"cursor"}


def move_on(blocks: int) -> None:
    checkpoint = Checkpoint.objects.get()
    checkpoint.block_number += blocks
    checkpoint.block_hash = factories.hex_id("block", checkpoint.block_number)
    checkpoint.save()


def test_a_cheap_ranking_is_computed_once_for_each_block(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    checkpoint = factories.make_checkpoint()
    factories.make_position(market, amount=3)
    first = client.get("/api/leaderboard")
    computed = Ranking.objects.get()
    assert client.get("/api/leaderboard", headers={"If-None-Match": first["ETag"]}).status_code == 304
    assert Ranking.objects.get() == computed
    factories.make_position(market, amount=4)
    move_on(1)
    rows = client.get("/api/leaderboard", headers={"If-None-Match": first["ETag"]}).json()["results"]
    assert [(row["profit"], row["asOfBlock"]) for row in rows] == [
        ("4", checkpoint.block_number + 1),
        ("3", checkpoint.block_number + 1),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_dear_ranking_is_computed_anew_when_that_has_paid_and_nobody_waits(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    factories.make_position(market, amount=3)
    old = get(client, "/api/leaderboard")["results"]
    factories.make_position(market, amount=4)
    move_on(1)
    # It took a minute: for twenty minutes it is shown as it was.
    Ranking.objects.update(seconds=60, computed_at=datetime.now(UTC) - 19 * 60 * SECOND)
    assert get(client, "/api/leaderboard")["results"] == old
    Ranking.objects.update(computed_at=datetime.now(UTC) - 21 * 60 * SECOND)
    assert get(client, "/api/leaderboard")["results"] == old
    leaderboard._apart.submit(lambda: None).result(timeout=60)  # behind what that has begun
    assert len(get(client, "/api/leaderboard")["results"]) == 2


SECOND = timedelta(seconds=1)


def test_a_reorganisation_makes_it_old(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    position = factories.make_position(market, amount=3)
    get(client, "/api/leaderboard")
    position.amount = 8
    position.save()
    Checkpoint.objects.update(block_hash=factories.hex_id("block of another branch"))
    assert [row["profit"] for row in get(client, "/api/leaderboard")["results"]] == ["8"]


def test_what_no_market_pays_in_is_not_computed(client: Client) -> None:
    factories.make_checkpoint()
    factories.make_market()
    assert get(client, "/api/leaderboard", collateralToken="0x" + "99" * 20)["results"] == []
    assert not Ranking.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_while_one_computes_the_others_show_what_there_is(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    factories.make_position(market, amount=3)
    old = get(client, "/api/leaderboard")["results"]
    factories.make_position(market, amount=4)
    move_on(1)
    from aurum.database import connect

    with connect() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [leaderboard.LOCK, COLLATERAL + "all"])
        assert get(client, "/api/leaderboard")["results"] == old
    assert len(get(client, "/api/leaderboard")["results"]) == 2


@pytest.mark.django_db(transaction=True)
def test_a_first_one_that_is_dear_is_computed_apart(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request waits for it, nor computes it once more."""
    monkeypatch.setattr(leaderboard, "ATTEMPT", 0.001)  # PostgreSQL takes longer to plan it
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    factories.make_position(market, amount=3)
    response = client.get("/api/leaderboard", {"window": "1d"})
    assert "first time" in problem_of(response, 503)["detail"]
    assert response["Retry-After"] == "5"
    leaderboard._apart.submit(lambda: None).result(timeout=60)
    assert [row["profit"] for row in get(client, "/api/leaderboard", window="1d")["results"]] == ["3"]


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_first_one_of_another_process(client: Client) -> None:
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    factories.make_position(market, amount=3)
    from aurum.database import connect

    with connect() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [leaderboard.LOCK, COLLATERAL + "all"])
        assert problem_of(client.get("/api/leaderboard"), 503)["title"] == "Service Unavailable"
    assert len(get(client, "/api/leaderboard")["results"]) == 1


def test_no_more_places_are_kept_than_there_are(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "RANKS", 2)
    market = factories.make_market(payouts=[1, 0])
    factories.make_checkpoint()
    for amount in range(1, 5):
        factories.make_position(market, amount=amount)
    assert [row["profit"] for row in get(client, "/api/leaderboard")["results"]] == ["4", "3"]
    assert RankedUser.objects.count() == 2 * 2  # by profit, and by volume


@pytest.mark.parametrize(
    ("query", "named"),
    [({"by": "luck"}, "by"), ({"window": "2d"}, "window"), ({"user": USERS[0]}, "user"), ({"limit": "201"}, "limit")],
)
def test_a_bad_parameter_of_the_leaderboard_is_400(client: Client, query: dict[str, str], named: str) -> None:
    assert set(problem_of(client.get("/api/leaderboard", query), 400)["errors"]) == {named}


# --- prices in SQL ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reserves",
    [[350, 650], [1, 2, 4], [0, 10], [7, 0, 3], [0, 0], [0, 0, 5], [2**256 - 1] * 8, [5], list(range(1, 257))],
)
def test_weights_are_those_of_the_formula(reserves: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT price_weights(to_jsonb(%s::text[]), NULL)", [[str(reserve) for reserve in reserves]])
        found = cursor.fetchone()[0]
    expected = weights(reserves)
    assert found == (expected if sum(expected) else None)


def test_payouts_are_the_weights_of_a_resolved_market() -> None:
    with connection.cursor() as cursor:
        cursor.execute("""SELECT price_weights('["3", "4"]', '["0", "1"]'), price_weights(NULL, NULL)""")
        assert cursor.fetchone() == ([0, 1], None)
