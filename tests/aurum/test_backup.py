"""Backups: whole and checked, or not there; restores: all of it, or nothing. No password is seen by others."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from psycopg.conninfo import conninfo_to_dict

from aurum import backups, environment, postgres_tools
from aurum.backups import BackupError, Database, check, verify, whole_file
from aurum.contents import contents, differences
from aurum.migrating import MIGRATION_LOCK
from indexer.leadership import LOCK_KEY

SERVER = os.environ["DATABASE_URL"]  # tests/settings.py put it there
PASSWORD = "canary-of-the-password"
OUR_NAME = "aurum the test itself"
TABLES = """
    CREATE TABLE amounts (id bigserial PRIMARY KEY, amount numeric(78) NOT NULL, note text, raw bytea, body jsonb);
    CREATE INDEX amounts_by_note ON amounts (note);
    CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$;
    CREATE TRIGGER forbid BEFORE DELETE ON amounts FOR EACH STATEMENT EXECUTE FUNCTION forbid();
    CREATE VIEW notes AS SELECT note FROM amounts;
    INSERT INTO amounts (amount, note, raw, body) VALUES
        (2::numeric ^ 256 - 1, E'\\\\.\\n"a"\\tb\\\\', '\\x00ff', '{"a": "\u202e"}'),
        (0, NULL, NULL, NULL), (-1, '', '', '[]');
"""


@contextmanager
def made(name: str) -> Iterator[Database]:
    """A database of the test's own."""
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[call-overload]
        server.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        yield Database(conninfo_to_dict(SERVER) | {"dbname": name, "password": PASSWORD, "application_name": OUR_NAME})
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def databases() -> Iterator[list[Database]]:
    with made(f"backup_source_{os.getpid()}") as source, made(f"backup_target_{os.getpid()}") as target:
        yield [source, target]


@pytest.fixture
def source(databases: list[Database]) -> Database:
    return emptied(databases[0], TABLES)


@pytest.fixture
def target(databases: list[Database]) -> Database:
    return emptied(databases[1])


def emptied(database: Database, statements: str = "") -> Database:
    with database.connect() as session:
        session.execute("DROP SCHEMA IF EXISTS public, other CASCADE; CREATE SCHEMA public")
        session.execute(statements)  # type: ignore[call-overload]
    return database


@pytest.fixture
def backup(source: Database, tmp_path: Path) -> Path:
    return written(source, tmp_path / "aurum.dump")


def written(database: Database, path: Path) -> Path:
    with whole_file(path) as file:
        database.back_up(file)
    return path


def held(database: Database) -> dict[str, Any]:
    with database.connect() as session:
        return contents(session)


def test_what_is_restored_is_what_was_there(source: Database, target: Database, backup: Path) -> None:
    before = held(source)
    assert target.restore(backup, replace=False, name=OUR_NAME) == 1
    assert differences(before, held(target)) == []
    assert before["rows of public.amounts"][0] == 3
    with target.connect() as session:
        assert session.execute("SELECT nextval('amounts_id_seq')").fetchone() == (4,)
    kinds = {"column", "index", "constraint", "trigger", "function", "sequence", "rows"}
    assert {name.split()[0] for name in before} == kinds
    assert backup.stat().st_mode & 0o777 == 0o600
    assert os.listdir(backup.parent) == ["aurum.dump"]


