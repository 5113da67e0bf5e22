"""Migrations of a system that is in use: squawk finds nothing that would hold others up, or break the old release."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

APPS = ("accounts", "indexer", "markets", "operators", "oracle", "resolver")
# The last migration of each app that only ever met empty tables: nobody ran a release before it.
FIRST_RELEASE = {"accounts": 1, "indexer": 6, "markets": 15, "operators": 2, "oracle": 1, "resolver": 1}
EXCLUDED = {
    "prefer-text-field": "the models choose the types, and a longer limit rewrites nothing",
    "prefer-bigint-over-int": "for numbers that a model bounds",
    "prefer-bigint-over-smallint": "as above",
    "prefer-identity": "Django makes them",
    "prefer-robust-stmts": "each migration is one transaction",
    "require-lock-timeout": "migrate_once sets it around each migration",
    "require-statement-timeout": "as above; a migration may take its time, once it has its lock",
}
# (migration, rule): why it may.
ALLOWED: dict[tuple[str, str], str] = {}


def findings(sql: str, *, atomic: bool = True) -> set[str]:
    """The rules that these statements break. PostgreSQL 14, the oldest one that we run on."""
    arguments = ["--reporter", "json", "--pg-version", "14.0", "--exclude", ",".join(EXCLUDED)]
    arguments += ["--assume-in-transaction"] if atomic else []
    program = Path(sysconfig.get_path("scripts")) / "squawk"
    ran = subprocess.run([str(program), *arguments], input=sql, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    return {finding["rule_name"] for finding in json.loads(ran.stdout or "[]")}


@pytest.mark.django_db
def test_no_migration_since_the_first_release_stops_a_system_in_use() -> None:
    loader = MigrationLoader(connection)
    broken = set()
    for app, name in sorted(loader.disk_migrations):
        if app in APPS and int(name[:4]) > FIRST_RELEASE[app]:
            migration = loader.get_migration(app, name)
            sql = "\n".join(loader.collect_sql([(migration, False)]))
            broken |= {(f"{app}.{name}", rule) for rule in findings(sql, atomic=migration.atomic)}
    assert broken == set(ALLOWED)


def test_the_first_release_is_all_there() -> None:
    loader = MigrationLoader(None)
    numbers = {app: {int(name[:4]) for other, name in loader.disk_migrations if other == app} for app in APPS}
    assert all(set(range(1, last + 1)) <= numbers[app] for app, last in FIRST_RELEASE.items())


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("CREATE INDEX by_note ON trades (note);", "require-concurrent-index-creation"),
        ("DROP INDEX by_note;", "require-concurrent-index-deletion"),
        ("ALTER TABLE trades ADD COLUMN note text NOT NULL;", "adding-required-field"),
        ("ALTER TABLE trades ALTER COLUMN block_number TYPE numeric;", "changing-column-type"),
        ("ALTER TABLE trades ALTER COLUMN note SET NOT NULL;", "adding-not-nullable-field"),
        ("ALTER TABLE trades DROP COLUMN note;", "ban-drop-column"),
        ("ALTER TABLE trades RENAME COLUMN note TO notes;", "renaming-column"),
        ("ALTER TABLE trades ADD CONSTRAINT positive CHECK (amount > 0);", "constraint-missing-not-valid"),
    ],
)
def test_what_is_looked_for(sql: str, rule: str) -> None:
    assert findings(sql) == {rule}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE notes (id bigint PRIMARY KEY, note varchar(20) NOT NULL); CREATE INDEX by_note ON notes (note);",
        "ALTER TABLE trades ADD COLUMN note text;",
        "ALTER TABLE trades ADD COLUMN note text DEFAULT '' NOT NULL;",
    ],
)
def test_what_may_be(sql: str) -> None:
    assert findings(sql) == set()


def test_an_index_is_built_concurrently_outside_of_a_transaction() -> None:
    assert findings("CREATE INDEX CONCURRENTLY by_note ON trades (note);", atomic=False) == set()
