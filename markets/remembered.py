"""PURE. What follows from a column's text, remembered: the same markets are shown again and again."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

ENTRIES = 20_000
LONGEST = 400  # characters of all arguments: some eight outcomes; of more, one entry can take half a megabyte


def remembered(function: Callable[..., T]) -> Callable[..., T]:
    """Remembers the results of a function of texts (or None), where they are short."""
    cached = lru_cache(maxsize=ENTRIES)(function)

    def call(*texts: str | None) -> T:
        return cached(*texts) if sum(len(text) for text in texts if text) <= LONGEST else function(*texts)

    return call
