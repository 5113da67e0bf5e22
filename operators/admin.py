"""The audit for operators: it is read, and never written here."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from aurum.admin import HEX, ReadOnlyAdmin, pretty_json, shortened, visible
from operators import people_admin
from operators.models import AuditEntry

KINDS = ("question", "market", "wallet", "user", "group")  # of subjects

people_admin.register()


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("id", "at", "who", "action", "of", "why", "address", "request_id")
    list_display_links = ("id", "at")
    search_fields = ("subject", "actor", "request_id")
    search_help_text = "Subjects (whole, or by id alone), actors or request ids, exactly; several are joined"
    ordering = ("-id",)
    fields = ("at", "who", "address", "request_id", "action", "of", "whole_reason", "what_was", "what_is")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Whole values alone, so that indexes answer; an id is that of a question, a market or a wallet."""
        found = Q(pk__in=[])
        terms = search_term.replace("\x00", "").split()
        for term in terms:
            kind, _, rest = term.rpartition(":")
            lowered = f"{kind}:{rest.lower()}" if kind else term.lower()
            subjects = [term, lowered]
            if HEX.fullmatch(lowered) or lowered.isdecimal():
                subjects += [f"{each}:{lowered}" for each in KINDS]
            found |= Q(subject__in=subjects) | Q(actor=term) | Q(request_id=term)
        return queryset.filter(found) if terms else queryset, False

    @admin.display(description="actor")
    def who(self, entry: AuditEntry) -> str:
        return visible(entry.actor)

    @admin.display(description="subject")
    def of(self, entry: AuditEntry) -> str:
        return visible(entry.subject)

    @admin.display(description="reason")
    def why(self, entry: AuditEntry) -> str:
        return shortened(entry.reason)

    @admin.display(description="reason")
    def whole_reason(self, entry: AuditEntry) -> str:
        return visible(entry.reason)

    @admin.display(description="before")
    def what_was(self, entry: AuditEntry) -> SafeString:
        return pretty_json(entry.before)

    @admin.display(description="after")
    def what_is(self, entry: AuditEntry) -> SafeString:
        return pretty_json(entry.after)
