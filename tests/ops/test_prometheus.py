"""Alert rules and dashboard: every expression parses, and names metrics that our processes show."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aurum import asgi
from aurum.metrics import WEB, count_request, queries
from aurum.web_metrics import DjangoCollector, PoolCollector, SocketCollector
from indexer.counters import Counters
from indexer.metrics import IndexerCollector
from resolver.metrics import WalletCollector, WalletCounts

OPS = Path(__file__).resolve().parent.parent.parent / "ops"
RULES = [
    rule for group in yaml.safe_load((OPS / "prometheus/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
PANELS = [panel for panel in json.loads((OPS / "grafana/aurum.json").read_text())["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [each["expr"] for panel in PANELS for each in panel["targets"]]
# Of prometheus_client's ProcessCollector, which every one of our processes shows on Linux.
OF_PROCESSES = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}


def selectors(node: Any) -> list[Any]:
    """The vector selectors of an expression."""
    kind = type(node).__name__
    if kind == "VectorSelector":
        return [node]
    inner = {
        "MatrixSelector": ["vector_selector"],
        "Call": [],
        "BinaryExpr": ["lhs", "rhs"],
    }.get(kind, ["expr"])
    children = [getattr(node, name) for name in inner if hasattr(node, name)]
    children += list(node.args) if kind == "Call" else []
    return [found for child in children for found in selectors(child)]


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """The samples that our processes show, with the names of their labels, and the buckets of histograms."""
    counters = Counters()
    counters.reached(head=10, indexed=9, lag_seconds=2)
    counters.stored(failed_events=0, open_repairs=0)
    counters.requested("node", "eth_call", "ok", 0.1)
    counters.reorganised(20)
    count_request("GET", "/health", 200, 0.1)
    queries.inc()
    registry = CollectorRegistry()
    for collector in (
        IndexerCollector(counters, health=lambda: [{"host": "node", "quarantines": 1}], is_leader=lambda: True),
        SocketCollector(asgi.hub),
        PoolCollector(lambda: {"reads": {"pool_size": 1}}),
        DjangoCollector(),
        WalletCollector(WalletCounts(balance=1)),
    ):
        registry.register(collector)
    text = generate_latest(WEB).decode() + generate_latest(registry).decode()
    samples: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        samples.setdefault(family.name, set())
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
            samples[sample.name].update(f'le="{value}"' for name, value in sample.labels.items() if name == "le")
    return samples


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_metrics_that_are_shown(expression: str, shown: dict[str, set[str]]) -> None:
    found = selectors(promql_parser.parse(expression))
    assert found
    for selector in found:
        assert selector.name in shown.keys() | OF_PROCESSES, selector.name
        for matcher in selector.matchers.matchers:
            is_bucket = matcher.name == "le"
            assert (f'le="{matcher.value}"' if is_bucket else matcher.name) in shown[selector.name], selector


def test_each_metric_has_its_row(shown: dict[str, set[str]]) -> None:
    text = (OPS.parent / "docs/metrics.md").read_text()
    families = {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in shown}
    others = ("django_", "process_", "python_")
    assert [name for name in families if name not in text and not name.startswith(others)] == []


def test_prometheus_asks_services_of_compose() -> None:
    services = yaml.safe_load((OPS.parent / "compose.yaml").read_text())["services"]
    jobs = yaml.safe_load((OPS / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert {name for job in jobs for config in job["dns_sd_configs"] for name in config["names"]} <= set(services)


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        assert re.fullmatch(r"[0-9]+[mh]", rule.get("for", "1m")), rule["alert"]


def test_documents_that_an_alert_names_are_there() -> None:
    named = {name for rule in RULES for name in re.findall(r"docs/[a-z]+\.md", rule["annotations"]["action"])}
    assert named
    assert [name for name in named if not (OPS.parent / name).is_file()] == []


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in PANELS]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert all(x + width <= 24 for x, _, width, _ in places)
