"""Sessions and watchlists for operators, read-only. Disabling a user ends all their sessions."""

from django.contrib import admin

from accounts.models import ApiSession, WatchedMarket
from aurum.admin import ReadOnlyAdmin


@admin.register(ApiSession)
class ApiSessionAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "created_at", "refreshed_at", "expires_at", "revoked_at", "revoked_because")
    list_select_related = ("user",)
    search_fields = ("id",)
    ordering = ("-created_at", "id")
    exclude = ("refresh_id",)


@admin.register(WatchedMarket)
class WatchedMarketAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "market_id", "added_at")
    list_select_related = ("user",)
    search_fields = ("market",)
    ordering = ("-id",)
    fields = ("user", "market_id", "added_at")
