"""PURE. Ids of stored rows, derived from what names the thing on chain: a replay gives the same ids."""

from functools import lru_cache
from hashlib import sha1
from uuid import UUID

NAMESPACE = UUID("6f1d6a5e-2c1b-5a57-9a34-617572756d00")
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the two highest bits of this digit are 10


def event_row_id(kind: str, *parts: object) -> str:
    """The id of a row that is one event's alone: as `row_id`, for ids that nobody asks for a second time."""
    name = f"{kind}:{':'.join([str(part) for part in parts])}"
    text = sha1(_PREFIX + name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


_PREFIX = NAMESPACE.bytes


@lru_cache(maxsize=50_000)  # a batch asks for the same rows many times
def row_id(kind: str, *parts: object) -> str:
    """The id of the `kind` of row that `parts` name, such as `row_id("market", market_id)`.

    A UUIDv5 (RFC 9562, section 5.5) in its usual form of 36 characters.
    """
    return event_row_id(kind, *parts)
