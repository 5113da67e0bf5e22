"""What PostgreSQL may answer to a batch: the indexer tries again what passes, and ends at what does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from web3 import Web3

from aurum.database import connect
from indexer.devchain.actions import Actions, Market
from indexer.devchain.deploy import Deployment
from markets.models import Checkpoint
from tests.cluster import Server, django_on, migrate
from tests.faults.proxy import Proxy
from tests.nursery import Nursery, assert_as_undisturbed, wait_until, wait_until_indexed
from tests.processes import database_url, index_once
from tests.snapshots import FEED, assert_messages_are_complete, database
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)

PASSING = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "57014": "canceled",
    "25006": "read-only",
}
FATAL = {"23505": "unique violation", "42P01": "no such table", "XX000": "internal error"}
CUTS = 8
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE 'aurum forked %%'
"""
FIRST_STATEMENT = "CREATE TRIGGER as_if BEFORE INSERT ON indexed_events FOR EACH STATEMENT EXECUTE FUNCTION as_if()"
COMMIT = """
    CREATE CONSTRAINT TRIGGER as_if AFTER INSERT ON indexed_blocks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION as_if()
"""
# Raises once, and then lets everything pass: a sequence is not rolled back.
AS_IF = """
    CREATE SEQUENCE as_if;
    CREATE FUNCTION as_if() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('as_if') = 1 THEN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END IF;
        RETURN NEW;
    END $$;
    {trigger}
"""
NO_MORE = "DROP FUNCTION IF EXISTS as_if CASCADE; DROP SEQUENCE IF EXISTS as_if"


@pytest.fixture
def market(chain: tuple[Web3, Deployment], actions: Actions) -> Market:
    """One to trade on: a block each from now on, for approvals are given."""
    market = actions.deploy_amm(actions.create_market("Faulty?"))
    actions.buy(market, 0, 1_000_000, sender=actions.accounts[1])
    return market


@pytest.fixture
def buy(actions: Actions, market: Market) -> Callable[[], object]:
    """Something for the indexer to write."""
    return lambda: actions.buy(market, 1, 10_000, sender=actions.accounts[1])


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def raising(state: str, trigger: str) -> Iterator[None]:
    """The next batch meets this SQLSTATE, once."""
    execute(AS_IF.format(state=state, trigger=trigger))
    try:
        yield
    finally:
        execute(NO_MORE)


def wait_until_it_waits() -> None:
    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            return bool(cursor.fetchone()[0])

    wait_until(waits, "waiting for a lock", look=0.01)


def test_what_passes_is_tried_again(chain: tuple[Web3, Deployment], buy: Callable[[], object], tmp_path: Path) -> None:
    w3, deployment = chain
    with Nursery(deployment, tmp_path) as nursery:
        indexer = nursery.start()
        wait_until_indexed(w3)
        for number, state in enumerate(PASSING):
            with raising(state, (FIRST_STATEMENT, COMMIT)[number % 2]):
                buy()
                wait_until_indexed(w3)
        indexer.stop()
        assert indexer.output.count(r"Error: as if\n") == len(PASSING)
        assert_as_undisturbed(w3, deployment, nursery)


def test_what_does_not_pass_ends_the_process(
    chain: tuple[Web3, Deployment], buy: Callable[[], object], tmp_path: Path
) -> None:
    w3, deployment = chain
    with Nursery(deployment, tmp_path) as nursery:
        nursery.index_once()
        for state in FATAL:
            before = database()
            buy()
            with raising(state, COMMIT):
                indexer = nursery.start()
                assert indexer.wait() == 1
            assert "Error: as if\n" in indexer.output
            assert "trying again" not in indexer.output
            assert database() == before
            nursery.index_once()
        assert_as_undisturbed(w3, deployment, nursery)


