"""REST endpoints of oracle questions."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from aurum.cursors import PAGING
from aurum.pagination import KeysetPagination
from aurum.parameters import QUESTION_ID, by_name, choice, hex_word
from aurum.schema import page_of
from markets.models import Market
from markets.reading import ChainReadMixin, by_id
from oracle.lifecycle import State
from oracle.models import Question
from oracle.serializers import QuestionSerializer, markets_of, with_steps


class QuestionRead(ChainReadMixin):
    """Questions as they stand at the indexed block's time."""

    serializer_class = QuestionSerializer

    def get_queryset(self) -> QuerySet[Question]:
        return with_steps(Question.objects.all())

    def serialized(self, questions: list[Question]) -> Any:
        context = self.get_serializer_context() | {"markets": markets_of(questions)}
        return QuestionSerializer(questions, many=True, context=context).data


class QuestionList(QuestionRead, GenericAPIView):
    """All oracle questions, the newest first."""

    parameters = by_name(choice("state", [state.value for state in State]), hex_word("market", 32)) | PAGING
    ordering = ("-block_number", "-log_index")

    @extend_schema(responses=page_of(QuestionSerializer))
    def get(self, request: Request) -> Response:
        questions: Any = self.get_queryset()
        if "state" in self.asked:
            questions = questions.in_state(State(self.asked["state"]), self.chain_time)
        if "market" in self.asked:
            of_market = Market.objects.filter(market_id=self.asked["market"]).values("question_id")
            questions = questions.filter(question_id__in=of_market)
        pagination = KeysetPagination()
        page = pagination.paginate_queryset(questions, request, self)
        return pagination.get_paginated_response(self.serialized(page))


@extend_schema(parameters=[QUESTION_ID])
class QuestionDetail(QuestionRead, GenericAPIView):
    """One oracle question."""

    def get(self, request: Request, id: str) -> Response:
        return Response(self.serialized([get_object_or_404(self.get_queryset(), by_id(id, "question_id"))])[0])
