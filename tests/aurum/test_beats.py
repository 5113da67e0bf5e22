"""The moments at which all that beats does so."""

from itertools import pairwise

import pytest

from aurum.beats import BEATS, LATEST, beat_after


def test_none_is_left_out_or_doubled() -> None:
    due, moments = 86_400.0, []
    for _ in range(20_000):
        due = beat_after(due, now=due + 0.004)
        moments.append(due)
    assert moments[0] == 86_400 + 1 / BEATS
    assert [round((later - earlier) * BEATS, 6) for earlier, later in pairwise(moments)] == [1] * 19_999


@pytest.mark.parametrize("begun", [7.0, 7.01, 7.049, 7.0999])
def test_whoever_begins_when_has_the_same(begun: float) -> None:
    assert beat_after(begun, now=begun) == 7.1


def test_what_is_late_catches_up_but_not_for_long() -> None:
    assert beat_after(7.1, now=7.1 + LATEST / 2) == 7.2
    assert beat_after(7.1, now=60.0) == pytest.approx(60.0 - LATEST + 1 / BEATS)
