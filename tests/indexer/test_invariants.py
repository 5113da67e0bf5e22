"""A node that leaves a log out: noticed where it can be, marked, repaired. What is merely rare raises no alarm."""

import logging
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from django.db import connection
from web3 import Web3

from indexer.breaches import Sums
from indexer.chain import Log
from indexer.decode import event_class_of
from indexer.devchain.actions import Actions
from indexer.devchain.actions import Market as ChainMarket
from indexer.devchain.bots import play
from indexer.devchain.deploy import Deployment
from indexer.fetch import Batch, Fetcher
from indexer.ledger import Ledger
from indexer.models import IndexedEvent, RepairRequest
from indexer.repair import run_due_repairs
from indexer.rpc import Rpc
from markets.models import Amm, Checkpoint, Market, Position, Trade
from tests.indexer.test_chain_truth import upcoming_market
from tests.indexing import assert_equals_fresh_sync, contracts, sync
from tests.snapshots import database
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def market(actions: Actions) -> ChainMarket:
    """A market with an AMM and a trade, indexed."""
    made = actions.deploy_amm(actions.create_market("Three?", ("a", "b", "c")))
    actions.buy(made, 0, 1_000_000, sender=actions.accounts[1])
    actions.split(made, 5_000, sender=actions.accounts[2])
    sync(actions.deployment)
    assert RepairRequest.objects.count() == 0
    return made


def ledger_of(chain: Deployment) -> Ledger:
    return Ledger(contracts=contracts(chain), may_write=lambda: None)


def index_without(chain: Deployment, left_out: Callable[[str, Log], bool]) -> list[str]:
    """Indexes what is new as one batch, in which exactly the logs that `left_out` chooses are missing."""
    checkpoint = Checkpoint.objects.get()
    rpc = Rpc([chain.rpc_url], pause=lambda seconds: None)
    known = contracts(chain).with_amms(frozenset(Amm.objects.values_list("address", flat=True)))
    head = rpc.look().head.number
    batch = Fetcher(rpc, span=1000).fetch(checkpoint.block_number + 1, head, known)
    names = {log: _name(log, batch) for log in batch.logs}
    missing = [log for log in batch.logs if left_out(names[log], log)]
    kept = tuple(log for log in batch.logs if log not in missing)
    ledger_of(chain).append(replace(batch, logs=kept), after=checkpoint)
    return [names[log] for log in missing]


def _name(log: Log, batch: Batch) -> str:
    event_class = event_class_of(log, batch.contracts)
    return event_class.__name__ if event_class else ""


def repair(chain: Deployment, *, batch_size: int = 1000) -> None:
    """Works off what is due, with a node that leaves nothing out."""
    rpc = Rpc([chain.rpc_url], pause=lambda seconds: None)
    for _ in range(200):
        if not run_due_repairs(rpc, ledger_of(chain), batch_size=batch_size):
            return
    raise AssertionError("the repairs do not end")


ACTS: dict[str, Callable[[Actions, ChainMarket], object]] = {
    "buy": lambda actions, market: actions.buy(market, 1, 50_000, sender=actions.accounts[3]),
    "sell": lambda actions, market: actions.sell(market, 0, 1_000, sender=actions.accounts[1]),
    "split": lambda actions, market: actions.split(market, 700, sender=actions.accounts[3]),
    "partial split": lambda actions, market: actions.split(
        market, 700, sender=actions.accounts[3], partition=[0b001, 0b110]
    ),
    "merge": lambda actions, market: actions.merge(market, 400, sender=actions.accounts[2]),
    "add funding": lambda actions, market: actions.add_funding(market, 90_000, sender=actions.accounts[3]),
    "remove funding": lambda actions, market: actions.remove_funding(market, 1_000, sender=actions.admin),
    "new AMM": lambda actions, market: actions.deploy_amm(actions.create_market("New?")),
}


