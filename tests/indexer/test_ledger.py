"""Single cases of the ledger that the properties (test_ledger_properties.py) once found, or might not."""

import threading

import pytest
from django.core.management import call_command
from django.db import connection

from aurum.database import connect
from indexer.leadership import Leadership
from indexer.models import FREQUENT, IndexedEvent, WaitingEvent
from indexer.rpc import Rpc
from indexer.runner import Deployment, Runner
from markets.models import Amm, Checkpoint, HistoryEntry, Market, Position, PricePoint
from tests.batches import LEDGER, append, differences, empty
from tests.fakes import FakeChain, FakeLog, FakeNode
from tests.faults.hostile import ANNOUNCED, BOUGHT, SHARES, hostile_world
from tests.faults.world import CONTRACTS, MARKET_FACTORY, USERS, ZERO, log
from tests.snapshots import FEED, database

ORPHAN = "0x" + "ab" * 20  # an AMM that no market has
UNKNOWN = "0x" + "77" * 32


def announcement(amm: str, *, market_id: str = UNKNOWN) -> FakeLog:
    return log(MARKET_FACTORY, ANNOUNCED, marketId=market_id, amm=amm, initialLiquidity=5, fee=10**16)


def shares(amm: str) -> FakeLog:
    """LP shares that are minted."""
    return log(amm, SHARES, **{"from": ZERO, "to": USERS[0], "value": 5})


def sync(chain: FakeChain, *, batch_size: int) -> None:
    """A process's sync to the head."""
    leadership = Leadership(connect, name="aurum ledger test")
    with FakeNode(chain) as node:
        runner = Runner(
            rpc=Rpc([node.url], pause=lambda seconds: None),
            leadership=leadership,
            deployment=Deployment(chain_id=chain.chain_id, contracts=CONTRACTS, start_block=1),
            batch_size=batch_size,
            poll_interval=0.0,
            confirmations=8,
            stop=threading.Event(),
        )
        try:
            runner.sync_once()
        finally:
            leadership.release()


# --- which logs count -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_logs_of_an_amm_without_a_market_are_stored_in_whatever_batch_they_come() -> None:
    """Its market may be older than the first indexed block: the announcement fails, and is one all the same."""
    chain = FakeChain()
    for logs in ([announcement(ORPHAN)], [shares(ORPHAN)], [shares(ORPHAN)]):
        chain.append([logs])
    sync(chain, batch_size=1)
    stored = list(IndexedEvent.objects.order_by("block_number").values_list("event_name", "processed"))
    assert stored == [("AMMDeployed", False), ("Transfer", False), ("Transfer", False)]
    lived = database(without=FEED)
    call_command("flush", interactive=False, verbosity=0)
    sync(chain, batch_size=1000)
    assert differences(lived, database(without=FEED)) == {}


@pytest.mark.django_db(transaction=True)
def test_an_amm_of_a_branch_that_was_replaced_is_foreign_again() -> None:
    chain, world = FakeChain(), hostile_world(1)
    chain.append([world.create_market()])
    chain.append([[announcement(ORPHAN, market_id=world.markets[0].market_id)], [shares(ORPHAN)]])
    sync(chain, batch_size=1000)
    assert Amm.objects.get().total_shares == 5
    chain.reorg(1, [[[shares(ORPHAN)]], [[shares(ORPHAN)]]])
    sync(chain, batch_size=1000)
    assert Checkpoint.objects.get().block_number == 3
    assert not IndexedEvent.objects.filter(block_number__gt=1).exists()
    # It reads every stored log again, and would stop at a foreign one.
    assert LEDGER.replay() == IndexedEvent.objects.count() == 3


# --- events that wait for several markets -----------------------------------------------------------------------------


@pytest.fixture
def two_markets() -> FakeChain:
    """Block 1: a transfer of tokens that nobody holds and of some that are held, 2 and 3: the markets of each."""
    world = hostile_world(1)
    logs = [*world.prepare(), *world.prepare()]
    first, second = world.upcoming
    holder, amount = next((holder, amount) for (holder, id_), amount in world.balances.items() if id_ == second.ids[0])
    chain = FakeChain()
    chain.append([[*logs, world.sent(holder, USERS[5], [first.ids[0], second.ids[0]], [1, amount])]])
    chain.append([[world.created(first)]])
    chain.append([[world.created(second)]])
    return chain


