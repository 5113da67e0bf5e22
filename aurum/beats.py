"""What all connections have now and then, a few have ten times a second. All that beats does so at the same moments, so
that the event loop wakes once for it: to wake costs more than most of what there is to do.
"""

from math import floor

BEATS = 10  # a second
LATEST = 1.0  # seconds: what is late catches up, but for no more than this


def beat_after(due: float, now: float) -> float:
    """The beat that follows the one that was `due`; both, and `now`, in seconds of the event loop's clock."""
    return (floor(max(due, now - LATEST) * BEATS + 1e-6) + 1) / BEATS
