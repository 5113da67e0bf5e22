"""A market as of a block: what was answered when that block was the last one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from indexer.devchain.actions import ONE, Actions
from markets.models import Checkpoint, Market
from tests import factories
from tests.factories import START
from tests.indexing import sync
from tests.problems import problem_of

HOUR = 3_600
NOT_KEPT = {"openInterest", "feesCollected", "oracleState"}


def get(client: Client, path: str, **query: object) -> Any:
    response = client.get(path, query)
    assert response.status_code == 200, response.content[:500]
    return response.json()


@pytest.mark.django_db(transaction=True)
def test_every_block_is_answered_as_it_was_then(client: Client, actions: Actions) -> None:
    """A market's whole life, asked about at each step, and again at its end."""
    one, two = actions.accounts[1:3]
    market = actions.create_market(resolves_in=60 * HOUR)
    path = f"/api/markets/0x{market.market_id.hex()}"
    answers: dict[int, tuple[Any, Any]] = {}

    def look() -> None:
        sync(actions.deployment)
        block = Checkpoint.objects.get().block_number
        answers[block] = get(client, path), get(client, f"{path}/prices")

    look()
    funded = actions.deploy_amm(market, liquidity=10**9, fee=ONE // 50)
    for step in (
        lambda: actions.buy(funded, 0, 10**8, sender=one),
        lambda: actions.buy(funded, 1, 3 * 10**7, sender=two),
        lambda: actions.sell(funded, 0, 10**7, sender=one),
        lambda: actions.add_funding(funded, 10**8, sender=two),
        lambda: actions.advance(25 * HOUR),
        lambda: actions.buy(funded, 1, 10**6, sender=actions.accounts[3]),
        lambda: actions.remove_funding(funded, 5 * 10**7, sender=two),
        lambda: actions.collect_fee(funded, 10**5, sender=one),
        lambda: actions.advance(40 * HOUR),
        lambda: actions.buy(funded, 0, 2 * 10**6, sender=two),
        lambda: actions.propose(market, [ONE, 0], sender=one),
        lambda: actions.advance(3 * HOUR),
        lambda: actions.finalize(market),
        lambda: actions.buy(funded, 0, 10**6, sender=one),
        lambda: actions.resolve_market(market),
    ):
        step()
        if step.__code__.co_names[0] != "advance":
            look()

    statuses = [detail["status"] for detail, _ in answers.values()]
    assert statuses == ["open"] * 8 + ["ended"] * 2 + ["resolved"] * 3
    assert [detail["traders"] for detail, _ in answers.values()] == [0, 1, 2, 2, 2] + [3] * 8
    for block, (detail, prices) in answers.items():
        then = get(client, path, asOfBlock=block)
        assert {name: then.pop(name) for name in NOT_KEPT} == dict.fromkeys(NOT_KEPT)
        assert then | {"updatedAt": ""} == {k: v for k, v in detail.items() if k not in NOT_KEPT} | {"updatedAt": ""}
        assert get(client, f"{path}/prices", asOfBlock=block) == prices


@pytest.fixture
def market() -> Market:
    factories.make_checkpoint(block_number=2_000, finalized_block=1_900, block_timestamp=START + timedelta(hours=2))
    market = factories.make_market(block_number=1_500, reserves=[350, 650])
    factories.make_block(block_number=1_500)
    return market


@pytest.mark.django_db
@pytest.mark.parametrize("suffix", ["", "/prices"])
@pytest.mark.parametrize("block", ["-1", "1.5", "latest", "0x10", "", "2001", str(2**63 - 1), str(2**63), "9" * 100])
def test_a_block_that_is_none_or_not_indexed_is_400(client: Client, market: Market, suffix: str, block: str) -> None:
    problem = problem_of(client.get(f"/api/markets/{market.id}{suffix}", {"asOfBlock": block}), 400)
    assert set(problem["errors"]) == {"asOfBlock"}


@pytest.mark.django_db
@pytest.mark.parametrize("suffix", ["", "/prices"])
def test_before_the_market_there_is_nothing(client: Client, market: Market, suffix: str) -> None:
    for block in (0, 1_499):
        problem = problem_of(client.get(f"/api/markets/{market.id}{suffix}", {"asOfBlock": block}), 404)
        assert problem["detail"] == "The market was not there yet at the end of that block."
    nowhere = f"/api/markets/0x{'00' * 32}{suffix}"
    problem_of(client.get(nowhere, {"asOfBlock": 1_999}), 404)


@pytest.mark.django_db
def test_between_events_a_market_is_as_the_last_one_left_it(client: Client, market: Market) -> None:
    factories.make_price_point(market, block_number=1_600, reserves=[1, 3])
    factories.make_trade(market, block_number=1_700)
    found = [get(client, f"/api/markets/{market.id}", asOfBlock=block) for block in (1_500, 1_599, 1_600, 1_699, 1_700)]
    assert [body["prices"] for body in found] == [[0.65, 0.35]] * 2 + [[0.75, 0.25]] * 3
    assert [body["liquidity"] for body in found] == ["455"] * 2 + ["1"] * 3
    assert [body["tradeCount"] for body in found] == [0, 0, 0, 0, 1]
    assert [body["volume24h"] for body in found] == ["0"] * 4 + ["6500000000000000000"]
    assert get(client, f"/api/markets/{market.id}/prices", asOfBlock=1_650) == {
        "marketId": market.market_id,
        "prices": [0.75, 0.25],
        "reserves": ["1", "3"],
        "timestamp": "2026-01-01T00:20:00Z",
        "blockNumber": 1_600,
    }


@pytest.mark.django_db
def test_what_resolves_a_market_in_the_next_block_of_the_same_second_is_not_true_yet(client: Client) -> None:
    """Some chains have several blocks a second."""
    factories.make_checkpoint(block_number=2_000, block_timestamp=START + timedelta(hours=2))
    time = START + timedelta(hours=1)
    for number in (1_500, 1_501):
        factories.make_block(block_number=number, timestamp=time)
    market = factories.make_market(block_number=1_500, created_at=time, payouts=[1, 0], resolved_block=1_501)
    found = [get(client, f"/api/markets/{market.id}", asOfBlock=block) for block in (1_500, 1_501)]
    assert [(body["status"], body["payouts"]) for body in found] == [("open", None), ("resolved", ["1", "0"])]


@pytest.mark.django_db
def test_before_anything_is_indexed_no_block_can_be_asked_for(client: Client) -> None:
    market = factories.make_market(block_number=1_500, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    problem_of(client.get(f"/api/markets/{market.id}", {"asOfBlock": 1_500}), 400)
