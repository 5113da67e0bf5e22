"""Batches from nodes that limit, lag, leave out and lie: what comes out is what the chain has, or an error.

The chain holds a hundred blocks of our logs among foreign ones; everything goes over real HTTP.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from web3 import Web3

from indexer.chain import BranchChanged, InconsistentAnswer, MalformedAnswer
from indexer.decode import Contracts
from indexer.devchain.actions import Actions
from indexer.devchain.deploy import deploy
from indexer.devchain.node import Anvil
from indexer.events import CONDITIONAL_TOKENS, MARKET_FACTORY
from indexer.fetch import Batch, Fetcher
from indexer.rpc import Rpc, RpcError, RpcRefused, RpcUnavailable
from tests.fakes import FAULTS, RANGE_REFUSALS, FakeChain, FakeLog, FakeNode, Limits
from tests.indexer.test_bloom import BUY, CONTRACTS, FACTORY, FOREIGN, POOL, SINGLE, TOKENS, topic_of
from tests.indexer.test_rpc import Clock

DEPLOYED = topic_of(MARKET_FACTORY, "AMMDeployed")
LATER_POOL = "0x" + "b2" * 20
# What changes logs that a node truly has.
LIES = (
    "empty_logs",
    "omitted_log",
    "truncated_logs",
    "altered_log",
    "duplicated_log",
    "doubled_index",
    "shuffled_logs",
    "foreign_logs",
    "false_bloom",
)


def transfer(number: int) -> FakeLog:
    return FakeLog(address=TOKENS, topics=(SINGLE, f"0x{number:064x}"), data=number.to_bytes(32, "big"))


def foreign(number: int) -> FakeLog:
    return FakeLog(address=FOREIGN, topics=(SINGLE, f"0x{number:064x}"))


def buy(pool: str) -> FakeLog:
    return FakeLog(address=pool, topics=(BUY, "0x" + "00" * 32, "0x" + "00" * 32), data=bytes(96))


def announcement(pool: str) -> FakeLog:
    return FakeLog(address=FACTORY, topics=(DEPLOYED, "0x" + "07" * 32, "0x" + "00" * 12 + pool[2:]), data=bytes(64))


@pytest.fixture
def chain() -> FakeChain:
    """Every third block has logs of ours; POOL trades from block 10 and is announced in 50, LATER_POOL in 90."""
    chain = FakeChain()
    for number in range(1, 101):
        transactions: list[list[FakeLog]] = [[foreign(number), foreign(number + 1)]] if number % 2 else []
        if number % 3 == 0:
            transactions += [[transfer(number), foreign(number)], [], [transfer(number + 1)]]
        if number % 10 == 0:
            transactions.append([buy(POOL), buy(LATER_POOL)])
        if number in (50, 90):
            transactions.append([announcement(POOL if number == 50 else LATER_POOL)])
        chain.append(transactions)
    return chain


def expected(chain: FakeChain, first: int, last: int, known: Sequence[str] = ()) -> list[tuple[int, int, str]]:
    """(block, log index, address) of what a batch must have, read off the chain itself."""
    since = {POOL: 50, LATER_POOL: 90} | dict.fromkeys(known, 0)
    announced = {pool: block for pool, block in since.items() if block <= last and (block >= first or pool in known)}
    return [
        (block.number, index, log["address"])
        for block in chain.blocks[first : last + 1]
        for index, log in enumerate(block.logs())
        if log["address"] in (TOKENS, FACTORY) or block.number >= announced.get(log["address"], 10**9)
    ]


def places(batch: Batch) -> list[tuple[int, int, str]]:
    return [(log.block_number, log.log_index, log.address) for log in batch.logs]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(chain: FakeChain) -> Iterator[FakeNode]:
    with FakeNode(chain, stall=1.0) as node:
        yield node


@pytest.fixture
def honest(chain: FakeChain) -> Iterator[FakeNode]:
    with FakeNode(chain) as node:
        yield node


MakeFetcher = Callable[..., Fetcher]


@pytest.fixture
def make_fetcher(clock: Clock) -> MakeFetcher:
    def make(*nodes: FakeNode, span: int = 1000) -> Fetcher:
        urls = [node.url for node in nodes]
        return Fetcher(Rpc(urls, pause=clock.pause, clock=clock, random=Random(1), timeout=0.4), span=span)

    return make


# --- true nodes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted_below", [None, 0, 40, 49, 50, 51, 89, 90, 99, 100, 5000])
def test_far_and_near_give_the_same(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, trusted_below: int | None
) -> None:
    batch = make_fetcher(node).fetch(1, 100, CONTRACTS, trusted_below=trusted_below, parent_hash=chain.blocks[0].hash)
    assert places(batch) == expected(chain, 1, 100)
    assert (batch.first, batch.last.number, batch.last.hash) == (1, 100, chain.head.hash)
    assert batch.contracts.amms == {POOL, LATER_POOL}
    assert {number: header.hash for number, header in batch.headers.items()}.items() <= {
        block.number: block.hash for block in chain.blocks
    }.items()
    assert set(batch.headers) >= {number for number, *_ in places(batch)} | {100}
    assert set(batch.headers) >= set(range(min((trusted_below or 0) + 1, 101), 101))


@pytest.mark.parametrize("step", [1, 7, 10, 33])
@pytest.mark.parametrize("trusted_below", [None, 70, 100])
def test_any_partition_gives_the_same(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, step: int, trusted_below: int | None
) -> None:
    fetcher, contracts, found, parent = make_fetcher(node), CONTRACTS, [], chain.blocks[0].hash
    for first in range(1, 101, step):
        batch = fetcher.fetch(
            first, min(first + step - 1, 100), contracts, trusted_below=trusted_below, parent_hash=parent
        )
        found += places(batch)
        contracts, parent = batch.contracts, batch.last.hash
    assert found == expected(chain, 1, 100)


def test_near_the_head_ten_blocks_are_one_request(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    make_fetcher(node).fetch(1, 49, CONTRACTS)
    assert node.requests == {"eth_getBlockByNumber": 49, "eth_getLogs": 2 * 49}
    assert node.posts == 1 + 5


def test_far_from_the_head_is_one_request_twice(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    make_fetcher(node).fetch(1, 49, CONTRACTS, trusted_below=100)
    assert node.posts == 2 + 1
    assert node.requests == {"eth_getLogs": 2, "eth_getBlockByNumber": 2 + 16}


def test_known_amms_are_read_from_the_first_block(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    known = CONTRACTS.with_amms(frozenset({POOL}))
    for trusted_below in (None, 100):
        batch = make_fetcher(node).fetch(1, 49, known, trusted_below=trusted_below)
        assert places(batch) == expected(chain, 1, 49, [POOL])


# --- lies near the head -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_and_another_endpoint_believed(
    chain: FakeChain, node: FakeNode, honest: FakeNode, make_fetcher: MakeFetcher, clock: Clock, lie: str
) -> None:
    node.fail(lie, times=1000)
    fetcher = make_fetcher(node, honest)
    batch = fetcher.fetch(1, 100, CONTRACTS)
    assert places(batch) == expected(chain, 1, 100)
    health = fetcher.rpc.health()
    assert [endpoint["quarantined_until"] is None for endpoint in health] == [False, True]
    assert clock.pauses == []
    before = node.posts
    assert places(fetcher.fetch(1, 100, CONTRACTS)) == expected(chain, 1, 100)
    assert node.posts == before


@pytest.mark.parametrize("fault", [*LIES, "removed_log", "null_logs", "unknown_block", "internal_error"])
def test_a_lie_that_passes_is_asked_again(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, fault: str
) -> None:
    node.fail(fault, times=2, method="eth_getLogs")
    fetcher = make_fetcher(node)
    assert places(fetcher.fetch(1, 30, CONTRACTS)) == expected(chain, 1, 30)
    assert fetcher.rpc.health()[0]["quarantined_until"] is None


@pytest.mark.parametrize("lie", [*LIES, "removed_log", "null_logs"])
def test_a_lie_that_nobody_contradicts_is_an_error(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, clock: Clock, lie: str
) -> None:
    node.fail(lie, times=1000)
    with pytest.raises(InconsistentAnswer):
        make_fetcher(node).fetch(1, 100, CONTRACTS)
    assert 1 < sum(clock.pauses) < 30


@pytest.mark.parametrize("fault", ["removed_log", "null_logs"])
def test_what_may_be_no_lie_is_no_reason_for_quarantine(
    chain: FakeChain, node: FakeNode, honest: FakeNode, make_fetcher: MakeFetcher, fault: str
) -> None:
    node.fail(fault, times=1000)
    fetcher = make_fetcher(node, honest)
    assert places(fetcher.fetch(1, 100, CONTRACTS)) == expected(chain, 1, 100)
    assert fetcher.rpc.health()[0]["quarantined_until"] is None


def test_a_lagging_node_is_not_believed(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    """Its range queries answer empty lists, without an error."""
    node.lag = 30
    for trusted_below in (None, 100):
        with pytest.raises(MalformedAnswer, match="no block"):
            make_fetcher(node).fetch(60, 100, CONTRACTS, trusted_below=trusted_below)


@pytest.mark.parametrize("trusted_below", [None, 100])
def test_a_lagging_node_beside_another(
    chain: FakeChain, node: FakeNode, honest: FakeNode, make_fetcher: MakeFetcher, trusted_below: int | None
) -> None:
    node.lag = 30
    batch = make_fetcher(node, honest).fetch(60, 100, CONTRACTS, trusted_below=trusted_below)
    assert places(batch) == expected(chain, 60, 100)


def test_nodes_that_alternate(chain: FakeChain, make_fetcher: MakeFetcher) -> None:
    """One address before several nodes, of which some leave logs out: base/node#487."""
    with FakeNode(chain, seed=4, faults={"empty_logs": 0.4, "omitted_log": 0.1}) as node:
        fetcher, found, contracts = make_fetcher(node), [], CONTRACTS
        for first in range(1, 101, 4):
            for _ in range(5):
                with suppress(InconsistentAnswer):
                    batch = fetcher.fetch(first, first + 3, contracts)
                    break
            found += places(batch)
            contracts = batch.contracts
    assert found == expected(chain, 1, 100)
    assert node.served.total() > 10


