"""REST endpoints of oracle questions."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from markets.reading import ChainReadMixin, by_id
from oracle.filters import QuestionFilter
from oracle.models import Question, QuestionEvent
from oracle.serializers import QuestionSerializer, markets_of

QUESTION_ID = OpenApiParameter(
    "id", OpenApiTypes.STR, "path", description="The question's UUID, or its 0x… questionId."
)


class QuestionRead(ChainReadMixin):
    """Questions as they stand at the indexed block's time."""

    serializer_class = QuestionSerializer

    def get_queryset(self) -> QuerySet[Question]:
        timeline = Prefetch("timeline", QuestionEvent.objects.order_by("block_number", "log_index"))
        return Question.objects.prefetch_related("votes", timeline)

    def serialized(self, questions: list[Question]) -> Any:
        context = self.get_serializer_context() | {"markets": markets_of(questions)}
        return QuestionSerializer(questions, many=True, context=context).data


class QuestionList(QuestionRead, generics.ListAPIView):
    """All oracle questions, the newest first."""

    filterset_class = QuestionFilter
    ordering = ("-block_number", "-log_index")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.serialized(list(page or ())))


@extend_schema(parameters=[QUESTION_ID])
class QuestionDetail(QuestionRead, generics.GenericAPIView):
    """One oracle question."""

    single = True

    def get(self, request: Request, id: str) -> Response:
        return Response(self.serialized([get_object_or_404(self.get_queryset(), by_id(id, "question_id"))])[0])
