"""Many rows into PostgreSQL by COPY, which costs a fraction of INSERT's CPU; few rows as the ORM does it."""

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

FEW = 20  # rows up to which a COPY would not pay
WRITE_SIZE = 1000  # rows an INSERT


def insert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Adds new rows, in their order; a key that the database gives is left to it."""
    if len(rows) <= FEW:
        model._default_manager.bulk_create(rows, batch_size=WRITE_SIZE)
        return
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    _copy(model._meta.db_table, fields, rows)


def upsert(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """Adds rows or replaces those with their `id`. No id may come twice."""
    fields = list(model._meta.concrete_fields)
    columns = [str(field.column) for field in fields]
    if len(rows) <= FEW:
        model._default_manager.bulk_create(
            rows,
            batch_size=WRITE_SIZE,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[field.name for field in fields if not field.primary_key],
        )
        return
    table, incoming = model._meta.db_table, f"incoming_{model._meta.db_table}"
    names = ", ".join(columns)
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column != "id")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} (LIKE {table}) ON COMMIT DELETE ROWS")
        cursor.execute(f"TRUNCATE {incoming}")  # of an earlier write in this transaction
        _copy(incoming, fields, rows)
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {incoming} ON CONFLICT (id) DO UPDATE SET {changes}"  # noqa: S608 - names of our own models
        )


def _copy(table: str, fields: Sequence[Any], rows: Sequence[models.Model]) -> None:
    names = ", ".join(field.column for field in fields)
    database = connections[DEFAULT_DB_ALIAS]  # not the proxy, which looks it up for every value
    with database.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            values = vars(row)
            copy.write_row([field.get_db_prep_save(values[field.attname], database) for field in fields])
