"""The OpenAPI document and its page: complete, valid, and without a foreign host."""

import re
from io import StringIO
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.core.management import call_command
from django.test import Client

pytestmark = pytest.mark.django_db

PATHS = {
    "/api/markets",
    "/api/markets/{id}",
    "/api/markets/{id}/positions",
    "/api/markets/{id}/prices",
    "/api/markets/{id}/trades",
    "/api/users/{address}/positions",
    "/api/users/{address}/history",
    "/api/users/{address}/portfolio",
    "/api/leaderboard",
    "/api/oracle/questions",
    "/api/oracle/questions/{id}",
    "/api/status",
    "/api/indexer/status",
}
AMOUNTS = ("fee", "volume", "volume24h", "liquidity", "openInterest", "feesCollected", "tradingFees")


@pytest.fixture
def schema(client: Client) -> dict[str, Any]:
    response = client.get("/api/schema")
    assert response.status_code == 200
    return response.json()


def properties(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return schema["components"]["schemas"][name]["properties"]


def test_generation_has_no_warnings_and_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=StringIO())
    assert capsys.readouterr().err == ""


def test_every_path_is_described(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    assert set(schema["paths"]) >= PATHS
    assert all("get" in schema["paths"][path] for path in PATHS)


def test_lists_page_and_single_objects_do_not(schema: dict[str, Any]) -> None:
    for path in PATHS:
        names = {parameter["name"] for parameter in schema["paths"][path]["get"].get("parameters", [])}
        content = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        is_list = not path.endswith(("}", "/prices", "/status", "/portfolio"))
        assert ({"cursor", "limit"} <= names) is is_list, path
        reference = content["$ref"].rpartition("/")[2]
        assert ({"results", "next", "previous"} == set(properties(schema, reference))) is is_list, path


def test_parameters_are_those_that_the_endpoints_take(schema: dict[str, Any]) -> None:
    names = {parameter["name"] for parameter in schema["paths"]["/api/markets"]["get"]["parameters"]}
    assert names == {
        "search",
        "category",
        "status",
        "creator",
        "collateralToken",
        "endsBefore",
        "endsAfter",
        "ordering",
        "cursor",
        "limit",
    }


def test_every_property_is_camel_case(schema: dict[str, Any]) -> None:
    for name, component in schema["components"]["schemas"].items():
        for field in component.get("properties", {}):
            assert "_" not in field, f"{name}.{field}"


def test_amounts_are_strings_and_prices_numbers(schema: dict[str, Any]) -> None:
    market = properties(schema, "Market")
    for name in AMOUNTS:
        assert market[name]["type"] in ("string", ["string", "null"]), name
    assert market["prices"]["items"] == {"type": "number"}
    trade = properties(schema, "Trade")
    assert trade["amount"]["type"] == "string"
    assert trade["price"]["type"] == ["number", "null"]


def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    """Every script, style and image is ours, and is there."""
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert not re.search(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}""", page.text)
    linked = re.findall(r"""(?:src|href)="([^"]+)\"""", page.text)
    assert len(linked) >= 3
    for link in linked:
        url = urlsplit(urljoin("http://testserver/api/docs", link))
        assert url.netloc == "testserver"
        response = client.get(url.path)
        assert response.status_code == 200, link
        assert response.getvalue()
