"""Paths of the oracle app, below /api/."""

from django.urls import path

from oracle import views

urlpatterns = [
    path("oracle/questions", views.QuestionList.as_view()),
    path("oracle/questions/<str:id>", views.QuestionDetail.as_view()),
]
