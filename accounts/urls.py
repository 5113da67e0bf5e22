"""Paths of the accounts app, below /api/."""

from django.urls import path

from accounts import views
from aurum.attempts import limited

urlpatterns = [
    path("auth/nonce", limited("nonce", "SIGN_IN_LIMIT")(views.NonceView.as_view())),
    path("auth/verify", limited("verify", "SIGN_IN_LIMIT")(views.VerifyView.as_view())),
    path("auth/refresh", limited("refresh", "SIGN_IN_LIMIT")(views.RefreshView.as_view())),
    path("auth/logout", limited("logout", "SIGN_IN_LIMIT")(views.LogoutView.as_view())),
    path("me", views.MeView.as_view()),
    path("me/watchlist", views.WatchlistView.as_view()),
    path("me/watchlist/<str:id>", views.WatchedMarketView.as_view()),
]
