"""What the bots do on a real chain, indexed, against what the chain itself answers: no differences."""

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.actions import Market as ChainMarket
from indexer.devchain.bots import play
from indexer.devchain.deploy import COLLATERAL, Deployment, artifact, created_address, deploy_contract
from indexer.models import IndexedEvent, WaitingEvent
from markets.models import HistoryEntry, Market, OutcomeToken, Position, Trade
from tests.processes import index_once
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bots(chain: tuple[Web3, Deployment], seed: int) -> None:
    w3, deployment = chain
    play(w3, deployment, seed=seed, markets=6, steps=120)

    # Small batches, so that transactions of one story fall into different ones.
    index_once(deployment, INDEXER_BATCH_SIZE="23")

    truth = Truth(w3, deployment)
    assert truth.differences() == []
    assert truth.differences_of_portfolios(deployment.collateral) == []
    assert Trade.objects.count() > 20
    assert Position.objects.filter(amount__gt=0).count() > 20
    assert Market.objects.filter(resolved=True).exists()


def test_two_amms_in_one_transaction_and_several_trades_in_one_block(
    chain: tuple[Web3, Deployment], actions: Actions
) -> None:
    first = actions.deploy_amm(actions.create_market("First?"), fee=10**16)
    second = actions.deploy_amm(actions.create_market("Second?", ("a", "b", "c")), fee=0)
    bare = actions.create_market("Without an AMM?")
    trader, other = actions.accounts[3:5]
    wallet = actions.deploy_wallet(trader)
    actions.split(bare, 777, sender=trader)
    with actions.through(wallet):
        actions.buy(first, 0, 1_000_000, sender=wallet)
        actions.buy(second, 2, 2_000_000, sender=wallet)
        actions.buy(first, 1, 3_000_000, sender=wallet)
    for sender in (trader, other):
        actions.buy(first, 0, 1_000, sender=sender)
    with actions.several_in_one_block():
        actions.buy(first, 0, 5_000, sender=trader)
        actions.buy(first, 1, 6_000, sender=other)
        actions.buy(first, 0, 7_000, sender=trader)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    together = Trade.objects.filter(trader=wallet.lower()).order_by("-block_number", "log_index")[:3]
    assert [(trade.market.question, trade.outcome, trade.collateral_amount) for trade in together] == [
        ("First?", 0, 1_000_000),
        ("Second?", 2, 2_000_000),
        ("First?", 1, 3_000_000),
    ]
    assert len({trade.transaction_hash for trade in together}) == 1
    latest = Trade.objects.order_by("-block_number").first()
    assert latest is not None
    assert Trade.objects.filter(block_number=latest.block_number).count() == 3
    unpriced = Market.objects.get(question="Without an AMM?")
    assert (unpriced.amm_address, unpriced.reserves, unpriced.fee) == (None, None, None)


