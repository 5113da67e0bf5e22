"""Ranges far from the head, which no header vouches for: two askings must agree, whole blocks settle where they do not.

The chain is that of test_fetch.py; everything goes over real HTTP.
"""

# ruff: noqa: F811 - fixtures are imported, and named again as parameters

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from indexer.chain import InconsistentAnswer
from indexer.fetch import Batch, Fetcher
from indexer.rpc import RpcUnavailable
from tests.fakes import FakeChain, FakeNode, Limits
from tests.indexer.test_bloom import CONTRACTS
from tests.indexer.test_fetch import (  # noqa: F401 - fixtures
    MakeFetcher,
    chain,
    clock,
    expected,
    honest,
    make_fetcher,
    node,
    places,
    transfer,
)
from tests.indexer.test_rpc import Clock

# What changes the logs of a range in a way that matters: the others are sorted, or counted once.
RANGE_LIES = ("empty_logs", "omitted_log", "altered_log", "doubled_index")


class Liar(FakeNode):
    """Tells the same lie each time: leaves all logs of `silent` blocks out of ranges, changes a topic in `altered`."""

    silent: range = range(0)
    altered: int = 0

    def _call(self, method: str, params: list[Any]) -> Any:
        result = super()._call(method, params)
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            result = [log for log in result if int(log["blockNumber"], 16) not in self.silent]
            for log in result:
                if int(log["blockNumber"], 16) == self.altered:
                    log["topics"][-1] = "0x" + "ab" * 32
        return result


@pytest.fixture
def liar(chain: FakeChain) -> Iterator[Liar]:
    with Liar(chain) as node:
        yield node


def far(fetcher: Fetcher) -> Batch:
    return fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "indexer.second_opinion"]


def quarantined(fetcher: Fetcher) -> list[bool]:
    return [endpoint["quarantined_until"] is not None for endpoint in fetcher.rpc.health()]


# --- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", RANGE_LIES)
@pytest.mark.parametrize("first", [True, False])
def test_a_lie_about_a_range_is_found(
    chain: FakeChain,
    node: FakeNode,
    honest: FakeNode,
    make_fetcher: MakeFetcher,
    clock: Clock,
    lie: str,
    first: bool,
) -> None:
    """Whichever of the two is asked first, the one that lied is passed over from then on."""
    node.fail(lie, times=1, method="eth_getLogs")
    fetcher = make_fetcher(node, honest) if first else make_fetcher(honest, node)
    assert places(far(fetcher)) == expected(chain, 1, 100)
    assert quarantined(fetcher) == ([True, False] if first else [False, True])
    assert clock.pauses == []


@pytest.mark.parametrize("lie", RANGE_LIES)
def test_one_node_contradicts_itself(
    chain: FakeChain,
    node: FakeNode,
    make_fetcher: MakeFetcher,
    lie: str,
) -> None:
    node.fail(lie, times=1, method="eth_getLogs")
    fetcher = make_fetcher(node)
    assert places(far(fetcher)) == expected(chain, 1, 100)
    assert quarantined(fetcher) == [False]


@pytest.mark.parametrize("nodes", [1, 2])
def test_what_everybody_leaves_out_each_time_is_believed(
    chain: FakeChain,
    liar: Liar,
    make_fetcher: MakeFetcher,
    nodes: int,
) -> None:
    """The limit of all this, which docs/indexer.md names."""
    liar.silent = range(42, 43)
    batch = far(make_fetcher(*[liar] * nodes))
    assert places(batch) == [place for place in expected(chain, 1, 100) if place[0] != 42]


def test_what_everybody_alters_is_not_in_the_bloom(
    chain: FakeChain,
    liar: Liar,
    make_fetcher: MakeFetcher,
) -> None:
    liar.altered = 42
    batch = far(make_fetcher(liar))
    assert places(batch) == expected(chain, 1, 100)
    assert batch.logs == make_fetcher(liar).fetch(1, 100, CONTRACTS).logs
    assert liar.requests["eth_getBlockByHash"] == 0


