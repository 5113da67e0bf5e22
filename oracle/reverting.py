"""What subscribers are told of questions when blocks are replaced (markets/reverting.py)."""

from collections.abc import Sequence
from typing import Any

from markets.book import Book, LogPosition
from markets.identity import row_id
from oracle import feeds
from oracle.rows import Question


def questions_touched(ids: Sequence[str]) -> list[str]:
    """The questions of these rows; call before they are restored."""
    return sorted(row.question_id for row in Question.table.by_id(ids).values()) if ids else []


def announce_questions(book: Book, question_ids: Sequence[str], fork: LogPosition) -> None:
    """Publishes where these questions stand at the end of the block `fork`; call after the rows were restored."""
    for question_id in question_ids:
        now = book.get(Question, row_id("question", question_id))
        message: dict[str, Any]
        if now is None:
            message = feeds.oracle_reverted(question_id, fork.timestamp)
        else:
            message = feeds.oracle_update(now, None, None, fork.timestamp) | {"corrected": True}
        for channel, scope in feeds.channels_of(question_id):
            book.publish_state(channel, message | scope, fork.block_number)
