"""What the database is doing: connections, sizes, dead rows, long-running queries. PostgreSQL 14 and newer."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection, transaction

LONG = 5  # seconds after which a query is listed
SHOWN = 20  # rows of the longer lists

# Only this database's; the server may hold others. Its own query is left out.
OURS = "datname = current_database() AND pid <> pg_backend_pid()"

SERVER = """
    SELECT current_database(), current_setting('server_version'), pg_size_pretty(pg_database_size(current_database())),
        round(100.0 * blks_hit / nullif(blks_hit + blks_read, 0), 1), deadlocks
    FROM pg_stat_database WHERE datname = current_database()
"""
CONNECTIONS = f"""
    SELECT coalesce(nullif(application_name, ''), '-'), coalesce(state, '-'), count(*),
        coalesce(max(extract(epoch FROM now() - state_change))::int, 0)
    FROM pg_stat_activity WHERE {OURS} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""  # noqa: S608 - constants only
TABLES = """
    SELECT relname, n_live_tup, n_dead_tup, pg_size_pretty(pg_relation_size(relid)),
        pg_size_pretty(pg_total_relation_size(relid)),
        coalesce(to_char(greatest(last_vacuum, last_autovacuum), 'YYYY-MM-DD HH24:MI'), 'never')
    FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC, relname LIMIT %s
"""
QUERIES = f"""
    SELECT pid, extract(epoch FROM now() - coalesce(xact_start, query_start))::int, state,
        coalesce(wait_event, '-'), left(regexp_replace(query, '\\s+', ' ', 'g'), 80)
    FROM pg_stat_activity
    WHERE {OURS} AND state <> 'idle' AND now() - coalesce(xact_start, query_start) > make_interval(secs => %s)
    ORDER BY 2 DESC LIMIT %s
"""  # noqa: S608 - constants only
STATEMENTS = """
    SELECT calls, round(total_exec_time)::bigint, round(mean_exec_time::numeric, 2),
        left(regexp_replace(query, '\\s+', ' ', 'g'), 80)
    FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY total_exec_time DESC LIMIT %s
"""


class Command(BaseCommand):
    help = __doc__

    def handle(self, **options: Any) -> None:
        self._table("Database", ["name", "PostgreSQL", "size", "cache hits %", "deadlocks"], _rows(SERVER))
        pool = settings.DATABASES["default"]["OPTIONS"]["pool"]
        [(limit,)] = _rows("SELECT current_setting('max_connections')")
        self.stdout.write(
            f"Pool of each process: {pool['min_size']} to {pool['max_size']}; the server allows {limit}\n\n"
        )
        self._table("Connections", ["application", "state", "count", "longest s"], _rows(CONNECTIONS))
        names = ["table", "rows (estimate)", "dead rows", "size", "with indexes", "vacuumed"]
        self._table("Tables", names, _rows(TABLES, SHOWN))
        names = ["pid", "seconds", "state", "waits for", "query"]
        self._table(f"Queries and transactions of more than {LONG} s", names, _rows(QUERIES, LONG, SHOWN))
        try:
            with transaction.atomic():
                rows = _rows(STATEMENTS, SHOWN)
        except DatabaseError:  # not created, not preloaded, or not for this user
            self.stdout.write("Statements: the extension pg_stat_statements is not there")
        else:
            self._table("Statements", ["calls", "ms in all", "ms each", "query"], rows)

    def _table(self, title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        cells = [list(names), *([("-" if cell is None else str(cell)) for cell in row] for row in rows)]
        widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
        self.stdout.write(f"{title}: {'' if rows else 'none'}\n")
        for line in cells if rows else ():
            self.stdout.write("  " + "  ".join(map(str.ljust, line, widths)).rstrip() + "\n")
        self.stdout.write("\n")


def _rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
