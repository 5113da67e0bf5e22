"""How long a block takes from its announcement to its commit: a real node, real contracts, `manage.py run_indexer`.

`python -m tests.bench.latency DATABASE_URL` works on an empty database, and prints what it found as JSON: see Latency.
Needs the development chain's npm packages.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from queue import Empty, Queue
from random import Random
from threading import Event, Thread
from time import monotonic

import psycopg
from web3 import Web3
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from indexer.devchain.actions import DAY, Actions, Address, Market
from indexer.devchain.deploy import Deployment, deploy
from indexer.devchain.node import Anvil
from tests.bench.measure import Failed, run, running

SEED = 1
BLOCKS = 200  # that are measured
WARM_UP = 10  # blocks before them: the first ones prepare statements and fill caches
INTERVAL = 0.4  # seconds from one block to the next, so that none waits for the one before it
TRADES = (3, 6)  # in a block, at least and at most
MARKETS = 3
HOLDERS = 2_000  # of each market, beside the traders
HOLDERS_PER_TRANSACTION = 200  # the limits of their calls are below the block's gas limit together
POLL = 0.001  # seconds between two looks at the checkpoint, unless a notification comes first
PATIENCE = 30.0  # seconds that one block may take before the benchmark gives up
USDC = 10**6  # smallest units
SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of each block in turn, the milliseconds; and how many events all of them had."""

    milliseconds: list[float]
    events: int


class Announcements:
    """The node's own announcements: a subscriber beside the indexer's, which notes when each block came."""

    def __init__(self, url: str) -> None:
        self._socket = connect(url)
        self._heads: Queue[tuple[int, float]] = Queue()
        self._socket.send(SUBSCRIBE)
        self._socket.recv(timeout=PATIENCE)
        Thread(target=self._listen, daemon=True).start()

    def next(self) -> tuple[int, float]:
        """The next block that was announced, and when, by `monotonic`. Raises Failed."""
        try:
            return self._heads.get(timeout=PATIENCE)
        except Empty:
            raise Failed("the node announced no block") from None

    def forget(self) -> None:
        """Drops those that nobody has asked for."""
        while not self._heads.empty():
            self._heads.get()

    def _listen(self) -> None:
        with suppress(ConnectionClosed):  # when the node ends
            for message in self._socket:
                now = monotonic()
                self._heads.put((int(json.loads(message)["params"]["result"]["number"], 16), now))