@pytest.mark.django_db
@pytest.mark.parametrize("sizes", [[1, 1, 1], [1, 2], [2, 1], [3]])
@pytest.mark.parametrize("finalized", [0, 3])
def test_an_event_that_failed_for_one_market_stays_failed(
    two_markets: FakeChain, sizes: list[int], finalized: int
) -> None:
    empty()
    for size in sizes:
        append(two_markets, size, finalized=finalized)
    event = IndexedEvent.objects.get(event_name="TransferBatch", processed=False)
    assert "ApplyError" in event.error
    assert not WaitingEvent.objects.filter(event=event).exists()
    # What the other market says of it is true all the same.
    position = Position.objects.get(user_address=USERS[5])
    assert position.amount > 0
    assert Market.objects.filter(suspect_since__isnull=False).count() == 2
    before = database()
    LEDGER.replay()
    assert differences(database(), before) == {}


# --- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("sizes", [[1, 1, 1], [2, 1], [1, 2], [3]])
@pytest.mark.parametrize("finalized", [0, 3])
def test_a_mark_says_what_was_wrong_then_whatever_later_blocks_bring(sizes: list[int], finalized: int) -> None:
    """A redemption before the resolution that comes in the next block."""
    chain, world = FakeChain(), hostile_world(1)
    blocks = ([world.create_market()], [world.early_redemption()], [world.resolve()])
    for transactions in blocks:
        chain.append(transactions)
    empty()
    for size in sizes:
        append(chain, size, finalized=finalized)
    assert Market.objects.get().suspect_reason.endswith(f": {USERS[0]} redeems, and no event resolves the market")
    before = database()
    LEDGER.replay()
    assert differences(database(), before) == {}


# --- prices -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_log_that_moves_tokens_from_pool_to_pool_has_a_price_of_both() -> None:
    chain, world = FakeChain(), hostile_world(1)
    for act in (world.create_market, world.deploy_amm, world.create_market, world.deploy_amm):
        chain.append([act() or []])
    sender, receiver = world.markets
    assert sender.amm is not None
    assert receiver.amm is not None
    chain.append([world._sets("PositionSplit", receiver, sender.amm, 5)])
    chain.append([[world.sent(sender.amm, receiver.amm, [sender.ids[0], receiver.ids[0]], [3, 4])]])
    empty()
    append(chain, 6, finalized=0)
    points = PricePoint.objects.filter(block_number=6).order_by("id").values_list("market_id", "log_index")
    assert list(points) == [(receiver.market_id, 0), (sender.market_id, 0)]
    before = database()
    LEDGER.replay()
    assert differences(database(), before) == {}


# --- AMMs ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 6])
def test_what_an_address_held_before_it_was_an_amm_is_an_amms_in_every_market(size: int) -> None:
    chain, world = FakeChain(), hostile_world(1)
    for act in (world.create_market, world.create_market):
        chain.append([act()])
    first, second = world.markets
    chain.append([[*world._sets("PositionSplit", market, ORPHAN, 10)] for market in (first, second)])
    chain.append([[announcement(ORPHAN, market_id=first.market_id)]])
    empty()
    for _ in range(4):
        append(chain, size, finalized=0)
    held = Position.objects.filter(user_address=ORPHAN).values_list("market_id", "is_amm", "cost", "acquired_cost")
    assert set(held) == {(market.market_id, True, 0, 0) for market in (first, second)}
    before = database()
    LEDGER.replay()
    assert differences(database(), before) == {}


# --- stored events ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_events_that_are_rare_are_found_by_an_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plans = {name: IndexedEvent.objects.filter(event_name=name).explain() for name in ("AMMDeployed", *FREQUENT)}
    assert {name for name, plan in plans.items() if "indexed_events_rare" in plan} == {"AMMDeployed"}


