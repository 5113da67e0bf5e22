"""How a limit is learnt, remembered and tried again; and what may be read out of a refusal."""

import pytest

from indexer.limits import Limit, blocks_in


def find(limit: Limit, allowed: int, requests: int) -> tuple[int, int]:
    """Asks as the limit says; the refusals, and the largest request that was answered."""
    refusals = largest = 0
    for _ in range(requests):
        asked = limit.value
        if asked > allowed:
            refusals += 1
            limit.refused(asked)
        else:
            limit.allowed(asked)
            largest = max(largest, asked)
    return refusals, largest


@pytest.mark.parametrize("allowed", [1, 2, 3, 10, 37, 100, 999, 1000])
def test_it_finds_what_is_allowed_and_seldom_asks_for_more(allowed: int) -> None:
    refusals, largest = find(Limit(1000), allowed, 2000)
    assert allowed / 1.35 <= largest <= allowed
    assert refusals <= 60  # of 2,000


def test_it_grows_back_when_the_node_allows_more() -> None:
    limit = Limit(1000)
    find(limit, 10, 100)
    _, largest = find(limit, 1000, 2000)
    assert largest == 1000


def test_a_small_request_proves_nothing() -> None:
    limit = Limit(1000)
    limit.refused(1000)
    for _ in range(1000):
        limit.allowed(3)
    assert limit.value == 500


@pytest.mark.parametrize(("hint", "value"), [(20, 20), (499, 499), (1, 1), (500, 250), (10_000, 250), (0, 250)])
def test_a_hint_is_believed_where_it_is_less(hint: int, value: int) -> None:
    limit = Limit(500)
    limit.refused(500, hint=hint)
    assert limit.value == value


def test_it_never_goes_below_one() -> None:
    limit = Limit(3)
    for _ in range(5):
        limit.refused(limit.value)
    assert limit.value == 1


@pytest.mark.parametrize(
    ("message", "blocks"),
    [
        ("retry with the range 0x1-0x20", 32),
        ("this block range should work: [0x1, 0x14d]", 333),
        ("try from 0x1 to 0x2", 2),
        ("range 0x7-0x20", None),  # another range than was asked for
        ("range 0x1-0x0", None),
        ("max 2000 blocks", 2000),
        ("up to a 2,000 block range", 2000),
        ("exceed maximum block range: 5000", 5000),
        ("eth_getLogs is limited to a 10,000 range", 10_000),
        ("ranges over 10000 blocks are not supported on freetier", 10_000),
        ("query returned more than 10000 results", None),
        ("response exceeds 10485760 bytes", None),
        ("request timed out after 10 s", None),
        ("oops", None),
        ("", None),
    ],
)
def test_what_a_refusal_says(message: str, blocks: int | None) -> None:
    assert blocks_in(message, 1) == blocks
