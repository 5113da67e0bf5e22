"""One writer: whoever stands by takes over from a leader that died or was paused, and a paused one can't commit."""

import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from django.db import connection, transaction
from web3 import Web3

from aurum.database import connect
from indexer.devchain.actions import Actions
from indexer.devchain.bots import Bots
from indexer.devchain.deploy import Deployment
from indexer.leadership import Deposed, Leadership
from indexer.models import Leader
from markets.models import Checkpoint
from tests.nursery import Indexer, Nursery, assert_as_undisturbed, wait_until, wait_until_indexed

pytestmark = pytest.mark.django_db(transaction=True)

TAKE_OVER = 10.0  # seconds
PAUSES = 20


def named(name: str) -> Leadership:
    """A candidate whose connections have this name."""

    def opened() -> psycopg.Connection:
        opened = connect()
        opened.execute("SELECT set_config('application_name', %s, false)", [name])
        return opened

    return Leadership(opened, name=name)


@pytest.fixture
def candidates() -> Iterator[Callable[[str], Leadership]]:
    """Makes candidates, and lets them go at the end."""
    made: list[Leadership] = []

    def make(name: str) -> Leadership:
        made.append(named(name))
        return made[-1]

    yield make
    for candidate in made:
        candidate.release()


def test_one_leads_and_the_next_follows_at_once_when_it_lets_go(candidates: Callable[[str], Leadership]) -> None:
    first, second = candidates("first"), candidates("second")
    assert first.try_acquire()
    assert not second.try_acquire()
    assert (first.held, second.held) == (True, False)
    first.release()
    assert second.try_acquire()
    assert second.epoch == first.epoch + 1
    assert Leader.objects.get().name == "second"


def test_a_lost_connection_ends_the_leadership(candidates: Callable[[str], Leadership]) -> None:
    leader = candidates("cut")
    assert leader.try_acquire()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'")
    wait_until(lambda: not leader.held, "lost")
    assert candidates("next").try_acquire()


def test_an_epoch_that_is_over_cannot_write(candidates: Callable[[str], Leadership]) -> None:
    first, second = candidates("first"), candidates("second")
    assert first.try_acquire()
    first.check_in_transaction()
    first.release()
    assert second.try_acquire()
    with pytest.raises(Deposed), transaction.atomic():
        first.check_in_transaction()
    second.check_in_transaction()


def test_waiting_ends_when_asked_to_stop(candidates: Callable[[str], Leadership]) -> None:
    leader, standby = candidates("leader"), candidates("standby")
    assert leader.try_acquire()
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert not standby.acquire(stop)


# --- processes --------------------------------------------------------------------------------------------------------


def stop_in_its_transaction(indexer: Indexer, lock: str, work: Callable[[], object]) -> None:
    """Pauses an indexer that waits for this lock in a write transaction; the lock is then free, and its own are not."""
    with connect() as somebody, somebody.transaction():
        somebody.execute(lock)
        work()
        # Not as a single statement, which pruning is.
        waits = "wait_event_type = 'Lock' AND query_start > xact_start"
        wait_until(lambda: activity(indexer, waits), "waiting for the lock")
        indexer.send_signal(signal.SIGSTOP)
    # In the middle of a pipeline, too: the server waits for the rest of it, and is no idler.
    waits = "(state = 'idle in transaction' OR state = 'active' AND wait_event = 'ClientRead')"
    wait_until(lambda: activity(indexer, waits), "in its transaction")


def activity(indexer: Indexer, condition: str) -> bool:
    """Whether one of its connections is in this state."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s AND {condition}",  # noqa: S608
            [f"aurum forked {indexer.pid} %"],
        )
        return bool(cursor.fetchone()[0])


def leads(indexer: Indexer) -> bool:
    return f" {indexer.pid} " in Leader.objects.get().name


def test_a_paused_leader_is_replaced_again_and_again(
    chain: tuple[Web3, Deployment], actions: Actions, tmp_path: Path
) -> None:
    """Two indexers; the one that leads is stopped, also in the middle of a write, and wakes up when the other leads."""
    w3, deployment = chain
    dice = random.Random(9)
    bots = Bots(actions, seed=9)
    bots.settle_in()
    market = bots.open_market().market
    with Nursery(deployment, tmp_path) as nursery:
        indexers = [nursery.start() for _ in range(2)]
        wait_until_indexed(w3)
        for number in range(PAUSES):
            leader = next(indexer for indexer in indexers if leads(indexer))
            if number % 2:
                # At its first statement, or with all but the last ones behind it.
                lock = dice.choice(["SELECT 1 FROM checkpoint FOR UPDATE", "LOCK TABLE outbox IN SHARE MODE"])
                stop_in_its_transaction(leader, lock, lambda: actions.buy(market, 0, 10**6, sender=bots.traders[0]))
            else:
                bots.step()
                threading.Event().wait(dice.uniform(0, 0.3))
                leader.send_signal(signal.SIGSTOP)
            stopped = monotonic()
            for _ in range(4):
                bots.step()
            wait_until_indexed(w3, seconds=TAKE_OVER - (monotonic() - stopped))
            assert not leads(leader)
            leader.send_signal(signal.SIGCONT)
        for indexer in indexers:
            indexer.stop()
        assert Leader.objects.get().epoch >= PAUSES + 1
        cut = re.findall("terminating connection due to|closed the connection", "".join(i.output for i in indexers))
        assert len(cut) >= PAUSES // 2, "those stopped in a transaction could not commit it"
        assert_as_undisturbed(w3, deployment, nursery)


def test_a_leader_that_wakes_up_in_its_transaction_finds_its_epoch_over(
    chain: tuple[Web3, Deployment], actions: Actions, candidates: Callable[[str], Leadership], tmp_path: Path
) -> None:
    """As where its connections could not be ended: nothing but the epoch is in its way."""
    w3, deployment = chain
    market = actions.deploy_amm(actions.create_market("Fenced?"))
    actions.buy(market, 0, 10**6, sender=actions.accounts[1])
    with Nursery(deployment, tmp_path) as nursery:
        indexer = nursery.start()
        wait_until_indexed(w3)
        before, lock = Checkpoint.objects.get(), "SELECT 1 FROM checkpoint FOR UPDATE"
        stop_in_its_transaction(indexer, lock, lambda: actions.buy(market, 0, 10**6, sender=actions.accounts[1]))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid, 1000) FROM pg_locks WHERE locktype = 'advisory'")
        usurper = candidates("usurper")
        assert usurper.try_acquire()
        indexer.send_signal(signal.SIGCONT)
        wait_until(lambda: "Deposed: epoch 1 is over; trying again" in indexer.output, "deposed")
        assert Checkpoint.objects.get().block_number == before.block_number
        usurper.release()
        wait_until_indexed(w3)
        indexer.stop()
        assert_as_undisturbed(w3, deployment, nursery)