def test_postgresqls_own_program_reads_it_too(backup: Path) -> None:
    path = postgres_tools.find("pg_restore", server=18)
    with postgres_tools.running(path, "--file=-", str(backup), env={}, stdout=PIPE) as process:
        assert process.stdout is not None
        assert b"COPY public.amounts" in process.stdout.read()


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE amounts SET amount = amount - 1 WHERE id = 1", "rows of public.amounts"),
        ("UPDATE amounts SET note = '' WHERE id = 2", "rows of public.amounts"),
        ("CREATE TABLE other (id int)", "rows of public.other"),
        ("DROP INDEX amounts_by_note", "index public.amounts_by_note"),
        ("ALTER SEQUENCE amounts_id_seq INCREMENT 2", "sequence public.amounts_id_seq"),
        ("ALTER TABLE amounts ALTER amount DROP NOT NULL", "column public.amounts.amount"),
        ("DROP TRIGGER forbid ON amounts", "trigger public.amounts forbid"),
    ],
)
def test_every_difference_is_seen(source: Database, statement: str, name: str) -> None:
    before = held(source)
    with source.connect() as session:
        session.execute(statement)  # type: ignore[call-overload]
    assert name in differences(before, held(source))


def test_the_snapshot_is_what_is_compared(source: Database, tmp_path: Path) -> None:
    """What is written while a backup runs is neither in it, nor a difference."""

    class Meanwhile(io.BytesIO):
        def write(self, data: Any) -> int:
            with source.connect() as session:
                session.execute("INSERT INTO amounts (amount) VALUES (7)")
            return super().write(data)

    file = Meanwhile()
    expected = source.back_up(file, compare=True)
    assert expected["rows of public.amounts"][0] == 3
    (path := tmp_path / "dump").write_bytes(file.getvalue())
    assert verify(path, source, expected, name=OUR_NAME) == 1


def test_verifying_finds_a_difference_and_leaves_no_database_behind(source: Database, backup: Path) -> None:
    with pytest.raises(BackupError, match=r"differs: rows of public\.amounts$"):
        verify(backup, source, held(source) | {"rows of public.amounts": (4, "0", "0")}, name=OUR_NAME)
    with psycopg.connect(SERVER) as session:
        left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'aurum\\_verify\\_%'"
        assert session.execute(left).fetchone() == (0,)


# --- damaged files ----------------------------------------------------------------------------------------------------

