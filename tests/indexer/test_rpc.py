"""Nodes that fail in every way that nodes do, served over real HTTP: what is asked still gets its true answer."""

import logging
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from indexer import endpoints
from indexer.chain import InconsistentAnswer, MalformedAnswer
from indexer.endpoints import _Answer
from indexer.rpc import Rpc, RpcBusy, RpcError, RpcRefused, RpcUnavailable
from tests.fakes import TRANSPORT_FAULTS, FakeChain, FakeNode

CANARY = "/v2/canary-key"


class Clock:
    """Seconds that pass only when somebody pauses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def chain() -> FakeChain:
    chain = FakeChain(calls=lambda to, data: "0x00ff" if to == "0x" + "11" * 20 else None)
    chain.mine(30)
    return chain


@pytest.fixture
def node(chain: FakeChain) -> Iterator[FakeNode]:
    with FakeNode(chain, path=CANARY, stall=1.5) as node:
        yield node


@pytest.fixture
def second(chain: FakeChain) -> Iterator[FakeNode]:
    with FakeNode(chain, path=CANARY) as node:
        yield node


def make_rpc(clock: Clock, *nodes: FakeNode, **options: Any) -> Rpc:
    return Rpc(
        [node.url for node in nodes], pause=clock.pause, clock=clock, random=Random(1), **{"timeout": 0.5} | options
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


def hosts_asked(rpc: Rpc) -> list[bool]:
    return [endpoint["healthy"] for endpoint in rpc.health()]


# --- what it answers --------------------------------------------------------------------------------------------------


def test_what_it_asks(chain: FakeChain, node: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node)
    assert rpc.chain_id() == 31337
    view = rpc.look(7)
    assert (view.head.number, view.head.hash, view.finalized, view.safe) == (30, chain.head.hash, 22, 26)
    assert view.block == rpc.header(7)
    assert (rpc.look().block, rpc.look(31).block) == (None, None)
    assert rpc.header(7).hash == chain.blocks[7].hash
    assert [header.number for header in rpc.headers([3, 9, 4]).values()] == [3, 9, 4]
    assert rpc.headers([]) == {}
    assert [header.hash for header in rpc.linked_headers(2, 30)] == [block.hash for block in chain.blocks[2:]]
    assert rpc.eth_call("0x" + "11" * 20, "0x") == b"\x00\xff"
    assert rpc.eth_call("0x" + "22" * 20, "0x") is None
    assert clock.pauses == []


def test_many_headers_are_few_requests(chain: FakeChain, node: FakeNode, clock: Clock) -> None:
    chain.mine(300)
    assert len(make_rpc(clock, node).linked_headers(0, 330)) == 331
    assert (node.posts, node.requests["eth_getBlockByNumber"]) == (4, 331)


@pytest.mark.parametrize("fault", TRANSPORT_FAULTS)
def test_every_fault_of_a_request_passes(chain: FakeChain, node: FakeNode, clock: Clock, fault: str) -> None:
    node.fail(fault, times=2)
    rpc = make_rpc(clock, node)
    assert [header.hash for header in rpc.linked_headers(5, 25)] == [block.hash for block in chain.blocks[5:26]]
    assert node.served[fault] == 2
    assert rpc.health()[0]["failures"] == 0


@pytest.mark.parametrize("fault", [*TRANSPORT_FAULTS, "null_block"])
def test_the_next_endpoint_answers_at_once(
    chain: FakeChain, node: FakeNode, second: FakeNode, clock: Clock, fault: str
) -> None:
    node.fail(fault)
    rpc = make_rpc(clock, node, second)
    assert [header.hash for header in rpc.linked_headers(5, 25)] == [block.hash for block in chain.blocks[5:26]]
    assert clock.pauses == []


def test_pauses_double_with_jitter_and_end(node: FakeNode, clock: Clock) -> None:
    node.fail("error_500", times=100)
    with pytest.raises(RpcUnavailable, match=r"no RPC endpoint answers: 127.0.0.1:\d+: eth_chainId: HTTP 500"):
        make_rpc(clock, node).chain_id()
    assert node.posts == 6
    assert [0.5 * 0.25 * 2**n <= pause <= 0.25 * 2**n for n, pause in enumerate(clock.pauses)] == [True] * 5


def test_time_ends_a_call_before_its_attempts_do(node: FakeNode, clock: Clock) -> None:
    node.fail("error_500", times=100)
    rpc = make_rpc(clock, node)
    rpc.pool.pause = lambda seconds: clock.pause(40)
    with pytest.raises(RpcUnavailable):
        rpc.chain_id()
    assert node.posts == 2


def test_all_down_then_up_again(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node, second)
    node.stop()
    second.stop()
    with pytest.raises(RpcUnavailable, match="no connection"):
        rpc.chain_id()
    assert sum(clock.pauses) < 10
    assert hosts_asked(rpc) == [False, False]
    clock.pauses.clear()
    second.start()
    assert rpc.chain_id() == 31337
    assert clock.pauses == []  # the first call finds out
    assert hosts_asked(rpc) == [False, True]
    node.start()


def test_it_comes_back_to_the_first_endpoint(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node, second)
    node.fail("reset")
    rpc.chain_id()
    rpc.chain_id()
    assert (node.posts, second.posts) == (1, 2)
    clock.now += 60
    rpc.chain_id()
    assert (node.posts, second.posts) == (2, 2)
    assert hosts_asked(rpc) == [True, True]


def test_a_failing_endpoint_is_left_alone_for_longer_each_time(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    node.fail("error_500", times=1000)
    rpc = make_rpc(clock, node, second)
    for _ in range(600):
        rpc.chain_id()
        clock.now += 1
    assert 10 <= node.posts <= 30  # of 600: after 1, 2, 4 ... 60 s
    assert rpc.health()[0]["failures"] == node.posts


@pytest.mark.parametrize(
    ("retry_after", "shortest", "longest"),
    [("3", 3, 3), ("0.5", 0.5, 0.5), ("7200", 8, 8), ("nonsense", 0.1, 0.25), (None, 0.1, 0.25), ("-5", 0.1, 0.25)],
)
def test_retry_after_is_respected_within_reason(
    node: FakeNode, clock: Clock, retry_after: str | None, shortest: float, longest: float
) -> None:
    node.retry_after = retry_after
    node.fail("busy")
    assert make_rpc(clock, node).chain_id() == 31337
    assert shortest <= sum(clock.pauses) <= longest + 0.25


def test_a_busy_endpoint_is_not_asked_while_another_answers(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    node.retry_after = "30"
    node.fail("busy")
    rpc = make_rpc(clock, node, second)
    for _ in range(29):
        rpc.chain_id()
        clock.now += 1
    assert (node.posts, second.posts) == (1, 29)
    clock.now += 5
    rpc.chain_id()
    assert node.posts == 2


@pytest.mark.parametrize("fault", ["null_block", "cut", "html", "batch_missing"])
def test_what_never_passes_is_an_error(node: FakeNode, clock: Clock, fault: str) -> None:
    node.fail(fault, times=100)
    with pytest.raises((RpcUnavailable, MalformedAnswer)):
        make_rpc(clock, node).headers([1, 2])


def test_a_block_that_nobody_has(node: FakeNode, clock: Clock) -> None:
    with pytest.raises(MalformedAnswer, match="no block 31"):
        make_rpc(clock, node).header(31)


def test_a_node_without_batches_is_asked_one_by_one(chain: FakeChain, node: FakeNode, clock: Clock) -> None:
    node.limits.batch = 1
    rpc = make_rpc(clock, node)
    assert len(rpc.linked_headers(1, 30)) == 30
    assert node.requests["eth_getBlockByNumber"] == 30 + 15 + 7 + 3 + 1 + 2 + 29
    before = node.posts
    rpc.linked_headers(1, 30)
    assert node.posts <= before + 31  # remembered, and once in a while tried again


def test_a_body_above_the_bound_is_not_read_to_its_end(
    node: FakeNode, second: FakeNode, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "LARGEST_BODY", 1000)
    with pytest.raises(RpcRefused, match="too large"):
        make_rpc(clock, node, second).headers(range(20))


def test_headers_that_do_not_follow_on_each_other(chain: FakeChain, node: FakeNode, clock: Clock) -> None:
    orphans = chain.reorg(5, [[]] * 5)
    chain.blocks[28] = orphans[2]  # what a node shows that reads while its chain changes
    with pytest.raises(InconsistentAnswer, match="block 27 is not the parent of 28"):
        make_rpc(clock, node).linked_headers(20, 30)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_refusal_gets_a_second_opinion(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    node.fail("internal_error")
    assert make_rpc(clock, node, second).eth_call("0x" + "11" * 20, "0x") == b"\x00\xff"
    node.fail("internal_error", times=2)
    second.fail("internal_error", times=2)
    with pytest.raises(RpcRefused, match=r"internal error \(code -32603\)") as refused:
        make_rpc(clock, node, second).eth_call("0x" + "11" * 20, "0x")
    assert refused.value.code == -32603
    assert len(clock.pauses) == 1


def test_a_call_that_reverts_is_none_and_one_that_fails_is_not(node: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node)
    assert rpc.eth_call("0x" + "22" * 20, "0x") is None
    node.fail("internal_error", times=2)
    with pytest.raises(RpcRefused):
        rpc.eth_call("0x" + "22" * 20, "0x")


@pytest.mark.parametrize(
    ("message", "reverts"),
    [
        ("execution reverted", True),
        ("VM execution error.", True),
        ("invalid opcode: INVALID", True),
        ("EVM error InvalidFEOpcode", True),
        ("out of gas", True),
        ("stack underflow (0 <=> 1)", True),
        ("invalid jump destination", True),
        ("execution aborted (timeout = 5s)", False),
        ("header not found", False),
        ("missing trie node", False),
    ],
)
def test_how_nodes_say_that_a_call_reverts(node: FakeNode, clock: Clock, message: str, reverts: bool) -> None:
    """What is the node's fault must not pass for the contract's answer."""
    node.limits.calls = (-32000, message)
    if reverts:
        assert make_rpc(clock, node).eth_call("0x" + "11" * 20, "0x") is None
    else:
        with pytest.raises(RpcRefused, match=re.escape(message)):
            make_rpc(clock, node).eth_call("0x" + "11" * 20, "0x")


@pytest.mark.parametrize(
    "message",
    ["project rate limit exceeded", "Too Many Requests", "50/second request limit: 50 per second", "daily quota used"],
)
def test_a_limit_of_time_is_waited_out(node: FakeNode, clock: Clock, message: str) -> None:
    endpoint = make_rpc(clock, node).pool.endpoints[0]
    with pytest.raises(RpcBusy):
        endpoint._result(("eth_getLogs", []), _Answer(error={"code": -32005, "message": message}))


# --- the head and the tags --------------------------------------------------------------------------------------------


def test_a_stale_endpoint_is_passed_over(chain: FakeChain, node: FakeNode, second: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node, second)
    assert rpc.look().head.number == 30
    node.lag = 7
    assert rpc.look().head.number == 30
    before = node.posts
    chain.mine(1)
    assert (rpc.look(31).head.number, rpc.header(31).number) == (31, 31)
    assert node.posts == before
    assert "its head is 23 where another's is 30" in rpc.health()[0]["last_error"]
    node.lag = 0
    clock.now += 11
    assert rpc.look().head.number == 31
    assert node.posts == before + 1


def test_a_head_that_goes_back_everywhere_is_told(chain: FakeChain, node: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node)
    assert rpc.look().head.number == 30
    chain.rollback(4)
    assert rpc.look().head.number == 26
    assert hosts_asked(rpc) == [True]


def test_the_view_of_the_furthest_endpoint_is_of_that_one_alone(
    chain: FakeChain, node: FakeNode, second: FakeNode, clock: Clock
) -> None:
    rpc = make_rpc(clock, node, second)
    rpc.look()
    node.lag = 7
    view = rpc.look(25)
    assert (view.head.number, view.finalized, view.safe) == (30, 22, 26)
    assert view.block == rpc.header(25)


def test_a_look_is_one_request(node: FakeNode, clock: Clock) -> None:
    make_rpc(clock, node).look(7)
    assert (node.posts, node.requests["eth_getBlockByNumber"]) == (1, 4)


def test_a_node_without_tags_is_seldom_asked_for_them(node: FakeNode, clock: Clock) -> None:
    node.tags = False
    rpc = make_rpc(clock, node)
    views = [rpc.look(7)]
    posts = node.posts
    views += [rpc.look(7) for _ in range(10)]
    assert node.posts == posts + 10
    assert {(view.head.number, view.finalized, view.safe, view.block) for view in views} == {
        (30, None, None, rpc.header(7))
    }
    assert hosts_asked(rpc) == [True]
    node.tags = True
    clock.now += 60
    assert (rpc.look().finalized, rpc.look().safe) == (22, 26)


def test_a_node_without_tags_and_batches(node: FakeNode, clock: Clock) -> None:
    node.tags, node.limits.batch = False, 1
    view = make_rpc(clock, node).look(7)
    assert (view.head.number, view.finalized, view.safe) == (30, None, None)
    assert view.block is not None


@pytest.mark.parametrize("fault", ["null_block", "internal_error"])
def test_a_tag_that_was_there_is_not_unlearnt(
    chain: FakeChain, node: FakeNode, second: FakeNode, clock: Clock, fault: str
) -> None:
    rpc = make_rpc(clock, node, second)
    assert rpc.look().safe == 26
    node.tags = False
    assert (rpc.look().safe, rpc.look().finalized) == (26, 22)
    assert hosts_asked(rpc) == [False, True]
    second.fail(fault, times=100)
    with pytest.raises((RpcError, MalformedAnswer)):
        rpc.look()


def test_a_block_that_must_be_there_and_is_not(node: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node)
    node.limits.batch = 1
    seen = node.requests.total()
    node.fail("null_block", times=1)
    assert rpc.look(7).block == rpc.header(7)
    assert node.requests.total() > seen + 4  # it was asked again


# --- what is told about it --------------------------------------------------------------------------------------------


def test_health(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    node.fail("error_500", times=2)
    rpc = make_rpc(clock, node, second)
    rpc.chain_id()
    first, other = rpc.health()
    host = node.url.removeprefix("http://").removesuffix(CANARY)
    assert first == {
        "host": host,
        "healthy": False,
        "quarantined_until": None,
        "quarantines": 0,
        "failures": 1,
        "last_error": f"{host}: eth_chainId: HTTP 500",
        "latency_ms": 0,
    }
    assert (other["healthy"], other["failures"], other["last_error"]) == (True, 0, "")


def test_a_quarantine_grows_and_ends(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node, second)
    liar = rpc.pool.endpoints[0]
    for seconds in (30, 60, 120):
        liar.quarantine(InconsistentAnswer("a lie"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rpc.health()[0]["quarantined_until"])
        assert hosts_asked(rpc) == [False, True]
        before = node.posts
        clock.now += seconds - 1
        rpc.chain_id()
        assert node.posts == before
        clock.now += 1
        rpc.chain_id()
        assert node.posts == before + 1
        assert hosts_asked(rpc) == [True, True]
    for _ in range(30):
        liar.quarantine(InconsistentAnswer("a lie"))
    assert liar.quarantined_until - clock.now == 3600
    assert [endpoint["quarantines"] for endpoint in rpc.health()] == [33, 0]


def test_a_quarantined_endpoint_is_better_than_none(node: FakeNode, clock: Clock) -> None:
    rpc = make_rpc(clock, node)
    rpc.pool.endpoints[0].quarantine(InconsistentAnswer("a lie"))
    assert rpc.chain_id() == 31337


def test_requests_are_observed(node: FakeNode, second: FakeNode, clock: Clock) -> None:
    seen: list[tuple[str, str]] = []
    node.fail("error_500")
    rpc = make_rpc(clock, node, second, observe=lambda host, method, outcome, seconds: seen.append((method, outcome)))
    rpc.headers([1, 2])
    assert seen == [("eth_getBlockByNumber", "RpcStruggled"), ("eth_getBlockByNumber", "ok")]


@pytest.mark.parametrize("fault", [*TRANSPORT_FAULTS[:-1], "internal_error", "null_block", "down"])
def test_nothing_tells_the_url(chain: FakeChain, clock: Clock, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeNode(chain, path="/canary-path?key=canary-key", stall=1.5) as node:
        url = node.url.replace("http://", "http://canary-user:canary-password@")
        if fault == "down":
            node.stop()
        else:
            node.fail(fault, times=100)
        rpc = Rpc([url], pause=clock.pause, clock=clock, timeout=0.3)
        with pytest.raises((RpcError, MalformedAnswer)) as error:
            rpc.headers([1, 2])
        assert error.value.__cause__ is None
        told = f"{error.value!r} {rpc.health()} {caplog.text} {error.value.__context__!r}"
        assert "127.0.0.1" in told
        assert "canary" not in told


def test_what_the_node_repeats_of_the_key_is_hidden() -> None:
    endpoint = Rpc(["https://me:pass-word@host.example/v2/abcdef123456?token=zyx987"]).pool.endpoints[0]
    message = endpoint._message([("eth_chainId", [])], "project abcdef123456 of me:pass-word with token zyx987 is over")
    assert message == (
        "host.example: eth_chainId: project [redacted] of [redacted]:[redacted] with token [redacted] is over"
    ).replace("[redacted]:[redacted]", "me:[redacted]")


def test_no_urls() -> None:
    with pytest.raises(ValueError, match="RPC_URL is not set"):
        Rpc([])
