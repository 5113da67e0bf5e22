"""Errors of a real server, and what is made of them; connections that are given up."""

import os
import socket
from pathlib import Path
from threading import Thread
from time import monotonic

import django.db
import psycopg
import pytest
from django.db import connection, transaction

from aurum import environment
from aurum.database import DATABASE_ERRORS, connect, is_pipelined, passes, pipelined, renew_connections

PASSING = [
    "08006",  # connection failure
    "25006",  # read-only transaction
    "25P03",  # idle in a transaction for too long
    "25P04",  # a transaction that took too long
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53100",  # disk full
    "53200",  # out of memory
    "53300",  # too many connections
    "55P03",  # lock not available
    "57014",  # query canceled
    "57P01",  # shutdown
    "57P03",  # starting up
    "58030",  # input or output
]
FATAL = [
    "0A000",  # not supported
    "22003",  # number out of range
    "23505",  # unique violation
    "25P02",  # a failed transaction that was used further
    "42501",  # no right
    "42P01",  # no such table
    "54001",  # statement too complex
    "P0001",  # raised by a function
    "XX000",  # internal error
    "XX001",  # corrupted data
]
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize(("state", "passing"), [(s, True) for s in PASSING] + [(s, False) for s in FATAL])
@pytest.mark.django_db(transaction=True)
def test_the_state_decides_whether_an_error_passes(state: str, passing: bool) -> None:
    with pytest.raises(django.db.Error) as wrapped, connection.cursor() as cursor:
        cursor.execute(RAISE.format(state))
    with pytest.raises(psycopg.Error) as raw, connect() as direct:
        direct.execute(RAISE.format(state))  # type: ignore[call-overload]
    assert raw.value.sqlstate == state
    assert isinstance(wrapped.value, DATABASE_ERRORS)
    assert isinstance(raw.value, DATABASE_ERRORS)
    assert (passes(wrapped.value), passes(raw.value)) == (passing, passing)


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_passes_though_it_has_no_state() -> None:
    direct = connect()
    with socket.socket(fileno=os.dup(direct.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
    with pytest.raises(psycopg.Error) as lost:
        direct.execute("SELECT 1")
    assert lost.value.sqlstate is None
    assert passes(lost.value)


@pytest.mark.django_db(transaction=True)
def test_misuse_does_not_pass() -> None:
    with pytest.raises(psycopg.Error) as misused, connect() as direct:
        direct.execute("SELECT %s", [])
    assert misused.value.sqlstate is None
    assert not passes(misused.value)


@pytest.mark.django_db(transaction=True)
def test_renewed_connections_lead_to_other_backends() -> None:
    def backend() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    before = backend()
    assert backend() == before
    renew_connections()
    assert backend() != before


def test_a_silent_host_costs_seconds_and_the_next_one_is_asked(tmp_path: Path) -> None:
    """What a machine that hangs, or is gone, looks like to a client: it is connected, or waits, and hears nothing."""
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as speaking:
        for number, listener in enumerate((silent, speaking)):
            (tmp_path / str(number)).mkdir()
            listener.bind(str(tmp_path / str(number) / ".s.PGSQL.5432"))
            listener.listen()
        hosts = f"{tmp_path}/0,{tmp_path}/1"
        settings = environment.database(f"postgresql:///any?host={hosts}&connect_timeout=2")
        heard: list[bytes] = []
        answering = Thread(target=lambda: heard.append(speaking.accept()[0].recv(100)))
        answering.start()
        started = monotonic()
        with pytest.raises(psycopg.OperationalError) as refused:
            psycopg.connect(dbname="any", **settings["OPTIONS"])
        answering.join()
    assert b"any" in heard[0]
    assert 1.9 < monotonic() - started < 3.5
    assert passes(refused.value)


# --- pipelines --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_pipeline_sends_in_order_and_ends_with_what_it_did() -> None:
    assert not is_pipelined()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE sent (number integer PRIMARY KEY)")
    with transaction.atomic():
        with pipelined():
            assert is_pipelined()
            for number in range(3):
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO sent SELECT %s + count(*) * 10 FROM sent", [number])
        assert not is_pipelined()
    with connection.cursor() as cursor:
        cursor.execute("SELECT array_agg(number ORDER BY number) FROM sent")
        assert cursor.fetchone() == ([0, 11, 22],)


def send(statement: str, *values: int) -> None:
    """For each value, in one transaction and pipeline."""
    with transaction.atomic(), pipelined():
        for value in values:
            with connection.cursor() as cursor:
                cursor.execute(statement, [value])


@pytest.mark.django_db(transaction=True)
def test_an_error_in_a_pipeline_is_that_of_its_statement_and_nothing_is_written() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE sent (number integer PRIMARY KEY)")
    with pytest.raises(django.db.IntegrityError):
        send("INSERT INTO sent VALUES (%s)", 1, 2, 1, 3, 4)
    assert not is_pipelined()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sent")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_ends_in_a_pipeline_passes_by_itself() -> None:
    with pytest.raises(DATABASE_ERRORS) as raised:
        send("SELECT pg_terminate_backend(pg_backend_pid()), %s", 1, 2)
    assert isinstance(raised.value, Exception)
    assert passes(raised.value)
    connection.close()
