"""The channels of oracle questions as `/ws` offers them."""

from collections.abc import Mapping, Sequence

from djangorestframework_camel_case.render import CamelCaseJSONRenderer

from aurum.parameters import HEX
from markets.models import Checkpoint
from markets.protocol import Form
from markets.snapshots import Kind
from oracle import messages
from oracle.feeds import ORACLE_CHANNEL, question_channel
from oracle.models import Question
from oracle.serializers import QuestionSerializer, markets_of, with_steps


def read_questions(question_ids: Sequence[str]) -> Mapping[str, str]:
    """What REST says of these questions; of all of them, how many there are."""
    if "" in question_ids:
        return {"": f'{{"questions":{Question.objects.count()}}}'}
    questions = list(with_steps(Question.objects.filter(question_id__in=question_ids)))
    context = {"chain_time": Checkpoint.chain_time(Checkpoint.objects.first()), "markets": markets_of(questions)}
    shown = QuestionSerializer(questions, many=True, context=context).data
    return {each["question_id"]: CamelCaseJSONRenderer().render(each).decode() for each in shown}


KIND = Kind(
    form=Form(key="questionId", pattern=HEX[32], error="bad_question_id", is_optional=True),
    channel=lambda key: question_channel(key) if key else ORACLE_CHANNEL,
    read=read_questions,
    summary="Where questions stand: of one, or of all.",
    pushes=(messages.ORACLE_UPDATE, messages.ORACLE_REVERTED),
    snapshot=messages.A_QUESTION,
    snapshot_of_all=messages.QUESTION_COUNT,
    unknown="unknown_question",
)