def test_headers_that_lie_are_not_believed_either(
    chain: FakeChain,
    node: FakeNode,
    honest: FakeNode,
    make_fetcher: MakeFetcher,
) -> None:
    node.fail("false_bloom", times=1000)
    fetcher = make_fetcher(node, honest)
    assert places(far(fetcher)) == expected(chain, 1, 100)
    assert quarantined(fetcher) == [True, False]
    assert honest.requests["eth_getBlockByHash"] == 10


@pytest.mark.parametrize("silent", [range(1, 101), range(42, 43), range(60, 100)])
def test_few_blocks_are_read_whole_for_one_that_lies_about_many(
    chain: FakeChain,
    honest: FakeNode,
    liar: Liar,
    make_fetcher: MakeFetcher,
    silent: range,
) -> None:
    """A node without the old logs answers empty lists. It is found out once, not for each block."""
    liar.silent = silent
    for nodes in ((honest, liar), (liar, honest)):
        fetcher, before = make_fetcher(*nodes), [dict(node.requests) for node in nodes]
        assert places(far(fetcher)) == expected(chain, 1, 100)
        assert quarantined(fetcher) == [node is liar for node in nodes]
        logs = [
            node.requests["eth_getLogs"] - old.get("eth_getLogs", 0) for node, old in zip(nodes, before, strict=True)
        ]
        assert sum(logs) <= 2 * 10 + 8  # by hash two calls a block


def test_an_announcement_that_is_left_out(
    chain: FakeChain,
    honest: FakeNode,
    liar: Liar,
    make_fetcher: MakeFetcher,
) -> None:
    liar.silent = range(50, 51)
    for nodes in ((honest, liar), (liar, honest)):
        assert places(far(make_fetcher(*nodes))) == expected(chain, 1, 100)


def test_both_lie_about_different_blocks(
    chain: FakeChain,
    liar: Liar,
    make_fetcher: MakeFetcher,
) -> None:
    liar.silent = range(42, 43)
    with Liar(chain) as other:
        other.silent = range(45, 46)
        fetcher = make_fetcher(liar, other)
        assert places(far(fetcher)) == expected(chain, 1, 100)
        assert quarantined(fetcher) == [True, True]


def test_two_chains_are_not_mixed(
    chain: FakeChain,
    honest: FakeNode,
    make_fetcher: MakeFetcher,
) -> None:
    other = FakeChain()
    other.blocks, other.blocks_by_hash, other.branch = chain.blocks[:91], dict(chain.blocks_by_hash), 7
    for number in range(10):
        other.append([[transfer(1000 + number)]])
    with FakeNode(other) as second, pytest.raises(InconsistentAnswer, match="block 100 is not the same for"):
        far(make_fetcher(honest, second))


def test_one_that_was_proved_wrong_is_not_believed_alone(
    chain: FakeChain,
    honest: FakeNode,
    liar: Liar,
    make_fetcher: MakeFetcher,
    clock: Clock,
) -> None:
    liar.silent = range(42, 43)
    fetcher = make_fetcher(liar, honest)
    far(fetcher)
    honest.stop()
    with pytest.raises(InconsistentAnswer, match="was proved wrong, and no other endpoint confirms its logs"):
        far(fetcher)
    honest.start()
    assert places(far(fetcher)) == expected(chain, 1, 100)


def test_a_block_that_no_node_gives_whole_is_asked_for_twice(
    chain: FakeChain,
    make_fetcher: MakeFetcher,
) -> None:
    """Near the head, where `eth_getLogs` is refused without an address."""
    faults = {"empty_logs": 0.05, "omitted_log": 0.05}
    for seed in range(5):
        limits = Limits(whole_blocks=False)
        with FakeNode(chain, seed=seed, limits=limits, faults=faults) as one, FakeNode(chain, limits=limits) as two:
            assert places(make_fetcher(one, two).fetch(1, 30, CONTRACTS)) == expected(chain, 1, 30)
            assert one.served.total() > 0


