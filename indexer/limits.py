"""PURE. How much one request may ask for: learnt from what a node refuses, whatever words it uses."""

import re
from dataclasses import dataclass, field

# Successes at the ceiling before one request dares more; doubles each time that it is refused again.
CALM = 50
LONGEST_CALM = 6400

_RANGE = re.compile(r"(0x[0-9a-f]{1,16})\s*(?:-|,|to|and)\s*(0x[0-9a-f]{1,16})", re.I)
_NUMBER = r"([0-9][0-9,_]{0,11})"
_BLOCKS = (
    re.compile(rf"{_NUMBER}[ -]*block", re.I),  # "max 2,000 blocks", "exceeds 2000-block limit"
    re.compile(rf"block range[^0-9]{{0,40}}{_NUMBER}(?![0-9x])", re.I),  # "block range is limited to 500"
    re.compile(rf"{_NUMBER} range", re.I),  # "limited to a 10,000 range"
)


@dataclass(slots=True)
class Limit:
    """At most `value` a request, never above `most`. Halves when refused, remembers that, and grows again with care."""

    most: int
    value: int = 0
    _ceiling: int = field(init=False)
    _calm: int = field(default=CALM, init=False)
    _successes: int = field(default=0, init=False)
    _dared: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.value = min(self.value or self.most, self.most)
        self._ceiling = self.most

    def refused(self, asked: int, *, hint: int | None = None) -> None:
        """`asked` was too much. `hint`, the node's own word for the limit, is believed only where it is less."""
        if self._dared:
            self._calm, self._dared = min(2 * self._calm, LONGEST_CALM), False
        self._ceiling = max(1, asked - 1)
        self.value = hint if hint is not None and 1 <= hint < asked else max(1, asked // 2)
        self._successes = 0

    def allowed(self, asked: int) -> None:
        """`asked` was answered. One that asked for less than it might have proves nothing."""
        if asked < self.value:
            return
        self._successes += 1
        if self.value < self._ceiling:
            self.value = min(self._ceiling, self.value + max(1, self.value // 4))
        elif self._ceiling < self.most and self._successes >= self._calm:
            self._ceiling = min(self.most, 2 * self._ceiling)
            self._successes, self._dared = 0, True


def blocks_in(message: str, first: int) -> int | None:
    """The number of blocks from `first` that a refusal says would do, if it says one. It may be wrong."""
    found = _RANGE.search(message)
    if found and int(found[1], 16) == first <= int(found[2], 16):
        return int(found[2], 16) - first + 1
    for form in _BLOCKS:
        if found := form.search(message):
            return int(re.sub(r"[,_]", "", found[1]))
    return None
