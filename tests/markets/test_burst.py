"""The same bytes to many real sockets by one system call."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest

from markets import burst as burst_module
from markets.burst import CALLS, MOST, Burst, burst, kernel

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Ours and the client's."""
    made: list[Pair] = []
    with socket.create_server(("127.0.0.1", 0), backlog=MOST) as server:
        for _ in range(50):
            client = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
            ours.setblocking(False)
            made.append((ours, client))
    yield made
    for pair in made:
        for each in pair:
            each.close()


@pytest.fixture
def unknown_kernel() -> Iterator[None]:
    kernel.cache_clear()
    yield
    kernel.cache_clear()


def burst_to(pairs: list[Pair]) -> Burst:
    made = burst([ours.fileno() for ours, _ in pairs])
    assert made is not None
    return made


def received(client: socket.socket) -> bytes:
    """All that has come."""
    came = b""
    client.setblocking(False)
    with suppress(BlockingIOError):
        while data := client.recv(2**20):
            came += data
    return came


def test_each_has_each_in_order(pairs: list[Pair]) -> None:
    first, second = burst_to(pairs[:20]), burst_to(pairs[20:])
    sent = [b"%d;" % number * (1 + number * 7) for number in range(20)]
    for data in sent:
        assert (first.write(data), second.write(data)) == ([], [])
    assert [received(client) for _, client in pairs] == [b"".join(sent)] * 50


@pytest.mark.parametrize("seed", range(5))
def test_who_does_not_read_is_told_of_and_has_what_it_took(pairs: list[Pair], seed: int) -> None:
    random, pairs = Random(seed), pairs[:10]
    slow = set(random.sample(range(10), 3))
    for place in slow:
        pairs[place][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    together, came, expected = burst_to(pairs), [b""] * 10, [b""] * 10
    partly = refused = 0
    for _ in range(60):
        data = random.randbytes(random.choice([1, 100, 3_000, 300_000]))
        rest = dict(together.write(data))
        partly += sum(0 < taken < len(data) for taken in rest.values())
        refused += sum(taken == 0 for taken in rest.values())
        for place, (_, client) in enumerate(pairs):
            expected[place] += data[: rest.get(place, len(data))]
            if place not in slow:
                came[place] += received(client)
    assert partly
    assert refused
    for place, (ours, client) in enumerate(pairs):
        ours.close()
        client.setblocking(True)
        while data := client.recv(2**20):
            came[place] += data
    assert came == expected


def test_who_has_gone_costs_the_others_nothing(pairs: list[Pair]) -> None:
    together = burst_to(pairs)
    pairs[7][1].close()
    together.write(b"a")  # is answered by a reset
    assert together.write(b"b") == [(7, 0)]
    assert [received(client) for place, (_, client) in enumerate(pairs) if place != 7] == [b"ab"] * 49


@pytest.mark.parametrize("closed", [0, 30, 49])
def test_behind_a_descriptor_that_is_none_nobody_is_looked_at(pairs: list[Pair], closed: int) -> None:
    together = burst_to(pairs)
    pairs[closed][0].close()
    assert together.write(b"a") == [(place, 0) for place in range(closed, 50)]
    assert [received(client) for _, client in pairs] == [b"a"] * closed + [b""] * (50 - closed)


def test_as_many_as_there_is_room_for(pairs: list[Pair]) -> None:
    descriptor = pairs[0][0].fileno()
    made = burst([descriptor] * MOST)
    assert made is not None
    assert made.write(b"a") == []
    assert received(pairs[0][1]) == b"a" * MOST
    with pytest.raises(ValueError, match="too many"):
        burst([descriptor] * (MOST + 1))


def test_there_is_none_where_one_has_no_descriptor(pairs: list[Pair]) -> None:
    assert burst([pairs[0][0].fileno(), None]) is None


@pytest.mark.usefixtures("unknown_kernel")
def test_there_is_none_on_another_platform(monkeypatch: pytest.MonkeyPatch, pairs: list[Pair]) -> None:
    monkeypatch.setattr(burst_module.platform, "machine", lambda: "riscv64")
    assert burst([pairs[0][0].fileno()]) is None


@pytest.mark.usefixtures("unknown_kernel")
@pytest.mark.parametrize(
    ("refused", "said"), [(0, "io_setup"), (1, "io_submit or io_getevents"), (2, "io_submit or io_getevents")]
)
def test_there_is_none_where_linux_refuses(
    refused: int, said: str, monkeypatch: pytest.MonkeyPatch, pairs: list[Pair], caplog: pytest.LogCaptureFixture
) -> None:
    no_such_call = 9_999
    calls = {machine: (*known[:refused], no_such_call, *known[refused + 1 :]) for machine, known in CALLS.items()}
    monkeypatch.setattr(burst_module, "CALLS", calls)
    with caplog.at_level(logging.INFO):
        assert burst([pairs[0][0].fileno()]) is None
        assert burst([pairs[0][0].fileno()]) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"frames are written one by one: [Errno {errno.ENOSYS}] {said}"
    ]


@pytest.mark.usefixtures("unknown_kernel")  # answers that nobody took would be the next call's
def test_what_became_of_them_must_be_known(monkeypatch: pytest.MonkeyPatch, pairs: list[Pair]) -> None:
    linux = kernel()
    assert linux is not None
    monkeypatch.setattr(linux, "_get", lambda *_: 0)
    together = burst_to(pairs)
    with pytest.raises(OSError, match="io_getevents"):
        together.write(b"a")
    monkeypatch.undo()
    assert together.write(b"b") == [(place, 0) for place in range(50)]  # by their transports, from now on
    assert [received(client) for _, client in pairs] == [b"a"] * 50
