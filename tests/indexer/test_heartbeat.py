"""The indexer's row about itself: when it is written, what a write costs, and what it then says."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from web3 import Web3

from indexer.chain import Header
from indexer.counters import BatchRecord, Counters
from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from indexer.heartbeat import Heartbeat
from indexer.models import IndexerStatus, RepairRequest
from indexer.rpc import Rpc, RpcUnavailable
from indexer.runner import GaveUp, WrongChain
from indexer.status import indexer_state
from tests import factories
from tests.indexer.test_counters import Clock
from tests.indexing import runner, sync
from tests.snapshots import database

DEAD = "http://127.0.0.1:9"  # nothing listens there


def header(number: int) -> Header:
    return Header(
        number=number,
        hash=factories.hex_id("block", number),
        parent_hash=factories.hex_id("block", number - 1),
        timestamp=1_700_000_000 + 2 * number,
        logs_bloom=None,
    )


def health() -> list[dict[str, Any]]:
    return [{"host": "rpc.example", "quarantines": 0}]


@pytest.mark.django_db
def test_a_beat_a_second_and_one_update_for_it(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    clock, counters = Clock(), Counters()
    heartbeat = Heartbeat(counters, health, clock=clock)
    heartbeat.beat(header(1))
    with django_assert_num_queries(0):
        for number in range(2, 50):
            clock.now += 0.02
            heartbeat.beat(header(number))
    assert IndexerStatus.objects.get().head_block == 1
    clock.now += 0.05
    with django_assert_num_queries(3) as queries:
        heartbeat.beat(header(50))
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT", "UPDATE"]
    status = IndexerStatus.objects.get()
    assert (status.head_block, status.head_timestamp) == (50, datetime.fromtimestamp(1_700_000_100, tz=UTC))


@pytest.mark.django_db
def test_what_was_left_out_is_written_at_the_end(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    heartbeat = Heartbeat(Counters(), health, clock=Clock())
    heartbeat.flush()
    assert not IndexerStatus.objects.exists()  # it has nothing to say yet
    heartbeat.beat(header(1))
    heartbeat.beat(header(2))
    heartbeat.flush()
    assert IndexerStatus.objects.get().head_block == 2
    with django_assert_num_queries(0):
        heartbeat.flush()


@pytest.mark.django_db
def test_it_says_what_was_counted() -> None:
    factories.make_event(processed=False, error="ApplyError")
    counters = Counters()
    counters.committed(20, BatchRecord())
    counters.requested("rpc.example", "eth_getLogs", "RpcBusy", 0.5)
    heartbeat = Heartbeat(counters, health)
    heartbeat.beat(header(1))
    counted = IndexerStatus.objects.get().counters
    assert (counted["blocks"], counted["reorganisations"]) == (20, 0)
    assert counted["rpc_requests"] == [
        {"endpoint": "rpc.example", "method": "eth_getLogs", "outcome": "RpcBusy", "count": 1}
    ]
    assert counters.totals().failed_events == 1


@pytest.mark.django_db
def test_a_reorganisation_is_said_at_once() -> None:
    heartbeat = Heartbeat(Counters(), health, clock=Clock())
    heartbeat.beat(header(1))
    heartbeat.reorganised(3)
    heartbeat.reorganised(5)
    status = IndexerStatus.objects.get()
    assert (status.reorganisations, status.last_reorganisation_depth) == (2, 5)


@pytest.mark.django_db
def test_an_error_is_said_at_once_and_is_no_heartbeat() -> None:
    Heartbeat(Counters(), health).failed(RpcUnavailable("before the first heartbeat there is nowhere to say it"))
    assert not IndexerStatus.objects.exists()
    heartbeat = Heartbeat(Counters(), health, clock=Clock())
    heartbeat.beat(header(1))
    before = IndexerStatus.objects.get().heartbeat_at
    heartbeat.failed(RpcUnavailable("no RPC endpoint answers"))
    status = IndexerStatus.objects.get()
    assert (status.last_error, status.heartbeat_at) == ("RpcUnavailable: no RPC endpoint answers", before)
    assert status.last_error_at is not None


@pytest.mark.django_db
def test_repairs_that_wait_are_counted() -> None:
    over = {"from_block": 1, "to_block": 1, "reason": "r"}
    RepairRequest.objects.create(**over)
    RepairRequest.objects.create(**over, done_at=timezone.now())
    RepairRequest.objects.create(**over, cancelled_at=timezone.now())
    counters = Counters()
    Heartbeat(counters, health).beat(header(1))
    assert counters.totals().open_repairs == 1


@pytest.mark.django_db
def test_a_reason_to_stop_stays_until_the_next_heartbeat() -> None:
    stopping = Heartbeat(Counters(), health)
    stopping.beat(header(1))
    stopping.stopped("wrong_chain", WrongChain("the node is on chain 1"))
    stopping.flush()
    assert (IndexerStatus.objects.get().stop_reason, indexer_state()) == ("wrong_chain", "stopped")
    assert IndexerStatus.objects.get().last_error == "WrongChain: the node is on chain 1"
    next_one = Heartbeat(Counters(), health)
    next_one.failed(RpcUnavailable("not yet"))
    assert (IndexerStatus.objects.get().stop_reason, indexer_state()) == ("wrong_chain", "stopped")
    next_one.beat(header(2))
    assert (IndexerStatus.objects.get().stop_reason, indexer_state()) == ("", "running")


@pytest.mark.django_db(transaction=True)
def test_a_runner_that_reaches_no_node_says_so(chain: tuple[Web3, Deployment]) -> None:
    sync(chain[1])
    before = IndexerStatus.objects.get()
    assert before.head_block == chain[0].eth.block_number
    dead = Rpc([DEAD], pause=lambda seconds: None)
    with pytest.raises(GaveUp), runner(chain[1], rpc=dead, patience=0.0) as running:
        running.sync_once()
    after = IndexerStatus.objects.get()
    assert after.last_error.startswith("RpcUnavailable: no RPC endpoint answers: 127.0.0.1:9")
    assert (after.heartbeat_at, after.head_block) == (before.heartbeat_at, before.head_block)
    assert after.endpoints[0]["healthy"] is False


@pytest.mark.django_db(transaction=True)
def test_a_wrong_chain_is_said_in_the_status_and_nowhere_else(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.create_market()
    sync(chain[1])
    before = database()
    with runner(chain[1]) as running:
        running.deployment = replace(running.deployment, chain_id=8453)
        with pytest.raises(WrongChain):
            running.sync_once()
    status = IndexerStatus.objects.get()
    assert (status.stop_reason, status.last_error) == (
        "wrong_chain",
        "WrongChain: CHAIN_ID is 8453, but the node is on chain 31337",
    )
    assert indexer_state() == "stopped"
    assert database() == before
    sync(chain[1])
    assert (IndexerStatus.objects.get().stop_reason, indexer_state()) == ("", "running")
