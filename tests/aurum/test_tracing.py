"""What OpenTelemetry is told of a request, by its real SDK and instrumentation with an exporter that keeps it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.factories import make_checkpoint
from tests.processes import PROJECT, database_url

pytestmark = pytest.mark.django_db(transaction=True)

PROGRAM = """
import json, django
django.setup()
from django.conf import settings
from django.db import connection
from django.test import Client
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from aurum import tracing

exporter = InMemorySpanExporter()
about = {"environment": "staging", "release": "1.2.3"}
provider = tracing.start("http://127.0.0.1:1", settings.REDACTOR, **about, exporter=exporter)
statuses = [
    Client().get(f"/api/markets?{query}", headers=headers).status_code
    for query, headers in (("limit=7", {"X-Request-ID": "0123456789abcdef0123456789abcdef", "X-Api-Key": "canary"}),
                    ("limit=8", {"X-Request-ID": "abc-123"}), ("token=canary", {}))
]
with connection.cursor() as cursor:
    try:
        cursor.execute("SELECT 1 / 0 -- password=canary", ())
    except Exception:
        pass
provider.force_flush()
spans = [
    {"trace": f"{span.context.trace_id:032x}", "name": span.name, "kind": span.kind.name, "parent": bool(span.parent),
     "attributes": dict(span.attributes), "resource": dict(span.resource.attributes),
     "events": [dict(each.attributes) for each in span.events], "status": span.status.description}
    for span in exporter.get_finished_spans()
]
print(json.dumps({"statuses": statuses, "spans": spans}, default=str))
"""


@pytest.fixture
def spans() -> list[dict[str, Any]]:
    make_checkpoint()
    environment = {
        "AURUM_ENV_FILES": "",
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "aurum.settings",
        "LOG_LEVEL": "error",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["statuses"] == [200, 200, 400]
    assert "canary" not in done.stdout
    return said["spans"]


def test_requests_and_their_statements_are_traced_under_the_requests_id(spans: list[dict[str, Any]]) -> None:
    first, second, third = [span for span in spans if span["kind"] == "SERVER"]
    assert first["resource"]["service.name"] == "aurum"
    assert first["resource"]["service.version"] == "1.2.3"
    assert first["trace"] == "0123456789abcdef0123456789abcdef" == first["attributes"]["requestId"]
    # This id is no trace's: the attribute links them.
    assert second["attributes"]["requestId"] == "abc-123"
    assert second["trace"] != first["trace"]
    assert third["trace"] == third["attributes"]["requestId"]
    for request in (first, second):
        statements = [span for span in spans if span["kind"] == "CLIENT" and span["trace"] == request["trace"]]
        assert statements
        assert all(span["parent"] for span in statements)
        assert all("SELECT" in span["attributes"]["db.statement"] for span in statements)
        assert {span["attributes"]["requestId"] for span in statements} == {request["attributes"]["requestId"]}


def test_a_failed_statement_is_told_without_its_secrets(spans: list[dict[str, Any]]) -> None:
    last = spans[-1]
    assert last["attributes"]["db.statement"] == "SELECT 1 / 0 -- password=[redacted]"
    assert "division by zero" in last["status"]