# --- the chain changes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted_below", [None, 100])
def test_another_parent_is_told(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, trusted_below: int | None
) -> None:
    parent = chain.blocks[80].hash
    chain.reorg(25, [[[transfer(number)]] for number in range(25)])
    with pytest.raises(BranchChanged, match=f"block 81 follows on {chain.blocks[80].hash}, {parent} is known here"):
        make_fetcher(node).fetch(81, 100, CONTRACTS, trusted_below=trusted_below, parent_hash=parent)
    assert node.requests["eth_getLogs"] == 0


@pytest.mark.parametrize("at", ["eth_getBlockByNumber", "eth_getLogs"])
def test_a_reorganisation_between_two_requests(
    chain: FakeChain, make_fetcher: MakeFetcher, clock: Clock, at: str
) -> None:
    """The batch is of one branch, or there is none."""

    class Changing(FakeNode):
        def respond(self, body: bytes) -> Any:
            answer = super().respond(body)
            if at.encode() in body and not self.served["reorg"]:
                self.served["reorg"] += 1
                chain.reorg(40, [[[transfer(number)]] for number in range(40)])
            return answer

    with Changing(chain) as node:
        fetcher = make_fetcher(node)
        with pytest.raises(InconsistentAnswer, match="was replaced while it was read"):
            fetcher.fetch(1, 100, CONTRACTS)
        assert sum(clock.pauses) < 1
        assert places(fetcher.fetch(1, 100, CONTRACTS)) == expected(chain, 1, 100)


