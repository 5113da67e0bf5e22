"""Metadata as CSV: no formula gets out, an exported file changes nothing, a bad file says where and writes nothing."""

import base64
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from markets import metadata_csv
from markets.metadata_csv import dry_run, exported, neutralised, restored
from markets.models import Market, MarketMetadata, MetadataEdit
from operators.models import AuditEntry
from tests import factories
from tests.factories import HOSTILE

IMPORT = "/admin/markets/marketmetadata/import/"
EXPORT = "/admin/markets/marketmetadata/export/"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''@x", "\uff1d1+1", '=cmd|"/C calc"!A0']
PLAIN = ["", "Sport", "'Tis", "a=b", "1,2", 'say "hi"', "two\r\nlines", HOSTILE, "日本語"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_a_spreadsheet_would_run_is_text(cell: str) -> None:
    assert neutralised(cell) == f"'{cell}"
    assert restored(neutralised(cell)) == cell


@pytest.mark.parametrize("cell", PLAIN)
def test_plain_text_stays(cell: str) -> None:
    assert neutralised(cell) == restored(cell) == cell


@given(st.text(alphabet="=+-@'\t\r\nab\uff1d", max_size=6))
def test_any_cell_comes_back_and_none_begins_like_a_formula(cell: str) -> None:
    written = neutralised(cell)
    assert restored(written) == cell
    assert not re.match("[=+\\-@\t\r\n\uff1d]", written)


@pytest.fixture
def market() -> Market:
    return factories.make_market()


@pytest.fixture
def operator(client: Client) -> Client:
    user = User.objects.create_user("olga", is_staff=True)
    codenames = ["view_marketmetadata", "change_marketmetadata"]
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def upload(client: Client, data: bytes) -> Any:
    return client.post(IMPORT, {"file": SimpleUploadedFile("m.csv", data), "reason": "from the desk"})


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(content|digest|reason)" value="([^"]*)"', page))


@pytest.mark.django_db
def test_an_exported_file_imported_changes_nothing(operator: Client) -> None:
    for number, text in enumerate([*FORMULAS, *PLAIN]):
        market_id = factories.hex_id("metadata", number)
        MarketMetadata.objects.create(market_id=market_id, category=text[:64], description=text, resolution_source=text)
    answer = operator.get(EXPORT)
    data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert (answer["Content-Type"], data[:3]) == ("text/csv; charset=utf-8", b"\xef\xbb\xbf")
    found = dry_run(data)
    assert (found.rows, found.changes, found.errors) == (len(FORMULAS) + len(PLAIN), [], [])
    page = upload(operator, data).text
    assert "0 change a market, 0 errors" in page
    assert hidden(page) == {}
    assert not MetadataEdit.objects.exists()


@pytest.mark.django_db
def test_differences_are_seen_before_anything_is_written(operator: Client, market: Market) -> None:
    other = factories.make_market()
    MarketMetadata.objects.create(market=other, category="Old", description="stays")
    upper = f"0x{market.market_id[2:].upper()}"
    lines = ["marketId,category", f"{upper},'=HYPERLINK(1)", f"{other.market_id},"]
    page = upload(operator, "\r\n".join(lines).encode()).text
    assert "2 rows: 2 change a market, 0 errors. Nothing is written." in page
    assert "<td>=HYPERLINK(1)</td>" in page
    assert (MetadataEdit.objects.count(), AuditEntry.objects.count()) == (0, 0)
    assert operator.post(IMPORT, hidden(page)).status_code == 302
    assert list(MarketMetadata.objects.order_by("category").values_list("pk", "category", "description")) == [
        (other.market_id, "", "stays"),
        (market.market_id, "=HYPERLINK(1)", ""),
    ]
    assert list(MetadataEdit.objects.values_list("edited_by", flat=True)) == ["olga", "olga"]
    entries = AuditEntry.objects.filter(action="metadata.edit", actor="olga", reason="from the desk")
    assert sorted(entries.values_list("subject", flat=True)) == sorted(
        f"market:{each.market_id}" for each in (market, other)
    )


@pytest.mark.django_db
def test_every_column_is_brought_in(operator: Client, market: Market) -> None:
    cells = f'{market.market_id},Weather,"two\r\nlines",https://img.example/a.png,The Met Office'
    page = upload(operator, f"marketId,category,description,imageUrl,resolutionSource\r\n{cells}\r\n".encode()).text
    assert operator.post(IMPORT, hidden(page)).status_code == 302
    [row] = MarketMetadata.objects.values()
    assert row == {
        "market_id": market.market_id,
        "category": "Weather",
        "description": "two\r\nlines",
        "image_url": "https://img.example/a.png",
        "resolution_source": "The Met Office",
    }


@pytest.mark.django_db
def test_what_changed_since_is_shown_again(operator: Client, market: Market) -> None:
    page = upload(operator, f"marketId,category\n{market.market_id},New\n".encode()).text
    MarketMetadata.objects.create(market=market, category="Meanwhile")
    again = operator.post(IMPORT, hidden(page))
    assert "has changed since you saw the differences" in again.text
    assert MarketMetadata.objects.get().category == "Meanwhile"
    assert operator.post(IMPORT, hidden(again.text)).status_code == 302
    assert MarketMetadata.objects.get().category == "New"


A = "0x" + "ab" * 32
NAMES = "category, description, imageUrl, resolutionSource"
LARGE = b"marketId,category\n" + b"x" * 2**20


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("data", "errors"),
    [
        (b"", [(1, "The first line must name marketId and at least one other column.")]),
        (b"marketId\n", [(1, "The first line must name marketId and at least one other column.")]),
        (b"marketId,category,category\n", [(1, "A column is there twice.")]),
        (
            b"marketId,price\n",
            [(1, f"Unknown column: 'price'. There are marketId, {NAMES}.")],
        ),
        ("marketId,category\n".encode("utf-16"), [(1, "The file is not UTF-8.")]),
        (f"marketId,category\n{A},caf\xe9\n".encode("latin-1"), [(2, "The file is not UTF-8.")]),
        (f"marketId,category\n{A},a\x00b\n".encode(), [(2, "The file has a NUL.")]),
        (f"marketId,category\n{A}\n".encode(), [(2, "The line has 1 cells; 2 are expected.")]),
        (b'marketId,category\n"0x', [(2, "The line is no CSV: unexpected end of data.")]),
        (b"marketId,category\n0x12,a\n", [(2, "'0x12' is no marketId: 0x and 64 hexadecimal digits.")]),
        (f"marketId,category\n{A},a\n".encode(), [(2, "There is no such market.")]),
        (
            LARGE,
            [(0, "The file has 1,048,594 bytes; at most 716,800 can be imported.")],
        ),
    ],
)
def test_a_bad_file_says_where(data: bytes, errors: list[tuple[int, str]]) -> None:
    found = dry_run(data)
    assert (found.errors, found.changes) == (errors, [])


@pytest.mark.django_db
def test_one_bad_line_keeps_all_back(operator: Client, market: Market) -> None:
    other = factories.make_market()
    lines = [
        *("marketId,category,imageUrl", f"{market.market_id},Fine,", f"{market.market_id},Twice,"),
        *(f"{other.market_id},{'x' * 65},javascript:alert(1)", ""),
    ]
    assert dry_run("\n".join(lines).encode()).errors == [
        (3, "The market stands in line 2 already."),
        (4, "category: Ensure this field has no more than 64 characters."),
        (4, "imageUrl: Must be a URL that starts with https://."),
    ]
    page = upload(operator, "\n".join(lines).encode()).text
    assert "The market stands in line 2 already." in page
    assert hidden(page) == {}
    forged = {"content": base64.urlsafe_b64encode("\n".join(lines).encode()).decode(), "digest": "x", "reason": "r"}
    assert operator.post(IMPORT, forged).status_code == 200
    assert operator.post(IMPORT, forged | {"content": "no base64"}).status_code == 200
    assert not MarketMetadata.objects.exists()


@pytest.mark.django_db
def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_csv, "MAX_ROWS", 2)
    data = "\n".join(["marketId,category", *[f"{A},a"] * 3]).encode()
    assert dry_run(data).errors == [(4, "At most 2 rows can be imported.")]


@pytest.mark.django_db
def test_hostile_text_is_inert_on_the_page(operator: Client, market: Market) -> None:
    MarketMetadata.objects.create(market=market, description=HOSTILE)
    page = upload(operator, f"marketId,description\n{market.market_id},<script>alert(9)</script>\n".encode()).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(9)" in page


@pytest.mark.django_db
def test_who_may_only_look_imports_nothing(client: Client, market: Market) -> None:
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_marketmetadata"))
    client.force_login(viewer)
    assert upload(client, f"marketId,category\n{market.market_id},x\n".encode()).status_code == 403
    assert client.get(IMPORT).status_code == 403
    assert client.get(EXPORT).status_code == 200
    client.logout()
    assert client.get(EXPORT).status_code == 302


@pytest.mark.django_db
def test_the_export_is_made_row_by_row(market: Market) -> None:
    MarketMetadata.objects.create(market=market, category="@x")
    assert list(exported(MarketMetadata.objects.all())) == [
        *("\ufeff", "marketId,category,description,imageUrl,resolutionSource\r\n"),
        f"{market.market_id},'@x,,,\r\n",
    ]
