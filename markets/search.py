"""Search of markets: by the beginnings of words, else by any part of the question.

PostgreSQL's own full text, without a language: markets are asked in many. All words must be there, each as the
beginning of one, in the question or in what people added. Where no market has them (a part of a word, a script without
spaces, signs alone) questions are looked through for the text as it stands; an index of trigrams helps where there is
one.
"""

from aurum.parameters import Parameter, text
from markets.corrections import IN_FORCE
from markets.models import SEARCHED_DESCRIPTION, SEARCHED_QUESTION

MAX_LENGTH = 200  # characters of a search

# The expressions of the indexes, as Django writes them.
QUESTION_WORDS = f"to_tsvector('simple'::regconfig, COALESCE(LEFT(question, {SEARCHED_QUESTION}), ''))"
METADATA_WORDS = (
    "to_tsvector('simple'::regconfig, COALESCE(category, '') || ' ' ||"
    f" COALESCE(LEFT(description, {SEARCHED_DESCRIPTION}), ''))"
)
QUESTION_TEXT = f"lower(LEFT(question, {SEARCHED_QUESTION}))"
# A corrected question is found by what is shown, and by the chain's words still.
CORRECTED_QUESTION = f"c.field = 'question' AND {IN_FORCE}"
CORRECTED_TEXT = "(c.value #>> ARRAY[]::text[])"
CORRECTED_WORDS = f"to_tsvector('simple'::regconfig, {CORRECTED_TEXT})"
QUERY = "to_tsquery('simple', (%(search)s::text[])[1])"
# What is found first, and alone: the scan below starts only where that is nothing.
FOUND = f"""
    m.id = ANY(ARRAY(
        WITH words AS MATERIALIZED (
            SELECT id FROM markets WHERE {QUESTION_WORDS} @@ {QUERY}
            UNION
            SELECT id FROM markets JOIN market_metadata USING (market_id) WHERE {METADATA_WORDS} @@ {QUERY}
            UNION
            SELECT markets.id FROM markets JOIN market_corrections c USING (market_id)
            WHERE {CORRECTED_QUESTION} AND {CORRECTED_WORDS} @@ {QUERY}
        )
        SELECT id FROM words
        UNION ALL
        SELECT id FROM markets
        WHERE NOT EXISTS (SELECT FROM words) AND {QUESTION_TEXT} LIKE lower((%(search)s::text[])[2])
        UNION ALL
        SELECT markets.id FROM markets JOIN market_corrections c USING (market_id)
        WHERE NOT EXISTS (SELECT FROM words) AND {CORRECTED_QUESTION}
        AND lower({CORRECTED_TEXT}) LIKE lower((%(search)s::text[])[2])
    ))
"""  # noqa: S608


def read_search(value: str) -> list[str]:
    """The text as a query of full text, and as a pattern of LIKE."""
    return [prefix_query(value), contains_pattern(value)]


def prefix_query(value: str) -> str:
    """All words of the text, each as the beginning of one, in the syntax of to_tsquery. It splits them as indexed text.

    In its quotes nothing is an operator; quotes and backslashes themselves stand between words, as in text.
    """
    return " & ".join(f"'{word}':*" for word in value.translate(BETWEEN_WORDS).split())


def contains_pattern(value: str) -> str:
    return "%" + value.translate(LITERAL) + "%"


BETWEEN_WORDS = str.maketrans("'\\", "  ")
LITERAL = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})

_text = text("search", MAX_LENGTH)
SEARCH = Parameter(
    name="search",
    read=lambda value: read_search(_text.read(value)),
    schema=_text.schema,
    description="Words, or beginnings of words, of the question, category or description; else any part of a question.",
)
