"""Operators ask, and a real indexer reads again: it claims the request while it follows and while it is far behind."""

import json
from collections.abc import Callable
from threading import Event

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from web3 import Web3

from indexer import repair_requests
from indexer.devchain.actions import Actions
from indexer.devchain.bots import play
from indexer.devchain.deploy import Deployment
from indexer.ledger import Ledger
from indexer.models import IndexedEvent, RepairRequest
from indexer.repair import PROGRESS
from indexer.repair_requests import MOST_BLOCKS, Refused, blocks_of, cancel, request_blocks, request_events
from markets.models import Checkpoint, Market, MarketCorrection, MarketPlacement, OutboxMessage, Position
from tests import factories
from tests.indexing import runner, sync
from tests.processes import index_once, manage, running
from tests.snapshots import FEED, database
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)


def wait_until(what: Callable[[], bool]) -> None:
    """Bounded."""
    for _ in range(1_200):
        if what():
            return
        Event().wait(0.05)
    raise AssertionError("it did not come about in 60 s")


def is_over(request: RepairRequest) -> bool:
    request.refresh_from_db()
    return request.state not in ("queued", "running", "waiting")


def test_a_request_is_claimed_while_following_and_mends_what_was_damaged(chain: tuple[Web3, Deployment]) -> None:
    play(*chain, seed=5, markets=3, steps=40)
    index_once(chain[1])
    before = database(without=FEED)
    head = Checkpoint.objects.get().block_number
    with running("run_indexer", deployment=chain[1], INDEXER_BATCH_SIZE="7"):
        Position.objects.update(amount=1)
        Market.objects.update(question="spoilt", volume=0)
        lost = IndexedEvent.objects.filter(event_name="FPMMBuy").first()
        assert lost is not None
        lost.delete()
        request = request_blocks(chain[1].start_block, head, reason="damaged by hand", by="olga")
        wait_until(lambda: is_over(request))
    count = head + 1 - chain[1].start_block
    assert (request.state, request.blocks_done, request.blocks) == ("done", count, count)
    assert (request.stored, request.removed, request.requested_by) == (1, 0, "olga")
    assert request.next_block == head + 1
    assert database(without=FEED) == before
    assert Truth(*chain).differences() == []


def test_a_request_is_claimed_while_the_indexer_is_far_behind(chain: tuple[Web3, Deployment]) -> None:
    """It is worked off between the batches, long before the head is reached."""
    market = Actions(*chain).create_market()
    index_once(chain[1])
    Actions(*chain).request("anvil_mine", "0x1f4")
    Market.objects.update(question="spoilt")
    row = Market.objects.get()
    request = request_blocks(*blocks_of(row), reason="spoilt", by="olga", market_id=row.market_id)
    reached: list[int] = []

    def report(done: int, target: int, events: int) -> None:
        request.refresh_from_db()
        reached.append(done if request.done_at is None else 0)

    with runner(chain[1], batch_size=20) as running_here:
        running_here.progress.report = report
        running_here.sync_once()
    assert len(reached) > 5
    assert reached[1] == 0, "done behind the second batch at the latest"
    assert Market.objects.get().question != "spoilt"
    assert (request.state, "0x" + market.market_id.hex()) == ("done", row.market_id)


def test_progress_is_seen_and_a_cancelled_request_goes_no_further(chain: tuple[Web3, Deployment]) -> None:
    Actions(*chain).request("anvil_mine", "0x64")
    sync(chain[1])
    head = Checkpoint.objects.get().block_number
    request = request_blocks(chain[1].start_block, head, reason="r", by="olga")
    assert (request.state, request.blocks_done) == ("queued", 0)
    with runner(chain[1], batch_size=10) as one:
        one.leadership.acquire(one.stop)
        assert one._repair()
        request.refresh_from_db()
        assert (request.state, request.blocks_done) == ("running", 10)
        cancel(request.pk, by="oscar")
        assert not one._repair()
    request.refresh_from_db()
    assert (request.state, request.blocks_done, request.cancelled_by) == ("cancelled", 10, "oscar")
    with pytest.raises(Refused, match="It is cancelled already"):
        cancel(request.pk, by="oscar")


