"""PURE. Ids of stored rows, derived from what names the thing on chain: a replay gives the same ids."""

from functools import lru_cache
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1d6a5e-2c1b-5a57-9a34-617572756d00")


@lru_cache(maxsize=100_000)  # a batch asks for the same rows many times
def row_id(kind: str, *parts: object) -> UUID:
    """The id of the `kind` of row that `parts` name, such as `row_id("market", market_id)`."""
    return uuid5(NAMESPACE, ":".join((kind, *map(str, parts))))
