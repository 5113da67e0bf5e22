"""What the admin's pages share: rows that follow from the chain are read there and never written."""

import json
import re
import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import CharField, ForeignKey, IntegerField, Q, QuerySet, TextField, UUIDField
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from markets.fields import HexField, Uint256Field

# Rows that a filtered list counts to; whoever needs to see behind them narrows the search.
MOST_COUNTED = 10_000
SHORT = 80  # characters of a text in a list
# Marks that reorder the text around them, and controls: shown by their code, so that a name can't pose as another.
INVISIBLE = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
HEX = re.compile(r"0x[0-9a-f]+")
NUMBER = re.compile(r"[0-9]{1,78}")
UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def visible(text: str) -> str:
    """A chain's string with its invisible marks written out, such as [U+202E]; whoever shows it escapes it."""
    return INVISIBLE.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)


def shortened(text: str, length: int = SHORT) -> str:
    """The beginning of a chain's string, visible."""
    return visible(text if len(text) <= length else text[:length] + "…")


def pretty_json(value: Any) -> SafeString:
    """JSON over several lines, escaped."""
    return format_html("<pre>{}</pre>", visible(json.dumps(value, indent=2, ensure_ascii=False)))


def list_link(model: str, text: str, **filters: object) -> SafeString:
    """A link to a changelist (`app_model`), narrowed by `filters`."""
    return format_html('<a href="{}?{}">{}</a>', reverse(f"admin:{model}_changelist"), urlencode(filters), text)


def row_link(model: str, pk: object, text: str) -> SafeString:
    """A link to one row's page."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_change", args=[pk]), text)


def list_url(model: str, **filters: object) -> str | None:
    """A changelist's address, narrowed by `filters`; None where the admin has none of that model."""
    try:
        return f"{reverse(f'admin:{model}_changelist')}{'?' if filters else ''}{urlencode(filters)}"
    except NoReverseMatch:
        return None


def row_url(model: str, pk: object) -> str | None:
    """One row's address; None where the admin has none of that model."""
    try:
        return reverse(f"admin:{model}_change", args=[pk])
    except NoReverseMatch:
        return None


class Table(NamedTuple):
    """What a step's page shows: cells are texts, which it escapes."""

    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


def step_page(
    request: HttpRequest,
    title: str,
    *,
    submit: str,
    crumbs: Sequence[tuple[str, str]],
    form: forms.Form | None = None,
    intro: Sequence[str] = (),
    errors: Sequence[str] = (),
    tables: Sequence[Table] = (),
    hidden: Sequence[tuple[str, object]] = (),
) -> TemplateResponse:
    """A page on which somebody looks at what would change, says why, and confirms by POST to the same address.

    `crumbs` are (text, URL) on the way here, the last of which is where "Back" leads. No `submit`: no form.
    """
    context = admin.site.each_context(request) | {
        "title": title,
        "submit": submit,
        "crumbs": crumbs,
        "back": crumbs[-1][1],
        "form": form,
        "intro": intro,
        "errors": errors,
        "tables": tables,
        "hidden": hidden,
    }
    return TemplateResponse(request, "admin/step.html", context)


class ReasonForm(forms.Form):
    """Why somebody does something, for the audit."""

    reason = forms.CharField(max_length=1_000, widget=forms.Textarea(attrs={"rows": 2}))


class MaybeReasonForm(ReasonForm):
    """The same, of those who have something to say."""

    reason = forms.CharField(
        required=False, max_length=1_000, widget=forms.Textarea(attrs={"rows": 2}), help_text="For the audit."
    )


class EstimatingPaginator(Paginator):
    """Never counts a big table: its size is the planner's estimate, a filtered list's is counted up to a bound."""

    @cached_property
    def count(self) -> int:
        queryset: Any = self.object_list
        if not queryset.query.where:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [queryset.model._meta.db_table]
                )
                estimate = cursor.fetchone()[0]
            if estimate > MOST_COUNTED:
                return estimate
        return queryset.order_by()[:MOST_COUNTED].count()


class ListedFilter(admin.SimpleListFilter):
    """A filter by one of its own choices; the admin answers any other value with the whole list."""

    def value(self) -> str | None:
        chosen = super().value()
        if chosen and chosen not in {str(choice) for choice, _ in self.lookup_choices}:
            raise IncorrectLookupParameters(f"{self.parameter_name} can't be {chosen!r}")
        return chosen


class ExactSearchAdmin(admin.ModelAdmin):
    """Searches by what the term looks like, so that an index answers: hashes, addresses, ids and numbers exactly.

    `search_fields` are plain names; only texts that are none of those are searched within.
    """

    paginator = EstimatingPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 50

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        if any("\x00" in value for values in request.GET.lists() for value in values[1]):
            raise IncorrectLookupParameters("PostgreSQL has no NUL in its texts")
        return super().get_changelist_instance(request)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        found = Q(pk__in=[])
        for name in self.search_fields:
            field = self.opts.get_field(name)
            found |= _condition(name, field.target_field if isinstance(field, ForeignKey) else field, term)
        return queryset.filter(found), False


def _condition(name: str, field: Any, term: str) -> Q:
    """How a field is searched for a term; an empty Q where the term is nothing that the field can hold."""
    lowered = term.lower()
    is_hex, is_number, is_uuid = HEX.fullmatch(lowered), NUMBER.fullmatch(lowered), UUID_FORM.fullmatch(lowered)
    if isinstance(field, UUIDField):
        return Q(**{name: uuid.UUID(lowered)}) if is_uuid else Q()
    if isinstance(field, IntegerField | Uint256Field):
        return Q(**{name: int(lowered)}) if is_number else Q()
    if isinstance(field, HexField) or field.max_length == 66:
        return Q(**{name: lowered}) if is_hex and len(lowered) == field.max_length else Q()
    if isinstance(field, TextField | CharField):
        whole_hash = is_hex and len(lowered) in (42, 66)
        return Q() if whole_hash or is_uuid else Q(**{f"{name}__icontains": term})
    raise TypeError(f"{name} can't be searched")


class ReadOnlyAdmin(ExactSearchAdmin):
    """Rows that the indexer writes: an edit would make them differ from the chain until the next re-index undid it."""

    actions = None
    # A click on a column's head must not sort a big table.
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class BigTableAdmin(ReadOnlyAdmin):
    """A table without an index over all its rows by time: sorted by `newest_first` only where a filter narrows it."""

    newest_first: tuple[str, ...] = ("-block_number", "-log_index")
    # Query parameters behind which an index in that order stands.
    narrowing = ("q", "market__exact")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return self.newest_first if any(request.GET.get(name) for name in self.narrowing) else ("pk",)


class ReadOnlyTable(admin.TabularInline):
    """Rows of the chain on the page of the row that they belong to."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
