"""The database as one file, and back.

A backup is what `pg_dump --format custom` writes, and a line with the SHA-256 of it at the end; pg_restore ignores that
line. A file that was cut off or changed is thus known before anything is restored from it.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from aurum import postgres_tools
from aurum.contents import contents, differences, tables
from aurum.migrating import MIGRATION_LOCK
from indexer.leadership import LOCK_KEY as INDEXER_LOCK

CHUNK = 1 << 20  # bytes
SEAL = "\naurum backup sha256 {}\n"
SEAL_SIZE = len(SEAL.format("0" * 64))  # bytes
# Its `name` is that of every connection of ours, see PROCESS_NAME in the settings.
IN_USE: LiteralString = """
    SELECT DISTINCT application_name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'aurum %%' AND application_name <> %s ORDER BY 1
"""
# Everything that pg_dump would write, but for extensions. Whoever holds a lock is not waited for.
EMPTY = rb"""
SET LOCAL lock_timeout = '10s';
DO $$ DECLARE statement text; BEGIN
    FOR statement IN
        SELECT format('DROP %s IF EXISTS %I.%I CASCADE', CASE o.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN
            'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, o.relname)
        FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace
        WHERE o.relkind IN ('r', 'p', 'v', 'm', 'S') AND n.nspname = 'public'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e')
    LOOP EXECUTE statement; END LOOP;
    FOR statement IN
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', o.oid::regprocedure) FROM pg_proc o
        WHERE o.pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e')
    LOOP EXECUTE statement; END LOOP;
END $$;
"""
# pg_restore 17 and newer say it, servers before don't know it.
NEW_SETTING = b"SET transaction_timeout = 0;\n"


# Into the audit, where the restored database has one: a backup of another version may not.
TOLD: LiteralString = """
    BEGIN
        IF to_regclass('public.audit_entries') IS NOT NULL THEN
            INSERT INTO public.audit_entries (actor, address, request_id, action, subject, "after", reason)
            VALUES ('command', '', '', 'database.restore', 'command:restore', {after}, '');
        END IF;
    END
"""


class BackupError(Exception):
    """A backup can't be made, or not be restored; nothing was changed. The message is for a person."""


class Database:
    """One PostgreSQL database, by psycopg's parameters."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = dict(parameters)

    def connect(self) -> psycopg.Connection:
        """Opens an autocommit connection."""
        return psycopg.connect(**self.parameters, autocommit=True)

    def back_up(self, file: IO[bytes], *, compare: bool = False) -> dict[str, Any]:
        """Writes the database as it is at this moment. With `compare` returns its `contents` at the same moment."""
        with self.connect() as session, session.transaction():
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            [(snapshot,)] = session.execute("SELECT pg_export_snapshot()").fetchall()
            path = postgres_tools.find("pg_dump", server=_major(session))
            arguments = ("--format=custom", f"--snapshot={snapshot}", "--no-password")
            env = postgres_tools.environment(self.parameters)
            with postgres_tools.running(path, *arguments, env=env, stdout=PIPE) as process:
                digest = hashlib.sha256()
                for chunk in _chunks(process.stdout):
                    digest.update(chunk)
                    file.write(chunk)
            file.write(SEAL.format(digest.hexdigest()).encode())
            return contents(session) if compare else {}

    def restore(self, path: Path, *, replace: bool, name: str, audited: bool = True) -> int:
        """Restores a backup in one transaction, and returns how many tables there are then.

        `name` is the application_name of this process. The audit that is restored tells of it, if `audited`. Raises
        BackupError where the database is in use, or holds tables that `replace` does not give up.
        """
        checksum = check(path)
        with self.connect() as session:
            for key, holder in ((INDEXER_LOCK, "an indexer"), (MIGRATION_LOCK, "a migration")):
                if not session.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()[0]:  # type: ignore[index]
                    raise BackupError(f"{holder} is writing to this database: stop it first")
            users = [user for (user,) in session.execute(IN_USE, [name]).fetchall()]
            if users:
                raise BackupError(f"this database is in use: stop these processes first: {', '.join(users)}")
            if tables(session) and not replace:
                raise BackupError("this database is not empty: give another, or say --replace to lose what it holds")
            after = {"file": str(path), "sha256": checksum, "replace": replace}
            behind = _told(session, after) if audited else b""
            self._write(path, EMPTY if replace else b"", behind, server=_major(session))
            session.execute("ANALYZE")
            return len(tables(session))

    def _write(self, path: Path, before: bytes, behind: bytes, *, server: int) -> None:
        """Runs the backup's statements, between others. COMMIT is sent only when all of them have been."""
        read, write = (postgres_tools.find(program, server=server) for program in ("pg_restore", "psql"))
        arguments = ("--file=-", "--no-owner", "--no-privileges", str(path.absolute()))
        quiet = ("--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
        env = postgres_tools.environment(self.parameters)
        with (
            postgres_tools.running(read, *arguments, env=postgres_tools.environment({}), stdout=PIPE) as reader,
            postgres_tools.running(write, *quiet, env=env, stdin=PIPE) as writer,
        ):
            statements = cast(IO[bytes], writer.stdin)
            statements.write(b"BEGIN;\n" + before)
            first = True
            for chunk in _chunks(reader.stdout):
                statements.write(chunk.replace(NEW_SETTING, b"") if first and server < 17 else chunk)
                first = False
            # Without it psql ends as well, and its transaction is undone.
            if reader.wait() == 0:
                statements.write(b"\n" + behind + b"\nCOMMIT;\n")
            statements.close()

    @contextmanager
    def beside(self) -> Iterator["Database"]:
        """A new, empty database on the same server, which is gone afterwards."""
        name = f"aurum_verify_{secrets.token_hex(4)}"
        with self.connect() as session:
            try:
                session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            except psycopg.errors.InsufficientPrivilege:
                raise BackupError("to verify, the database's user needs the right CREATEDB") from None
            try:
                yield Database(self.parameters | {"dbname": name})
            finally:
                session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def verify(path: Path, database: Database, expected: dict[str, Any], *, name: str) -> int:
    """Restores a backup into a new database, and compares all of it; returns how many tables are the same.

    Raises BackupError where anything differs.
    """
    with database.beside() as other:
        count = other.restore(path, replace=False, name=name, audited=False)
        with other.connect() as session:
            different = differences(expected, contents(session))
    if different:
        raise BackupError(f"what was restored differs: {', '.join(different[:5])}")
    return count


def check(path: Path) -> str:
    """The SHA-256 that stands at a backup's end. Raises BackupError unless it is that of the rest."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - SEAL_SIZE
            digest = hashlib.sha256()
            while size > 0 and (chunk := file.read(min(CHUNK, size))):
                digest.update(chunk)
                size -= len(chunk)
            seal = file.read(SEAL_SIZE + 1)
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}") from None
    if not re.fullmatch(SEAL.format("[0-9a-f]{64}").encode(), seal):
        raise BackupError(f"{path} has no checksum at its end: it is cut off, or not made by `manage.py backup`")
    if seal != SEAL.format(digest.hexdigest()).encode():
        raise BackupError(f"{path} is not what was written: its checksum differs")
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file, for its owner alone, that has its name only when the body is through and the disk has it."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode=0o600)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _told(session: psycopg.Connection, after: Mapping[str, Any]) -> bytes:
    """The statement that writes a restore into the audit of what it restores."""
    body = sql.SQL(TOLD).format(after=sql.Literal(Jsonb(after))).as_string(session)
    return sql.SQL("DO {};").format(sql.Literal(body)).as_bytes(session)


def _chunks(stream: IO[bytes] | None) -> Iterator[bytes]:
    while stream is not None and (chunk := stream.read(CHUNK)):
        yield chunk


def _major(session: psycopg.Connection) -> int:
    return session.info.server_version // 10_000
