"""Metadata as CSV: an export that spreadsheets run nothing of, and an import whose differences are seen first.

A cell that a spreadsheet would take for a formula is written with an apostrophe before it, which reading takes off
again: an exported file, imported, changes nothing.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from markets.editing import MetadataEditSerializer
from markets.metadata import FIELDS
from markets.models import Market, MarketMetadata

# Of a file that is imported. When that is confirmed it comes as base64, a third longer, in a request of at most 1 MiB
# (aurum/wsgi_bridge.py), with a reason of up to 12,000 bytes.
MAX_BYTES = 700 * 2**10
MAX_ROWS = 5_000
LONGEST_SHOWN = 80  # characters of a cell in an error
MARKET_ID = re.compile(r"0x[0-9a-f]{64}")
# By the names of the API.
COLUMNS = {
    "category": "category",
    "description": "description",
    "imageUrl": "image_url",
    "resolutionSource": "resolution_source",
}
ID_COLUMN = "marketId"
# What begins a formula, in one spreadsheet or another, full-width signs too; and what they cut off before looking.
FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
DANGEROUS = re.compile(f"'*[{FORMULA}]")
NEUTRALISED = re.compile(f"'+[{FORMULA}]")


def neutralised(cell: str) -> str:
    """The cell as text to every spreadsheet. One that looks neutralised already gets one more apostrophe."""
    return f"'{cell}" if DANGEROUS.match(cell) else cell


def restored(cell: str) -> str:
    """The inverse of `neutralised`."""
    return cell[1:] if NEUTRALISED.match(cell) else cell


def exported(rows: Iterable[MarketMetadata]) -> Iterator[str]:
    """The lines of the file, with a byte order mark, by which spreadsheets know UTF-8."""
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    yield "\ufeff"
    for cells in ([ID_COLUMN, *COLUMNS], *_cells(rows)):
        writer.writerow(map(neutralised, cells))
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cells(rows: Iterable[MarketMetadata]) -> Iterator[list[str]]:
    for row in rows:
        yield [row.pk, *(getattr(row, name) for name in COLUMNS.values())]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one line changes: texts by field, before and after."""

    line: int
    market_id: str
    before: Mapping[str, str]
    after: Mapping[str, str]


@dataclass(kw_only=True)
class DryRun:
    """What importing a file would do. With errors (line, what is wrong) it can't be made at all."""

    rows: int = 0
    changes: list[Change] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)


def dry_run(data: bytes) -> DryRun:
    """Reads a file and compares it with what is stored; writes nothing."""
    result = DryRun()
    try:
        lines = _lines(data)
    except _Unreadable as error:
        result.errors.append((error.line, str(error)))
        return result
    result.rows = len(lines)
    ids: list[Any] = [cells[ID_COLUMN] for _, cells in lines]
    stored = {row["market_id"]: row for row in MarketMetadata.objects.filter(pk__in=ids).values("market_id", *FIELDS)}
    known = set(Market.objects.filter(market_id__in=ids).values_list("market_id", flat=True)) | stored.keys()
    seen: dict[str, int] = {}
    for line, cells in lines:
        market_id = cells[ID_COLUMN]
        if not MARKET_ID.fullmatch(market_id):
            result.errors.append((line, f"{_shown(market_id)} is no marketId: 0x and 64 hexadecimal digits."))
        elif market_id in seen:
            result.errors.append((line, f"The market stands in line {seen[market_id]} already."))
        elif market_id not in known:
            result.errors.append((line, "There is no such market."))
        else:
            _compare(result, line, market_id, cells, stored.get(market_id, dict.fromkeys(FIELDS, "")))
        seen.setdefault(market_id, line)
    return result


def _compare(result: DryRun, line: int, market_id: str, cells: Mapping[str, str], stored: Mapping[str, str]) -> None:
    """A cell that says what is stored is left alone, whatever it is; others must be what the API takes."""
    named = {column: name for column, name in COLUMNS.items() if column in cells}
    body = MetadataEditSerializer(
        data={column: cells[column] for column, name in named.items() if cells[column] != stored[name]}
    )
    if not body.is_valid():
        result.errors += [(line, f"{column}: {' '.join(map(str, said))}") for column, said in body.errors.items()]
        return
    after = {name: value for name, value in body.validated_data.items() if value != stored[name]}
    if after:
        before = {name: stored[name] for name in after}
        result.changes.append(Change(line=line, market_id=market_id, before=before, after=after))


class _Unreadable(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _lines(data: bytes) -> list[tuple[int, dict[str, str]]]:
    """Each row by column, with the line that it ends on. Raises _Unreadable."""
    if len(data) > MAX_BYTES:
        raise _Unreadable(0, f"The file has {len(data):,} bytes; at most {MAX_BYTES:,} can be imported.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(data[: error.start].count(b"\n") + 1, "The file is not UTF-8.") from None
    if "\x00" in text:
        raise _Unreadable(text[: text.index("\x00")].count("\n") + 1, "The file has a NUL.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = [restored(name) for name in next(reader, [])]
        _check_header(header)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise _Unreadable(reader.line_num, f"The line has {len(cells)} cells; {len(header)} are expected.")
            if len(rows) >= MAX_ROWS:
                raise _Unreadable(reader.line_num, f"At most {MAX_ROWS:,} rows can be imported.")
            row = dict(zip(header, map(restored, cells), strict=True))
            row[ID_COLUMN] = row[ID_COLUMN].strip().lower()
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise _Unreadable(reader.line_num, f"The line is no CSV: {error}.") from None
    return rows


def _check_header(header: list[str]) -> None:
    unknown = [name for name in header if name != ID_COLUMN and name not in COLUMNS]
    if unknown:
        raise _Unreadable(1, f"Unknown column: {_shown(unknown[0])}. There are {ID_COLUMN}, {', '.join(COLUMNS)}.")
    if len(set(header)) < len(header):
        raise _Unreadable(1, "A column is there twice.")
    if ID_COLUMN not in header or len(header) < 2:
        raise _Unreadable(1, f"The first line must name {ID_COLUMN} and at least one other column.")


def _shown(text: str) -> str:
    return repr(text[:LONGEST_SHOWN])