def test_a_rollback_between_two_requests(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    chain.rollback(10)
    with pytest.raises(MalformedAnswer, match="no block 91"):
        make_fetcher(node).fetch(85, 100, CONTRACTS)


def test_endpoints_on_two_branches(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    """What one knows as orphaned is not mixed with the other's."""
    other = FakeChain()
    other.blocks, other.blocks_by_hash, other.branch = chain.blocks[:91], dict(chain.blocks_by_hash), 7
    for number in range(10):
        other.append([[transfer(1000 + number)]])
    with FakeNode(other) as second:
        node.fail("reset", times=1, method="eth_getLogs")
        fetcher = make_fetcher(node, second)
        try:
            batch = fetcher.fetch(85, 100, CONTRACTS)
        except InconsistentAnswer:
            batch = fetcher.fetch(85, 100, CONTRACTS)
    assert places(batch) in (expected(chain, 85, 100), expected(other, 85, 100))


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", RANGE_REFUSALS, ids=lambda refusal: refusal[1][:40])
@pytest.mark.parametrize("limit", [{"blocks": 7}, {"blocks": 1}, {"results": 5}], ids=str)
def test_limits_however_worded(
    chain: FakeChain, make_fetcher: MakeFetcher, refusal: tuple[int, str], limit: dict[str, int]
) -> None:
    with FakeNode(chain, limits=Limits(refusal=refusal, **limit)) as node:
        fetcher = make_fetcher(node)
        assert places(fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)) == expected(chain, 1, 100)
        first = node.requests["eth_getLogs"]
        fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)
        assert node.requests["eth_getLogs"] - first <= first  # remembered


