"""A direct asynchronous connection to the database that Django uses, beside its pool."""

import psycopg
from django.db import connection

# What Django gives psycopg for its own synchronous connections.
DJANGO_ONLY = ("context", "cursor_factory", "prepare_threshold", "pool")


async def connect_async() -> psycopg.AsyncConnection:
    """Opens an autocommit connection, for LISTEN and plain reads."""
    parameters = {name: value for name, value in connection.get_connection_params().items() if name not in DJANGO_ONLY}
    return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
