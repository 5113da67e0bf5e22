"""The metrics as Prometheus scrapes them from a real indexer on a real node, and the log lines beside them."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from web3 import Web3

from aurum.metrics import exporting
from indexer.counters import BatchRecord, Counters
from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port
from indexer.metrics import IndexerCollector
from indexer.models import IndexedEvent, IndexerStatus
from markets.models import Checkpoint
from tests.processes import environment, manage, running
from tests.snapshots import database

FINAL = 64  # blocks behind the head, on anvil
Labels = tuple[tuple[str, str], ...]


class Scrape(dict[tuple[str, Labels], float]):
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def get_one(self, name: str, **labels: str) -> float:
        return self[name, tuple(sorted(labels.items()))]

    def all_of(self, name: str) -> dict[Labels, float]:
        return {labels: value for (sample, labels), value in self.items() if sample == name}

    def requests(self) -> dict[tuple[str, str, str], int]:
        """By endpoint, method and outcome."""
        found = self.all_of("indexer_rpc_requests_total")
        return {tuple(value for _, value in labels): int(count) for labels, count in found.items()}  # type: ignore[misc]


def scrape(port: int) -> Scrape:
    response = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
    response.raise_for_status()
    return Scrape(response.text)


def wait_for(port: int, fits: Callable[[Scrape], object]) -> Scrape:
    """The first scrape that fits; bounded."""
    deadline = monotonic() + 30
    seen: Scrape | None = None
    while monotonic() < deadline:
        try:
            seen = scrape(port)
        except requests.ConnectionError:
            pass  # it is starting
        else:
            if fits(seen):
                return seen
        Event().wait(0.05)
    raise AssertionError(f"not in 30 s; the last scrape: {seen and seen.text}")


def at(block: int) -> Callable[[Scrape], bool]:
    return lambda seen: seen.all_of("indexer_indexed_block").get(()) == block


def status_when(client: Client, fits: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """What /api/indexer/status says, once it fits: it may be a second behind; bounded."""
    deadline = monotonic() + 30
    while monotonic() < deadline:
        status = client.get("/api/indexer/status").json()
        if fits(status):
            return status
        Event().wait(0.05)
    raise AssertionError(f"not in 30 s; the last status: {status}")


@contextmanager
def exporter(deployment: Deployment, **more: str) -> Iterator[tuple[int, list[str]]]:
    """`run_indexer` with metrics, and with a key in its node's URL; the port, and when it has ended its lines."""
    port, lines = free_port(), []
    node = urlsplit(deployment.rpc_url).netloc
    settings = {
        "RPC_URL": f"http://canary-user:canary-password@{node}/?key=canary-key",
        "METRICS_ENABLED": "true",
        "METRICS_PORT": str(port),
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "INDEXER_BATCH_SIZE": "7",
    }
    process = manage("run_indexer", deployment=deployment, **settings | more)
    try:
        yield port, lines
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        print(output)  # pytest shows it where the test fails
    lines += [*output.splitlines(), f"exit code {process.returncode}"]


def batches_of(lines: list[str]) -> list[dict[str, Any]]:
    """The batches' log lines, as the objects that they are."""
    objects = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in objects if "toBlock" in line]


