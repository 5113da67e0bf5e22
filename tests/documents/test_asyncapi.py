"""The AsyncAPI document: valid, complete, and what the server takes and says (tests/contract.py hears all of that)."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft7Validator

from aurum.channels import CHANNELS
from markets.consumers import COMMANDS
from markets.protocol import ERRORS, read_frame, read_target
from tests import contract
from tests.processes import PROJECT

SPECIFICATION = PROJECT / "tests/clients/node_modules/@asyncapi/specs/schemas/3.0.0.json"
FORMS = {name: kind.form for name, kind in CHANNELS.items()}

pytestmark = pytest.mark.django_db


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    return client.get("/api/asyncapi").json()


def test_it_is_asyncapi_3(document: dict[str, Any]) -> None:
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text()))
    assert [error.message for error in validator.iter_errors(document)] == []
    assert list(validator.iter_errors(document | {"channels": {"market": {"address": 1}}}))


def test_all_that_it_refers_to_is_there(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert len(references) > 100
    for reference in references:
        found: Any = document
        for step in reference.split("/"):
            found = found[step]
    used = {name for kind, name in (each.split("/")[1:] for each in references if each.startswith("components/"))}
    components = document["components"]
    assert used == {*components["messages"], *components["schemas"], *components["securitySchemes"]}


def test_it_has_an_etag(client: Client) -> None:
    answer = client.get("/api/asyncapi")
    assert answer["Content-Type"] == "application/json"
    assert answer["ETag"] == client.get("/api/asyncapi")["ETag"] != client.get("/api/schema")["ETag"]
    assert client.get("/api/asyncapi?x=1").status_code == 400
    assert "/api/asyncapi" in client.get("/api/schema").json()["info"]["description"]


def test_every_example_is_as_its_schema_says_and_has_every_field(document: dict[str, Any]) -> None:
    for name, message in document["components"]["messages"].items():
        for example in message["examples"]:
            assert [each.message for each in contract.strict(message["payload"]).iter_errors(example["payload"])] == []
            assert set(example["payload"]) == set(message["payload"]["properties"]), name


def test_every_channel_command_and_error_is_in_it(document: dict[str, Any]) -> None:
    assert set(document["channels"]) == {*CHANNELS, "connection"}
    received = [each for each in document["operations"].values() if each["action"] == "receive"]
    commands = {
        contract.message_of(*reference["$ref"].split("/")[2::2])["name"]
        for operation in received
        for reference in operation["messages"]
    }
    assert commands == set(COMMANDS)
    error = document["components"]["messages"]["error"]
    assert error["payload"]["properties"]["code"]["enum"] == list(ERRORS)
    private = {name for name, each in document["operations"].items() if "security" in each}
    assert private == {"connection.auth", "watchlist.subscribe"}


@pytest.mark.parametrize("channel", CHANNELS)
def test_example_frames_are_read_as_they_are_meant(document: dict[str, Any], channel: str) -> None:
    frames = [
        contract.message_of(channel, name)
        for name in document["channels"][channel]["messages"]
        if name.startswith(("subscribe.", "unsubscribe.")) or name in ("subscribe", "unsubscribe")
    ]
    assert len(frames) == (4 if CHANNELS[channel].form.keys else 2)
    for frame in frames:
        shown = frame["examples"][0]["payload"]
        target = read_target(read_frame(json.dumps(shown)), FORMS)
        assert target.channel == channel
        assert target.is_batch == (CHANNELS[channel].form.keys in shown)
        assert list(target.since.values()) == ([41] if shown["type"] == "subscribe" else [])


BREACHES: list[dict[str, Any]] = [
    {"type": "trade_settled", "channel": "market"},
    {"type": "pong", "at": 1},
    {"type": "draining"},
    {"type": "finality", "safeBlock": "7", "finalizedBlock": 7},
    {"type": "error", "code": "nope", "message": "no"},
    {"type": "unsubscribed", "channel": "nope"},
]


@pytest.mark.parametrize("message", BREACHES, ids=json.dumps)
def test_a_breach_is_seen(message: dict[str, Any]) -> None:
    contract.check(json.dumps(message))
    assert len(contract.breaches) == 1
    contract.breaches.clear()


def test_an_undescribed_field_of_a_push_is_a_breach(document: dict[str, Any]) -> None:
    for name in ("trade", "market_update"):
        shown = contract.message_of("market", name)["examples"][0]["payload"]
        contract.check(json.dumps(shown))
        assert not contract.breaches
        contract.check(json.dumps(shown | {"new": 1}))
        assert len(contract.breaches) == 1
        contract.breaches.clear()
