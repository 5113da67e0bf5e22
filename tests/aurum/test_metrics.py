"""What the web server counts: routes as labels, and every answer, whoever gave it."""

import json
from threading import Event
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from web3 import Web3

from aurum.metrics import route_of
from aurum.ports import free_port
from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from tests.processes import output_of, running, wait_until_it_answers

ID = "0x" + "ab" * 32


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/markets", "/api/markets"),
        (f"/api/markets/{ID}", "/api/markets/:id"),
        (f"/api/markets/{ID}/prices/history", "/api/markets/:id/prices/history"),
        ("/api/prices/history", "/api/prices/history"),
        ("/api/users/0x12/portfolio", "/api/users/:address/portfolio"),
        ("/api/me/watchlist", "/api/me/watchlist"),
        ("/health/live", "/health/live"),
        ("/admin/markets/market/7/change/", "/admin/…"),
        ("/static/admin/css/base.css", "/static/…"),
        ("/", "/"),
        ("/api/markets/", "other"),
        ("/api/nothing", "other"),
        ("//", "other"),
        ("", "other"),
        ("/api/markets/\udcff/trades/x", "other"),
    ],
)
def test_routes_are_few(path: str, route: str) -> None:
    assert route_of(path) == route


def samples_of(port: int) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }


@pytest.mark.django_db(transaction=True)
def test_every_answer_is_counted_and_logged(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    """Kept, direct, Django's and refused ones; with the indexer's metrics on the same port."""
    market = "0x" + actions.create_market().market_id.hex()
    port, metrics_port = free_port(), free_port()
    options = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_ENABLED": "true", "METRICS_PORT": str(metrics_port)}
    options |= {"LOG_FORMAT": "json", "LOG_LEVEL": "info"}

    def get(path: str, **headers: str) -> int:
        try:
            answer = urlopen(Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=20)
        except OSError as error:
            answer = error  # HTTPError, which is an answer
        with answer:
            return answer.status

    with running("serve", "--with-indexer", deployment=chain[1], **options) as server:
        wait_until_it_answers(server, port)
        while get(f"/api/markets/{market}") != 200:
            Event().wait(0.2)
        for number in range(3):
            assert get("/api/markets?limit=5", **{"X-Request-Id": f"mine-{number}"}) == 200
        assert get("/api/nothing") == 404
        while ("indexer_blocks_processed",) not in (samples := samples_of(metrics_port)):
            Event().wait(0.2)
        server.terminate()
        output = output_of(server, seconds=60)
    counted = {key[1:]: value for key, value in samples.items() if key[0] == "http_requests_total"}
    assert counted["GET", "/api/markets", "200"] == 3
    assert counted["GET", "/api/markets/:id", "200"] == 1
    assert counted["GET", "other", "404"] == 1
    assert samples["http_request_duration_seconds_count", "GET", "/api/markets"] == 3
    assert samples["database_queries_total",] > 0
    assert samples["indexer_blocks_processed",] > 0
    lines = [json.loads(line) for line in output.splitlines() if "aurum.traffic" in line]
    ours = [line for line in lines if line["requestId"].startswith("mine-")]
    assert [(line["message"], line["level"]) for line in ours] == [("GET /api/markets 200", "info")] * 3
    assert [line["requestId"] for line in ours] == ["mine-0", "mine-1", "mine-2"]
    assert all(line["milliseconds"] >= 0 for line in ours)
    assert any(line.get("marketId") == market for line in lines)
