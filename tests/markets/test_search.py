"""Search of markets, by REST; and that it reads indexes."""

import copy
import uuid

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from markets.models import Market, MarketMetadata
from markets.search import FOUND, read_search
from tests import factories
from tests.problems import problem_of

pytestmark = pytest.mark.django_db

QUESTIONS = {
    "rain": "Will it rain in Zürich tomorrow?",
    "train": "Will the Trans-Siberian train be late?",
    "rate": "Will the ECB cut rates by 0.25% on 2026-03-01?",
    "name": "Will O'Brien \\ O\u2019Neill win?",
    "html": "<b>Will</b> & | ! ( ) :* <-> survive?",
    "hebrew": "האם ירד גשם מחר?",
    "chinese": "明天会下雨吗",
    "emoji": "\U0001f680 or \U0001f4a5?",
    "huge": "word " * 300_000,
}


@pytest.fixture
def asked() -> dict[str, str]:
    """The key of each market by its UUID."""
    names = {str(factories.make_market(question=question).id): name for name, question in QUESTIONS.items()}
    by_name = {name: market for market, name in names.items()}
    MarketMetadata.objects.create(
        market=Market.objects.get(id=by_name["rate"]), category="Economics", description="Of the deposit facility."
    )
    return names


def found(client: Client, asked: dict[str, str], text: str) -> set[str]:
    response = client.get("/api/markets", {"search": text})
    assert response.status_code == 200, response.content[:500]
    return {asked[row["id"]] for row in response.json()["results"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # words, and their beginnings, in any order and case
        ("rain", {"rain"}),
        ("RAI", {"rain"}),
        ("tomorrow rain", {"rain"}),
        ("Tomorrow, rain!", {"rain"}),
        ("will tra", {"train"}),
        ("trans-sib", {"train"}),
        ("siberian", {"train"}),
        ("rain train", set()),
        ("zürich", {"rain"}),
        ("ZÜR", {"rain"}),
        ("0.25%", {"rate"}),
        ("2026-03-01", {"rate"}),
        ("o'brien", {"name"}),
        ("O\u2019Neill", {"name"}),
        ("גשם", {"hebrew"}),
        ("מחר האם", {"hebrew"}),
        ("明天", {"chinese"}),
        # what people added
        ("econ", {"rate"}),
        ("deposit", {"rate"}),
        ("economics facility", {"rate"}),
        # words are found alone; a part of one only where no word begins like it
        ("will", {"rain", "train", "rate", "name", "html"}),
        ("in", {"rain"}),
        ("ain", {"rain", "train"}),
        ("iberian tr", {"train"}),
        ("下雨", {"chinese"}),
        ("\U0001f680", {"emoji"}),
        ("\U0001f680 or \U0001f4a5", {"emoji"}),
        # signs stand for themselves
        ("%", {"rate"}),
        ("\\", {"name"}),
        ("<->", {"html"}),
        (":*", {"html"}),
        ("&", {"html"}),
        ("!", {"html"}),
        ("_", set()),
        ("' OR true --", set()),
        ("'", {"name"}),
        ("a & !b | (c", set()),
        ("word", {"huge"}),
    ],
)
def test_what_is_found(client: Client, asked: dict[str, str], text: str, names: set[str]) -> None:
    assert found(client, asked, text) == names


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(min_size=1, max_size=200) | st.text("'\\:*&|!()<->% \u202e\ufffd", min_size=1, max_size=200))
def test_no_text_is_too_strange(client: Client, text: str) -> None:
    status = client.get("/api/markets", {"search": text}).status_code
    assert status == (400 if "\x00" in text else 200)


@given(st.sampled_from(list(QUESTIONS.values())), st.integers(0, 30), st.integers(1, 30))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_part_of_a_question_finds_it_or_what_has_its_words(
    client: Client, asked: dict[str, str], question: str, start: int, length: int
) -> None:
    part = question[start : start + length]
    if part.strip():
        assert found(client, asked, part)


@pytest.mark.parametrize("text", ["", "x" * 201, "a\x00b"])
def test_a_bad_search_is_400(client: Client, text: str) -> None:
    assert set(problem_of(client.get("/api/markets", {"search": text}), 400)["errors"]) == {"search"}


def test_a_search_pages_with_other_filters_and_orders(client: Client) -> None:
    markets = [factories.make_market(question=f"Will it rain on day {day}?") for day in range(5)]
    factories.make_market(question="Will it rain at all?", creator="0x" + "11" * 20)
    creator = {"creator": markets[0].creator}
    assert [row["id"] for row in client.get("/api/markets", {"search": "rain", **creator}).json()["results"]] == [
        str(markets[0].id)
    ]
    url, pages = "/api/markets?search=rain+day&ordering=createdAt&limit=2", []
    while url:
        page = client.get(url).json()
        pages.append([row["id"] for row in page["results"]])
        url = page["next"]
    ids = [str(market.id) for market in markets]
    assert pages == [ids[:2], ids[2:4], ids[4:]]


def test_words_are_found_by_index(asked: dict[str, str]) -> None:
    """And the questions' texts are looked through only where there is no such word."""
    [market] = Market.objects.filter(question=QUESTIONS["rain"])
    others = []
    for number in range(2_000):
        market.id, market.market_id = uuid.uuid4(), factories.hex_id("other", number)
        market.question, market.amm_address = f"Number {number}?", factories.address("amm", -number)
        others.append(copy.copy(market))
    Market.objects.bulk_create(others)
    MarketMetadata.objects.bulk_create(MarketMetadata(market=other, category=f"c{other.id}") for other in others)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE markets, market_metadata")
        statement = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT FROM markets m WHERE {FOUND}"
        cursor.execute(statement, {"search": read_search("rain")})
        plan = "\n".join(row[0] for row in cursor.fetchall())
    for index in ("markets_words", "market_metadata_words"):
        assert f"Bitmap Index Scan on {index}" in plan, plan
    assert "never executed" in plan, plan
    # There are no corrections here, so that table is read whole.
    scans = [line for line in plan.splitlines() if "Seq Scan" in line and "on market_corrections " not in line]
    assert all("never executed" in line for line in scans), plan
