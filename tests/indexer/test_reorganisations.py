"""Blocks that are replaced, on a real node: afterwards every table is what a fresh sync of the new chain gives."""

import json
import random
from collections.abc import Callable

import pytest
from web3 import Web3

from indexer import ledger
from indexer.devchain.actions import Actions, Call
from indexer.devchain.actions import Market as ChainMarket
from indexer.devchain.bots import Bots
from indexer.devchain.deploy import Deployment, artifact
from indexer.models import MOST_REORGANISATIONS, IndexedEvent, IndexerStatus, RecentBlock, Reorganisation, UndoImage
from indexer.reorg import BelowFinality
from markets.models import Amm, Channel, Checkpoint, Market, OutboxMessage, Trade
from tests.indexing import assert_equals_fresh_sync, runner, sync
from tests.snapshots import database
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)

FINAL = 64  # blocks behind the head, on anvil


@pytest.fixture
def settled(chain: tuple[Web3, Deployment], actions: Actions) -> Actions:
    """A chain whose contracts, and one market with an AMM, are final."""
    market = actions.deploy_amm(actions.create_market("Final?"))
    actions.buy(market, 0, 1_000_000, sender=actions.accounts[1])
    actions.request("anvil_mine", hex(FINAL + 1))
    sync(chain[1])
    return actions


def replace(actions: Actions, body: Callable[[Actions], object], instead: Callable[[Actions], object]) -> None:
    """Runs `body`, has it indexed, takes its blocks back, and runs `instead`."""
    snapshot = actions.request("evm_snapshot")
    body(Actions(actions.w3, actions.deployment))
    sync(actions.deployment)
    actions.request("evm_revert", snapshot)
    instead(Actions(actions.w3, actions.deployment))


def live(seed: int, steps: int) -> Callable[[Actions], object]:
    """A stretch of the bots' life: new markets and AMMs, trades, liquidity, oracle."""

    def body(actions: Actions) -> None:
        bots = Bots(actions, seed=seed)
        for account in actions.accounts:
            actions.mint_collateral(account, 10**13)
        bots.settle_in()
        bots.adopt_markets()
        bots.open_market()
        for _ in range(steps):
            bots.step()

    return body


@pytest.mark.django_db
def test_the_last_reorganisations_are_remembered() -> None:
    for depth in range(MOST_REORGANISATIONS + 3):
        Reorganisation.note(depth=depth, fork_block=10)
    depths = Reorganisation.objects.order_by("id").values_list("depth", flat=True)
    assert list(depths) == list(range(3, MOST_REORGANISATIONS + 3))


@pytest.fixture
def traded(settled: Actions) -> tuple[Actions, ChainMarket]:
    """A market in which two accounts have traded, so that each further trade is one transaction, and one block."""
    market = settled.deploy_amm(settled.create_market("Traded?"))
    for account in settled.accounts[1:3]:
        settled.mint_collateral(account, 10**12)
        settled.buy(market, 0, 1_000, sender=account)
    return settled, market


def grow(actions: Actions, market: ChainMarket, *, blocks: int, places: set[int], trader: int) -> None:
    """Mines blocks, of which those at the places are trades."""
    last = -1
    for place in sorted(places):
        if place - last > 1:
            actions.request("anvil_mine", hex(place - last - 1))
        actions.buy(market, place % 2, 1_000 + place, sender=actions.accounts[trader])
        last = place
    if blocks - last > 1:
        actions.request("anvil_mine", hex(blocks - last - 1))


