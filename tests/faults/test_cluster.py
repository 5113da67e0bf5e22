"""All that a larger deployment has, at once: two web processes, a primary and a replica, Valkey, two indexers.

Under load each of them is killed and started again, the replica falls behind, and becomes the primary in the end.
Clients that ask another web process each time see no wrong answer, none older than what they have seen, and miss no
message. `make cluster SEEDS=5` runs five seeds, `CLUSTER_SEED=3` one of them again.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import Bots
from indexer.devchain.deploy import Deployment, deploy
from indexer.devchain.node import Anvil
from tests.cluster import Server, django_on, migrate
from tests.faults.follower import Follower, assert_is_the_outbox, following, has_heard_all
from tests.faults.reader import Answer, Reader, reading
from tests.nursery import Indexer, Nursery, wait_until
from tests.processes import WebServer
from tests.snapshots import assert_messages_are_complete
from tests.truth import Truth
from tests.valkey import url, valkey

pytestmark = pytest.mark.django_db(transaction=True)

MANY = int(os.environ.get("CLUSTER_SEEDS") or 1)
SEEDS = [int(seed)] if (seed := os.environ.get("CLUSTER_SEED")) else list(range(MANY))
HISTORY = 10_000  # blocks whose state the node keeps: the truth of each is asked for
HEALTHY = 60.0  # seconds
STEPS = 3  # of the bots while something is away
BLOCK = "SELECT block_number FROM checkpoint"
END_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lived' AND pid <> pg_backend_pid()
"""
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')"
READ = "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = 'lived'"
# While the primary is away it may be said that it is, and a web process that is away answers nothing.
MAY_BE_UNAVAILABLE = {"end_connections", "fail_over"}
MAY_REFUSE = {"kill_web_0", "kill_web_1"}


