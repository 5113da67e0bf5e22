"""Direct connections to the database that Django uses, beside its pool."""

from typing import Any

import psycopg
from django.db import connection

# What Django gives psycopg for its own synchronous connections.
DJANGO_ONLY = ("context", "cursor_factory", "prepare_threshold", "pool")


def _parameters() -> dict[str, Any]:
    return {name: value for name, value in connection.get_connection_params().items() if name not in DJANGO_ONLY}


def connect() -> psycopg.Connection:
    """Opens an autocommit connection, for locks that live as long as it does."""
    return psycopg.connect(**_parameters(), autocommit=True, connect_timeout=5)


async def connect_async() -> psycopg.AsyncConnection:
    """Opens an autocommit connection, for LISTEN and plain reads."""
    return await psycopg.AsyncConnection.connect(**_parameters(), autocommit=True)