# --- history ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_tokens_that_came_in_a_redemption_cost_nothing() -> None:
    """A wallet that is called while its tokens are made redeems others before the split is emitted."""
    chain, world = FakeChain(), hostile_world(1)
    for transactions in ([world.create_market()], [world.resolve()]):
        chain.append(transactions)
    minted = world._sets("PositionSplit", world.markets[0], USERS[0], 1000)[0]
    chain.append([[minted, world._redemption(world.markets[0], USERS[0], 0)]])
    empty()
    append(chain, 3, finalized=0)
    entries = list(HistoryEntry.objects.order_by("sequence").values_list("type", "amount", "collateral_amount"))
    assert entries == [("split", 1000, None)] * world.markets[0].outcomes
    assert set(Position.objects.values_list("amount", "cost", "untracked_amount")) == {(1000, 0, 1000)}


@pytest.mark.django_db
def test_what_is_passed_on_before_it_is_paid_for_takes_its_cost_along() -> None:
    """A contract that is called with what it buys, and hands it on in the call; the next one does so, too."""
    chain, world = FakeChain(), hostile_world(1)
    for act in (world.create_market, world.deploy_amm):
        chain.append([act() or []])
    [market] = world.markets
    buyer, second, third = USERS[2:5]
    token = market.ids[0]
    assert market.amm is not None
    trade = {"buyer": buyer, "investmentAmount": 100, "feeAmount": 0, "outcomeTokensBought": 50}
    logs = [
        *world._sets("PositionSplit", market, market.amm, 100),
        world._move(market.amm, buyer, [(token, 50)], batch=False),
        world._move(buyer, second, [(token, 30)], batch=False),
        world._move(second, third, [(token, 15)], batch=False),
        log(market.amm, BOUGHT, outcomeIndex=0, **trade),
    ]
    chain.append([logs])
    empty()
    append(chain, 3, finalized=0)
    held = {row.user_address: (row.amount, row.cost, row.realized_pnl) for row in Position.objects.filter(is_amm=False)}
    assert [held[user] for user in (buyer, second, third)] == [(20, 40, 0), (15, 30, 0), (15, 30, 0)]
    entries = HistoryEntry.objects.filter(block_number=3).order_by("log_index", "sequence")
    assert [(entry.type, entry.user_address, entry.cost_change, entry.realized_pnl) for entry in entries] == [
        ("transfer_out", buyer, -60, 0),
        ("transfer_in", second, 60, 0),
        ("transfer_out", second, -30, 0),
        ("transfer_in", third, 30, 0),
        ("buy", buyer, 100, 0),
    ]
    before = database()
    LEDGER.replay()
    assert differences(database(), before) == {}


@pytest.mark.django_db
def test_what_nobody_explains_is_untracked_also_where_it_was_passed_on() -> None:
    chain, world = FakeChain(), hostile_world(1)
    chain.append([world.create_market()])
    [market] = world.markets
    minted = world._move(ZERO, USERS[0], [(market.ids[0], 10)], batch=False)
    chain.append([[minted, world._move(USERS[0], USERS[1], [(market.ids[0], 4)], batch=False)]])
    empty()
    append(chain, 2, finalized=0)
    held = Position.objects.order_by("user_address").values_list("amount", "cost", "untracked_amount")
    assert list(held) == [(6, 0, 6), (4, 0, 4)]
    entries = HistoryEntry.objects.order_by("log_index", "sequence").values_list("type", "untracked_amounts")
    assert list(entries) == [("split", [10]), ("transfer_out", [4]), ("transfer_in", [4])]


@pytest.mark.django_db
def test_splits_within_a_split_are_told_once() -> None:
    """A wallet that is called while its tokens are made makes others, of its market and of another one."""
    chain, world = FakeChain(), hostile_world(1)
    for act in (world.create_market, world.create_market):
        chain.append([act()])
    first, second = world.markets
    minted, why = world._sets("PositionSplit", first, USERS[0], 1000)
    nested = [*world._sets("PositionSplit", second, USERS[0], 7), *world._sets("PositionSplit", first, USERS[0], 5)]
    chain.append([[minted, *nested, why]])
    empty()
    append(chain, 3, finalized=0)
    entries = HistoryEntry.objects.order_by("log_index").values_list("market_id", "outcome", "amount", "cost_change")
    assert list(entries) == [
        (second.market_id, None, 7, 7),
        (first.market_id, None, 5, 5),
        (first.market_id, None, 1000, 1000),
    ]
    assert not Position.objects.exclude(untracked_amount=0).exists()