def test_every_depth_of_the_finality_window(traded: tuple[Actions, ChainMarket]) -> None:
    """One chain, from which 1 to 64 blocks are taken: each time a trade stays right below, and others are gone."""
    actions, market = traded
    for depth in range(1, FINAL + 1):
        grow(actions, market, blocks=depth + 1, places={0, 1, (depth + 1) // 2, depth}, trader=1)
        sync(actions.deployment)
        head, stored = actions.w3.eth.block_number, Trade.objects.count()
        assert Checkpoint.objects.get().finalized_block == head - FINAL
        actions.request("anvil_reorg", depth, [])
        assert actions.w3.eth.block_number == head
        sync(actions.deployment)
        status = IndexerStatus.objects.get()
        assert (status.reorganisations, status.last_reorganisation_depth) == (depth, depth)
        assert stored - Trade.objects.count() == min(depth, 3), depth
        assert Checkpoint.objects.get().block_hash == actions.w3.eth.get_block(head)["hash"].to_0x_hex(), depth
        if depth % 8 in (0, 1):
            assert Truth(actions.w3, actions.deployment).differences() == [], depth
    assert_equals_fresh_sync(actions.deployment)


def test_a_rollback_that_grows_longer_than_before(traded: tuple[Actions, ChainMarket]) -> None:
    """`anvil_rollback` leaves a lower head. It is waited for until the new branch is longer: then that one counts."""
    actions, market = traded
    for round_, (depth, looks) in enumerate([(1, True), (2, False), (9, True), (40, False), (FINAL, True)]):
        grow(actions, market, blocks=depth + 1, places={0, 1, depth}, trader=1)
        sync(actions.deployment)
        head, before, trades = actions.w3.eth.block_number, database(), Trade.objects.count()
        actions.request("anvil_rollback", depth)
        assert actions.w3.eth.block_number == head - depth
        if looks:
            sync(actions.deployment)
            assert database() == before, depth
        grow(actions, market, blocks=depth + 2, places={depth // 2, depth + 1}, trader=2)
        assert actions.w3.eth.block_number == head + 2
        sync(actions.deployment, batch_size=7)
        status = IndexerStatus.objects.get()
        assert (status.reorganisations, status.last_reorganisation_depth) == (round_ + 1, depth)
        noted = Reorganisation.objects.values_list("depth", "fork_block").order_by("id")
        assert (len(noted), noted[round_]) == (round_ + 1, (depth, head - depth))
        assert Trade.objects.count() == trades - min(depth, 2) + 2
        assert Truth(actions.w3, actions.deployment).differences() == [], depth
    assert_equals_fresh_sync(actions.deployment)


@pytest.mark.parametrize("seed", range(6))
def test_random_branches(settled: Actions, seed: int) -> None:
    dice = random.Random(seed)
    for round_ in range(4):
        replace(
            settled,
            live(seed=100 * seed + round_, steps=dice.randint(0, 6)),
            live(seed=100 * seed + round_ + 50, steps=dice.randint(0, 6)),
        )
        if dice.random() < 0.3:
            settled.request("anvil_reorg", dice.randint(1, 8), [])
        if dice.random() < 0.7:
            sync(settled.deployment, batch_size=dice.choice([1, 3, 1000]))
    sync(settled.deployment)
    assert Truth(settled.w3, settled.deployment).differences() == []
    assert_equals_fresh_sync(settled.deployment)


def test_a_market_and_amm_that_only_the_orphaned_branch_had(settled: Actions) -> None:
    replace(
        settled,
        lambda actions: actions.deploy_amm(actions.create_market("Orphan?")),
        lambda actions: actions.request("anvil_mine", hex(12)),
    )
    assert Market.objects.count() == 2
    sync(settled.deployment)
    assert (Market.objects.get().question, Amm.objects.count()) == ("Final?", 1)
    assert_equals_fresh_sync(settled.deployment)


def test_no_events_on_the_new_branch_and_back_to_the_first(settled: Actions) -> None:
    market = Bots(settled, seed=1)
    market.adopt_markets()
    before = database()
    settled.request("anvil_mine", hex(3))
    snapshot = settled.request("evm_snapshot")
    settled.collect_fee(market.lives[0].market, 500, sender=settled.accounts[1])
    sync(settled.deployment)
    assert Market.objects.get().fees_collected == 500
    settled.request("evm_revert", snapshot)
    settled.request("anvil_mine", hex(9))
    sync(settled.deployment)
    assert Market.objects.get().fees_collected == 0
    assert database()["indexed_events"] == before["indexed_events"]
    assert database()["markets"] == before["markets"]
    assert_equals_fresh_sync(settled.deployment)


def test_the_same_transaction_in_another_block(settled: Actions) -> None:
    bots = Bots(settled, seed=1)
    bots.adopt_markets()
    market = bots.lives[0].market
    buyer = settled.accounts[1]

    # Sent without the approvals that Actions adds: the same nonce and bytes give the same transaction.
    data = settled.w3.eth.contract(abi=artifact("FixedProductMarketMaker")["abi"]).encode_abi("buy", [5_000, 1, 0])
    call = Call(to=str(market.amm), data=bytes.fromhex(data[2:]), gas=1_000_000, what="buy")

    snapshot = settled.request("evm_snapshot")
    settled.send(call, buyer)
    sync(settled.deployment)
    first = Trade.objects.order_by("-block_number").first()
    settled.request("evm_revert", snapshot)
    settled.request("anvil_mine", hex(4))
    settled.send(call, buyer)
    sync(settled.deployment)
    second = Trade.objects.order_by("-block_number").first()
    assert first is not None
    assert second is not None
    assert second.transaction_hash == first.transaction_hash
    assert second.block_number == first.block_number + 4
    assert not Trade.objects.filter(id=first.id).exists()
    messages = [
        (message.seq, json.loads(message.payload), message.block_number)
        for message in OutboxMessage.objects.filter(channel=f"market:{first.market_id}").order_by("seq")
    ][-6:]
    fork = messages[3][2]
    assert fork < first.block_number
    assert [(payload["type"], payload.get("id"), block) for _, payload, block in messages] == [
        ("trade", str(first.id), first.block_number),
        ("market_update", None, first.block_number),
        ("trade_reverted", str(first.id), first.block_number),
        ("market_update", None, fork),
        ("trade", str(second.id), second.block_number),
        ("market_update", None, second.block_number),
    ]
    assert [seq for seq, _, _ in messages] == list(range(messages[0][0], messages[0][0] + 6))
    told, corrected = messages[1][1], messages[3][1]
    assert (corrected["corrected"], corrected["tradeCount"]) == (True, told["tradeCount"] - 1)
    assert_equals_fresh_sync(settled.deployment)


def test_a_head_that_goes_back_is_waited_for(settled: Actions) -> None:
    settled.request("anvil_mine", hex(5))
    sync(settled.deployment)
    before = database()
    head = settled.w3.eth.block_number
    settled.request("anvil_rollback", 3)
    assert settled.w3.eth.block_number == head - 3
    sync(settled.deployment)
    assert database() == before
    assert not IndexerStatus.objects.get().reorganisations


@pytest.mark.parametrize(("rolled_back", "mined"), [(2, 1), (6, 1), (6, 3), (6, 5)])
def test_a_branch_that_ends_below_the_first_event_that_it_takes_back_is_no_stale_node(
    settled: Actions, rolled_back: int, mined: int
) -> None:
    bots = Bots(settled, seed=1)
    bots.adopt_markets()
    settled.request("anvil_mine", hex(5))
    settled.buy(bots.lives[0].market, 0, 1_000, sender=settled.accounts[1])
    sync(settled.deployment)
    trades = Trade.objects.count()
    settled.request("anvil_rollback", rolled_back)
    settled.mint_collateral(settled.accounts[2], 1)  # a block without events of ours
    settled.request("anvil_mine", hex(mined - 1))
    sync(settled.deployment)
    assert Checkpoint.objects.get().block_number == settled.w3.eth.block_number
    assert Trade.objects.count() == trades - 1
    assert list(IndexerStatus.objects.values_list("reorganisations", "last_reorganisation_depth")) == [(1, rolled_back)]
    assert_equals_fresh_sync(settled.deployment)


def test_below_finality_it_stops_and_writes_nothing(settled: Actions) -> None:
    bots = Bots(settled, seed=1)
    bots.adopt_markets()
    settled.buy(bots.lives[0].market, 0, 1_000, sender=settled.accounts[1])
    settled.request("anvil_mine", hex(20))
    sync(settled.deployment)
    settled.request("anvil_mine", hex(FINAL + 1))
    with runner(settled.deployment) as running:
        running.sync_once()
    before = database()
    settled.request("anvil_reorg", FINAL + 40, [])
    with pytest.raises(BelowFinality), runner(settled.deployment) as running:
        running.sync_once()
    assert database() == before


def test_images_are_kept_no_longer_than_they_can_be_needed(settled: Actions) -> None:
    live(seed=3, steps=4)(settled)
    sync(settled.deployment)
    assert UndoImage.objects.exists()
    checkpoint = Checkpoint.objects.get()
    kept = list(RecentBlock.objects.order_by("number").values_list("number", flat=True))
    assert kept == list(range(max(checkpoint.finalized_block + 1, kept[0]), checkpoint.block_number + 1))
    assert len(kept) > 4
    settled.request("anvil_mine", hex(FINAL + 1))
    sync(settled.deployment)
    assert not UndoImage.objects.exists()
    assert not RecentBlock.objects.filter(number__lte=Checkpoint.objects.get().finalized_block).exists()
    assert IndexedEvent.objects.exists()


def test_what_is_too_old_to_be_news_breaks_the_feed_off(settled: Actions, monkeypatch: pytest.MonkeyPatch) -> None:
    bots = Bots(settled, seed=1)
    bots.adopt_markets()

    def trade() -> dict[str, int]:
        settled.buy(bots.lives[0].market, 0, 1_000, sender=settled.accounts[1])
        sync(settled.deployment)
        return dict(Channel.objects.values_list("name", "seq"))

    told = trade()
    monkeypatch.setattr(ledger, "NEWS_BLOCKS", -1_000)
    # Every channel has a gap, once, and nothing that could fill it.
    broken = {name: seq + 1 for name, seq in told.items()}
    assert trade() == broken
    assert trade() == broken
    assert not OutboxMessage.objects.exists()
    monkeypatch.undo()
    market = f"market:{Market.objects.get().market_id}"
    assert trade()[market] == broken[market] + 2
    assert list(OutboxMessage.objects.filter(channel=market).order_by("seq").values_list("seq", flat=True)) == [
        broken[market] + 1,
        broken[market] + 2,
    ]
    assert Market.objects.get().trade_count == 5