@pytest.mark.django_db(transaction=True)
def test_metrics_status_and_log_lines_tell_what_was_indexed(
    chain: tuple[Web3, Deployment], actions: Actions, client: Client
) -> None:
    w3, deployment = chain
    start = deployment.start_block
    market = actions.deploy_amm(actions.create_market())
    actions.emit_log(
        [Web3.keccak(text="FeeCollected(address,bytes32,address,uint256)"), *[bytes(32)] * 3], b"too short"
    )
    with exporter(deployment, FEE_COLLECTOR_ADDRESS=actions.emitter.address) as (port, lines):
        wait_for(port, at(w3.eth.block_number))
        for amount in (1_000, 2_000, 3_000):
            actions.buy(market, 0, amount, sender=actions.accounts[1])
        head = w3.eth.block_number
        first = wait_for(port, at(head))

        assert first.get_one("indexer_blocks_processed") == head - start + 1
        assert first.get_one("indexer_events_processed_total") == IndexedEvent.objects.count()
        assert first.get_one("indexer_head_block") == head
        assert (first.get_one("indexer_lag_blocks"), first.get_one("indexer_lag_seconds")) == (0, 0)
        assert first.get_one("indexer_is_leader") == 1
        assert set(first.all_of("indexer_stopped").values()) == {0}
        assert first.get_one("indexer_reorganisations_total") == 0
        assert first.get_one("process_resident_memory_bytes") > 0

        node = urlsplit(deployment.rpc_url).netloc
        asked = first.requests()
        assert {method for _, method, _ in asked} >= {"eth_chainId", "eth_getBlockByNumber", "eth_getLogs"}
        assert {(endpoint, outcome) for endpoint, _, outcome in asked} == {(node, "ok")}
        for (endpoint, method, _), count in asked.items():
            timed = first.get_one("indexer_rpc_request_seconds_count", endpoint=endpoint, method=method)
            assert timed == count
        assert first.get_one("indexer_quarantines_total", endpoint=node) == 0

        # The same, as another process reads it.
        status = status_when(client, lambda status: (status["sinceStart"] or {}).get("blocks") == head - start + 1)
        last = wait_for(port, lambda seen: seen.get_one("indexer_failed_events") == 1)
        done = status["sinceStart"]
        assert (done["events"], done["failedEvents"], status["failedEvents"]) == (IndexedEvent.objects.count(), 1, 1)
        assert done["reorganisations"] == 0
        assert done["blocksPerSecond"] > 0
        shown = {(row["endpoint"], row["method"], row["outcome"]): row["count"] for row in done["rpcRequests"]}
        assert shown.keys() == last.requests().keys()
        assert all(asked.get(key, 0) <= count <= last.requests()[key] for key, count in shown.items())
        assert set(done["phaseSeconds"]) == {"fetch", "decode", "apply", "write"}
        for phase, seconds in done["phaseSeconds"].items():
            assert seconds == pytest.approx(last.get_one("indexer_phase_seconds_total", phase=phase), abs=0.001)
            assert seconds > 0

        # A migration beside it minds its own business: the port is taken.
        with running("migrate_once", deployment=deployment, METRICS_ENABLED="true", METRICS_PORT=str(port)) as other:
            assert other.wait(timeout=60) == 0
        told = f"{last.text} {json.dumps(client.get('/api/status').json())}"

    assert lines[-1] == "exit code 0"
    assert "canary" not in told + "".join(lines)
    batches = batches_of(lines)
    assert [batch["fromBlock"] for batch in batches] == [start, *(batch["toBlock"] + 1 for batch in batches[:-1])]
    assert batches[-1]["toBlock"] == head
    assert sum(batch["events"] for batch in batches) == IndexedEvent.objects.count()
    assert sum(batch["failed"] for batch in batches) == 1
    assert batches[-1]["lagBlocks"] == 0
    assert batches[0]["lagBlocks"] > 0
    for batch in batches:
        assert (batch["level"], batch["logger"]) == ("info", "indexer.runner")
        assert all(batch[f"{phase}Ms"] >= 0 for phase in ("fetch", "decode", "apply", "write"))
        assert batch["fetchMs"] > 0


@pytest.mark.django_db(transaction=True)
def test_a_reorganisation_is_counted_with_its_depth(
    chain: tuple[Web3, Deployment], actions: Actions, client: Client
) -> None:
    w3, deployment = chain
    market = actions.deploy_amm(actions.create_market())
    for amount in (1_000, 2_000, 3_000, 4_000):
        actions.buy(market, 0, amount, sender=actions.accounts[1])
    head = w3.eth.block_number
    with exporter(deployment) as (port, lines):
        wait_for(port, at(head))
        depth, fork = 3, head - 3
        actions.request("anvil_reorg", depth, [])
        actions.request("anvil_mine", "0x1")
        seen = wait_for(port, lambda seen: at(head + 1)(seen) and seen.get_one("indexer_reorganisations_total"))
        assert seen.get_one("indexer_reorganisations_total") == 1
        assert seen.get_one("indexer_reorganisation_depth_blocks_sum") == depth
        assert seen.get_one("indexer_reorganisation_depth_blocks_count") == 1
        assert seen.get_one("indexer_reorganisation_depth_blocks_bucket", le="2.0") == 0
        # What was replaced was processed, and then the new branch was.
        processed = head - deployment.start_block + 1 + head + 1 - fork
        assert seen.get_one("indexer_blocks_processed") == processed
        status = status_when(client, lambda status: status["sinceStart"]["blocks"] == processed)
        assert (status["reorganisations"], status["lastReorganisationDepth"]) == (1, depth)
        assert status["sinceStart"]["reorganisations"] == 1
    assert lines[-1] == "exit code 0"