@pytest.mark.parametrize(
    ("act", "left_out"),
    [
        ("buy", "TransferBatch"),
        ("buy", "PositionSplit"),
        ("buy", "TransferSingle"),
        ("buy", "FPMMBuy"),
        ("sell", "TransferSingle"),
        ("sell", "TransferBatch"),
        ("sell", "PositionMerge"),
        ("sell", "FPMMSell"),
        ("split", "TransferBatch"),
        ("split", "PositionSplit"),
        ("partial split", "TransferBatch"),
        ("merge", "TransferBatch"),
        ("merge", "PositionMerge"),
        ("add funding", "ShareTransfer"),
        ("add funding", "FPMMFundingAdded"),
        ("remove funding", "TransferBatch"),
        ("remove funding", "FPMMFundingRemoved"),
    ],
)
def test_a_missing_log_is_noticed_in_its_batch_and_repaired(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket, act: str, left_out: str, caplog
) -> None:
    ACTS[act](actions, market)
    last = chain[0].eth.block_number
    with caplog.at_level(logging.ERROR, "indexer.breaches"):
        missing = index_without(chain[1], lambda name, log: name == left_out and log.block_number == last)
    assert missing
    assert set(missing) == {left_out}

    row = Market.objects.get()
    assert row.suspect_since is not None
    block = chain[0].eth.get_block(last)
    assert int(row.suspect_since.timestamp()) == block["timestamp"]
    request = RepairRequest.objects.get()
    assert (request.market_id, request.from_block, request.to_block) == (row.market_id, last, last)
    assert request.reason == row.suspect_reason
    logged = [record for record in caplog.records if hasattr(record, "marketId")]
    assert [record.marketId for record in logged] == [row.market_id]

    # The mark follows from the stored events: building anew gives the same one, and asks for nothing.
    ledger_of(chain[1]).replay()
    assert Market.objects.values().get() == {
        field.attname: getattr(row, field.attname) for field in Market._meta.concrete_fields
    }
    assert RepairRequest.objects.count() == 1

    repair(chain[1])

    request.refresh_from_db()
    assert (request.stored, request.removed, request.error) == (len(missing), 0, "")
    assert request.done_at is not None
    assert Market.objects.get().suspect_since is None
    assert Truth(*chain).differences() == []
    assert_equals_fresh_sync(chain[1])


