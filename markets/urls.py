"""Paths of the markets app, below /api/."""

from django.urls import path

from markets import views

urlpatterns = [
    path("markets", views.MarketList.as_view()),
    path("markets/<str:id>", views.MarketDetail.as_view()),
    path("markets/<str:id>/positions", views.MarketPositions.as_view()),
    path("markets/<str:id>/prices", views.MarketPrices.as_view()),
    path("markets/<str:id>/trades", views.MarketTrades.as_view()),
    path("users/<str:address>/positions", views.UserPositions.as_view()),
    path("users/<str:address>/history", views.UserHistory.as_view()),
    path("users/<str:address>/portfolio", views.UserPortfolio.as_view()),
    path("leaderboard", views.Leaderboard.as_view()),
]
