"""Whom a read is made of: the replica only where it has what the primary was heard to have."""

import pytest

from aurum.sources import LAG, NOTHING, REST, Server, Sources, block_of, seen_block

P, R = Server.PRIMARY, Server.REPLICA
ETAG = 'W/"0.1.0-{}-{:016x}-5-3-0"'


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def sources_at(block: int, lasts: float = 3.0) -> tuple[Sources, Clock]:
    clock = Clock()
    sources = Sources(has_replica=True, clock=clock)
    sources.hear(ETAG.format(block, 1), lasts)
    return sources, clock


def order(sources: Sources, seen: int | None = NOTHING) -> list[Server]:
    return [attempt.server for attempt in sources.attempts(seen)]


@pytest.mark.parametrize(
    ("headers", "block"),
    [
        ((b"", b""), -1),
        ((b"7", b""), 7),
        ((b"", ETAG.format(9, 1).encode()), 9),
        ((b"7", ETAG.format(9, 1).encode() + b", " + ETAG.format(8, 1).encode()), 9),
        # ETags of others, of a leaderboard, of an empty database, and half ones.
        ((b"0", b'"x", W/"1-2-3", *'), 0),
        ((b"", ETAG.format(4, 1).encode()[:-1] + b'-0badcafe"'), 4),
        ((b"", b'W/"0.1.0-0-1764226455000000"'), -1),
        ((b"", b'W/"0.1.0-12'), -1),
        ((b"", b'W/"' * 10_000), -1),
    ],
)
def test_the_block_that_a_client_has_seen(headers: tuple[bytes, bytes], block: int) -> None:
    assert seen_block(*headers) == block


@pytest.mark.parametrize("value", [b"-1", b"1.5", b"0x10", b"1e9", b" 1", b"9" * 19, b"\xd9\xa3", b"latest", b"1,2"])
def test_a_malformed_block(value: bytes) -> None:
    with pytest.raises(ValueError, match="Must be a block's number"):
        seen_block(value, b"")


def test_without_a_replica_there_is_the_primary() -> None:
    sources = Sources(has_replica=False)
    sources.hear(ETAG.format(5, 1), 3)
    assert order(sources) == [P]


def test_the_replica_is_asked_for_what_was_heard() -> None:
    sources, clock = sources_at(5)
    assert order(sources) == order(sources, 5) == [R, P, R]
    first = next(sources.attempts(5))
    assert first.takes(5, ETAG.format(5, 1))
    # A block that was replaced, one that is not there yet, and one that was not heard of.
    assert not first.takes(5, ETAG.format(5, 2))
    assert not first.takes(4, ETAG.format(4, 1))
    assert not first.takes(6, ETAG.format(6, 1))
    # The client has seen more than was heard; or its answer may hold what it wrote.
    assert order(sources, 6) == [P, R]
    assert order(sources, None) == [P]
    clock.now += 3
    assert order(sources, 5) == [P, R]


def test_what_is_not_known_is_asked_of_the_primary() -> None:
    assert order(Sources(has_replica=True)) == [P, R]
    sources, _ = sources_at(5)
    sources.hear("", 0)
    assert order(sources) == [P, R]


def test_without_the_primary_a_replica_must_have_what_was_heard_and_seen() -> None:
    sources, clock = sources_at(5)
    sources.hear("", 0)
    sources.failed(P, OSError())
    assert order(sources) == [R, P]
    for seen, least in ((NOTHING, 5), (5, 5), (7, 7)):
        replica = next(sources.attempts(seen))
        assert [block for block in (None, 4, 5, 6, 7, 8) if replica.takes(block, "")] == list(range(least, 9))
    clock.now += REST["primary"]
    # One request tries it again, the others don't wait for that.
    assert [order(sources) for _ in range(2)] == [[P, R], [R, P]]
    sources.answered(P)
    clock.now += REST["primary"]
    assert [order(sources) for _ in range(2)] == [[P, R], [P, R]]


def test_a_replica_that_is_behind_or_away_is_left_alone() -> None:
    sources, clock = sources_at(5, lasts=100)
    sources.behind()
    assert order(sources) == [P, R]
    clock.now += LAG
    assert order(sources) == [R, P, R]
    sources.failed(R, OSError())
    sources.behind()
    clock.now += REST["replica"] - 0.1
    assert order(sources) == [P, R]
    clock.now += 0.1
    assert [order(sources) for _ in range(2)] == [[R, P, R], [P, R]]
    sources.answered(R)


def test_a_chain_that_was_reset_is_followed_down() -> None:
    sources, _ = sources_at(5)
    sources.hear(ETAG.format(2, 1), 3)
    assert order(sources, 2) == [R, P, R]
    assert not next(sources.attempts(2)).takes(5, ETAG.format(5, 1))


def test_an_etag_without_a_block() -> None:
    assert block_of(b'W/"0.1.0-0"') == NOTHING