class Cluster:
    """The deployment, and what happens to it."""

    def __init__(self, seed: int, make_server: Callable[..., Server], folder: Path, stack: ExitStack) -> None:
        self.dice = random.Random(seed)
        self.stack = stack
        self.moment = "quiet"
        self.w3 = Web3(Web3.HTTPProvider(stack.enter_context(Anvil(port=0, history_blocks=HISTORY)).url))
        self.deployment = deploy(self.w3)
        self.bots = Bots(Actions(self.w3, self.deployment), seed=seed)
        self.bots.settle_in()
        for _ in range(2):
            self.bots.open_market()
        self.first = make_server("first").initialise().start()
        self.first.query("CREATE DATABASE lived")
        migrate(self.first.url("lived"))
        self.replica = make_server("replica").copy(self.first).start()
        self.redis = stack.enter_context(valkey())
        hosts = f"{self.first.host},{self.replica.host}"
        database = f"postgresql:///lived?host={hosts}&user=postgres&target_session_attrs=read-write"
        self.nursery = stack.enter_context(Nursery(self.deployment, folder, DATABASE_URL=database))
        self.indexers: list[Indexer] = [self.nursery.start(), self.nursery.start()]
        more = {"DATABASE_REPLICA_URL": self.replica.url("lived"), "REDIS_URL": url(self.redis)}
        self.webs = [WebServer(DATABASE_URL=database, **more) for _ in range(2)]
        for web in self.webs:
            stack.callback(web.kill)
            web.start()
        self.primary = self.first
        self.wait_until_healthy()
        self.replica_reads, self._counted_reads = 0, self._reads()

    def _reads(self) -> int:
        """Transactions on the replica, since it was started."""
        return int(self.replica.query(READ)[0][0])

    def count_reads(self) -> None:
        reads = self._reads()
        self.replica_reads += reads - self._counted_reads
        self._counted_reads = reads

    @property
    def happenings(self) -> dict[str, Callable[[], None]]:
        return {
            "kill_web_0": lambda: self.kill_web(0),
            "kill_web_1": lambda: self.kill_web(1),
            "kill_indexer_0": lambda: self.kill_indexer(0),
            "kill_indexer_1": lambda: self.kill_indexer(1),
            "kill_replica": self.kill_replica,
            "hold_replica_back": self.hold_replica_back,
            "kill_redis": self.kill_redis,
            "end_connections": self.end_connections,
        }

    def let(self, name: str, happen: Callable[[], None]) -> None:
        """Has something happen, and waits until all are well again."""
        self.moment = name
        happen()
        self.wait_until_healthy()
        self.moment = "quiet"

    def trade(self) -> None:
        for _ in range(STEPS):
            self.bots.step()

    def kill_web(self, number: int) -> None:
        self.webs[number].end(self.dice.choice([signal.SIGTERM, signal.SIGKILL]))
        self.trade()
        self.webs[number].start()

    def kill_indexer(self, number: int) -> None:
        self.indexers[number].kill()
        self.trade()
        self.indexers[number] = self.nursery.start()

    def kill_replica(self) -> None:
        self.count_reads()
        self.replica.kill()
        self.trade()
        self.wait_until_indexed(self.primary)
        self.replica.start()
        self._counted_reads = self._reads()  # it has forgotten them

    def hold_replica_back(self) -> None:
        self.replica.query("SELECT pg_wal_replay_pause()")
        self.trade()
        self.wait_until_indexed(self.primary)
        self.trade()
        self.wait_until_indexed(self.primary)
        self.replica.query("SELECT pg_wal_replay_resume()")

    def kill_redis(self) -> None:
        port = self.redis.port
        self.redis.stop()
        self.trade()
        self.redis = self.stack.enter_context(valkey(port))

    def end_connections(self) -> None:
        self.primary.query(END_CONNECTIONS)
        self.trade()

    def fail_over(self) -> None:
        """The primary dies, and the replica takes its place; nothing that was committed may be missing there."""
        self.primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.query("SELECT pg_reload_conf()")
        wait_until(lambda: self.primary.query(STREAMING) == [(1,)], "synchronous")
        self.trade()
        self.primary.kill()
        self.primary = self.replica
        self.replica.query("SELECT pg_promote()")
        self.trade()

    def wait_until_indexed(self, server: Server) -> None:
        head = self.w3.eth.block_number
        wait_until(lambda: server.query(BLOCK, database="lived") == [(head,)], "indexed", seconds=HEALTHY)

    def wait_until_healthy(self) -> None:
        self.wait_until_indexed(self.primary)
        self.wait_until_indexed(self.replica)
        for web in self.webs:
            wait_until(lambda web=web: _status(web.port, "/health/ready") == 200, "ready", seconds=HEALTHY)  # type: ignore[misc]


def _status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


class Past:
    """What answers must have said, of the node's own state and logs at their block."""

    def __init__(self, w3: Web3, deployment: Deployment) -> None:
        self._truth = Truth(w3, deployment)
        self._markets = {row["marketId"]: row for row in self._truth._named("MarketCreated")}
        self._amms = {market_id: address for address, (market_id, _) in self._truth.amms.items()}
        self._trades = [
            (log["blockNumber"], contract.address, log["transactionHash"].to_0x_hex(), log["logIndex"])
            for contract, log in self._truth.watched_logs
            if self._truth.decoded.get((log["transactionHash"].to_0x_hex(), log["logIndex"]), ("",))[0]
            in ("FPMMBuy", "FPMMSell")
        ]
        self._ids = cache(self._position_ids)
        self.reserves = cache(self._reserves)

    def trades(self, market_id: str, block: int) -> set[tuple[str, int]]:
        amm = self._amms.get(market_id)
        return {(transaction, index) for at, of, transaction, index in self._trades if of == amm and at <= block}

    def _position_ids(self, market_id: str) -> list[int]:
        market = self._markets[market_id]
        return [self._truth.position_id(market, outcome) for outcome in range(len(market["outcomes"]))]

    def _reserves(self, market_id: str, block: int) -> list[str] | None:
        """As the API has them; None before there is a pool."""
        amm = self._amms.get(market_id)
        if amm is None or self._truth.amms[amm][1] > block:
            return None
        ids = self._ids(market_id)
        balances = self._truth.tokens.functions.balanceOfBatch([amm] * len(ids), ids)
        return [str(each) for each in balances.call(block_identifier=block)]

    def difference(self, answer: Answer) -> str | None:
        rows: list[Any] = answer.body.get("results", [answer.body])
        if answer.path.partition("?")[0].endswith("/trades"):
            market_id = answer.path.split("/")[3]
            found = {(row["transactionHash"], row["logIndex"]) for row in rows}
            expected = self.trades(market_id, answer.block)
            return None if found == expected else f"{answer.path} at {answer.block}: {found ^ expected}"
        for row in rows:
            found_row = (row["reserves"], row["tradeCount"])
            expected_row = (
                self.reserves(row["marketId"], answer.block),
                len(self.trades(row["marketId"], answer.block)),
            )
            if found_row != expected_row:
                return f"{answer.path} at {answer.block}: {found_row}, on chain {expected_row}"
        return None


