"""The operator's commands."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.http import HttpRequest
from django.utils import timezone

from indexer.models import IndexerStatus
from markets.models import Checkpoint

ROOT = Path(__file__).resolve().parents[2]
SERVER = os.environ["DATABASE_URL"]  # tests/settings.py put it there


def output(*arguments: str) -> str:
    stream = StringIO()
    call_command(*arguments, stdout=stream)
    return stream.getvalue()


# --- migrate_once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The URL of a database without a table."""
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS migrate_once WITH (FORCE)")
        connection.execute("CREATE DATABASE migrate_once")
        yield SERVER.replace("/postgres?", "/migrate_once?")
        connection.execute("DROP DATABASE migrate_once WITH (FORCE)")


def test_migrate_once_twice_at_the_same_time(empty_database: str) -> None:
    environment = {**os.environ, "DATABASE_URL": empty_database, "DJANGO_SETTINGS_MODULE": "aurum.settings"}
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "migrate_once"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted("No migrations to apply" in text for text in outputs) == [False, True], outputs
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM markets").fetchone() == (0,)
        # Those of this database: another test may be holding some in its own.
        ours = "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        locks = connection.execute(f"SELECT count(*) FROM pg_locks WHERE {ours}").fetchone()  # noqa: S608
    assert locks == (0,)


# --- db_status --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_db_status_shows_tables_and_pool() -> None:
    text = output("db_status")
    for word in (
        "Database:",
        "Connections:",
        "indexed_events",
        "dead rows",
        "Pool of each process: 1 to 10",
        "Statements:",
    ):
        assert word in text
    assert "Queries and transactions of more than 5 s: none" in text


@pytest.mark.django_db
def test_db_status_lists_a_long_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aurum.management.commands.db_status.LONG", 0)
    url = SERVER.replace("/postgres?", f"/{settings.DATABASES['default']['NAME']}?")
    with psycopg.connect(url, application_name="left open") as connection:
        connection.execute("SELECT 42 AS answer")
        text = output("db_status")
    assert "idle in transaction" in text
    assert "SELECT 42 AS answer" in text
    assert "left open" in text


# --- indexer_status ---------------------------------------------------------------------------------------------------


def indexer_at(block: int, *, head: int, silent_for: timedelta = timedelta(0)) -> None:
    now = timezone.now()
    Checkpoint.objects.update_or_create(
        id=1,
        defaults={
            "chain_id": 31337,
            "genesis_hash": "0x" + "11" * 32,
            "contracts": {},
            "start_block": 0,
            "block_number": block,
            "block_hash": "0x" + "22" * 32,
            "block_timestamp": now,
        },
    )
    IndexerStatus.objects.update_or_create(
        id=1, defaults={"heartbeat_at": now - silent_for, "head_block": head, "head_timestamp": now}
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("lag", "silent_for", "options", "code"),
    [
        (0, timedelta(0), [], 0),
        (50, timedelta(0), [], 0),
        (51, timedelta(0), [], 1),
        (51, timedelta(0), ["--max-lag", "51"], 0),
        (1, timedelta(0), ["--max-lag", "0"], 1),
        (0, timedelta(hours=1), [], 1),  # it has not been heard of
    ],
)
def test_indexer_status_exits_with_1_when_behind_or_silent(
    lag: int, silent_for: timedelta, options: list[str], code: int
) -> None:
    indexer_at(1000 - lag, head=1000, silent_for=silent_for)
    if code:
        with pytest.raises(SystemExit) as exit_:
            output("indexer_status", *options)
        assert exit_.value.code == code
    else:
        assert f"lag blocks                {lag}" in output("indexer_status", *options)


@pytest.mark.django_db
def test_indexer_status_as_json_has_the_names_of_the_api() -> None:
    indexer_at(998, head=1000)
    status = json.loads(output("indexer_status", "--json"))
    assert {name: status[name] for name in ("state", "headBlock", "indexedBlock", "lagBlocks", "failedEvents")} == {
        "state": "running",
        "headBlock": 1000,
        "indexedBlock": 998,
        "lagBlocks": 2,
        "failedEvents": 0,
    }


@pytest.mark.django_db
def test_indexer_status_before_the_first_block(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("indexer_status")
    assert "stopped" in capsys.readouterr().out


# --- create_demo_operator ---------------------------------------------------------------------------------------------


@pytest.fixture
def data_dir(tmp_path: Path, settings: object) -> Path:
    settings.DATA_DIR = tmp_path / ".data"
    return settings.DATA_DIR


@pytest.mark.django_db
def test_create_demo_operator_twice_keeps_the_password(data_dir: Path) -> None:
    first = output("create_demo_operator")
    assert output("create_demo_operator") == first
    password = (data_dir / "operator-password").read_text()
    assert first == f"operator / {password}\n"
    assert len(password) >= 16
    assert stat.S_IMODE((data_dir / "operator-password").stat().st_mode) == 0o600
    user = authenticate(HttpRequest(), username="operator", password=password)
    assert user is not None
    assert user.is_superuser
    assert user.is_staff


@pytest.mark.django_db
def test_create_demo_operator_restores_one_that_was_changed(data_dir: Path) -> None:
    output("create_demo_operator")
    user = get_user_model().objects.get(username="operator")
    user.set_password("something else")
    user.is_active = False
    user.save()
    output("create_demo_operator")
    assert (
        authenticate(HttpRequest(), username="operator", password=(data_dir / "operator-password").read_text()) == user
    )


@pytest.mark.django_db
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_create_demo_operator_refuses_outside_development(environment: str, data_dir: Path, settings: object) -> None:
    settings.ENVIRONMENT, settings.DEVELOPMENT = environment, False
    with pytest.raises(CommandError, match="only development"):
        output("create_demo_operator")
    assert not get_user_model().objects.exists()
    assert not data_dir.exists()