@pytest.mark.django_db(transaction=True)
def test_below_finality_it_stops_and_the_metric_says_so_before_it_exits(
    chain: tuple[Web3, Deployment], actions: Actions, client: Client
) -> None:
    w3, deployment = chain
    market = actions.deploy_amm(actions.create_market())
    actions.request("anvil_mine", hex(20))
    actions.buy(market, 0, 1_000, sender=actions.accounts[1])
    actions.request("anvil_mine", hex(FINAL + 1))
    with exporter(deployment, INDEXER_BATCH_SIZE="1000") as (port, lines):
        head = w3.eth.block_number
        wait_for(port, lambda seen: at(head)(seen) and Checkpoint.objects.get().finalized_block >= head - FINAL)
        before = database()
        actions.request("anvil_reorg", FINAL + 10, [])
        seen = wait_for(port, lambda seen: seen.get_one("indexer_is_leader") == 0)
        assert seen.get_one("indexer_stopped", reason="below_finality") == 1
        assert seen.get_one("indexer_stopped", reason="wrong_chain") == 0
        status = client.get("/api/indexer/status").json()
        assert (status["state"], status["stopReason"]) == ("stopped", "below_finality")
        assert status["lastError"].startswith("BelowFinality: block ")
        assert client.get("/health").json()["indexer"] == "stopped"
        assert database() == before
    # SIGTERM ends the wait for a scrape.
    assert lines[-1] == "exit code 1"
    assert lines[-2].startswith("CommandError: block ")
    assert lines[-2].endswith("are final")
    assert [json.loads(line)["reason"] for line in lines if '"stopped: ' in line] == ["below_finality"]