def test_a_range_that_is_answered_by_silence(chain: FakeChain, make_fetcher: MakeFetcher) -> None:
    with FakeNode(chain, limits=Limits(blocks=30, stall=True), stall=0.8) as node:
        fetcher = make_fetcher(node)
        assert places(fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)) == expected(chain, 1, 100)


@pytest.mark.parametrize(
    "limits",
    [
        {"ranges": False},
        {"addresses": 1},
        {"addresses": 2, "blocks": 10},
        {"whole_blocks": False},
        {"whole_blocks": False, "addresses": 1, "ranges": False},
        {"batch": 1},
        {"batch": 3, "results": 6},
    ],
    ids=str,
)
def test_nodes_that_allow_little(chain: FakeChain, make_fetcher: MakeFetcher, limits: dict[str, Any]) -> None:
    """By range and by hash, in live mode too (rindexer#181), also one block (safe#2127)."""
    with FakeNode(chain, limits=Limits(**limits)) as node:
        fetcher = make_fetcher(node)
        for trusted_below in (100, 60, None):
            batch = fetcher.fetch(1, 100, CONTRACTS, trusted_below=trusted_below)
            assert places(batch) == expected(chain, 1, 100)


def test_each_endpoint_has_its_own_limit(
    chain: FakeChain, node: FakeNode, honest: FakeNode, make_fetcher: MakeFetcher
) -> None:
    node.limits.blocks = 2
    fetcher = make_fetcher(node, honest)
    fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)
    before = honest.requests["eth_getLogs"]
    assert before == 51 + 26  # asked for what the first gave, two blocks a request; from 50 on for the AMMs too
    node.stop()
    fetcher.fetch(1, 49, CONTRACTS, trusted_below=100)
    assert honest.requests["eth_getLogs"] == before + 2
    node.start()


def test_a_node_that_refuses_everything_is_an_error(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher
) -> None:
    node.fail("internal_error", times=10_000, method="eth_getLogs")
    for trusted_below in (None, 100):
        before = node.posts
        with pytest.raises((RpcError, InconsistentAnswer)):
            make_fetcher(node).fetch(1, 100, CONTRACTS, trusted_below=trusted_below)
        assert node.posts - before < 100


@pytest.mark.parametrize("fault", ["error_500", "busy", "reset"])
def test_a_node_that_is_down_is_an_error(
    chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, fault: str
) -> None:
    node.fail(fault, times=10_000)
    fetcher = make_fetcher(node)
    for trusted_below in (None, 100):
        with pytest.raises(RpcUnavailable):
            fetcher.fetch(1, 100, CONTRACTS, trusted_below=trusted_below)
    node.heal()
    assert places(fetcher.fetch(1, 100, CONTRACTS)) == expected(chain, 1, 100)


# --- logs far from the head -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["removed_log", "null_logs", "doubled_index", "null_block", "unknown_block"])
def test_what_is_wrong_in_a_range(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher, fault: str) -> None:
    node.fail(fault, times=10_000)
    with pytest.raises((RpcRefused, InconsistentAnswer, MalformedAnswer)):
        make_fetcher(node).fetch(1, 100, CONTRACTS, trusted_below=100)
    node.heal()
    node.fail(fault, times=1)
    fetcher = make_fetcher(node)
    try:
        batch = fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)
    except InconsistentAnswer:
        batch = fetcher.fetch(1, 100, CONTRACTS, trusted_below=100)
    assert places(batch) == expected(chain, 1, 100)