class Commits:
    """What another connection sees of the indexer's commits."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("LISTEN outbox")

    def wait(self, block_number: int) -> float:
        """When the block was seen to be committed, by `monotonic`. Raises Failed."""
        deadline = monotonic() + PATIENCE
        while self._indexed() < block_number:
            if monotonic() > deadline:
                raise Failed(f"block {block_number} was not committed in {PATIENCE:.0f} s")
            for _ in self._connection.notifies(timeout=POLL, stop_after=1):
                pass
        return monotonic()

    def event_count(self) -> int:
        return self._one("SELECT event_count FROM checkpoint")

    def _indexed(self) -> int:
        return self._one("SELECT coalesce(max(block_number), -1) FROM checkpoint")

    def _one(self, query: str) -> int:
        row = self._connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else -1


class Miner(Actions):
    """Actions whose blocks are announced to `on_mining` while they are mined, and which ends before `mine` returns."""

    on_mining: Callable[[], None] | None = None

    def mine(self) -> None:
        mining = Thread(target=super().mine)
        mining.start()
        try:
            if self.on_mining is not None:
                self.on_mining()
        finally:
            mining.join()


def main(database_url: str) -> None:
    with Anvil(die_with_parent=True) as node:
        w3 = Web3(Web3.HTTPProvider(node.url))
        deployment = deploy(w3)
        actions = Miner(w3, deployment)
        markets = [_market(actions, number) for number in range(MARKETS)]
        environment = _environment(deployment, node, database_url)
        run(["manage.py", "migrate", "--verbosity", "0"], environment=environment)
        with running(["manage.py", "run_indexer"], environment=environment):
            commits = Commits(database_url)
            commits.wait(w3.eth.block_number)
            found = _measure(actions, markets, Announcements(node.ws_url), commits)
    print(json.dumps(asdict(found)))


def _measure(actions: Miner, markets: list[Market], announcements: Announcements, commits: Commits) -> Latency:
    milliseconds: list[float] = []
    random = Random(SEED)
    events_before = 0

    def measure() -> None:
        number, announced = announcements.next()
        milliseconds.append(1000 * (commits.wait(number) - announced))

    actions.on_mining = measure
    for block in range(WARM_UP + BLOCKS):
        due = monotonic() + INTERVAL
        if block == WARM_UP:
            events_before = commits.event_count()
        announcements.forget()
        with actions.several_in_one_block():
            for _ in range(random.randint(*TRADES)):
                _trade(actions, random.choice(markets), random)
        Event().wait(max(0.0, due - monotonic()))
    return Latency(milliseconds=milliseconds[WARM_UP:], events=commits.event_count() - events_before)


# --- the chain --------------------------------------------------------------------------------------------------------


def _market(actions: Actions, number: int) -> Market:
    """A market with an AMM, holders by the thousand, and traders who have enough of everything to go on with."""
    made = actions.create_market(f"Number {number}?", ("Yes", "No"), resolves_in=30 * DAY)
    market = actions.deploy_amm(made, liquidity=50_000 * USDC, fee=10**16)
    wallet = actions.deploy_wallet(actions.accounts[9])
    with actions.through(wallet):
        actions.split(market, HOLDERS * USDC, sender=wallet)
    for start in range(0, HOLDERS, HOLDERS_PER_TRANSACTION):
        with actions.through(wallet):
            for holder in range(start, start + HOLDERS_PER_TRANSACTION):
                actions.transfer(market, holder % 2, USDC, sender=wallet, to=_holder(holder))
    for trader in _traders(actions):
        actions.split(market, 2_000 * USDC, sender=trader)
        for outcome in range(2):
            # Also what gives the approvals, which are transactions of their own.
            actions.buy(market, outcome, 10 * USDC, sender=trader)
            actions.sell(market, outcome, USDC, sender=trader)
    return market


def _holder(number: int) -> Address:
    """An address that nobody has the key of, or needs it."""
    return Web3.to_checksum_address(f"0x{number + 10**20:040x}")


def _traders(actions: Actions) -> list[Address]:
    return actions.accounts[1:9]


def _trade(actions: Actions, market: Market, random: Random) -> None:
    """More than half buy, a quarter sells, as in the benchmark's other chain; none of it can fail."""
    trader, outcome = random.choice(_traders(actions)), random.randrange(2)
    kind = random.choices(("buy", "sell", "transfer", "split"), weights=(55, 25, 10, 10))[0]
    if kind == "buy":
        actions.buy(market, outcome, random.randint(USDC, 50 * USDC), sender=trader)
    elif kind == "sell":
        actions.sell(market, outcome, random.randint(USDC // 10, 5 * USDC), sender=trader)
    elif kind == "transfer":
        holder = _holder(random.randrange(2 * HOLDERS))
        actions.transfer(market, outcome, random.randint(1, USDC), sender=trader, to=holder)
    else:
        actions.split(market, random.randint(1, 10 * USDC), sender=trader)


def _environment(deployment: Deployment, node: Anvil, database_url: str) -> dict[str, str]:
    """What manage.py needs; every other setting of the indexer is at its default."""
    return {
        "PATH": os.environ["PATH"],
        "AURUM_ENV_FILES": "",
        "DJANGO_ENV": "development",
        "DATABASE_URL": database_url,
        "LOG_LEVEL": "warn",
        **dict(line.split("=", 1) for line in deployment.to_env().splitlines()),
        "RPC_WS_URL": node.ws_url,
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main(sys.argv[1])
