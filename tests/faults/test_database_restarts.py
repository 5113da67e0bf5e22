"""PostgreSQL killed under a running indexer, again and again: it recovers by itself, and loses and doubles nothing."""

import random
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import Bots
from indexer.devchain.deploy import Deployment
from tests.cluster import Server, django_on, migrate
from tests.nursery import Nursery, wait_until_indexed
from tests.processes import index_once
from tests.snapshots import FEED, assert_messages_are_complete, database
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = 20
RECOVERY = 20.0  # seconds, of which a loaded machine needs some for the server's own recovery


def test_killed_servers(
    chain: tuple[Web3, Deployment], actions: Actions, make_server: Callable[..., Server], tmp_path: Path
) -> None:
    w3, deployment = chain
    server = make_server("postgres").initialise().start()
    server.query("CREATE DATABASE lived")
    migrate(server.url("lived"))
    server.query("CREATE DATABASE fresh TEMPLATE lived")
    dice = random.Random(21)
    bots = Bots(actions, seed=21)
    bots.settle_in()
    bots.open_market()
    with Nursery(deployment, tmp_path, DATABASE_URL=server.url("lived")) as nursery:
        indexer = nursery.start()
        for number in range(KILLS):
            with django_on(server.url("lived")):
                wait_until_indexed(w3, seconds=RECOVERY)
            # Every third time it has nothing to write when the server dies.
            death = Timer(dice.uniform(0, 0.5), server.kill)
            death.start()
            while death.is_alive():
                if number % 3:
                    bots.step()
                death.join(0.02)
            bots.step()  # there will be something to write
            server.start()
        with django_on(server.url("lived")):
            wait_until_indexed(w3, seconds=RECOVERY)
        indexer.stop()
    assert server.log.read_text().count("not properly shut down; automatic recovery") == KILLS
    with django_on(server.url("lived")):
        assert Truth(w3, deployment).differences() == []
        assert_messages_are_complete()
        lived = database(without=FEED)
    index_once(deployment, DATABASE_URL=server.url("fresh"))
    with django_on(server.url("fresh")):
        assert database(without=FEED) == lived
    assert lived["trades"]
