"""Every HTTP path of the project."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from aurum import market_page, operations
from aurum.attempts import limited
from aurum.documents import AsyncApiView, OpenApiView, PageView
from aurum.live import LiveView, no_icon
from aurum.status import IndexerStatusView, StatusView
from operators.site import OperationsSite

admin.site.site_url = "/api/docs"
admin.site.index_template = "admin/operations.html"
OperationsSite.home = staticmethod(operations.home)

urlpatterns = [
    path("", RedirectView.as_view(url="/api/docs")),
    path("favicon.ico", no_icon),  # browsers ask for it on every page
    path("live", LiveView.as_view()),
    path(f"{settings.ADMIN_PATH}/login/", limited("admin login", "PASSWORD_LIMIT")(admin.site.login)),
    path(f"{settings.ADMIN_PATH}/operations.json", operations.as_json, name="operations"),
    path(f"{settings.ADMIN_PATH}/", include(market_page.admin_urls())),
    path(f"{settings.ADMIN_PATH}/", admin.site.urls),
    path("api/", include("markets.urls")),
    path("api/", include("oracle.urls")),
    path("api/", include("accounts.urls")),
    path("api/status", StatusView.as_view()),
    path("api/indexer/status", IndexerStatusView.as_view()),
    path("api/schema", OpenApiView.as_view(), name="schema"),
    path("api/asyncapi", AsyncApiView.as_view()),
    path("api/docs", PageView.as_view(url_name="schema")),
]

handler400 = "aurum.problems.bad_request"
handler403 = "aurum.problems.permission_denied"
handler404 = "aurum.problems.not_found"
handler500 = "aurum.problems.server_error"