@pytest.mark.django_db(transaction=True)
def test_a_wrong_chain_without_metrics_exits_at_once(chain: tuple[Web3, Deployment]) -> None:
    process = manage("run_indexer", deployment=chain[1], CHAIN_ID="8453")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.splitlines()[-1] == "CommandError: CHAIN_ID is 8453, but the node is on chain 31337"
    assert IndexerStatus.objects.get().stop_reason == "wrong_chain"
    assert not Checkpoint.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_port_that_is_taken_stops_nothing(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.create_market()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = manage(
            "run_indexer", "--once", deployment=chain[1], METRICS_ENABLED="true", METRICS_PORT=port, LOG_FORMAT="json"
        )
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert Checkpoint.objects.get().block_number == chain[0].eth.block_number
    warnings = [line for line in map(json.loads, output.splitlines()) if line["level"] == "warn"]
    assert [line["message"] for line in warnings] == [
        f"no metrics: port {port} on 127.0.0.1 can't be used (Address already in use); set METRICS_PORT"
    ]


@pytest.mark.django_db(transaction=True)
def test_nothing_listens_unless_it_is_asked_for(chain: tuple[Web3, Deployment], client: Client) -> None:
    port = free_port()
    with running("run_indexer", deployment=chain[1], METRICS_PORT=str(port)):
        head = chain[0].eth.block_number
        status_when(client, lambda status: status["indexedBlock"] == head)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert "METRICS_ENABLED" not in environment(chain[1])


# --- without an indexer -----------------------------------------------------------------------------------------------


def counted() -> Counters:
    """Something of everything."""
    counters = Counters()
    record = BatchRecord(clock=lambda: 0.0)
    record.events, record.failed, record.seconds["apply"] = 5, 1, 1.5
    counters.committed(3, record)
    counters.requested("one.example", "eth_getLogs", "ok", 0.3)
    counters.requested("one.example", "eth_getLogs", "RpcBusy", 0.004)
    counters.reorganised(2)
    counters.reached(head=10, indexed=8, lag_seconds=4)
    counters.stored(failed_events=6, open_repairs=7)
    counters.stopped("wrong_chain")
    return counters


def test_what_is_exported() -> None:
    health = [{"host": "one.example", "quarantines": 2}, {"host": "one.example", "quarantines": 1}]
    collector = IndexerCollector(counted(), health=lambda: health, is_leader=lambda: False)
    port = free_port()
    with exporting(collector, host="127.0.0.1", port=port) as exports:
        seen = scrape(port)
    assert exports is True
    histograms = ("indexer_rpc_request_seconds_bucket", "indexer_reorganisation_depth_blocks_bucket")
    assert {
        f"{name}{dict(labels) or ''}": value
        for (name, labels), value in seen.items()
        if name.startswith("indexer_") and name not in histograms
    } == {
        "indexer_blocks_processed": 3,
        "indexer_events_processed_total": 5,
        "indexer_phase_seconds_total{'phase': 'fetch'}": 0,
        "indexer_phase_seconds_total{'phase': 'decode'}": 0,
        "indexer_phase_seconds_total{'phase': 'apply'}": 1.5,
        "indexer_phase_seconds_total{'phase': 'write'}": 0,
        "indexer_reorganisations_total": 1,
        "indexer_reorganisation_depth_blocks_count": 1,
        "indexer_reorganisation_depth_blocks_sum": 2,
        "indexer_head_block": 10,
        "indexer_indexed_block": 8,
        "indexer_lag_blocks": 2,
        "indexer_lag_seconds": 4,
        "indexer_failed_events": 6,
        "indexer_repairs_open": 7,
        "indexer_stopped{'reason': 'below_finality'}": 0,
        "indexer_stopped{'reason': 'wrong_chain'}": 1,
        "indexer_rpc_requests_total{'endpoint': 'one.example', 'method': 'eth_getLogs', 'outcome': 'ok'}": 1,
        "indexer_rpc_requests_total{'endpoint': 'one.example', 'method': 'eth_getLogs', 'outcome': 'RpcBusy'}": 1,
        "indexer_rpc_request_seconds_count{'endpoint': 'one.example', 'method': 'eth_getLogs'}": 2,
        "indexer_rpc_request_seconds_sum{'endpoint': 'one.example', 'method': 'eth_getLogs'}": 0.304,
        "indexer_quarantines_total{'endpoint': 'one.example'}": 3,
        "indexer_is_leader": 0,
    }
    bucket = {"endpoint": "one.example", "method": "eth_getLogs"}
    assert seen.get_one("indexer_rpc_request_seconds_bucket", le="0.005", **bucket) == 1
    assert seen.get_one("indexer_rpc_request_seconds_bucket", le="0.5", **bucket) == 2


def test_what_is_not_known_yet_is_left_out() -> None:
    port = free_port()
    with exporting(
        IndexerCollector(Counters(), health=list, is_leader=lambda: False), host="127.0.0.1", port=port
    ) as exports:
        names = {name for name, _ in scrape(port)}
    assert exports
    unknown = ("head_block", "indexed_block", "lag_blocks", "lag_seconds", "failed_events", "repairs_open")
    assert names.isdisjoint(f"indexer_{name}" for name in unknown)
    assert "indexer_blocks_processed" in names


def test_the_port_is_free_again_afterwards() -> None:
    port = free_port()
    for _ in range(2):
        with exporting(
            IndexerCollector(Counters(), health=list, is_leader=lambda: True), host="127.0.0.1", port=port
        ) as exports:
            assert exports


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
def test_an_address_that_is_not_ours_is_a_warning(host: str, caplog: pytest.LogCaptureFixture) -> None:
    collector = IndexerCollector(Counters(), health=list, is_leader=lambda: True)
    with exporting(collector, host=host, port=free_port()) as exports:
        assert not exports
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert host in caplog.text


def test_metrics_for_a_newer_prometheus_have_the_same_names() -> None:
    """It asks for OpenMetrics, in which a counter's family loses its _total."""
    port = free_port()
    collector = IndexerCollector(counted(), health=list, is_leader=lambda: True)
    with exporting(collector, host="127.0.0.1", port=port):
        answer = requests.get(
            f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text"}, timeout=5
        )
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    lines = answer.text.splitlines()
    assert "indexer_blocks_processed 3.0" in lines
    assert "indexer_events_processed_total 5.0" in lines