def test_logs_of_foreign_contracts_are_ignored(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.deploy_amm(actions.create_market())
    actions.buy(market, 0, 1_000, sender=actions.accounts[1])
    w3 = chain[0]
    copied = [
        log
        for block in range(1, w3.eth.block_number + 1)
        for log in w3.eth.get_logs({"fromBlock": block, "toBlock": block})
        if log["topics"]
    ]
    for log in copied:
        actions.emit_log([bytes(topic) for topic in log["topics"]], bytes(log["data"]))
        # The right topics over data that none of our events has.
        actions.emit_log([bytes(topic) for topic in log["topics"]], b"\xff" * 31)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    assert Market.objects.count() == 1
    assert Trade.objects.count() == 1
    assert not IndexedEvent.objects.filter(address=actions.emitter.address.lower()).exists()


def test_an_amm_that_the_factory_did_not_announce_moves_balances_and_makes_no_trades(
    chain: tuple[Web3, Deployment], actions: Actions
) -> None:
    market = actions.create_market()
    foreign = unannounced_amm(actions, market)
    trader = actions.accounts[2]
    actions.add_funding(foreign, 1_000_000, sender=actions.accounts[1])
    actions.buy(foreign, 0, 50_000, sender=trader)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    assert Trade.objects.count() == 0
    assert Position.objects.filter(amount__gt=0).filter(user_address=trader.lower()).count() == 1
    assert Market.objects.get().amm_address is None
    assert HistoryEntry.objects.filter(user_address=trader.lower(), type="transfer_in").count() == 1


def unannounced_amm(actions: Actions, market: ChainMarket) -> ChainMarket:
    """An FPMM that somebody made for our condition, past the market factory."""
    factory = actions.w3.eth.contract(
        address=actions.deployment.fpmm_factory, abi=artifact("FixedProductMarketMakerFactory")["abi"]
    )
    nonce = actions.w3.eth.get_transaction_count(factory.address)
    create = factory.functions.createFixedProductMarketMaker(
        actions.conditional_tokens.address, market.collateral, [market.condition_id], 0
    )
    receipt = actions.w3.eth.wait_for_transaction_receipt(create.transact({"from": actions.accounts[5]}))
    assert receipt["status"] == 1
    return replace(market, amm=created_address(factory.address, nonce))


def send(w3: Web3, call: Any, sender: str) -> None:
    """Sends a contract call and waits for its success."""
    assert w3.eth.wait_for_transaction_receipt(call.transact({"from": sender}))["status"] == 1


def upcoming_market(actions: Actions) -> ChainMarket:
    """The binary market that the admin's next create_market() makes, before it exists."""
    market_id, question_id, condition_id = actions.next_market_ids(2)
    return ChainMarket(
        market_id=market_id,
        question_id=question_id,
        condition_id=condition_id,
        creator=actions.admin,
        collateral=actions.deployment.collateral,
        question=b"",
        outcomes=(b"Yes", b"No"),
        resolution_time=0,
    )


HOSTILE_QUESTIONS = {
    "html": b"<script>alert(1)</script><img src=x onerror=alert(2)>",
    "emoji": "Will \U0001f680 reach the \U0001f315? \U0001f468\u200d\U0001f469\u200d\U0001f467".encode(),
    "right-to-left": "abc \u202e gnp.exe \u2066 \u05e9\u05dc\u05d5\u05dd".encode(),
    "long": ("Will it? " * 1200).encode(),
    "nul": b"before\x00after",
    "not utf-8": b"caf\xe9 \xff\xfe \xed\xa0\x80",
    "empty": b"",
}


def test_hostile_questions(chain: tuple[Web3, Deployment], actions: Actions, client) -> None:
    for question in HOSTILE_QUESTIONS.values():
        actions.create_market(question, (question, b"No"))

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    stored = list(Market.objects.order_by("block_number").values_list("question", flat=True))
    assert stored == [
        "<script>alert(1)</script><img src=x onerror=alert(2)>",
        HOSTILE_QUESTIONS["emoji"].decode(),
        HOSTILE_QUESTIONS["right-to-left"].decode(),
        "Will it? " * 1200,
        "before\ufffdafter",
        "caf\ufffd \ufffd\ufffd \ufffd\ufffd\ufffd",
        "",
    ]
    # Nothing is lost: the log's own bytes are kept.
    for question in HOSTILE_QUESTIONS.values():
        event = IndexedEvent.objects.get(
            event_name="MarketCreated",
            event_data__question=question.decode("utf-8", "replace").replace("\x00", "\ufffd"),
        )
        assert question in bytes(event.data)
    served = client.get("/api/markets?ordering=createdAt").json()["results"]
    assert {market["question"] for market in served} == set(stored)


def test_transfers_of_every_shape(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.create_market("Three?", ("a", "b", "c"))
    one, two = actions.accounts[1:3]
    actions.split(market, 1_000, sender=one)
    actions.transfer(market, 0, 100, sender=one, to=two)
    actions.transfer(market, 0, 50, sender=one, to=one)
    actions.transfer(market, 0, 0, sender=one, to=two)
    actions.transfer_batch(market, [(0, 10), (0, 5), (1, 0), (2, 7)], sender=one, to=two)
    actions.transfer_batch(market, [], sender=one, to=two)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    entries = HistoryEntry.objects.filter(user_address=two.lower()).order_by("block_number", "log_index", "sequence")
    assert [(entry.type, entry.outcome, entry.amount) for entry in entries] == [
        ("transfer_in", 0, 100),
        ("transfer_in", 0, 10),
        ("transfer_in", 0, 5),
        ("transfer_in", 2, 7),
    ]


def test_the_condition_used_in_other_ways(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.create_market("Three?", ("a", "b", "c"))
    user = actions.accounts[1]
    other_collateral = deploy_contract(chain[0], "DevCollateral", *COLLATERAL).address
    actions.split(market, 900, sender=user, partition=[0b001, 0b110])
    actions.split(replace(market, collateral=other_collateral), 500, sender=user)
    actions.split(market, 100, sender=user)
    actions.prepare_condition(market.question_id, 3, oracle=user, sender=user)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    held = Position.objects.filter(user_address=user.lower()).order_by("outcome_index")
    assert [position.amount for position in held] == [1000, 100, 100]
    entries = HistoryEntry.objects.filter(user_address=user.lower()).order_by("block_number", "sequence")
    assert [(entry.type, entry.outcome, entry.amount, entry.collateral_amount) for entry in entries] == [
        ("split", None, 0, 900),  # not complete sets: their collateral, and the token that is followed
        ("split", 0, 900, None),
        ("split", None, 100, 100),
    ]


def test_what_several_outcomes_together_cost_and_bring_is_cash(
    chain: tuple[Web3, Deployment], actions: Actions, client: Client
) -> None:
    """One token of two outcomes: made of collateral, merged into it, made of outcome tokens, and redeemed."""
    market, user = actions.create_market("Three?", ("a", "b", "c")), actions.accounts[1]
    actions.split(market, 900, sender=user, partition=[0b001, 0b110])
    actions.merge(market, 200, sender=user, partition=[0b001, 0b110])
    actions.split(market, 100, sender=user)
    actions.merge(market, 50, sender=user, partition=[0b010, 0b100])
    actions.void(market)
    actions.redeem(market, sender=user, index_sets=[0b001, 0b110])

    index_once(chain[1])

    truth = Truth(*chain)
    assert truth.differences() == []
    assert truth.differences_of_portfolios(market.collateral) == []
    portfolio = client.get(f"/api/users/{user}/portfolio").json()
    # 800 of a and 750 of b and c together, at a third of 1e18 each rounded down: what is redeemed of them.
    assert (portfolio["cashIn"], portfolio["cashOut"]) == ("1000", str(200 + 800 // 3 + 750 * 2 // 3))
    # 100 sets are all that has a known cost: nothing else is earned or lost.
    assert abs(int(portfolio["realizedPnl"]) + int(portfolio["unrealizedPnl"])) <= 3


def test_what_a_deeper_split_burns_is_not_redeemed_again(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    """Outcome tokens split under another condition are gone; a redemption of the rest pays for the rest alone."""
    market, deeper = actions.create_market("First?"), actions.create_market("Deeper?")
    trader = actions.accounts[1]
    wallet = actions.deploy_wallet(trader)
    with actions.through(wallet):
        actions.split(market, 100, sender=wallet)
    actions.void(market)
    tokens, read = actions.conditional_tokens, actions.conditional_tokens.functions
    collection = read.getCollectionId(bytes(32), market.condition_id, 1).call()
    arguments = [market.collateral, collection, deeper.condition_id, [1, 2], 60]
    with actions.through(wallet):
        actions.transact(tokens, "splitPosition", arguments, sender=wallet)
        actions.redeem(market, sender=wallet)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    entries = HistoryEntry.objects.filter(user_address=wallet.lower()).order_by("block_number", "log_index", "sequence")
    assert [(entry.type, entry.outcome, entry.amount, entry.collateral_amount) for entry in entries] == [
        ("split", None, 100, 100),
        ("merge", 0, 60, None),
        ("redeem", 0, 40, 20),
        ("redeem", 1, 100, 50),
    ]


def test_liquidity_is_the_funders_though_a_share_is_given_away(
    chain: tuple[Web3, Deployment], actions: Actions
) -> None:
    market = actions.deploy_amm(actions.create_market())
    trader, friend = actions.accounts[1:3]
    wallet = actions.deploy_wallet(trader)
    with actions.through(wallet):
        actions.add_funding(market, 5_000_000, sender=wallet)
        actions.transfer_shares(market, 1, sender=wallet, to=friend)

    index_once(chain[1])

    assert Truth(*chain).differences() == []
    added = HistoryEntry.objects.filter(type="add_liquidity").order_by("block_number")
    assert [(entry.user_address, entry.collateral_amount) for entry in added] == [
        (actions.admin.lower(), 10_000_000_000),
        (wallet.lower(), 5_000_000),
    ]


@pytest.mark.parametrize("batch_size", ["1", "1000"])
def test_a_condition_used_before_its_market_exists(
    chain: tuple[Web3, Deployment], actions: Actions, batch_size: str
) -> None:
    user, friend = actions.accounts[1:3]
    coming = upcoming_market(actions)
    actions.prepare_condition(coming.question_id, 2, sender=user)
    actions.split(coming, 1_000, sender=user)
    actions.transfer(coming, 0, 400, sender=user, to=friend)
    actions.merge(coming, 100, sender=user)
    market = actions.create_market()
    assert market.market_id == coming.market_id
    actions.split(market, 10, sender=user)

    index_once(chain[1], INDEXER_BATCH_SIZE=batch_size)

    assert Truth(*chain).differences() == []
    assert WaitingEvent.objects.count() == 0
    entries = HistoryEntry.objects.order_by("block_number", "log_index", "sequence")
    assert [(entry.type, entry.user_address, entry.amount) for entry in entries] == [
        ("split", user.lower(), 1_000),
        ("transfer_out", user.lower(), 400),
        ("transfer_in", friend.lower(), 400),
        ("merge", user.lower(), 100),
        ("split", user.lower(), 10),
    ]


def test_an_erc6909_deployment_with_ids_of_its_own(chain: tuple[Web3, Deployment]) -> None:
    w3, gnosis = chain
    admin, user, friend = w3.eth.accounts[:3]
    tokens = deploy_contract(w3, "PlainConditionalTokens")
    oracle = deploy_contract(w3, "AurumOracle", tokens.address, gnosis.aurum_token, admin)
    factory = deploy_contract(w3, "MarketFactory", tokens.address, gnosis.fpmm_factory, oracle.address, admin)
    deployment = replace(
        gnosis,
        conditional_tokens=tokens.address,
        aurum_oracle=oracle.address,
        market_factory=factory.address,
    )
    collateral = w3.eth.contract(address=gnosis.collateral, abi=artifact("DevCollateral")["abi"])
    for call, sender in [
        (oracle.functions.grantRole(oracle.functions.REGISTRAR_ROLE().call(), factory.address), admin),
        (factory.functions.grantMarketCreator(admin), admin),
        (factory.functions.addCollateral(collateral.address), admin),
        (factory.functions.createMarket(collateral.address, "Plain?", ["a", "b", "c"], 2**40), admin),
        (collateral.functions.mint(user, 1_000), admin),
        (collateral.functions.approve(tokens.address, 1_000), user),
    ]:
        send(w3, call, sender)
    created = factory.events.MarketCreated.get_logs(from_block=0)[0]["args"]
    condition = created["conditionId"]
    send(w3, tokens.functions.splitPosition(collateral.address, bytes(32), condition, [1, 2, 4], 900), user)
    ids = [
        tokens.functions.getPositionId(
            collateral.address, tokens.functions.getCollectionId(bytes(32), condition, 1 << outcome).call()
        ).call()
        for outcome in range(3)
    ]
    send(w3, tokens.functions.transfer(friend, ids[2], 250), user)

    index_once(deployment)

    assert not IndexedEvent.objects.filter(processed=False).exists()
    assert list(OutcomeToken.objects.order_by("outcome_index").values_list("position_id", flat=True)) == ids
    held = {(row.user_address, row.outcome_index): row.amount for row in Position.objects.filter(amount__gt=0)}
    assert held == {
        (holder.lower(), outcome): balance
        for holder in (user, friend)
        for outcome in range(3)
        if (balance := tokens.functions.balanceOf(holder, ids[outcome]).call())
    }
    assert held[friend.lower(), 2] == 250