def test_the_tables_are_built_once_for_batches_that_differ(
    chain: tuple[Web3, Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(*chain, seed=6, markets=2, steps=40)
    sync(chain[1])
    before, head = database(without=FEED), Checkpoint.objects.get().block_number
    lost = IndexedEvent.objects.filter(event_name__in=["FPMMBuy", "AMMDeployed"])
    assert len({event.block_number // 7 for event in lost}) > 4
    count = lost.count()
    lost.delete()
    built: list[int] = []
    replay = Ledger.replay
    monkeypatch.setattr(Ledger, "replay", lambda ledger: (built.append(1), replay(ledger)))
    request = request_blocks(chain[1].start_block, head, reason="r", by="olga")
    with runner(chain[1], batch_size=7) as one:
        one.leadership.acquire(one.stop)
        while one._repair():
            pass
    request.refresh_from_db()
    assert (request.state, request.stored, len(built)) == ("done", count, 1)
    assert database(without=FEED) == before


def test_cancelling_meanwhile_is_not_overwritten() -> None:
    """The indexer holds the request as it was when its step began."""
    request = RepairRequest.objects.create(from_block=1, to_block=9, reason="r")
    held = RepairRequest.objects.get(pk=request.pk)
    cancel(request.pk, by="oscar")
    held.next_block = 5
    held.save(update_fields=PROGRESS)
    request.refresh_from_db()
    assert (request.state, request.next_block, request.cancelled_by) == ("cancelled", 5, "oscar")


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (999, 2_000, "Blocks 1000 to 3000000 are indexed: name some of these."),
        (2_000, 3_000_001, "Blocks 1000 to 3000000 are indexed: name some of these."),
        (2_000, 1_999, "Blocks 1000 to 3000000 are indexed: name some of these."),
        (1_000, 1_001_000, "These are 1,000,001 blocks; one request may have 1,000,000. Ask for them in parts."),
        (0, 2**63 - 1, "Blocks 1000 to 3000000 are indexed: name some of these."),
    ],
)
def test_an_absurd_range_is_refused(first: int, last: int, said: str) -> None:
    factories.make_checkpoint(block_number=3_000_000)
    with pytest.raises(Refused) as raised:
        request_blocks(first, last, reason="r", by="olga")
    assert str(raised.value) == said
    assert not RepairRequest.objects.exists()
    assert request_blocks(1_001, 1_000 + MOST_BLOCKS, reason="r", by="olga").blocks == MOST_BLOCKS


def test_a_market_is_read_again_over_its_whole_life() -> None:
    factories.make_checkpoint(block_number=3_000_000)
    assert (
        request_blocks(1_001, 3_000_000, reason="r", by="olga", market_id=factories.hex_id("market")).blocks
        == 2_999_000
    )


def test_failed_events_that_lie_far_apart_are_read_in_runs() -> None:
    """And the tables are built once, behind the last."""
    made = request_events([5, 5, 900, 1_900, 2_901, 10_000_000], reason="r", by="olga")
    assert [(request.from_block, request.to_block, request.replay) for request in made] == [
        (5, 1_900, False),
        (2_901, 2_901, False),
        (10_000_000, 10_000_000, True),
    ]
    with pytest.raises(Refused, match="They lie in 51 places"):
        request_events(range(0, 51 * 2_000, 2_000), reason="r", by="olga")
    assert RepairRequest.objects.count() == 3


def test_nothing_is_asked_for_before_anything_is_indexed() -> None:
    with pytest.raises(Refused, match="Nothing is indexed yet"):
        request_blocks(0, 1, reason="r", by="olga")
    assert repair_requests.MOST_BLOCKS == 1_000_000


# --- what people added survives ---------------------------------------------------------------------------------------


def run(*arguments: str, deployment: Deployment) -> None:
    process = manage(*arguments, deployment=deployment)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output


def shown(market_id: str) -> str:
    return Client().get(f"/api/markets/{market_id}").text


def test_corrections_survive_a_replay_and_a_reset_with_a_fresh_sync(chain: tuple[Web3, Deployment]) -> None:
    play(*chain, seed=3, markets=2, steps=20)
    index_once(chain[1])
    first, second = Market.objects.order_by("created_at")[:2]
    factories.make_correction(first, "question", "Corrected?")
    factories.make_correction(first, "outcomes", [f"outcome {n}" for n in range(len(first.outcomes))])
    factories.make_correction(first, "payouts", ["1", *["0"] * (len(first.outcomes) - 1)], since=None)
    MarketPlacement.objects.create(market=second, hidden=True, reason="r", changed_by="olga")
    people = [list(model.objects.order_by("pk").values()) for model in (MarketCorrection, MarketPlacement)]
    before = [shown(each.market_id) for each in (first, second)]
    assert '"question":"Corrected?"' in before[0]
    assert '"hidden":true' in before[1]
    chain_rows = database(without=FEED)

    Market.objects.update(question="spoilt")
    run("replay_events", deployment=chain[1])
    assert [shown(each.market_id) for each in (first, second)] == before

    run("reset_indexer", "--yes", deployment=chain[1])
    assert not Market.objects.exists()
    assert [list(model.objects.order_by("pk").values()) for model in (MarketCorrection, MarketPlacement)] == people
    index_once(chain[1])
    assert [shown(each.market_id) for each in (first, second)] == before
    assert database(without=FEED) == chain_rows
    assert Truth(*chain).differences() == []


def test_subscribers_are_told_when_one_comes_into_force_and_when_it_ends(chain: tuple[Web3, Deployment]) -> None:
    created = Actions(*chain).deploy_amm(Actions(*chain).create_market())
    sync(chain[1])
    market = Market.objects.get()
    channel = f"market:{market.market_id}"
    last = OutboxMessage.objects.filter(channel=channel).latest("seq").seq

    def told() -> list[tuple[object, ...]]:
        rows = OutboxMessage.objects.filter(channel=channel, seq__gt=last).order_by("seq")
        said = [json.loads(row.payload) for row in rows]
        names = ("type", "seq", "resolved", "payouts", "correctedFields")
        return [tuple(each.get(name) for name in names) for each in said]

    factories.make_correction(market, "payouts", ["1", "0"])
    factories.make_correction(market, "question", "Another?", since=None)
    sync(chain[1])
    sync(chain[1])
    expected: list[tuple[object, ...]] = [("market_update", last + 1, True, ["1", "0"], ["payouts"])]
    assert told() == expected
    # What is said of the next block is as it is shown, too.
    Actions(*chain).buy(created, 0, 1000, sender=Actions(*chain).accounts[1])
    sync(chain[1])
    trade = OutboxMessage.objects.filter(channel=channel, seq=last + 2).get()
    assert json.loads(trade.payload)["type"] == "trade"
    expected += [("trade", last + 2, None, None, None), ("market_update", last + 3, True, ["1", "0"], ["payouts"])]
    assert told() == expected
    MarketCorrection.objects.filter(field="payouts").update(expires_at=timezone.now())
    sync(chain[1])
    sync(chain[1])
    assert told() == [*expected, ("market_update", last + 4, False, None, None)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT field, told FROM market_corrections ORDER BY field")
        assert cursor.fetchall() == [("payouts", False), ("question", False)]
