"""What docs/troubleshoot.md says of each fault of the indexer is what operators see: on the page, in log and alerts.

A real indexer follows two nodes; each row of the document's table is a fault that is injected here, and every word that
stands there as code must show up. `for` of an alert is left out: an expression that has a result fires after that time.
"""

import random
import re
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from django.db import connection
from django.test import Client
from web3 import Web3

from aurum import operations
from aurum.database import connect
from indexer import status
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port
from markets.models import Checkpoint
from tests.fakes import FakeChain, FakeLog, FakeNode, Transaction
from tests.faults import world
from tests.faults.world import World
from tests.nursery import Nursery, wait_until
from tests.ops.promql import Scrape, fires, read_scrape, total
from tests.processes import PROJECT

pytestmark = pytest.mark.django_db(transaction=True)

RULES = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((PROJECT / "ops/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if group["name"] == "indexer"
}
BLOCK_TIME = 0.1  # seconds
LOOK = 0.5  # seconds
WINDOW = 24  # looks, in place of the minutes and hours that rules look back
PATIENCE = 60.0  # seconds until everything that is documented must have been seen
CALM = (World.create_market, World.split, World.merge)  # nothing that any check would doubt


class Scene:
    """A chain that goes on, two nodes of it, and an indexer that follows."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.chain = FakeChain()
        self.chain.finalized_distance, self.chain.safe_distance = 40, 20
        self.worlds = [World(random.Random(7))]  # as it is behind each block
        for _ in range(60):
            self.append()
        self.nodes = [stack.enter_context(FakeNode(self.chain)) for _ in range(2)]
        self.port = free_port()
        self.stack = stack
        self.goes_on = True
        environment = {
            "RPC_URL": ",".join(node.url for node in self.nodes),
            "METRICS_ENABLED": "true",
            "METRICS_PORT": str(self.port),
        }
        self.nursery = stack.enter_context(Nursery(_deployment(self.nodes[0].url), folder, **environment))
        self.indexer = self.nursery.start()
        over = Event()
        stack.callback(over.set)
        Thread(target=self._go_on, args=(over,), daemon=True).start()
        wait_until(lambda: (self.indexed or 0) > 65, "following")

    def _go_on(self, over: Event) -> None:
        while not over.wait(BLOCK_TIME):
            if self.goes_on:
                self.append()

    def append(self, *transactions: Transaction) -> None:
        """A block of these transactions and some others."""
        with self.chain.lock:
            world = self.worlds[-1].copy()
            others = [action(world) for action in world.dice.choices(CALM if world.markets else CALM[:1], k=2)]
            self.chain.append([*transactions, *filter(None, others)])
            self.worlds.append(world)

    @property
    def indexed(self) -> int | None:
        return Checkpoint.objects.values_list("block_number", flat=True).first()

    def scrape(self) -> Scrape:
        """What Prometheus would have of the indexer; nothing where it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                return read_scrape(answer.read().decode())
        except (URLError, TimeoutError):
            return {}

    def all_nodes(self, fault: str) -> None:
        for node in self.nodes:
            node.faults = {fault: 1.0}

    def reorganise(self, depth: int, **changes: int) -> None:
        """The last blocks are replaced; all of them are indexed. `changes` are of the chain, at the same moment."""
        self.goes_on = False
        wait_until(lambda: self.indexed == self.chain.head.number, "indexed")
        with self.chain.lock:
            for name, value in changes.items():
                setattr(self.chain, name, value)
            self.chain.rollback(depth)
            del self.worlds[-depth:]
            for _ in range(depth + 1):
                self.append(())
        self.goes_on = True

    def poison(self) -> None:
        topics = [
            "0x" + Web3.keccak(text="FeeCollected(address,bytes32,address,uint256)").hex(),
            *["0x" + "00" * 32] * 3,
        ]
        self.append([FakeLog(address=world.FEE_COLLECTOR, topics=tuple(topics), data=b"short")])

    def lose_a_transfer(self) -> None:
        """No check of a block can see that it is missing: the block is whole without it."""
        [_transfer, reason] = self.worlds[-1].copy().split()
        self.append([reason])

    def hold_a_lock(self) -> None:
        other = connect()
        self.stack.callback(other.close)
        other.execute("BEGIN")
        other.execute("LOCK TABLE indexed_events IN SHARE MODE")

    def fill_the_disk(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(FULL)
        self.stack.callback(lambda: connection.cursor().execute("DROP FUNCTION as_if_full CASCADE"))


FULL = """
    CREATE FUNCTION as_if_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER as_if_full BEFORE INSERT ON indexed_blocks FOR EACH STATEMENT EXECUTE FUNCTION as_if_full()
"""


def _deployment(url: str) -> Deployment:
    places = {
        "conditional_tokens": world.CONDITIONAL_TOKENS,
        "market_factory": world.MARKET_FACTORY,
        "aurum_oracle": world.AURUM_ORACLE,
        "fee_collector": world.FEE_COLLECTOR,
        "collateral": world.COLLATERAL,
        "aurum_token": "0x" + "d7" * 20,
        "fpmm_factory": "0x" + "d8" * 20,
    }
    at = {name: Web3.to_checksum_address(address) for name, address in places.items()}
    return Deployment(rpc_url=url, chain_id=31337, start_block=1, **at)


def _started_without_a_node(scene: Scene) -> None:
    scene.indexer.kill()
    scene.all_nodes("busy")
    scene.indexer = scene.nursery.start()


def _all_stand_still(scene: Scene) -> None:
    scene.goes_on = False


# By the first words of the document's rows.
FAULTS: dict[str, Callable[[Scene], object]] = {
    "all nodes limit us": lambda scene: scene.all_nodes("busy"),
    "all nodes answer with errors": lambda scene: scene.all_nodes("error_500"),
    "all answers are late or cut off": lambda scene: scene.all_nodes("cut"),
    "something else answers in their place": lambda scene: scene.all_nodes("html"),
    "no node can be reached": lambda scene: [node.stop() for node in scene.nodes],
    "it was started while no node answers": _started_without_a_node,
    "one of several nodes is away": lambda scene: scene.nodes[0].stop(),
    "one node leaves logs out": lambda scene: scene.nodes[0].faults.update(empty_logs=1.0),
    "all nodes leave logs out": lambda scene: scene.all_nodes("omitted_log"),
    "all nodes stand still, or the chain does": _all_stand_still,
    "a node of another chain": lambda scene: scene.reorganise(5, chain_id=5),
    "blocks were replaced": lambda scene: scene.reorganise(20),
    "final blocks were replaced": lambda scene: scene.reorganise(60, finalized_distance=10**6, safe_distance=10**6),
    "an event can't be decoded": Scene.poison,
    "no node has a log that must be there": Scene.lose_a_transfer,
    "the process is gone": lambda scene: scene.indexer.kill(),
    "the process hangs": lambda scene: scene.indexer.send_signal(signal.SIGSTOP),
    "somebody holds a lock": Scene.hold_a_lock,
    "the database's disk is full": Scene.fill_the_disk,
}


def _rows() -> Iterator[tuple[str, list[str]]]:
    """The table's rows: the fault, and the other cells."""
    text = (PROJECT / "docs/troubleshoot.md").read_text()
    table = text.partition("### The indexer is behind: why?")[2].partition("\n## ")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and not line.startswith("| what happened"):
            yield cells[0], cells[1:]


ROWS = dict(_rows())


def test_each_fault_has_its_row() -> None:
    assert ROWS.keys() == FAULTS.keys()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    """Whoever says nothing for two seconds counts as silent."""
    monkeypatch.setattr(status, "MINIMUM_SILENCE", status.MINIMUM_SILENCE / 15)
    settings.INDEXER_POLL_INTERVAL = 100  # type: ignore[attr-defined]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def page() -> str:
    """The admin's home: `title: text (note)`, and the rows of its tables."""
    lines = []
    for section in operations.read_sections():
        lines += [f"{fact.title}: {fact.text} ({fact.note})" for fact in section.facts]
        lines += [f"{table.title}: {' | '.join(cells)}" for table in section.tables for _, _, cells in table.rows]
    return "\n".join(lines)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_as_documented(fault: str, tmp_path: Path) -> None:
    health, home, log, metrics, alerts, _ = ROWS[fault]
    with ExitStack() as stack:
        scene = Scene(tmp_path, stack)
        first, said = scene.indexer, len(scene.indexer.output)
        before = scene.scrape()
        scrapes = deque([before], maxlen=WINDOW)
        FAULTS[fault](scene)

        def missing() -> list[str]:
            scrapes.append(scene.scrape())
            shown, told = page(), scene.indexer.output[said if scene.indexer is first else 0 :]
            body = Client().get("/health").json()
            found = [name for name, expression in RULES.items() if fires(expression, scrapes[0], scrapes[-1])]
            return [
                *(word for word in words(health) if word not in (body["status"], body["indexer"])),
                *(word for word in words(home) if word not in shown),
                *(word for word in words(log) if word not in told),
                *(word for word in words(metrics) if total(word, scrapes[-1]) <= total(word, before)),
                *(word for word in words(alerts) if word not in found),
                *(["nothing"] if not words(alerts) and found else []),
            ]

        try:
            wait_until(lambda: not missing(), "seen", seconds=PATIENCE, look=LOOK)
        except AssertionError:
            raise AssertionError((missing(), page(), scene.indexer.output[said:][-3000:])) from None
        finally:
            if fault == "the process hangs":
                scene.indexer.send_signal(signal.SIGCONT)
