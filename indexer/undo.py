"""Before-images of rows, written by the database itself, and the way back.

A block that is not final may be replaced. What its events change is kept as it was, so that undoing costs what the
block touched, and needs no inverse of any handler.
"""

from collections.abc import Collection, Iterable, Mapping

from django.db import connection, models

from indexer.models import UndoImage

CAPTURE = "INSERT INTO undo_images (block_number, table_name, row_id, image) "
IMAGES = """
    SELECT %s, %s, touched.id, to_jsonb(before)
    FROM unnest(%s::uuid[]) AS touched(id) LEFT JOIN {table} before ON before.id = touched.id
"""
# The oldest image of a row is what it was before the first of the blocks that are undone.
FORGET = """
    DELETE FROM {table} WHERE id IN (
        SELECT row_id FROM undo_images WHERE table_name = %s AND block_number > %s
    )
"""
RESTORE = """
    INSERT INTO {table}
    SELECT (jsonb_populate_record(NULL::{table}, oldest.image)).*
    FROM (
        SELECT DISTINCT ON (row_id) image FROM undo_images
        WHERE table_name = %s AND block_number > %s
        ORDER BY row_id, block_number, id
    ) oldest
    WHERE oldest.image IS NOT NULL
"""


def capture(block_number: int, touched: Mapping[type[models.Model], Collection[str]]) -> None:
    """Keeps rows, by their ids, as they are now, before `block_number` changes, makes or deletes them: one statement,
    as each new block waits for it."""
    images: list[str] = []
    parameters: list[int | str] = []
    for model, ids in touched.items():
        if ids:
            table = model._meta.db_table
            images.append(IMAGES.format(table=table))
            # The ids as one text: psycopg takes ten times as long to write an array of texts.
            parameters += [block_number, table, f"{{{','.join(ids)}}}"]
    if images:
        with connection.cursor() as cursor:
            cursor.execute(CAPTURE + " UNION ALL ".join(images), parameters)


def touched(above: int, model: type[models.Model]) -> list[str]:
    """The ids of the rows that blocks above this one have changed or made."""
    images = UndoImage.objects.filter(block_number__gt=above, table_name=model._meta.db_table)
    return [str(row_id) for row_id in images.values_list("row_id", flat=True).distinct()]


def restore(above: int, tables: Iterable[type[models.Model]]) -> None:
    """Brings every row of `tables` back to what it was at block `above`, and forgets the images that did it.

    Foreign keys are checked at commit: the order of tables does not matter.
    """
    with connection.cursor() as cursor:
        for model in tables:
            table = model._meta.db_table
            cursor.execute(FORGET.format(table=table), [table, above])
            cursor.execute(RESTORE.format(table=table), [table, above])
    UndoImage.objects.filter(block_number__gt=above).delete()


def forget_final(finalized_block: int) -> None:
    """Drops the images of blocks that can't be replaced any more."""
    UndoImage.objects.filter(block_number__lte=finalized_block).delete()
