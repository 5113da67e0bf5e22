"""`python -m tests.bench.ws [SUBSCRIBERS…]`: what a message costs and how long it takes, beside a plain Node `ws`
server; what an idle connection costs; and how long it takes from a mined trade to its frame.

Both servers have the same clients and the same messages, in turns.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from time import monotonic, monotonic_ns, sleep
from typing import Any

from tests.bench.api.data import fill
from tests.bench.measure import Database, Failed, process_cpu, run
from tests.bench.report import Goal, markdown, percentile
from tests.bench.ws.latency import trade_to_frame
from tests.bench.ws.servers import (
    PROJECT,
    Clients,
    Process,
    Publish,
    broadcaster,
    clients,
    ours,
    through_outbox,
    through_packets,
)

FOLDER = PROJECT / ".data" / "bench-ws"
SIZES = (2_000, 5_000)  # subscribers
ROUNDS = 5  # of each server, in turns; the middle one counts
MESSAGES = 50  # a round
PER_SECOND = 10
WARM = 20  # messages before the first round
IDLE = 10_000  # connections
FEW = 100  # connections that are there already when the memory of the others is measured
IDLE_SECONDS = 20.0  # longer than pings and heartbeats are apart
FILL = (10, 1_000, 1_000)  # markets, trades, positions
SPEED, DELAY, IDLE_BYTES = 1.2, 1.2, 30_000

OURS = "ours"
HEAD = (
    *("subscribers", "server", "messages a CPU s", "of the rounds", "µs a message", "and PostgreSQL"),
    *("p50 ms", "p99 ms", "of the rounds", "lost"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round took: CPU seconds of the web process and of PostgreSQL, milliseconds of each message delivered."""

    cpu: float
    database_cpu: float
    milliseconds: list[float]
    lost: int

    @property
    def speed(self) -> float:
        """Messages delivered in a CPU second of the web process."""
        return len(self.milliseconds) / self.cpu

    @property
    def p50(self) -> float:
        return percentile(self.milliseconds, 50)

    @property
    def p99(self) -> float:
        return percentile(self.milliseconds, 99)


@dataclass(kw_only=True)
class Contestant:
    """A running server with its clients, and its rounds."""

    name: str
    server: Process
    subscribers: Clients
    publish: Publish
    market_id: str
    count: int
    rounds: list[Round] = field(default_factory=list)
    seq: int = 0

    def median(self, name: str) -> float:
        """Of the rounds' `speed`, `p50` or `p99`."""
        return median(getattr(each, name) for each in self.rounds)

    def round(self, database: Database, messages: int) -> Round:
        own, theirs = process_cpu(self.server.pid), database.cpu()
        sent: dict[int, int] = {}
        due = monotonic()
        for _ in range(messages):
            self.seq += 1
            sent[self.seq] = monotonic_ns()
            self.publish(price_update(self.market_id, self.seq))
            due += 1 / PER_SECOND
            sleep(max(0.0, due - monotonic()))
        report = self.subscribers.until(self.seq)
        return Round(
            cpu=process_cpu(self.server.pid) - own,
            database_cpu=database.cpu() - theirs,
            milliseconds=[
                (arrival - sent[message["seq"]]) / 1e6
                for message in report["messages"]
                for arrival in message["arrivals"]
            ],
            lost=messages * self.count
            - sum(len(message["arrivals"]) for message in report["messages"])
            + report["disordered"],
        )


def main(sizes: Sequence[int]) -> None:
    """Prints the tables and the goals. Every process it starts has ended when it returns or raises."""
    with Database(FOLDER / "postgres") as database:
        environment = _environment(database)
        market_id = _prepare(database, environment)
        goals: list[Goal] = []
        for size in sizes:
            goals += _compare(size, market_id, database, environment)
        goals += _idle(market_id, environment)
        database.empty()
        goals += trade_to_frame(database, environment)
    print()
    for goal in goals:
        print(goal)


def price_update(market_id: str, seq: int) -> dict[str, Any]:
    """As the indexer writes one."""
    reserves = [10**24 + seq * 7919, 2 * 10**24 - seq * 104729]
    return {
        "type": "price_update",
        "channel": "prices",
        "marketId": market_id,
        "prices": [reserves[1] / sum(reserves), reserves[0] / sum(reserves)],
        "reserves": [str(reserve) for reserve in reserves],
        "timestamp": 1_780_000_000 + seq,
        "seq": seq,
        "blockNumber": seq,
        "finality": "pending",
        "transactionHash": f"0x{seq:064x}",
        "logIndex": 3,
    }


# --- beside Node `ws` -------------------------------------------------------------------------------------------------