DAMAGES = {
    "empty": lambda data: b"",
    "its first bytes": lambda data: data[:50],
    "half of it": lambda data: data[: len(data) // 2],
    "all but a byte": lambda data: data[:-1],
    "no seal": lambda data: data[: -backups.SEAL_SIZE],
    "a byte more": lambda data: data + b"\n",
    "a bit": lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:],
    "another seal": lambda data: data[:-66] + b"0" * 64 + data[-2:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_changes_nothing(target: Database, backup: Path, damage: str) -> None:
    target.restore(backup, replace=False, name=OUR_NAME)
    before = held(target)
    backup.write_bytes(DAMAGES[damage](backup.read_bytes()))
    with pytest.raises(BackupError, match=r"no checksum at its end|its checksum differs"):
        target.restore(backup, replace=True, name=OUR_NAME)
    assert differences(before, held(target)) == []


def test_an_archive_that_breaks_off_is_undone(target: Database, backup: Path) -> None:
    """As if the disk had given other bytes than those that were checked: COMMIT is never sent."""
    target.restore(backup, replace=False, name=OUR_NAME)
    before = held(target)
    whole = backup.read_bytes()[: -backups.SEAL_SIZE]
    backup.write_bytes(whole[: len(whole) - 40])
    with pytest.raises(postgres_tools.ToolError, match="pg_restore: "):
        target._write(backup, backups.EMPTY, b"", server=18)
    assert differences(before, held(target)) == []


def test_a_statement_that_fails_undoes_all(target: Database, source: Database, tmp_path: Path) -> None:
    with source.connect() as session:
        session.execute("CREATE SCHEMA other; CREATE TABLE other.amounts (id int)")
    backup = written(source, tmp_path / "dump")
    with target.connect() as session:
        session.execute("CREATE SCHEMA other; CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)")
    before = held(target)
    with pytest.raises(postgres_tools.ToolError, match=r'^psql: schema "other" already exists$'):
        target.restore(backup, replace=True, name=OUR_NAME)
    assert differences(before, held(target)) == []


@pytest.mark.parametrize("name", ["it's $$ a \\ \" :name\n", "\u202e"])
def test_the_restored_audit_names_any_file(target: Database, source: Database, tmp_path: Path, name: str) -> None:
    with source.connect() as session:
        session.execute(
            "CREATE TABLE audit_entries (actor text, address text, request_id text, action text, subject text,"
            "after jsonb, reason text)"
        )
    backup = written(source, tmp_path / name)
    target.restore(backup, replace=True, name=OUR_NAME)
    with target.connect() as session:
        assert session.execute("SELECT after->>'file' FROM audit_entries").fetchall() == [(str(backup),)]


def test_a_full_disk_leaves_the_last_backup(source: Database, backup: Path) -> None:
    before = backup.read_bytes()

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    def write_to_a_full_disk() -> None:
        with whole_file(backup):
            source.back_up(Full())

    with pytest.raises(OSError, match="No space left"):
        write_to_a_full_disk()
    assert backup.read_bytes() == before
    assert os.listdir(backup.parent) == ["aurum.dump"]


# --- a database that is in use, or not empty --------------------------------------------------------------------------


def test_a_database_that_holds_tables_is_refused_unless_told(target: Database, backup: Path) -> None:
    with target.connect() as session:
        session.execute("CREATE TABLE amounts (id int); CREATE TABLE later (id int); CREATE SEQUENCE later_id")
    before = held(target)
    with pytest.raises(BackupError, match="not empty"):
        target.restore(backup, replace=False, name=OUR_NAME)
    assert differences(before, held(target)) == []
    assert target.restore(backup, replace=True, name=OUR_NAME) == 1
    assert not [name for name in held(target) if "later" in name]


@pytest.mark.parametrize(("key", "who"), [(LOCK_KEY, "an indexer"), (MIGRATION_LOCK, "a migration")])
def test_a_writer_is_not_restored_over(target: Database, backup: Path, key: int, who: str) -> None:
    with target.connect() as writer:
        writer.execute("SELECT pg_advisory_lock(%s)", [key])
        with pytest.raises(BackupError, match=f"^{who} is writing"):
            target.restore(backup, replace=True, name=OUR_NAME)
    assert "rows of public.amounts" not in held(target)


def test_any_process_of_ours_must_be_stopped_first(target: Database, backup: Path) -> None:
    parameters = target.parameters | {"application_name": "aurum web-1 42 abc"}
    with psycopg.connect(**parameters), pytest.raises(BackupError, match=r"in use: .*: aurum web-1 42 abc$"):
        target.restore(backup, replace=True, name=OUR_NAME)
    assert "rows of public.amounts" not in held(target)


def test_an_indexer_that_starts_meanwhile_does_not_write(
    target: Database, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []

    def look(_: Any) -> list[str]:
        with target.connect() as indexer:
            taken.append(indexer.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone())
        return []

    monkeypatch.setattr(backups, "tables", look)
    target.restore(backup, replace=False, name=OUR_NAME)
    assert taken == [(False,), (False,)]


# --- the programs -----------------------------------------------------------------------------------------------------


# More than a pipe holds: a program does not end before what it says is read.
MUCH = """
    INSERT INTO amounts (amount, raw)
    SELECT 0, string_agg(uuid_send(gen_random_uuid()), '') FROM generate_series(1, 20000)
"""


def test_no_argument_holds_the_password(
    source: Database, target: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everybody on the machine reads it."""
    with source.connect() as session:
        session.execute(MUCH)
    seen: dict[str, tuple[str, str]] = {}
    run = postgres_tools.running

    @contextmanager
    def watched(path: str, *arguments: str, **options: Any) -> Iterator[Any]:
        with run(path, *arguments, **options) as process:
            proc = Path("/proc") / str(process.pid)
            while not (proc / "cmdline").read_text():
                assert process.poll() is None  # for an instant a process that begins has no arguments
            seen[Path(path).name] = (proc / "cmdline").read_text(), (proc / "environ").read_text()
            yield process

    monkeypatch.setattr(postgres_tools, "running", watched)
    monkeypatch.setenv("JWT_SECRET", "canary-of-another-secret")
    target.restore(written(source, tmp_path / "dump"), replace=False, name=OUR_NAME)
    assert sorted(seen) == ["pg_dump", "pg_restore", "psql"]
    for arguments, variables in seen.values():
        assert arguments
        assert "canary" not in arguments
        assert "canary-of-another-secret" not in variables
    assert [name for name in sorted(seen) if PASSWORD in seen[name][1]] == ["pg_dump", "psql"]


def test_every_host_of_a_url_is_given() -> None:
    url = "postgresql://aurum:p%40ss@db1:5433,db2:5434/aurum?target_session_attrs=read-write&sslmode=require"
    settings = environment.database(url)
    parameters = {"host": settings["HOST"], "port": settings["PORT"], "password": settings["PASSWORD"]}
    variables = postgres_tools.environment(parameters | settings["OPTIONS"])
    assert (
        variables.items()
        >= {
            "PGHOST": "db1,db2",
            "PGPORT": "5433,5434",
            "PGPASSWORD": "p@ss",
            "PGTARGETSESSIONATTRS": "read-write",
            "PGSSLMODE": "require",
            "PGCONNECT_TIMEOUT": "3",
        }.items()
    )


def test_a_backup_finds_the_host_that_answers(source: Database, tmp_path: Path) -> None:
    hosts = f"{tmp_path},{source.parameters['host']}"
    written(Database(source.parameters | {"host": hosts}), tmp_path / "dump")
    assert len(check(tmp_path / "dump")) == 64


def test_a_program_as_new_as_the_server_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [tmp_path / name for name in ("14", "17", "broken", "16", "absent")]
    for place in places[:4]:
        place.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {place.name}.4 (Debian 1.2)'\n")
        place.chmod(0o755)
    places[2].write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(postgres_tools, "_places", lambda program: map(str, places))
    assert [postgres_tools.find("pg_dump", server=server) for server in (14, 15, 16, 17)] == [
        str(tmp_path / name) for name in ("14", "16", "16", "17")
    ]
    with pytest.raises(postgres_tools.ToolError, match=r"^pg_dump of version 18 or newer .* only version 17 is there$"):
        postgres_tools.find("pg_dump", server=18)


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(postgres_tools.ToolError, match=r"^pg_nothing of version 18 .* it is not installed$"):
        postgres_tools.find("pg_nothing", server=18)


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_commands_on_our_own_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "aurum.dump"
    call_command("backup", str(path), "--verify")
    said = capsys.readouterr().out
    count = re.search(r"restored into a new database: (\d+) tables, the same in every row", said)
    assert count is not None
    assert int(count[1]) > 30
    assert f"sha256 {check(path)}" in said
    with pytest.raises(CommandError, match=r"^this database is not empty"):
        call_command("restore", str(path))
    name = f"restored_{settings.DATABASES['default']['NAME']}"
    with made(name) as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr("aurum.management.commands.restore.parameters", lambda: other.parameters)
        patch.setattr(settings, "PROCESS_NAME", OUR_NAME)  # `made` is connected, too
        call_command("restore", str(path))
        with other.connect() as session:
            told = session.execute("SELECT actor, action, subject, after FROM audit_entries").fetchall()
    after = {"file": str(path), "sha256": check(path), "replace": False}
    assert told == [("command", "database.restore", "command:restore", after)]
    assert capsys.readouterr().out == f"{count[1]} tables are restored; next: migrate_once, then the indexer\n"


@pytest.mark.parametrize("arguments", [["-", "--verify"]])
def test_what_is_verified_is_a_file(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="give a file"):
        call_command("backup", *arguments)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing\.dump: No such file or directory$"):
        call_command("restore", str(tmp_path / "nothing.dump"))