@pytest.mark.parametrize("seed", SEEDS)
def test_any_one_may_die(seed: int, make_server: Callable[..., Server], tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = Cluster(seed, make_server, tmp_path, stack)
        ids = ["0x" + life.market.market_id.hex() for life in cluster.bots.lives]
        ports = [web.port for web in cluster.webs]
        paths = ["/api/markets"]
        for market_id in ids:
            paths += [f"/api/markets/{market_id}", f"/api/markets/{market_id}/trades?limit=200"]
        readers = [
            Reader(ports, asked, dice=random.Random(seed + number), moment=lambda: cluster.moment)
            for number, asked in enumerate((paths, paths, paths[:1], paths[2:3]))
        ]
        urls = [f"ws://127.0.0.1:{port}/ws" for port in ports]
        names = [("markets", ""), ("oracle", ""), *(("user", trader.lower()) for trader in cluster.bots.traders)]
        followers = [Follower(*order, names=names, dice=random.Random(seed)) for order in (urls, urls[::-1])]
        call = stack.enter_context(following(*followers))
        with reading(*readers):
            happenings = list(cluster.happenings.items())
            cluster.dice.shuffle(happenings)
            for name, happen in happenings:
                cluster.let(name, happen)
                call(cluster.dice.choice(followers).cut)
            cluster.count_reads()
            cluster.let("fail_over", cluster.fail_over)
            cluster.trade()
            cluster.wait_until_healthy()
        with django_on(cluster.primary.url("lived")):
            wait_until(lambda: all(map(has_heard_all, followers)), "heard", seconds=HEALTHY)
            for follower in followers:
                assert_is_the_outbox(follower)
            assert Truth(cluster.w3, cluster.deployment).differences() == []
            assert_messages_are_complete()
        for web in cluster.webs:
            web.end(signal.SIGTERM)
        for indexer in cluster.indexers:
            indexer.stop()
        past = Past(cluster.w3, cluster.deployment)
        found = [past.difference(answer) for reader in readers for answer in reader.answers]
    assert [difference for difference in found if difference] == [], f"CLUSTER_SEED={seed}"
    faults = [fault for each in (*readers, *followers) for fault in each.faults]
    assert faults == [], f"CLUSTER_SEED={seed}"
    statuses: Counter[int] = sum((reader.statuses for reader in readers), Counter())
    unavailable: Counter[tuple[str, str]] = sum((reader.unavailable for reader in readers), Counter())
    refused: Counter[tuple[str, str]] = sum((reader.refused for reader in readers), Counter())
    told = [sum(map(len, follower.told.values())) for follower in followers]
    print(statuses, unavailable, refused, told, cluster.replica_reads)  # pytest shows it where the test fails
    # What happens next may cut a request that began before.
    assert [moments for moments in unavailable if not MAY_BE_UNAVAILABLE & set(moments)] == []
    assert [moments for moments in refused if not MAY_REFUSE & set(moments)] == []
    assert set(statuses) <= {200, 304, 503}
    # The replica was in use (most of the answers are kept ones), and so were both web processes.
    assert cluster.replica_reads > 20
    assert all(follower.connections > 2 for follower in followers)
