"""Query parameters of oracle questions."""

import django_filters
from django.db.models import QuerySet

from aurum.filters import hex_parameter
from markets.models import Market
from oracle.lifecycle import State
from oracle.models import Question

STATES = [(state.value, state.value) for state in State]


class QuestionFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=STATES, method="by_state")
    market = django_filters.CharFilter(method="by_market")

    class Meta:
        model = Question
        fields: tuple[str, ...] = ()

    def by_state(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.in_state(State(value), self.request.parser_context["view"].chain_time)  # type: ignore[attr-defined]

    def by_market(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        market_id = hex_parameter(name, value, 32)
        return queryset.filter(question_id__in=Market.objects.filter(market_id=market_id).values("question_id"))
