"""Paths of the markets app, below /api/."""

from django.urls import path

from markets import editing, price_views, quote_views, views

urlpatterns = [
    path("markets", views.MarketList.as_view()),
    path("markets/<str:id>", views.MarketDetail.as_view()),
    path("markets/<str:id>/metadata", editing.MarketMetadataView.as_view()),
    path("markets/<str:id>/positions", views.MarketPositions.as_view()),
    path("markets/<str:id>/prices", views.MarketPrices.as_view()),
    path("markets/<str:id>/prices/history", price_views.MarketPriceHistory.as_view()),
    path("markets/<str:id>/quote", quote_views.MarketQuote.as_view()),
    path("markets/<str:id>/trades", views.MarketTrades.as_view()),
    path("prices", price_views.PricesBatch.as_view()),
    path("prices/history", price_views.PriceHistoryBatch.as_view()),
    path("users/<str:address>/positions", views.UserPositions.as_view()),
    path("users/<str:address>/history", views.UserHistory.as_view()),
    path("users/<str:address>/portfolio", views.UserPortfolio.as_view()),
    path("leaderboard", views.Leaderboard.as_view()),
]