@pytest.mark.parametrize("trusted_below", [None, 100])
def test_a_transaction_is_in_one_block(make_fetcher: MakeFetcher, trusted_below: int | None) -> None:
    chain = FakeChain()
    for _ in range(2):
        chain.append([("0x" + "ab" * 32, [transfer(1)])])
    with FakeNode(chain) as node, pytest.raises(InconsistentAnswer, match="in two blocks"):
        make_fetcher(node).fetch(1, 2, CONTRACTS, trusted_below=trusted_below)


def test_duplicates_in_a_range_count_once(chain: FakeChain, node: FakeNode, make_fetcher: MakeFetcher) -> None:
    node.fail("duplicated_log", times=10_000)
    batch = make_fetcher(node).fetch(1, 100, CONTRACTS, trusted_below=100)
    assert places(batch) == expected(chain, 1, 100)


# --- everything at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_faults_of_every_kind(chain: FakeChain, make_fetcher: MakeFetcher, seed: int) -> None:
    """Near the head nothing but the truth comes out; once the faults end, it comes out at once."""
    faults = {fault: 0.01 for fault in FAULTS if fault != "timeout"}
    with FakeNode(chain, seed=seed, faults=faults) as one, FakeNode(chain, seed=seed + 99, faults=faults) as two:
        fetcher = make_fetcher(one, two)
        contracts, found, parent, first = CONTRACTS, [], chain.blocks[0].hash, 1
        for _ in range(200):
            last = min(first + 6, 100)
            try:
                batch = fetcher.fetch(first, last, contracts, parent_hash=parent)
            except (RpcError, MalformedAnswer, InconsistentAnswer):
                continue
            found += places(batch)
            contracts, parent, first = batch.contracts, batch.last.hash, last + 1
            if first > 100:
                break
        assert found == expected(chain, 1, 100)


# --- a real node ------------------------------------------------------------------------------------------------------


def test_far_and_near_give_the_same_of_a_real_node(chain_of_anvil: tuple[Web3, Contracts]) -> None:
    w3, contracts = chain_of_anvil
    last = w3.eth.block_number
    fetcher = Fetcher(Rpc([w3.provider.endpoint_uri]), span=1000)
    near = fetcher.fetch(0, last, contracts)
    assert len(near.logs) > 20
    for trusted_below in (last, last - 5):
        assert fetcher.fetch(0, last, contracts, trusted_below=trusted_below).logs == near.logs


def test_an_orphan_of_a_real_node(chain_of_anvil: tuple[Web3, Contracts], clock: Clock) -> None:
    """anvil answers `unknown block` for it, null for the block, and keeps the height."""
    w3, contracts = chain_of_anvil
    rpc = Rpc([w3.provider.endpoint_uri], pause=clock.pause)
    last = w3.eth.block_number
    before = {number: rpc.header(number) for number in range(last - 3, last + 1)}
    fetcher = Fetcher(rpc, span=1000)
    w3.provider.make_request("anvil_reorg", [2, []])
    assert rpc.look().head.number == last
    w3.provider.make_request("evm_mine", [])
    with pytest.raises(BranchChanged):
        fetcher.fetch(last + 1, last + 1, contracts, parent_hash=before[last].hash)
    with pytest.raises(InconsistentAnswer, match="was replaced while it was read"):
        fetcher._blocks.read([before[last]], [TOKENS])
    assert sum(clock.pauses) < 1


@pytest.fixture
def chain_of_anvil() -> Iterator[tuple[Web3, Contracts]]:
    with Anvil(port=0) as node:
        w3 = Web3(Web3.HTTPProvider(node.url))
        deployment = deploy(w3)
        actions = Actions(w3, deployment)
        market = actions.deploy_amm(actions.create_market())
        for amount in range(1, 6):
            actions.buy(market, 0, amount * 1000, sender=actions.accounts[1])
        addresses = (deployment.market_factory, deployment.conditional_tokens)
        names = (MARKET_FACTORY, CONDITIONAL_TOKENS)
        yield w3, Contracts({address.lower(): name for address, name in zip(addresses, names, strict=True)})
