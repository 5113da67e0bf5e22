"""Migrations beside a working system."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from aurum import migrating
from aurum.database import connect

pytestmark = pytest.mark.django_db(transaction=True)

WIDTH = "SELECT atttypmod - 4 FROM pg_attribute WHERE attrelid = 'auth_user'::regclass AND attname = 'first_name'"


@pytest.fixture
def unapplied(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A migration that changes a column of `auth_user` is still to come; it waits a tenth of a second for its lock."""
    call_command("migrate", "auth", "0011", verbosity=0)
    assert width() == 30
    monkeypatch.setattr(migrating, "LOCK_WAIT", 0.1)
    yield
    call_command("migrate", verbosity=0)


def width() -> int:
    with connection.cursor() as cursor:
        cursor.execute(WIDTH)
        return int(cursor.fetchone()[0])


def test_a_migration_lets_the_others_pass_and_tries_again(unapplied: None) -> None:
    reader = connect()
    reader.execute("BEGIN; SELECT count(*) FROM auth_user")
    pauses: list[float] = []

    def others(pause: float) -> None:
        """In the pause a new reader gets its lock at once, while the old one still holds its own."""
        pauses.append(pause)
        assert width() == 30
        with connect() as another:
            another.execute("SET lock_timeout = '1ms'")
            another.execute("SELECT count(*) FROM auth_user")
        if len(pauses) == 2:
            reader.execute("ROLLBACK")

    with connect() as session:
        migrating.migrate_alone(session, verbosity=0, sleep=others)
    reader.close()
    assert pauses == [migrating.PAUSE] * 2
    assert width() == 150
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


def test_it_gives_up_in_the_end_and_has_changed_nothing(unapplied: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "LONGEST_WAIT", 0.05)
    with connect() as reader, connect() as session:
        reader.execute("BEGIN; SELECT count(*) FROM auth_user")
        with pytest.raises(CommandError, match="did not get its lock"):
            migrating.migrate_alone(session, verbosity=0, sleep=lambda _: None)
        reader.execute("ROLLBACK")
    assert width() == 30


def test_another_error_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(migrating, "call_command", fail)
    with connect() as session, pytest.raises(Exception, match="division by zero"):
        migrating.migrate_alone(session, verbosity=0, sleep=pytest.fail)


def test_a_second_release_waits_for_the_first_one() -> None:
    first, pauses = connect(), []

    def until_it_ends(pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 3:
            first.execute("SELECT pg_advisory_unlock_all()")

    first.execute("SELECT pg_advisory_lock(%s)", [migrating.MIGRATION_LOCK])
    with connect() as session:
        migrating.migrate_alone(session, verbosity=0, sleep=until_it_ends)
    first.close()
    assert pauses == [migrating.LOOK_INTERVAL] * 3


@pytest.mark.parametrize(("atomic", "limit"), [(True, "2s"), (False, "0")])
def test_an_index_that_is_built_concurrently_may_wait(atomic: bool, limit: str) -> None:
    migration = type("Migration", (), {"atomic": atomic, "app_label": "app", "name": "0001"})()
    command = migrating.Migrate()
    command.verbosity = 0
    command.migration_progress_callback("apply_start", migration)
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == (limit,)
        cursor.execute("RESET lock_timeout")