# --- a second endpoint that is not able -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "error_500", "busy", "null_logs"])
def test_a_hiccup_is_waited_out(
    chain: FakeChain,
    honest: FakeNode,
    node: FakeNode,
    make_fetcher: MakeFetcher,
    clock: Clock,
    fault: str,
) -> None:
    """The first lies, and the second is away for three attempts: it is heard nevertheless."""
    honest.fail("empty_logs", times=1, method="eth_getLogs")
    node.fail(fault, times=3, method="eth_getLogs")
    fetcher = make_fetcher(honest, node)
    assert places(far(fetcher)) == expected(chain, 1, 100)
    assert quarantined(fetcher) == [True, False]
    assert 0 < sum(clock.pauses) < 2


def test_one_that_is_dead_does_not_stop_the_sync(
    chain: FakeChain,
    honest: FakeNode,
    node: FakeNode,
    make_fetcher: MakeFetcher,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is missed once, asked again once in a while, and heard as soon as it is back."""
    caplog.set_level(logging.INFO, "indexer.second_opinion")
    fetcher = make_fetcher(honest, node)
    node.stop()
    for _ in range(5):
        assert places(far(fetcher)) == expected(chain, 1, 100)
    assert sum(clock.pauses) < 2
    clock.now += 61
    far(fetcher)
    assert len(said(caplog)) == 1
    assert "gives no second opinion on logs, others are asked twice" in said(caplog)[0]
    node.start()
    clock.now += 121
    before = honest.posts
    far(fetcher)
    # In each of six batches a range, and another from block 50 on for the AMMs.
    assert said(caplog)[1:] == [f"127.0.0.1:{node._port} gives second opinions again; 12 ranges went without"]
    assert (honest.posts - before, node.posts) == (2 + 1, 2)


@pytest.mark.parametrize("limits", [{"blocks": 2}, {"ranges": False}, {"results": 1}], ids=str)
def test_one_that_allows_too_little_does_not_stop_the_sync(
    chain: FakeChain,
    honest: FakeNode,
    node: FakeNode,
    make_fetcher: MakeFetcher,
    caplog: pytest.LogCaptureFixture,
    limits: dict[str, Any],
) -> None:
    caplog.set_level(logging.INFO, "indexer.second_opinion")
    node.limits = Limits(**limits)
    fetcher = make_fetcher(honest, node)
    for _ in range(3):
        assert places(far(fetcher)) == expected(chain, 1, 100)
    assert len(said(caplog)) == 1
    assert node.requests["eth_getLogs"] < 40
    assert honest.requests["eth_getLogs"] == 3 * 4


def test_one_that_needs_a_few_pieces_is_heard(
    chain: FakeChain,
    honest: FakeNode,
    node: FakeNode,
    make_fetcher: MakeFetcher,
) -> None:
    node.limits = Limits(blocks=20)
    honest.fail("omitted_log", times=1, method="eth_getLogs")
    fetcher = make_fetcher(honest, node)
    assert places(far(fetcher)) == expected(chain, 1, 100)
    assert quarantined(fetcher) == [True, False]


def test_every_piece_counts(
    chain: FakeChain,
    honest: FakeNode,
    node: FakeNode,
    make_fetcher: MakeFetcher,
) -> None:
    """Also where the last one is as empty as the lie is."""
    node.limits = Limits(blocks=1)
    honest.fail("empty_logs", times=1, method="eth_getLogs")
    fetcher = make_fetcher(honest, node)
    assert places(fetcher.fetch(3, 5, CONTRACTS, trusted_below=100)) == expected(chain, 3, 5) != []
    assert quarantined(fetcher) == [True, False]


def test_one_that_is_behind_does_not_stop_the_sync(
    chain: FakeChain,
    honest: FakeNode,
    node: FakeNode,
    make_fetcher: MakeFetcher,
) -> None:
    node.lag = 30
    assert places(far(make_fetcher(honest, node))) == expected(chain, 1, 100)


def test_one_node_that_does_not_answer_again_is_an_error(
    chain: FakeChain,
    make_fetcher: MakeFetcher,
) -> None:
    class Once(FakeNode):
        def respond(self, body: bytes) -> Any:
            if self.posts == 1:
                self.fail("reset", times=1000)
            return super().respond(body)

    with Once(chain) as node, pytest.raises(RpcUnavailable):
        far(make_fetcher(node))
