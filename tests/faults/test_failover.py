"""Another server becomes the primary under two running indexers: one of them goes on by itself, and nothing is lost.

Replication is synchronous, as it must be where nothing that was committed may be lost.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import Bots
from indexer.devchain.deploy import Deployment
from indexer.models import Leader
from tests.cluster import Server, django_on, migrate
from tests.nursery import Nursery, wait_until, wait_until_indexed
from tests.processes import index_once
from tests.snapshots import FEED, assert_messages_are_complete, database
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)

RECOVERY = 10.0  # seconds from the promotion to the head
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"
WRITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'lived' AND xact_start IS NOT NULL"


def attach(standby: Server, primary: Server) -> None:
    """Starts a standby, and has every commit of the primary wait for it."""
    standby.copy(primary).start()
    primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.query("SELECT pg_reload_conf()")
    wait_until(lambda: primary.query(STREAMING) == [(1,)], "streaming")


def promote(standby: Server) -> None:
    standby.query("SELECT pg_promote()")


def wait_until_it_has(server: Server, w3: Web3) -> None:
    with django_on(server.url("lived")):
        wait_until_indexed(w3, seconds=RECOVERY)


def test_failover_and_switchover(
    chain: tuple[Web3, Deployment], actions: Actions, make_server: Callable[..., Server], tmp_path: Path
) -> None:
    w3, deployment = chain
    first = make_server("first").initialise().start()
    first.query("CREATE DATABASE lived")
    migrate(first.url("lived"))
    first.query("CREATE DATABASE fresh TEMPLATE lived")
    second = make_server("second")
    attach(second, first)
    third = make_server("third")
    hosts = ",".join(server.host for server in (first, second, third))
    url = f"postgresql:///lived?host={hosts}&user=postgres&target_session_attrs=read-write"
    bots = Bots(actions, seed=23)
    bots.settle_in()
    bots.open_market()
    with Nursery(deployment, tmp_path, DATABASE_URL=url) as nursery:
        indexers = [nursery.start(), nursery.start()]
        wait_until_it_has(first, w3)

        # The primary dies in the middle of work.
        for _ in range(5):
            bots.step()
        first.kill()
        promote(second)
        bots.step()
        wait_until_it_has(second, w3)

        # The primary becomes read-only, and its connections stay: as its operators switch to another one.
        attach(third, second)
        wait_until_it_has(second, w3)
        second.query("ALTER SYSTEM SET default_transaction_read_only = on")
        second.query("SELECT pg_reload_conf()")
        wait_until(lambda: second.query(WRITING) == [(0,)], "quiet")
        promote(third)
        for _ in range(5):
            bots.step()
        wait_until_it_has(third, w3)
        for indexer in indexers:
            indexer.stop()
    # The heartbeat or a batch has met the former primary that is read-only: whichever came first.
    said = "".join(indexer.output for indexer in indexers)
    assert "ReadOnlySqlTransaction" in said or "in a read-only transaction; trying again" in said
    with django_on(third.url("lived")):
        assert Truth(w3, deployment).differences() == []
        assert_messages_are_complete()
        assert Leader.objects.get().epoch >= 3
        lived = database(without=FEED)
        assert lived["trades"]
    index_once(deployment, DATABASE_URL=third.url("fresh"))
    with django_on(third.url("fresh")):
        assert database(without=FEED) == lived
