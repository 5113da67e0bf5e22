"""`python -m tests.bench LOGS…`: measures the floor, our sync and our replay over chains of so many logs each, and then
how long a new block takes; without LOGS that alone.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.bench.chain import CHAIN_ID, CONTRACTS
from tests.bench.measure import Cost, Database, Failed, measure, run, running
from tests.bench.report import Run, goals, latency_goal, latency_table, table

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".data" / "bench"
LOCALHOST = "127.0.0.1"
NODE_TIMEOUT = 60.0  # seconds in which the node must have read its chain
FLOORS = 3  # of which the middle one counts: it takes seconds, and is what the others are compared with
# What a sync must leave of a chain without contradictions.
STORED = """
    SELECT (SELECT count(*) FROM indexed_events),
           (SELECT count(*) FROM indexed_events WHERE NOT processed),
           (SELECT count(*) FROM markets WHERE suspect_since IS NOT NULL)
"""


def main(log_counts: list[int]) -> None:
    """Prints the tables and the goals. Every process it starts has ended when it returns or raises."""
    runs = []
    with Database(FOLDER / "postgres") as database:
        for log_count in log_counts:
            _say(f"{log_count:,} logs: the chain")
            folder = Path(_output("tests.bench.chain", str(log_count), str(FOLDER / "chains")))
            database.empty()
            with _node(folder) as rpc_url:
                runs.append(_run(log_count, folder, database, rpc_url))
        _say("the latency of new blocks")
        database.empty()
        latency = json.loads(_output("tests.bench.latency", database.url))
    if runs:
        print(table(runs))
        print()
        for goal in goals(runs):
            print(goal)
        print()
    print(latency_table(latency["milliseconds"], latency["events"]))
    print()
    print(latency_goal(latency["milliseconds"]))


def _run(log_count: int, folder: Path, database: Database, rpc_url: str) -> Run:
    environment = _environment(rpc_url, database.url)

    def cost_of(name: str, *arguments: str) -> Cost:
        _say(f"{log_count:,} logs: {name}")
        # What was written before must not be cleaned up at the cost of this.
        database.execute("VACUUM (ANALYZE)")
        return measure(name, arguments, log_count=log_count, database=database, environment=environment)

    floors = []
    for _ in range(FLOORS):
        floors.append(cost_of("floor", "-m", "tests.bench.floor", rpc_url, database.url, str(folder)))
        database.execute("DROP TABLE bench_raw_logs")
    run(["manage.py", "migrate", "--verbosity", "0"], environment=environment)
    sync = cost_of("sync", "manage.py", "run_indexer", "--once")
    _check_stored(database, log_count)
    replay = cost_of("replay", "manage.py", "replay_events")
    _check_stored(database, log_count)
    sample, seconds = _output("tests.bench.web3_loop", rpc_url, str(folder)).split()
    return Run(
        log_count=log_count,
        floor=sorted(floors, key=lambda cost: cost.cpu)[FLOORS // 2],
        sync=sync,
        replay=replay,
        web3_logs_per_second=int(sample) / float(seconds),
    )


def _check_stored(database: Database, log_count: int) -> None:
    """Raises Failed where not every log was stored and applied, or a market is suspect."""
    found = database.execute(STORED)[0]
    if found != (log_count, 0, 0):
        raise Failed(f"stored, failed events and suspect markets are {found}, not {(log_count, 0, 0)}")


@contextmanager
def _node(folder: Path) -> Iterator[str]:
    """The chain's node, as its URL, when it answers."""
    with ExitStack() as stack:
        with socket.create_server((LOCALHOST, 0)) as listening:
            port, descriptor = listening.getsockname()[1], listening.fileno()
            arguments = ["-m", "tests.bench.node", str(folder), str(descriptor)]
            stack.enter_context(running(arguments, environment=dict(os.environ), descriptors=[descriptor]))
        connection = HTTPConnection(LOCALHOST, port, timeout=NODE_TIMEOUT)
        connection.request("POST", "/", b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
        connection.getresponse().read()
        connection.close()
        yield f"http://{LOCALHOST}:{port}"


def _environment(rpc_url: str, database_url: str) -> dict[str, str]:
    """What manage.py needs; every other setting of the indexer is at its default."""
    return {
        "PATH": os.environ["PATH"],
        "AURUM_ENV_FILES": "",
        "DJANGO_ENV": "development",
        "DATABASE_URL": database_url,
        "RPC_URL": rpc_url,
        "CHAIN_ID": str(CHAIN_ID),
        "INDEXER_START_BLOCK": "1",
        "LOG_LEVEL": "warn",
        **CONTRACTS,
    }


def _output(module: str, *arguments: str) -> str:
    """What a module of the benchmark prints. A process of its own, as what it needs must not be measured.

    Raises Failed. It ends what it has started, also where it is told to end.
    """
    with running(["-m", module, *arguments], environment=dict(os.environ), output=subprocess.PIPE) as process:
        printed, _ = process.communicate()
    if process.returncode:
        raise Failed(f"{module} ended with {process.returncode}")
    return printed.decode().strip()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.chdir(PROJECT)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        main([int(count) for count in sys.argv[1:]])
    except Failed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
