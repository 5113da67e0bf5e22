"""Clients that are cut at random, and resume, while web processes, listeners and Redis come and go and blocks change.

In the end each has heard exactly what the outbox holds, and what it was told adds up to what REST says.
`SOCKET_SEEDS=50` runs more seeds than CI does, `SOCKET_SEED=7` one of them again.
"""

import json
import os
import random
import signal
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connection

from markets.models import Channel
from markets.snapshots import KINDS
from oracle import channel as oracle
from tests.faults.follower import Follower, Name, assert_is_the_outbox, following, has_heard_all
from tests.faults.simulation import Simulation
from tests.faults.world import USERS
from tests.nursery import wait_until
from tests.processes import WebServer
from tests.valkey import url, valkey

pytestmark = pytest.mark.django_db(transaction=True)

MANY = int(os.environ.get("SOCKET_SEEDS") or 4)
SEEDS = [int(seed)] if (seed := os.environ.get("SOCKET_SEED")) else list(range(MANY))
STEPS = 14
ALWAYS: list[Name] = [("markets", ""), ("oracle", ""), *[("user", user) for user in USERS]]
# What `market_update` says of a market, as REST has it.
SAID = ("ammAddress", "fee", "prices", "reserves", "liquidity", "volume", "tradingFees", "feesCollected")
SAID += ("tradeCount", "traders", "resolved", "payouts")
END_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (query LIKE 'LISTEN%%' OR query LIKE '%%FROM outbox%%' OR query LIKE '%%FROM checkpoint c%%')
"""


class Trouble:
    """What happens to the followers' world, by the dice."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self.dice = random.Random(seed)
        self.stack = stack
        self.simulation = Simulation(seed)
        for node in self.simulation.nodes:
            stack.enter_context(node)
        self.redis = stack.enter_context(valkey())
        self.server = WebServer(REDIS_URL=url(self.redis))

    def grow(self) -> None:
        self.simulation.grow(self.dice.choice([1, 1, 2, 5, 12]))
        self.simulation.quiet()

    def reorganise(self) -> None:
        self.simulation.reorganise()
        # A head below what was indexed is a node that is behind: only a higher one tells.
        self.simulation.grow(max(0, self.simulation.highest + 1 - self.simulation.chain.head.number))
        self.simulation.quiet()

    def end_listeners(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(END_CONNECTIONS)

    def restart_server(self) -> None:
        self.server.end(self.dice.choice([signal.SIGTERM, signal.SIGKILL]))
        if self.dice.random() < 0.5:
            self.grow()
        self.server.start()

    def restart_redis(self) -> None:
        port = self.redis.port
        self.redis.stop()
        self.grow()
        self.redis = self.stack.enter_context(valkey(port))


@pytest.mark.parametrize("seed", SEEDS)
def test_followers_miss_nothing(seed: int) -> None:
    with ExitStack() as stack:
        trouble = Trouble(seed, stack)
        trouble.simulation.grow(10)
        trouble.simulation.quiet()
        stack.callback(trouble.server.kill)
        trouble.server.start()
        address = f"ws://127.0.0.1:{trouble.server.port}/ws"
        early = Follower(address, names=ALWAYS, dice=random.Random(seed))
        late = Follower(address, names=[*ALWAYS, *_some_markets()], dice=random.Random(seed), is_late=True)
        call = stack.enter_context(following(early, late))
        happenings = [trouble.grow] * 6 + [trouble.reorganise] * 3
        happenings += [trouble.end_listeners, trouble.restart_server, trouble.restart_redis]
        for _ in range(STEPS):
            trouble.dice.choice(happenings)()
            for follower in (early, late):
                if trouble.dice.random() < 0.5:
                    call(follower.cut)
        # A run has each of them at least once.
        trouble.end_listeners()
        trouble.restart_redis()
        trouble.restart_server()
        trouble.reorganise()
        wait_until(lambda: has_heard_all(early) and has_heard_all(late), "heard", seconds=60)
        trouble.server.end(signal.SIGTERM)
    assert (early.faults, late.faults) == ([], []), f"SOCKET_SEED={seed}"
    assert early.connections > 2
    for follower in (early, late):
        assert_is_the_outbox(follower)
        assert_adds_up(follower)
    assert early.seen >= {"market_created", "trade", "price_update", "market_update", "position_update"}


def _some_markets() -> list[Name]:
    ids = Channel.objects.filter(name__startswith="prices:").values_list("name", flat=True)
    return [(kind, name.partition(":")[2]) for name in ids for kind in ("market", "prices")]


def assert_adds_up(follower: Follower) -> None:
    """The last that it was told of a thing, else its first snapshot, is what REST says."""
    ids = [key for kind, key in follower.told if kind == "market"]
    now: dict[str, Any] = {key: json.loads(text) for key, text in KINDS["market"].read(ids).items()}
    for market_id in ids:
        updates = [
            row for row in follower.told["market", market_id] if row["type"] in ("market_update", "market_reverted")
        ]
        state = updates[-1] if updates else follower.snapshots["market", market_id]
        assert (state.get("type") == "market_reverted") == (market_id not in now)
        if market_id in now:
            assert {name: state[name] for name in SAID} == {name: now[market_id][name] for name in SAID}
            prices = follower.told["prices", market_id]
            if prices:
                assert (prices[-1]["prices"], prices[-1]["reserves"]) == tuple(
                    now[market_id][name] for name in ("prices", "reserves")
                )
    steps = {row["questionId"]: row for row in follower.told["oracle", ""]}
    questions = {key: json.loads(text) for key, text in oracle.KIND.read(list(steps)).items()}
    assert {key for key, row in steps.items() if row["type"] == "oracle_update"} == questions.keys()
    for key, question in questions.items():
        names = ("proposal", "dispute", "payouts", "deadlines")
        assert {name: steps[key][name] for name in names} == {name: question[name] for name in names}
    for user in USERS:
        held = json.loads(KINDS["user"].read([user])[user])
        assert held["isComplete"]
        before = follower.snapshots.get(("user", user), {"positions": []})["positions"]
        known = {row["id"]: row for row in (*before, *follower.told["user", user])}
        amounts = {key: row["amount"] for key, row in known.items() if row["amount"] != "0"}
        assert amounts == {row["id"]: row["amount"] for row in held["positions"]}
