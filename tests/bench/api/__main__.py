"""`python -m tests.bench.api [MARKETS TRADES POSITIONS]`: what a page costs, beside a plain Express server's, and how
long it takes with ten times the events.

Both servers have the same PostgreSQL and the same pages, in turns. Costs are CPU of the web process and of PostgreSQL.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from urllib.parse import parse_qs, urlsplit

from indexer.devchain.node import free_port
from tests.bench.api.data import fill, paths_of
from tests.bench.api.load import load
from tests.bench.measure import DATABASE, Database, process_cpu, run

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / ".data" / "bench-api"
EXPRESS = Path(__file__).resolve().parent / "express"
START_TIMEOUT = 30.0  # seconds
ROUNDS = 5  # each page is measured so often by each server, in turns; the middle one counts
REQUESTS = 400  # a round
KEPT_REQUESTS = 4000  # of a page that is kept: CPU is counted in hundredths of a second
WARM = 100  # requests before the first round: prepared statements, compiled code
SIZES = (10_000, 1_000_000, 200_000)
GOAL_KEPT, GOAL_READ, GOAL_GROWTH = 0.25, 0.8, 1.2
# A trade is five logs: the transfers, the split and the FPMM's own.
GROWTH = (200_000, 2_000_000)  # trades
SHORT = 5  # rows a page where growth is measured
TURN = 20  # requests to one server before it is the other's turn


@dataclass
class Server:
    """A running server: requests that were made, and what they cost."""

    name: str
    port: int
    pid: int
    costs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def cost(self, page: str) -> tuple[float, float]:
        """Microseconds of CPU a request: the web process', and PostgreSQL's."""
        return sorted(self.costs[page], key=sum)[len(self.costs[page]) // 2]


def main(markets: int, trades: int, positions: int) -> None:
    """Prints the tables and the goals. Every process it starts has ended when it returns or raises."""
    with Database(FOLDER / "postgres") as database:
        _prepare(database, (markets, trades, positions))
        _beside_express(database)
        _growth(database, markets, positions)


def _beside_express(database: Database) -> None:
    environment = _environment(database)
    pages = paths_of(database.url, REQUESTS * ROUNDS + WARM)
    with ExitStack() as stack:
        ours = stack.enter_context(_server("ours", [sys.executable, "manage.py", "serve"], environment))
        plain = stack.enter_context(_server("express", ["node", str(EXPRESS / "server.js")], environment))
        keeping = stack.enter_context(
            _server("express, kept", ["node", str(EXPRESS / "server.js")], environment | {"CACHE": "1"})
        )
        for page, paths in pages.items():
            _compare(page, (ours, plain), paths, REQUESTS, database)
        kept = {f"{page}, kept": paths[:1] for page, paths in pages.items()}
        for page, paths in kept.items():
            _compare(page, (ours, keeping), paths, KEPT_REQUESTS, database)
        _report(pages, kept, ours, plain, keeping)


def _growth(database: Database, markets: int, positions: int) -> None:
    """Prints how long each page takes with few events and with many, asked for in turns.

    So short that every page is full however few events there are, and asked for once before, for one row more: neither
    what it costs to write rows nor a cold cache is growth.
    """
    pages, servers = [], []
    with ExitStack() as stack:
        for trades in GROWTH:
            _prepare(database, (markets, trades, positions), f"growth_{trades}")
            command = [sys.executable, "manage.py", "serve"]
            servers.append(stack.enter_context(_server("ours", command, _environment(database))))
            pages.append(paths_of(database.url, REQUESTS))
        few, many = GROWTH
        print(f"\n{'ms a page (median)':24} {few * 5:>12,} {many * 5:>12,} events   ratio")
        ratios = [_compare_growth(page, [each[page] for each in pages], servers) for page in pages[0]]
        print(f"\ngrowth: {max(ratios):.2f} at the most (goal {GOAL_GROWTH})")


def _compare_growth(page: str, paths: Sequence[Sequence[str]], servers: Sequence[Server]) -> float:
    seconds: list[list[float]] = [[], []]
    for each, server in zip(paths, servers, strict=True):
        load(server.port, _limited(each, SHORT + 1), len(each))
    asked = [_limited(each, SHORT) for each in paths]
    for start in range(0, REQUESTS, TURN):
        for found, each, server in zip(seconds, asked, servers, strict=True):
            found += load(server.port, each[start : start + TURN], TURN, connections=1)
    before, after = (median(found) * 1000 for found in seconds)
    print(f"{page:24} {before:12.2f} {after:12.2f}          {after / before:.2f}")
    return after / before


def _limited(paths: Sequence[str], limit: int) -> list[str]:
    return [f"{path}{'&' if '?' in path else '?'}limit={limit}" for path in paths]


def _compare(page: str, servers: Sequence[Server], paths: Sequence[str], requests: int, database: Database) -> None:
    """Measures the servers in turns. No path is asked for twice where there are enough of them."""
    for server in servers:
        load(server.port, paths[:WARM], WARM)
    for number in range(ROUNDS):
        start = WARM + number * requests
        chosen = paths[start : start + requests] or paths
        for server in servers:
            own, theirs = process_cpu(server.pid), database.cpu()
            load(server.port, chosen, requests)
            spent = (process_cpu(server.pid) - own, database.cpu() - theirs)
            server.costs.setdefault(page, []).append((spent[0] / requests * 1e6, spent[1] / requests * 1e6))


def _report(pages: Mapping[str, object], kept: Mapping[str, object], *servers: Server) -> None:
    ours, plain, keeping = servers
    print(f"{'page':24} {'web':>7} {'pg':>7} {'sum':>7}   {'web':>7} {'pg':>7} {'sum':>7}   ratio")
    print(f"{'µs of CPU a request':24} {'ours':>23}   {'express':>23}")
    for page in (*pages, *kept):
        other = plain if page in pages else keeping
        (web, pg), (other_web, other_pg) = ours.cost(page), other.cost(page)
        mine, theirs = web + pg, other_web + other_pg
        ratio = theirs / mine if page in pages else mine / theirs
        print(
            f"{page:24} {web:7.0f} {pg:7.0f} {mine:7.0f}   {other_web:7.0f} {other_pg:7.0f} {theirs:7.0f}   {ratio:.2f}"
        )
    reads = [sum(plain.cost(page)) / sum(ours.cost(page)) for page in pages]
    costs = [sum(ours.cost(page)) / sum(keeping.cost(page)) for page in kept]
    print(
        f"\nread: {min(reads):.2f} to {max(reads):.2f} of Express' requests a CPU second, median {median(reads):.2f}"
        f" (goal {GOAL_READ})"
    )
    print(f"kept: {min(costs):.2f} to {max(costs):.2f} of Express' cost, median {median(costs):.2f} (goal {GOAL_KEPT})")


def _prepare(database: Database, sizes: tuple[int, int, int], name: str = DATABASE) -> None:
    database.empty(name)
    run(["manage.py", "migrate", "--verbosity", "0"], environment=_environment(database))
    fill(database.url, *sizes)


@contextmanager
def _server(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        command, cwd=PROJECT, env={**environment, "PORT": str(port)}, stdout=subprocess.DEVNULL, process_group=0
    )
    try:
        _wait(process, port)
        yield Server(name, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_TIMEOUT)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = monotonic() + START_TIMEOUT
    while True:
        try:
            load(port, ["/api/markets?limit=1"], 1)
            return
        except OSError:
            if process.poll() is not None or monotonic() > deadline:
                raise
            sleep(0.1)


def _environment(database: Database) -> dict[str, str]:
    """For both servers: Express' driver reads libpq's variables."""
    url = urlsplit(database.url)
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "AURUM_ENV_FILES": "",
        "DJANGO_ENV": "development",
        "NODE_ENV": "production",
        "DATABASE_URL": database.url,
        "HOST": "127.0.0.1",
        "LOG_LEVEL": "warn",
        "RATE_LIMIT_MAX": "100000000",
        "PGHOST": parse_qs(url.query)["host"][0],
        "PGUSER": url.username or "",
        "PGDATABASE": url.path[1:],
    }


if __name__ == "__main__":
    main(*(int(size) for size in sys.argv[1:4] or SIZES))
