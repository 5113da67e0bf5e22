"""What is said on `/ws` of oracle questions, as a table (markets/messages.py); feeds.py makes it."""

from typing import Any

from aurum.sqljson import AMOUNT
from markets.messages import (
    ADDRESS,
    AMOUNTS,
    BYTES32,
    CORRECTED,
    COUNT,
    EVENT,
    IN_EVENT,
    IN_STATE,
    OF_EVENT,
    STATE,
    Schema,
    Snapshot,
    described,
    nullable,
    push,
)
from oracle.examples import QUESTION
from oracle.feeds import ORACLE_CHANNEL
from oracle.lifecycle import State

EVENTS = (
    *("QuestionRegistered", "OutcomeProposed", "ProposalDisputed", "VoteCommitted", "VoteRevealed"),
    *("QuestionResolved", "QuestionVoided"),
)
MOMENT: Schema = {"type": "string", "format": "date-time"}
ALL: Schema = {"const": True, "description": "In the channel of all questions, which has a `seq` of its own."}


def _or_null(**properties: Schema) -> dict[str, Any]:
    return {**described(properties), "type": ["object", "null"]}


ORACLE_UPDATE = push(
    "oracle_update",
    "Where a question stands behind `event`, and the vote that it is about. Without an event after a reorganisation.",
    [ORACLE_CHANNEL],
    {
        "questionId": BYTES32,
        "event": {"enum": [*EVENTS, None]},
        "state": {"enum": [state.value for state in State]},
        "proposal": _or_null(proposer=ADDRESS, payouts=AMOUNTS, stake=AMOUNT, proposedAt=MOMENT, expiresAt=MOMENT),
        "dispute": _or_null(disputer=ADDRESS, payouts=AMOUNTS, stake=AMOUNT, disputedAt=MOMENT),
        "vote": _or_null(
            voter=ADDRESS,
            commitHash=BYTES32,
            payouts=nullable(AMOUNTS),
            weight=nullable(AMOUNT),
            committedAt=MOMENT,
            revealedAt=nullable(MOMENT),
        ),
        "payouts": nullable(AMOUNTS),
        "deadlines": described(dict.fromkeys(("challenge", "commit", "reveal", "stale"), nullable(MOMENT))),
        **EVENT,
        "all": ALL,
        "corrected": CORRECTED,
    },
    {name: QUESTION[name] for name in ("questionId", "state", "proposal", "dispute", "payouts", "deadlines")}
    | {"event": "VoteRevealed", "vote": QUESTION["votes"][0]}  # type: ignore[index]
    | IN_EVENT
    | {"all": True, "corrected": True},
    optional=(*OF_EVENT, "all", "corrected"),
)
ORACLE_REVERTED = push(
    "oracle_reverted",
    "A reorganisation took the question off the chain. Registered again, it comes as `oracle_update`.",
    [ORACLE_CHANNEL],
    {"questionId": BYTES32, **STATE, "all": ALL},
    {"questionId": QUESTION["questionId"], **IN_STATE, "all": True},
    optional=("all",),
)

A_QUESTION = Snapshot(schema={"$ref": "#/components/schemas/Question"}, example=QUESTION)
QUESTION_COUNT = Snapshot(schema=described({"questions": COUNT}), example={"questions": 45})