def _compare(size: int, market_id: str, database: Database, environment: Mapping[str, str]) -> Iterator[Goal]:
    _say(f"{size:,} subscribers")
    database.execute("TRUNCATE outbox")
    database.execute("UPDATE channels SET seq = 0")
    with ExitStack() as stack:
        server, other = stack.enter_context(ours(environment)), stack.enter_context(broadcaster())
        outbox, packets = (
            stack.enter_context(through_outbox(database)),
            stack.enter_context(through_packets(other.port)),
        )
        contestants = [
            _contestant(stack, OURS, server, outbox, market_id, size),
            _contestant(stack, "Node ws", other, packets, market_id, size),
        ]
        for contestant in contestants:
            contestant.round(database, WARM)
        for _ in range(ROUNDS):
            for contestant in contestants:
                contestant.rounds.append(contestant.round(database, MESSAGES))
    print()
    print(markdown([HEAD, *map(_row, contestants)], left=1), flush=True)
    mine, theirs = contestants
    speed, delay = mine.median("speed") / theirs.median("speed"), mine.median("p99") / theirs.median("p99")
    of = f"{size:,} subscribers"
    yield Goal(name=f"{of}, messages a CPU second to those of ws", value=speed, bound=SPEED, at_least=True)
    yield Goal(name=f"{of}, p99 to that of ws", value=delay, bound=DELAY)
    yield Goal(name=f"{of}, messages lost or out of order", value=sum(each.lost for each in mine.rounds), bound=0)


def _contestant(
    stack: ExitStack, name: str, server: Process, publish: Publish, market_id: str, count: int
) -> Contestant:
    subscribers = stack.enter_context(clients(server.port, count, market_id))
    return Contestant(
        name=name, server=server, subscribers=subscribers, publish=publish, market_id=market_id, count=count
    )


def _row(contestant: Contestant) -> tuple[str, ...]:
    rounds = contestant.rounds
    delivered = sum(len(each.milliseconds) for each in rounds)
    return (
        f"{contestant.count:,}",
        contestant.name,
        f"{contestant.median('speed'):,.0f}",
        f"{min(each.speed for each in rounds):,.0f} to {max(each.speed for each in rounds):,.0f}",
        f"{1e6 / contestant.median('speed'):.1f}",
        f"{sum(each.database_cpu for each in rounds) / delivered * 1e6:.1f}" if contestant.name == OURS else "",
        f"{contestant.median('p50'):.1f}",
        f"{contestant.median('p99'):.1f}",
        f"{min(each.p99 for each in rounds):.1f} to {max(each.p99 for each in rounds):.1f}",
        f"{sum(each.lost for each in rounds):,}",
    )


# --- idle connections -------------------------------------------------------------------------------------------------


def _idle(market_id: str, environment: Mapping[str, str]) -> Iterator[Goal]:
    """Memory of the web process for each of many connections that nothing is sent on but pings and heartbeats."""
    rows = [("connections", "subscribed", "kB a connection", "seconds to connect", "CPU % while idle")]
    for subscribed in (None, market_id):
        _say(f"{IDLE:,} idle connections")
        with ours(environment) as server, clients(server.port, FEW, market_id):
            before, started = server.memory(), monotonic()
            with clients(server.port, IDLE, subscribed):
                took, own = monotonic() - started, process_cpu(server.pid)
                sleep(IDLE_SECONDS)
                busy = (process_cpu(server.pid) - own) / IDLE_SECONDS
                each = (server.memory() - before) / IDLE
        what = "no" if subscribed is None else "yes"
        rows.append((f"{IDLE:,}", what, f"{each / 1000:.1f}", f"{took:.1f}", f"{busy * 100:.0f}"))
    print()
    print(markdown(rows), flush=True)
    yield Goal(name=f"{IDLE:,} idle connections, bytes each", value=each, bound=IDLE_BYTES)


# --- the database -----------------------------------------------------------------------------------------------------


def _prepare(database: Database, environment: Mapping[str, str]) -> str:
    """Fills the database and returns a market."""
    database.empty()
    run(["manage.py", "migrate", "--verbosity", "0"], environment=environment)
    fill(database.url, *FILL)
    [[market_id]] = database.execute("SELECT market_id FROM markets ORDER BY id LIMIT 1")
    database.execute(
        "INSERT INTO channels (id, name, seq) SELECT gen_random_uuid(), 'prices:' || market_id, 0 FROM markets"
    )
    return str(market_id)


def _environment(database: Database) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AURUM_ENV_FILES": "",
        "DJANGO_ENV": "development",
        "DATABASE_URL": database.url,
        "HOST": "127.0.0.1",
        "LOG_LEVEL": "warn",
        "SOCKETS_PER_ADDRESS": "100000",
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.chdir(PROJECT)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        main([int(size) for size in sys.argv[1:]] or SIZES)
    except Failed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
