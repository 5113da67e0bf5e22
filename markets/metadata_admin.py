"""The admin's export of metadata as CSV, and its import: a dry run first, then all of it or nothing."""

import base64
import binascii
import hashlib
import json

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from aurum.admin import Table, shortened, step_page, visible
from markets.metadata import edit_as_staff
from markets.metadata_csv import COLUMNS, ID_COLUMN, MAX_BYTES, MAX_ROWS, DryRun, dry_run, exported
from markets.models import MarketMetadata

MOST_SHOWN = 500  # differences and errors on one page; the rest is counted


class ImportForm(forms.Form):
    file = forms.FileField(help_text=f"CSV in UTF-8, up to {MAX_ROWS:,} rows and {MAX_BYTES // 1024:,} KiB.")
    reason = forms.CharField(max_length=1_000, widget=forms.Textarea(attrs={"rows": 2}))


class ConfirmForm(forms.Form):
    """What the dry run was of: the file itself, for nothing is kept between the two steps."""

    content = forms.CharField(max_length=2 * MAX_BYTES)
    digest = forms.CharField(max_length=64)
    reason = forms.CharField(max_length=1_000)


def export(request: HttpRequest) -> StreamingHttpResponse:
    """All metadata as a file that spreadsheets open, and that can be imported."""
    if not request.user.has_perm("markets.view_marketmetadata"):
        raise PermissionDenied
    rows = MarketMetadata.objects.order_by("pk").iterator(chunk_size=1_000)
    response = StreamingHttpResponse(exported(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="market-metadata.csv"'
    response["Cache-Control"] = "no-store"
    return response


def bring_in(request: HttpRequest) -> HttpResponse:
    """Takes a file, shows what it would change line by line, and makes that when it is confirmed."""
    if not request.user.has_perm("markets.change_marketmetadata"):
        raise PermissionDenied
    confirm = ConfirmForm(request.POST if "content" in request.POST else None)
    if confirm.is_bound and confirm.is_valid():
        asked = confirm.cleaned_data
        try:
            data = base64.b64decode(asked["content"], altchars=b"-_", validate=True)
        except binascii.Error:
            data = b"\xff"  # no file of ours: as one that is not UTF-8
        return _made(request, data, asked["digest"], asked["reason"])
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if form.is_bound and form.is_valid():
        data = form.cleaned_data["file"].read(MAX_BYTES + 1)
        return _preview(request, data, dry_run(data), form.cleaned_data["reason"])
    return step_page(
        request,
        "Import metadata",
        intro=[
            f"The first line names the columns: {ID_COLUMN}, and any of {', '.join(COLUMNS)}. What no column names"
            " stays; an empty cell empties. You see every difference before anything is written."
        ],
        form=form,
        submit="Show the differences",
        crumbs=_crumbs(),
    )


def _made(request: HttpRequest, data: bytes, digest: str, reason: str) -> HttpResponse:
    with transaction.atomic():
        found = dry_run(data)
        if found.errors or _digest(found) != digest:
            changed = "What is stored has changed since you saw the differences. These are they now:"
            return _preview(request, data, found, reason, errors=[changed])
        for change in found.changes:
            edit_as_staff(request, change.market_id, change.after, reason)
    messages.success(request, f"The metadata of {len(found.changes)} markets were changed.")
    return redirect("admin:markets_marketmetadata_changelist")


def _preview(
    request: HttpRequest, data: bytes, found: DryRun, reason: str, errors: tuple[str, ...] | list[str] = ()
) -> HttpResponse:
    wrong = [(line, visible(said)) for line, said in found.errors[:MOST_SHOWN]]
    differences = [
        (change.line, change.market_id, name, shortened(change.before[name]), shortened(change.after[name]))
        for change in found.changes[:MOST_SHOWN]
        for name in change.after
    ]
    tables = [Table(("line", "error"), wrong, caption="Errors")] if wrong else []
    if differences:
        heads = ("line", "market", "field", "before", "after")
        tables.append(Table(heads, differences, caption="Differences"))
    can_be = bool(found.changes) and not found.errors
    said = f"{found.rows} rows: {len(found.changes)} change a market, {len(found.errors)} errors. Nothing is written."
    # Without signs that a form writes as three characters each.
    content = base64.urlsafe_b64encode(data).decode() if can_be else ""
    return step_page(
        request,
        "Confirm the import",
        intro=[said],
        errors=errors,
        tables=tables,
        hidden=[("content", content), ("digest", _digest(found)), ("reason", reason)] if can_be else (),
        submit=f"Change {len(found.changes)} markets" if can_be else "",
        crumbs=[*_crumbs(), ("Import metadata", reverse("admin:markets_marketmetadata_import"))],
    )


def _digest(found: DryRun) -> str:
    """What the differences are: whoever confirms confirms these."""
    listed = [[change.market_id, dict(change.before), dict(change.after)] for change in found.changes]
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def _crumbs() -> list[tuple[str, str]]:
    return [("Market metadata", reverse("admin:markets_marketmetadata_changelist"))]
