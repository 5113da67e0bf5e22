"""One market beside the real contracts: nothing differs while it is right, and what was damaged is named."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from web3 import Web3

from indexer.audit import CannotCompare
from indexer.devchain.actions import ONE, Actions
from indexer.devchain.actions import Market as ChainMarket
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port
from indexer.reconcile import UNKNOWN, reconcile
from markets.models import Checkpoint, Market
from operators.models import AuditEntry
from tests.factories import HOSTILE
from tests.indexing import sync

pytestmark = pytest.mark.django_db(transaction=True)


def execute(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        assert cursor.rowcount == 1


@pytest.fixture
def traded(chain: tuple[Web3, Deployment], actions: Actions) -> ChainMarket:
    """A market with an AMM, a trade and a split, indexed."""
    market = actions.deploy_amm(actions.create_market(HOSTILE, [HOSTILE, "No", "=1+1"]))
    actions.buy(market, 0, 1_000_000, sender=actions.accounts[1])
    actions.split(market, 5_000, sender=actions.accounts[2])
    sync(chain[1])
    return market


def reconciled(chain: tuple[Web3, Deployment]) -> Any:
    return reconcile(Market.objects.get().market_id, [chain[1].rpc_url])


def test_an_honest_market(chain: tuple[Web3, Deployment], traded: ChainMarket, actions: Actions) -> None:
    found = reconciled(chain)
    assert found.different == []
    assert (found.block_number, found.block_hash) == (
        *(chain[0].eth.block_number, chain[0].eth.get_block("latest")["hash"].to_0x_hex()),
    )
    assert [each.field for each in found.fields if each.is_same is None] == []
    names = [each.field for each in found.fields]
    assert {"question", "outcomes", "payouts", "AMM's fee", "AMM's shares", "reserves", "collateral"} <= {*names}
    # The buyer of one outcome, whoever split into three, and the AMM.
    assert sum(name.startswith("balance of") for name in names) == 7
    # And once it is resolved.
    actions.void(traded)
    actions.resolve_market(traded)
    sync(chain[1])
    found = {each.field: each for each in reconciled(chain).fields}
    assert [each.field for each in found.values() if each.is_same is not True] == []
    assert found["payouts"].on_chain == [ONE // 3] * 3
    assert found["announced by the factory"].on_chain is True


@pytest.mark.parametrize(
    ("statement", "field"),
    [
        ("UPDATE markets SET question = 'another'", "question"),
        ('UPDATE markets SET outcomes = \'["a", "b", "c"]\'', "outcomes"),
        ("UPDATE markets SET creator = '0x' || repeat('1', 40)", "creator"),
        ("UPDATE markets SET resolution_timestamp = 5", "resolutionTimestamp"),
        ("UPDATE markets SET resolution_time = '2020-01-01Z'", "resolutionTime"),
        ("UPDATE markets SET payouts = '[1, 0, 0]'", "payouts"),
        ("UPDATE markets SET confirmed_at = now()", "announced by the factory"),
        ("UPDATE markets SET fee = 7", "AMM's fee"),
        ("UPDATE amms SET total_shares = 7", "AMM's shares"),
        ("UPDATE markets SET reserves = '[1, 2, 3]'", "reserves"),
        ("UPDATE collateral_tokens SET decimals = 2", "collateral"),
        ("UPDATE outcome_tokens SET position_id = 5 WHERE outcome_index = 1", "ids of outcome tokens"),
    ],
)
def test_a_damaged_row_is_named(
    chain: tuple[Web3, Deployment], traded: ChainMarket, statement: str, field: str
) -> None:
    execute(statement)
    assert reconciled(chain).different == [field]


def test_a_damaged_balance(chain: tuple[Web3, Deployment], traded: ChainMarket, actions: Actions) -> None:
    holder = actions.accounts[2].lower()
    execute("UPDATE positions SET amount = 6000 WHERE user_address = %s AND outcome_index = 1", holder)
    (different,) = [each for each in reconciled(chain).fields if each.is_same is False]
    assert (different.field, different.stored, different.on_chain) == (f"balance of {holder}, outcome 1", 6000, 5000)


def test_contracts_that_say_nothing(chain: tuple[Web3, Deployment], traded: ChainMarket) -> None:
    """Whatever they refuse is not told; the rest is compared all the same."""
    contracts = Checkpoint.objects.get().contracts
    Checkpoint.objects.update(contracts={**contracts, "MarketFactory": "0x" + "11" * 20})
    found = {each.field: each for each in reconciled(chain).fields}
    assert (found["creator"].on_chain, found["question"].on_chain) == (UNKNOWN, UNKNOWN)
    assert found["reserves"].is_same is True


def test_a_block_that_the_chain_does_not_have(chain: tuple[Web3, Deployment], traded: ChainMarket) -> None:
    Checkpoint.objects.update(block_hash="0x" + "ee" * 32)
    with pytest.raises(CannotCompare):
        reconciled(chain)


def test_no_node_answers(chain: tuple[Web3, Deployment], traded: ChainMarket) -> None:
    with pytest.raises(CannotCompare, match="no node answers"):
        reconcile(Market.objects.get().market_id, [f"http://127.0.0.1:{free_port()}"])
    with pytest.raises(CannotCompare, match="not indexed"):
        reconcile("0x" + "00" * 32, [chain[1].rpc_url])
    with pytest.raises(CannotCompare, match="RPC_URL"):
        reconcile(Market.objects.get().market_id, [])


def test_slow_nodes_are_given_up(chain: tuple[Web3, Deployment], traded: ChainMarket) -> None:
    times = iter([0.0, 6.0])
    with pytest.raises(CannotCompare, match="more than 5 seconds"):
        reconcile(Market.objects.get().market_id, [chain[1].rpc_url], clock=lambda: next(times))


def test_the_page(chain: tuple[Web3, Deployment], traded: ChainMarket, settings: Any) -> None:
    settings.RPC_URLS = [chain[1].rpc_url]
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.set(Group.objects.filter(name="operator"))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    market = Market.objects.get()
    page = f"/admin/markets/market/{market.pk}/reconcile/"
    before = list(Market.objects.values())
    answer = client.post(page)
    assert (answer.context["different"], answer.context["untold"]) == (0, 0)
    assert "Re-index this market" not in answer.text
    execute("UPDATE markets SET reserves = '[1, 2, 3]'")
    answer = client.post(page)
    assert (answer.context["different"], answer.context["rows"][0].field) == (1, "reserves")
    assert f"/admin/indexer/repairrequest/request/?market={market.market_id}" in answer.text
    assert ("<script>alert" in answer.text, "<img src=x" in answer.text, "\u202e" in answer.text) == (False,) * 3
    assert list(Market.objects.values("question", "payouts")) == [
        {"question": before[0]["question"], "payouts": before[0]["payouts"]}
    ]
    entries = AuditEntry.objects.order_by("id").values_list("actor", "action", "subject", "after")
    (first, second) = entries
    assert first[:3] == ("olga", "market.reconcile", f"market:{market.market_id}")
    assert (first[3]["different"], second[3]["different"]) == ([], ["reserves"])
    settings.RPC_URLS = [f"http://127.0.0.1:{free_port()}"]
    assert "The chain could not be asked: no node answers" in client.post(page, follow=True).text
