"""What Sentry is sent of an error, by its real SDK with a transport that keeps it."""

import json
import subprocess
import sys

import pytest

from tests.processes import PROJECT

PROGRAM = """
import json, logging, django
django.setup()
import sentry_sdk
from sentry_sdk.transport import Transport
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory
from aurum import sentry
from aurum.log_context import log_context

kept = []

class Keeping(Transport):
    def capture_envelope(self, envelope):
        kept.extend(item.payload.json for item in envelope.items if item.type == "event")

sentry.start(settings.SENTRY_DSN, settings.REDACTOR, environment="staging", release="1.2.3", transport=Keeping)
options = sentry_sdk.get_client().options
logger = logging.getLogger("indexer.runner")
token = "canary-local"
try:
    raise ConnectionError("no https://me:canary-password@node.example/v2/canaryKey1234567")
except ConnectionError:
    with log_context(requestId="batch-1", marketId="0x1"):
        logger.warning("before: password=canary-crumb")
        logger.exception("it failed: %s", "Bearer canary-bearer")
headers = {"X-Request-ID": "abc-123", "X-Api-Key": "canary-token", "Cookie": "a=canary-cookie"}
environ = RequestFactory().get("/api/markets?limit=7", headers=headers).environ
answered = []
list(WSGIHandler()(environ, lambda status, headers, *more: answered.append(status)))
sentry_sdk.flush()
options = {name: options[name] for name in ("send_default_pii", "max_request_body_size", "traces_sample_rate")}
print(json.dumps({"status": answered[0], "events": kept, "options": options}))
"""


@pytest.fixture(scope="module")
def said() -> dict:
    environment = {
        "AURUM_ENV_FILES": "",
        "DATABASE_URL": "postgresql://me:canary-database@/unused?host=/nowhere",
        "DJANGO_SETTINGS_MODULE": "aurum.settings",
        "SENTRY_DSN": "https://canarydsn0123456@sentry.invalid/1",
        "RPC_URL": "https://node.example/v2/canaryKey1234567",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stderr
    return json.loads(done.stdout)


def test_nothing_personal_and_nothing_secret_is_sent(said: dict) -> None:
    assert "canary" not in json.dumps(said["events"])
    assert said["options"] == {"send_default_pii": False, "max_request_body_size": "never", "traces_sample_rate": None}
    for event in said["events"]:
        assert "user" not in event
        assert '"vars"' not in json.dumps(event)


def test_an_error_of_the_indexer_bears_its_batch(said: dict) -> None:
    event = said["events"][0]
    assert (event["level"], event["logger"]) == ("error", "indexer.runner")
    assert (event["environment"], event["release"]) == ("staging", "1.2.3")
    assert (event["tags"]["requestId"], event["tags"]["marketId"]) == ("batch-1", "0x1")
    assert event["exception"]["values"][0]["type"] == "ConnectionError"
    assert event["exception"]["values"][0]["value"] == "no https://[redacted]@node.example/v2/[redacted]"
    assert event["breadcrumbs"]["values"][-1]["message"] == "before: password=[redacted]"


def test_an_error_of_a_request_bears_its_id_and_no_query(said: dict) -> None:
    assert said["status"] == "503 Service Unavailable"
    event = said["events"][-1]
    assert event["tags"]["requestId"] == "abc-123"
    assert event["request"] == {"url": "http://testserver/api/markets", "method": "GET"}