def test_a_missing_payout_burn_is_noticed(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    actions.void(market)
    sync(chain[1])
    actions.redeem(market, sender=actions.accounts[2])
    first: list[Log] = []

    def one_burn(name: str, log: Log) -> bool:
        if name == "TransferSingle" and not first:
            first.append(log)
        return log in first

    assert index_without(chain[1], one_burn) == ["TransferSingle"]
    assert "is paid" in Market.objects.get().suspect_reason
    repair(chain[1])
    assert Market.objects.get().suspect_since is None
    assert_equals_fresh_sync(chain[1])


def test_a_missing_transfer_between_users_is_noticed_when_its_tokens_move_on(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    giver, friend = actions.accounts[2:4]
    actions.transfer(market, 0, 300, sender=giver, to=friend)
    index_without(chain[1], lambda name, log: name == "TransferSingle")
    # Nothing contradicts it yet.
    assert Market.objects.get().suspect_since is None
    actions.transfer(market, 0, 200, sender=friend, to=giver)
    index_without(chain[1], lambda name, log: False)
    assert f"{friend.lower()} sends 200" in Market.objects.get().suspect_reason
    request = RepairRequest.objects.get()
    assert request.from_block == Market.objects.get().block_number

    # In steps: a long range does not hold up the head.
    repair(chain[1], batch_size=3)
    assert Market.objects.get().suspect_since is None
    assert not IndexedEvent.objects.filter(processed=False).exists()
    assert_equals_fresh_sync(chain[1])


@pytest.mark.parametrize("in_two_batches", [False, True])
def test_a_log_that_is_missing_from_before_its_market_existed(
    chain: tuple[Web3, Deployment], actions: Actions, in_two_batches: bool
) -> None:
    coming = upcoming_market(actions)
    actions.prepare_condition(coming.question_id, 2, sender=actions.accounts[1])
    sync(chain[1])
    actions.split(coming, 1_000, sender=actions.accounts[1])
    split = chain[0].eth.get_block("latest")

    def minting(name: str, log: Log) -> bool:
        return name == "TransferBatch" and log.block_number == split["number"]

    if in_two_batches:
        assert index_without(chain[1], minting) == ["TransferBatch"]
    actions.create_market()
    assert index_without(chain[1], minting) == ([] if in_two_batches else ["TransferBatch"])
    market = Market.objects.get()
    assert market.suspect_since is not None
    assert int(market.suspect_since.timestamp()) == split["timestamp"]
    assert "1000 of outcome 0" in market.suspect_reason
    assert RepairRequest.objects.get().from_block == split["number"]
    repair(chain[1])
    assert Market.objects.get().suspect_since is None
    assert_equals_fresh_sync(chain[1])


def test_a_missing_announcement_brings_the_whole_amm(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    second = actions.deploy_amm(actions.create_market("New?"))
    index_without(chain[1], lambda name, log: name == "AMMDeployed")
    actions.buy(second, 0, 1_000, sender=actions.accounts[1])
    sync(chain[1])
    assert Trade.objects.count() == 1
    RepairRequest.objects.create(
        from_block=Market.objects.get(question="New?").block_number,
        to_block=Market.objects.get(question="New?").block_number + 2,
        reason="an operator's",
    )
    repair(chain[1])
    assert Trade.objects.count() == 2
    assert Truth(*chain).differences() == []
    assert_equals_fresh_sync(chain[1])


def test_a_node_that_goes_on_leaving_it_out_is_asked_again_later(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.split(market, 700, sender=actions.accounts[3])
    dropped = index_without(chain[1], lambda name, log: name == "TransferBatch")
    assert dropped
    honest = Fetcher.fetch

    def forgetful(self: Fetcher, first: int, last: int, known, **options) -> Batch:
        batch = honest(self, first, last, known, **options)
        kept = [log for log in batch.logs if _name(log, batch) != "TransferBatch" or log.block_number < last]
        return replace(batch, logs=tuple(kept))

    with monkeypatch.context() as patch:
        patch.setattr(Fetcher, "fetch", forgetful)
        repair(chain[1])
    request = RepairRequest.objects.get()
    assert (request.done_at, request.attempts, request.error) == (None, 1, "the market is suspect still")
    assert request.due_at > request.requested_at

    RepairRequest.objects.update(due_at=request.requested_at, error="")
    repair(chain[1])
    assert Market.objects.get().suspect_since is None
    assert_equals_fresh_sync(chain[1])


@pytest.mark.parametrize("lie", ["altered", "left out"])
def test_nothing_is_repaired_on_one_word(
    chain: tuple[Web3, Deployment],
    actions: Actions,
    market: ChainMarket,
    monkeypatch: pytest.MonkeyPatch,
    lie: str,
) -> None:
    """A log's data does not show in its block's bloom: a node that alters it once must not spoil what is right."""
    before = database()
    RepairRequest.objects.create(from_block=0, to_block=chain[0].eth.block_number, reason="an operator's")
    honest, lies = Fetcher.fetch, []

    def lying(self: Fetcher, first: int, last: int, known, **options) -> Batch:
        batch = honest(self, first, last, known, **options)
        if lies:
            return batch
        lies.append(lie)
        trade = next(log for log in batch.logs if _name(log, batch) == "FPMMBuy")
        altered = [msgspec.structs.replace(trade, data=trade.data[:-1] + "7")] if lie == "altered" else []
        logs = [log for log in batch.logs if log is not trade]
        return replace(batch, logs=tuple(sorted([*logs, *altered], key=lambda log: (log.block_number, log.log_index))))

    monkeypatch.setattr(Fetcher, "fetch", lying)
    repair(chain[1])
    request = RepairRequest.objects.get()
    assert (request.done_at, request.stored, request.removed) == (None, 0, 0)
    assert "two readings" in request.error
    assert database() == before

    RepairRequest.objects.update(due_at=request.requested_at)
    repair(chain[1])
    assert RepairRequest.objects.get().done_at is not None
    assert database() == before


def test_rows_that_were_changed_past_the_ledger_are_noticed_when_their_market_moves(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE positions SET amount = amount + 7 WHERE user_address = %s", [actions.accounts[2].lower()]
        )
    actions.buy(market, 1, 1_000, sender=actions.accounts[1])
    assert index_without(chain[1], lambda name, log: False) == []
    assert "add up to" in Market.objects.get().suspect_reason
    repair(chain[1])
    assert Market.objects.get().suspect_since is None
    assert Truth(*chain).differences() == []
    assert_equals_fresh_sync(chain[1])


def test_sums_are_compared_behind_the_first_move_and_then_once_in_a_while() -> None:
    now = [0.0]
    sums = Sums(clock=lambda: now[0])
    sums.moved({"a", "b"})
    assert sums.due() == {"a", "b"}
    assert sums.due() == {"a", "b"}  # until it is done
    sums.compared({"a", "b"})
    for now[0] in range(1, 60):
        sums.moved({"a"})
        assert sums.due() == set()
    sums.moved({"c"})
    assert sums.due() == {"c"}
    sums.compared({"c"})
    now[0] = 60
    assert sums.due() == {"a"}  # also when it does not move again
    sums.compared({"a"})
    now[0] = 1000
    assert sums.due() == set()


def test_a_mark_goes_with_the_blocks_that_made_it(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    snapshot = actions.request("evm_snapshot")
    actions.split(market, 700, sender=actions.accounts[3])
    index_without(chain[1], lambda name, log: name == "TransferBatch")
    assert Market.objects.get().suspect_since is not None
    actions.request("evm_revert", snapshot)
    actions.request("anvil_mine", hex(9))
    sync(chain[1])
    assert Market.objects.get().suspect_since is None
    assert_equals_fresh_sync(chain[1])


def test_a_failed_event_that_is_tried_again(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    """As after a fixed projection: the event is stored, its effects are not."""
    trade = Trade.objects.get()
    event = IndexedEvent.objects.get(transaction_hash=trade.transaction_hash, log_index=trade.log_index)
    trade.delete()
    IndexedEvent.objects.filter(pk=event.pk).update(processed=False, error="a bug")
    request = RepairRequest.objects.create(
        from_block=event.block_number, to_block=event.block_number, reason="try again", replay=True
    )
    repair(chain[1])
    event.refresh_from_db()
    request.refresh_from_db()
    assert (event.processed, event.error) == (True, "")
    assert (request.stored, request.removed, request.error, request.done_at is None) == (0, 0, "", False)
    assert_equals_fresh_sync(chain[1])


def test_nodes_that_are_away_are_waited_for(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket
) -> None:
    request = RepairRequest.objects.create(from_block=1, to_block=2, reason="try again", replay=True)
    away = Rpc(["http://127.0.0.1:9/canary-key"], pause=lambda seconds: None)
    run_due_repairs(away, ledger_of(chain[1]), batch_size=10)
    request.refresh_from_db()
    assert (request.attempts, request.done_at) == (1, None)
    assert "127.0.0.1:9" in request.error
    assert "canary" not in request.error
    assert request.due_at > request.requested_at


# --- no false alarms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "batch_size"), [(11, 1), (12, 23), (13, 1000)])
def test_bots_raise_no_alarm(chain: tuple[Web3, Deployment], seed: int, batch_size: int) -> None:
    play(*chain, seed=seed, markets=5, steps=100)
    sync(chain[1], batch_size=batch_size)
    assert Trade.objects.count() > 15
    assert Market.objects.filter(resolved=True).exists()
    assert list(Market.objects.exclude(suspect_since=None).values_list("suspect_reason", flat=True)) == []
    assert RepairRequest.objects.count() == 0


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_partial_partitions_nested_sets_and_redemptions_raise_no_alarm(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket, batch_size: int
) -> None:
    one, two = actions.accounts[2:4]
    actions.split(market, 900, sender=one, partition=[0b001, 0b110])
    actions.split(market, 300, sender=one, partition=[0b010, 0b100])
    actions.merge(market, 100, sender=one, partition=[0b010, 0b100])
    # Sets of another condition below our outcome 0 are made of its tokens, and end in them.
    other = actions.create_market("Below?")
    tokens = actions.conditional_tokens.functions
    parent = tokens.getCollectionId(bytes(32), market.condition_id, 1).call()
    for call in (tokens.splitPosition, tokens.mergePositions):
        call(market.collateral, parent, other.condition_id, [1, 2], 50).transact({"from": one, "gas": 2_000_000})
    tokens.splitPosition(market.collateral, parent, other.condition_id, [1, 2], 40).transact(
        {"from": one, "gas": 2_000_000}
    )
    actions.void(other)
    tokens.redeemPositions(market.collateral, parent, other.condition_id, [1, 2]).transact(
        {"from": one, "gas": 2_000_000}
    )
    actions.transfer(market, 0, 0, sender=one, to=two)
    actions.transfer_batch(market, [(0, 10), (0, 5)], sender=one, to=two)
    actions.void(market)
    actions.redeem(market, sender=one, index_sets=[0b001, 0b110])
    actions.redeem(market, sender=one)
    actions.redeem(market, sender=two)
    actions.redeem(market, sender=actions.accounts[1])
    sync(chain[1], batch_size=batch_size)

    assert Truth(*chain).differences() == []
    nested = IndexedEvent.objects.exclude(event_data__parentCollectionId="0x" + "00" * 32)
    assert nested.filter(event_name="PositionSplit").count() == 2
    assert nested.filter(event_name="PayoutRedemption").count() == 1
    assert list(Market.objects.exclude(suspect_since=None).values_list("suspect_reason", flat=True)) == []
    assert RepairRequest.objects.count() == 0
    assert Position.objects.filter(amount__gt=0).exists()
