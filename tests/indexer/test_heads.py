"""Announcements of new blocks over real WebSockets: at once, again after every fault, and never in the way."""

import logging
from collections.abc import Callable, Iterator
from random import Random
from threading import Event
from time import monotonic

import pytest
from web3 import Web3

from indexer import heads as heads_module
from indexer.devchain.node import Anvil
from indexer.heads import HeadSubscription
from tests.fakes import FakeChain, FakeHeads


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(heads_module, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def server() -> Iterator[FakeHeads]:
    with FakeHeads() as server:
        yield server


def until(condition: Callable[[], bool]) -> None:
    """Bounded."""
    for _ in range(500):
        if condition():
            return
        Event().wait(0.01)
    raise AssertionError("it did not happen in 5 s")


def assert_announcements_arrive(server: FakeHeads, heads: HeadSubscription) -> None:
    """One of several does: the connection may just be made anew."""
    for _ in range(100):
        server.announce(FakeChain().append())
        if heads.wait(0.05):
            return
    raise AssertionError("no announcement arrived in 5 s")


def subscribe(*servers: FakeHeads, silence: float = 30.0) -> HeadSubscription:
    return HeadSubscription([server.url for server in servers], silence=silence, random=Random(1))


def test_a_block_ends_the_wait(server: FakeHeads) -> None:
    chain = FakeChain()
    with subscribe(server) as heads:
        until(lambda: heads.connected)
        started = monotonic()
        assert not heads.wait(0.05)
        server.announce(chain.append())
        assert heads.wait(5)
        assert monotonic() - started < 1
        assert not heads.wait(0.05)  # each once
        server.announce(chain.append())
        until(lambda: heads.announced == 2)
        assert heads.wait(5)  # announced before the wait


def test_without_urls_it_only_waits() -> None:
    with HeadSubscription([]) as heads:
        started = monotonic()
        assert not heads.wait(0.05)
        assert 0.05 <= monotonic() - started < 1


def test_wake_and_stop_end_a_wait() -> None:
    heads = HeadSubscription([])
    heads.wake()
    assert heads.wait(5)
    heads.stop()
    assert heads.wait(5)


def test_a_cut_connection_is_made_again(server: FakeHeads) -> None:
    chain = FakeChain()
    with subscribe(server) as heads:
        for connections in range(1, 4):
            until(lambda: server.subscribed.is_set() and heads.connected)
            assert server.connections == connections
            server.announce(chain.append())
            assert heads.wait(5)
            server.drop()
            until(lambda: not heads.connected)


def test_a_silent_socket_is_left(server: FakeHeads) -> None:
    """squid-sdk#273: the connection stands, and nothing comes."""
    with subscribe(server, silence=0.2) as heads:
        until(lambda: server.connections >= 3)
        assert_announcements_arrive(server, heads)


def test_the_next_url_is_tried_and_a_server_that_is_back_is_found(server: FakeHeads) -> None:
    with FakeHeads() as second:
        server.stop()
        with subscribe(server, second) as heads:
            until(lambda: heads.connected)
            second.announce(FakeChain().append())
            assert heads.wait(5)
            second.stop()
            server.start()
            assert_announcements_arrive(server, heads)


@pytest.mark.parametrize("message", ["no json", "[]", "{}", "null", '{"error": {"code": 1}}', "x" * 2**21])
def test_nonsense_is_no_block_and_no_end(server: FakeHeads, message: str) -> None:
    with subscribe(server) as heads:
        until(lambda: heads.connected)
        server.announce(message)
        assert not heads.wait(0.1)
        assert_announcements_arrive(server, heads)


def test_a_node_without_subscriptions_costs_nothing_but_tries(server: FakeHeads) -> None:
    server.refuses = True
    with subscribe(server) as heads:
        until(lambda: server.connections >= 3)
        assert not heads.connected
        assert not heads.wait(0.05)


def test_nothing_tells_the_url(server: FakeHeads, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="indexer.heads.websocket")
    url = server.url.replace("ws://", "ws://canary-user:canary-password@") + "/canary-path?key=canary-key"
    with HeadSubscription([url, "ws://127.0.0.1:9/canary-path"], silence=0.1) as heads:
        until(lambda: server.connections >= 2)
        until(lambda: "no new heads from 127.0.0.1" in caplog.text)
    assert "canary" not in caplog.text
    assert not heads.connected


def test_a_real_node() -> None:
    with Anvil(port=0) as node, HeadSubscription([node.ws_url]) as heads:
        until(lambda: heads.connected)
        Web3(Web3.HTTPProvider(node.url)).provider.make_request("evm_mine", [])
        assert heads.wait(5)
