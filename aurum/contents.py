"""What a database holds, as numbers to compare with another one's: rows, a hash of them, and how it is defined."""

from typing import Any, LiteralString

import psycopg
from psycopg import sql

# How a row is written as text must not depend on who asks.
SAME_TEXT: LiteralString = """
    SELECT set_config(name, value, false) FROM (VALUES ('timezone', 'UTC'), ('datestyle', 'ISO, YMD'),
        ('intervalstyle', 'postgres'), ('bytea_output', 'hex'), ('extra_float_digits', '1'), ('search_path', '')
    ) AS settings (name, value)
"""
OURS: LiteralString = """
    n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e')
"""
TABLES: LiteralString = f"""
    SELECT n.nspname, o.relname FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace
    WHERE o.relkind IN ('r', 'm') AND {OURS} ORDER BY 1, 2
"""  # noqa: S608 - constants only
# Two hashes of 64 bits of each row, summed: the order of rows does not count, how often each is there does.
ROWS: LiteralString = """
    SELECT count(*), coalesce(sum(hashtextextended(t::text, 1)::numeric), 0)::text,
        coalesce(sum(hashtextextended(t::text, 2)::numeric), 0)::text FROM {} t
"""
# A sequence's number is of no transaction, and goes on while a backup is made: it is not compared.
# An index has its columns' names: a restored table numbers its columns anew, where one was dropped before.
# Conditions are left out: what PostgreSQL makes of one when it reads its own text again may be spelt another way.
DEFINITIONS: LiteralString = f"""
    SELECT 'column ' || o.oid::regclass || '.' || a.attname,
        format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || a.attidentity::text
        || coalesce(pg_get_expr(v.adbin, v.adrelid), '')
    FROM pg_attribute a JOIN pg_class o ON o.oid = a.attrelid JOIN pg_namespace n ON n.oid = o.relnamespace
    LEFT JOIN pg_attrdef v ON v.adrelid = a.attrelid AND v.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND o.relkind IN ('r', 'm', 'v') AND {OURS}
    UNION ALL SELECT 'index ' || o.oid::regclass, concat_ws(' ', ARRAY(
            SELECT coalesce(a.attname, '')::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place
        ), i.indisunique, i.indisvalid, i.indpred IS NOT NULL)
    FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid JOIN pg_namespace n ON n.oid = o.relnamespace WHERE {OURS}
    UNION ALL SELECT 'constraint ' || o.conrelid::regclass || ' ' || o.conname, o.contype::text || ' ' || o.convalidated
    FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace WHERE {OURS}
    UNION ALL SELECT 'trigger ' || o.tgrelid::regclass || ' ' || o.tgname, pg_get_triggerdef(o.oid)
    FROM pg_trigger o JOIN pg_class c ON c.oid = o.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT o.tgisinternal AND {OURS}
    UNION ALL SELECT 'function ' || o.oid::regprocedure, pg_get_functiondef(o.oid)
    FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace WHERE o.prokind IN ('f', 'p') AND {OURS}
    UNION ALL SELECT 'sequence ' || schemaname || '.' || sequencename, data_type::text || ' ' || increment_by
    FROM pg_sequences
"""  # noqa: S608 - constants only


def contents(connection: psycopg.Connection) -> dict[str, Any]:
    """Of each table its rows and their hash, of everything else how it is defined. Sets the session's output format."""
    connection.execute(SAME_TEXT)
    found: dict[str, Any] = dict(connection.execute(DEFINITIONS).fetchall())
    for schema, table in connection.execute(TABLES).fetchall():
        query = sql.SQL(ROWS).format(sql.Identifier(schema, table))
        found[f"rows of {schema}.{table}"] = connection.execute(query).fetchone()
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What is not the same in both, by name."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def tables(connection: psycopg.Connection) -> list[str]:
    """The names of all tables that are neither PostgreSQL's nor an extension's."""
    return [table for _, table in connection.execute(TABLES).fetchall()]
