"""Each request and answer of the document has an example, and each example is what its schema says."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.django_db


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    return client.get("/api/schema").json()


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that is described, with where."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            for kind in operation.get("requestBody", {}).get("content", {}).values():
                yield where, kind
            for status, answer in operation["responses"].items():
                for kind in answer.get("content", {}).values():
                    yield f"{where} {status}", kind


def test_every_body_has_an_example_that_its_schema_allows(document: dict[str, Any]) -> None:
    checked = 0
    for where, content in contents(document):
        # The references in it are to the document's components.
        schema = content["schema"] | {"components": document["components"]}
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        assert content.get("examples"), where
        for example in content["examples"].values():
            errors = [error.message for error in validator.iter_errors(example["value"])]
            assert not errors, (where, errors)
            checked += 1
    assert checked > 100


def test_an_example_shows_all_that_an_answer_has(document: dict[str, Any]) -> None:
    """Also what need not be there."""
    for where, content in contents(document):
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name == "Problem" or not name:
            continue
        schema = document["components"]["schemas"][name]
        for example in content["examples"].values():
            assert set(example["value"]) == set(schema["properties"]), where


def test_operations_are_told_apart_described_and_filed(document: dict[str, Any]) -> None:
    operations = [operation for each in document["paths"].values() for operation in each.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    for operation in operations:
        assert operation["description"], operation["operationId"]
        assert {"X-Request-ID", "RateLimit-Remaining"} <= set(operation["responses"]["400"]["headers"])
        assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_ids_in_paths_say_their_form(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            in_path = [each for each in operation.get("parameters", ()) if each["in"] == "path"]
            assert len(in_path) == path.count("{")
            assert all(each["schema"]["pattern"] and each["description"] for each in in_path), path
