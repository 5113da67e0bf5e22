"""One writer: whoever stands by takes over from a leader that died or was paused, and a paused one can't commit."""

import signal
import threading
from collections.abc import Callable, Iterator
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
from tests.processes import manage
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)

TAKE_OVER = 10.0  # seconds


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


def wait_until(condition: Callable[[], bool], seconds: float = TAKE_OVER) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds} s"
        threading.Event().wait(0.05)


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
    wait_until(lambda: not leader.held)
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


def test_a_paused_leader_is_replaced_again_and_again(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    """Two indexers; the one that leads is stopped while there is work, the other goes on; then it wakes up."""
    w3, deployment = chain
    bots = Bots(actions, seed=9)
    bots.settle_in()
    bots.open_market()
    indexers = [manage("run_indexer", deployment=deployment) for _ in range(2)]
    try:
        for _ in range(3):
            wait_until(lambda: Checkpoint.objects.filter(block_number=w3.eth.block_number).exists(), 20)
            leader = next(i for i in indexers if f" {i.pid} " in Leader.objects.get().name)
            leader.send_signal(signal.SIGSTOP)
            for _ in range(5):
                bots.step()
            wait_until(lambda: Checkpoint.objects.filter(block_number=w3.eth.block_number).exists(), TAKE_OVER)
            leader.send_signal(signal.SIGCONT)
            bots.step()
    finally:
        for indexer in indexers:
            indexer.send_signal(signal.SIGCONT)
            indexer.send_signal(signal.SIGTERM)
        outputs = [indexer.communicate(timeout=30)[0] for indexer in indexers]
    assert [indexer.returncode for indexer in indexers] == [0, 0], outputs
    assert Leader.objects.get().epoch >= 4
    manage("run_indexer", "--once", deployment=deployment).communicate(timeout=60)
    assert Truth(w3, deployment).differences() == []