def test_a_deadlock(chain: tuple[Web3, Deployment], buy: Callable[[], object], tmp_path: Path) -> None:
    """Somebody locks a market, then the checkpoint; the indexer locks them in the other order."""
    w3, deployment = chain
    with Nursery(deployment, tmp_path) as nursery:
        indexer = nursery.start()
        wait_until_indexed(w3)
        with connect() as somebody, somebody.transaction():
            somebody.execute("SET LOCAL deadlock_timeout = '1min'")  # whoever notices first is the one that is undone
            somebody.execute("SELECT 1 FROM markets FOR UPDATE")
            buy()
            wait_until_it_waits()
            somebody.execute("SELECT 1 FROM checkpoint FOR UPDATE")
        wait_until_indexed(w3)
        indexer.stop()
        assert indexer.output.count("OperationalError: deadlock detected") == 1
        assert_as_undisturbed(w3, deployment, nursery)


def test_a_lock_that_is_not_released(chain: tuple[Web3, Deployment], buy: Callable[[], object], tmp_path: Path) -> None:
    """The indexer says that it waits, and goes on as soon as it can."""
    w3, deployment = chain
    with Nursery(deployment, tmp_path) as nursery:
        indexer = nursery.start()
        wait_until_indexed(w3)
        with connect() as somebody, somebody.transaction():
            somebody.execute("SELECT 1 FROM checkpoint FOR UPDATE")
            buy()
            wait_until(lambda: "canceling statement due to lock timeout" in indexer.output, "given up", seconds=10)
        wait_until_indexed(w3)
        indexer.stop()
        assert_as_undisturbed(w3, deployment, nursery)


def test_a_serialization_failure(chain: tuple[Web3, Deployment], buy: Callable[[], object], tmp_path: Path) -> None:
    """On a database whose transactions are isolated more strictly than by default."""
    w3, deployment = chain
    strict = database_url() + "&options=-c%20default_transaction_isolation=repeatable%5C%20read"
    with Nursery(deployment, tmp_path, DATABASE_URL=strict) as nursery:
        indexer = nursery.start()
        wait_until_indexed(w3)
        with connect() as somebody, somebody.transaction():
            somebody.execute("UPDATE checkpoint SET safe_block = safe_block")
            buy()
            wait_until_it_waits()
        wait_until_indexed(w3)
        indexer.stop()
        assert indexer.output.count("OperationalError: could not serialize access") == 1
        assert_as_undisturbed(w3, deployment, nursery)


def test_an_answer_to_commit_that_is_lost(
    chain: tuple[Web3, Deployment], buy: Callable[[], object], make_server: Callable[..., Server], tmp_path: Path
) -> None:
    """The connection is cut when the commit has been sent: half of the times the server has heard it."""
    w3, deployment = chain
    server = make_server("postgres").initialise().start()
    server.query("CREATE DATABASE lived")
    migrate(server.url("lived"))
    server.query("CREATE DATABASE fresh TEMPLATE lived")
    with Proxy(server.host) as proxy:
        url = server.url("lived").replace(server.host, proxy.host)
        with Nursery(deployment, tmp_path, DATABASE_URL=url) as nursery, django_on(server.url("lived")):
            indexer = nursery.start()
            wait_until_indexed(w3)
            for number in range(CUTS):
                before = Checkpoint.objects.get().block_number
                proxy.cut(heard=number % 2 == 0)
                buy()
                proxy.wait_until_cut()
                if number % 2 == 0:
                    assert Checkpoint.objects.get().block_number == before + 1
                wait_until_indexed(w3)
            indexer.stop()
    assert proxy.swallowed == [b"COMMIT"] * (CUTS // 2)
    assert indexer.output.count("trying again") == CUTS
    with django_on(server.url("lived")):
        assert Truth(w3, deployment).differences() == []
        assert_messages_are_complete()
        lived = database(without=FEED)
    index_once(deployment, DATABASE_URL=server.url("fresh"))
    with django_on(server.url("fresh")):
        assert database(without=FEED) == lived
