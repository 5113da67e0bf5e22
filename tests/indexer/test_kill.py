"""SIGKILL, at random moments and at every statement: the database ends as after an uninterrupted sync."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest
from django.core.management import call_command
from django.db import connection
from web3 import Web3

from indexer.devchain.actions import Actions, Market
from indexer.devchain.bots import Bots, play
from indexer.devchain.deploy import Deployment
from markets.models import Checkpoint
from tests.nursery import Indexer, Nursery, assert_as_undisturbed, wait_until
from tests.processes import index_once
from tests.snapshots import FEED, assert_messages_are_complete, database, told_of_events
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)

KILLS_CATCHING_UP = 140  # at random moments, 210 in all
KILLS_FOLLOWING = 70
LONGEST_LIFE = 0.2  # seconds; an indexer has committed after a third of it, on an idle machine
FEW_BATCHES = 0.04  # seconds
WRITES = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE %s AND xact_start IS NOT NULL
"""
STEP = 0.1  # seconds between two things that happen on a chain: slower than it can be read


def rollbacks() -> int:
    """How many transactions have been rolled back in this database; the end of their process does that, too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def until_it_commits(indexer: Indexer) -> None:
    wait_until(lambda: " indexed " in indexer.output, "its first commit", look=0.002)


def until_it_writes(indexer: Indexer) -> None:
    """Until a transaction of its is open: on a busy machine a moment by chance rarely is one."""

    def writes() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(WRITES, [f"aurum forked {indexer.pid} %"])
            return bool(cursor.fetchone()[0])

    wait_until(writes, "a transaction", look=0.0005)


def block_reached() -> int:
    return Checkpoint.objects.values_list("block_number", flat=True).first() or 0


@pytest.fixture
def nursery(chain: tuple[Web3, Deployment], tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(chain[1], tmp_path, INDEXER_POLL_INTERVAL="50") as nursery:
        yield nursery


@pytest.fixture
def one_block_a_batch(chain: tuple[Web3, Deployment], tmp_path: Path) -> Iterator[Nursery]:
    """Many commits for a kill to fall before, into or behind."""
    with Nursery(chain[1], tmp_path, INDEXER_BATCH_SIZE="1") as nursery:
        yield nursery


def test_killed_syncs_lose_and_double_nothing(chain: tuple[Web3, Deployment], one_block_a_batch: Nursery) -> None:
    w3, deployment = chain
    play(w3, deployment, seed=11, markets=6, steps=250)
    index_once(deployment, INDEXER_BATCH_SIZE="7")
    uninterrupted, told = database(without=FEED), told_of_events()
    assert len(uninterrupted["indexed_events"]) > 550
    call_command("flush", interactive=False, verbosity=0)

    dice, before, reached = random.Random(4), rollbacks(), []
    for number in range(KILLS_CATCHING_UP):
        indexer = one_block_a_batch.start()
        if number % 4:
            until_it_commits(indexer)
        if number % 4 == 1:
            until_it_writes(indexer)
        else:
            Event().wait(dice.uniform(0, FEW_BATCHES if number % 4 else LONGEST_LIFE))
        indexer.kill()
        reached.append(block_reached())
    assert reached == sorted(reached)
    assert reached[-1] < w3.eth.block_number, "every kill must hit a sync that is not over"
    assert rollbacks() - before > KILLS_CATCHING_UP // 5, "many kills must hit a transaction"
    index_once(deployment, INDEXER_BATCH_SIZE="7")

    assert database(without=FEED) == uninterrupted
    assert told_of_events() == told
    assert_messages_are_complete()
    assert Truth(w3, deployment).differences() == []


class UnsettledChain:
    """A chain's life of which the latest blocks can be orphaned: nothing but trades that need no approval any more."""

    def __init__(self, actions: Actions, dice: random.Random) -> None:
        self._actions = actions
        self._dice = dice
        self._bots = Bots(actions, seed=5)
        self._bots.settle_in()
        self._market: Market = self._bots.open_market().market
        self._traders = actions.accounts[1:4]
        for trader in self._traders:
            actions.buy(self._market, 0, 50_000_000, sender=trader)
        self._loose = 0  # blocks that may be orphaned

    def step(self) -> None:
        what = self._dice.choice(["trade", "trade", "reorganise", "reorganise", "bots"])
        if what == "bots":
            self._bots.step()
            self._loose = 0
            return
        if what == "reorganise" and self._loose:
            self._actions.request("anvil_reorg", self._dice.randint(1, min(self._loose, 8)), [])
        self._trade()
        self._loose += 1

    def busy_block(self) -> None:
        """A block in which much happens."""
        actions, market, trader = self._actions, self._market, self._traders[0]
        with actions.several_in_one_block():
            self._trade()
            actions.split(market, 1_000_000, sender=trader)
            actions.transfer(market, 0, 1_000, sender=trader, to=self._traders[1])
            actions.add_funding(market, 1_000_000, sender=actions.admin)
            actions.collect_fee(market, 500, sender=trader)

    def replace_block(self) -> None:
        """The latest block is orphaned, and another one comes instead."""
        self._actions.request("anvil_reorg", 1, [])
        self.busy_block()

    def _trade(self) -> None:
        outcome, amount = self._dice.randint(0, 1), self._dice.randint(1_000, 100_000)
        self._actions.buy(self._market, outcome, amount, sender=self._dice.choice(self._traders))


def test_killed_followers_of_a_chain_that_reorganises(
    chain: tuple[Web3, Deployment], actions: Actions, nursery: Nursery
) -> None:
    w3, deployment = chain
    dice = random.Random(6)
    unsettled = UnsettledChain(actions, dice)
    index_once(deployment)
    before, replaced = rollbacks(), 0
    for number in range(KILLS_FOLLOWING):
        unsettled.step()
        indexer = nursery.start()
        if number % 2:
            until_it_commits(indexer)
        # It looks at a branch that differs for 0.2 s before it believes it.
        death = Timer(dice.uniform(0, 2 * LONGEST_LIFE), indexer.send_signal, [signal.SIGKILL])
        death.start()
        while death.is_alive():
            unsettled.step()
            death.join(STEP)
        assert indexer.wait() == -signal.SIGKILL, indexer.output
        replaced += indexer.output.count("reorganisation: ")
    assert replaced > KILLS_FOLLOWING // 4, "many kills must hit an indexer that replaces a branch"
    assert rollbacks() - before > KILLS_FOLLOWING // 20, "kills must hit transactions"
    assert_as_undisturbed(w3, deployment, nursery)


def test_a_kill_at_every_statement(chain: tuple[Web3, Deployment], actions: Actions, nursery: Nursery) -> None:
    """Before each exchange with the database, and with each one sent and its answer unread: so also at each COMMIT."""
    w3, deployment = chain
    unsettled = UnsettledChain(actions, random.Random(7))
    unsettled.busy_block()  # asks for approvals, in blocks of their own
    index_once(deployment)
    kills = []
    for step in (unsettled.busy_block, unsettled.replace_block):
        place, code = 0, -signal.SIGKILL
        while code:
            place += 1
            for die_at in (place, -place):
                if Checkpoint.objects.filter(block_hash=w3.eth.get_block("latest")["hash"].to_0x_hex()).exists():
                    step()
                indexer = nursery.start("--once", die_at=die_at)
                code = indexer.wait()
                assert code in (0, -signal.SIGKILL), indexer.output
        kills.append(place - 1)
    assert kills[0] > 25, "an append has more statements"
    assert kills[1] > 40, "the replacement of a branch has more statements"
    assert_as_undisturbed(w3, deployment, nursery)
