"""The OpenAPI document and its page: complete, valid, and without a foreign host."""

import re
from io import StringIO
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

pytestmark = pytest.mark.django_db

PATHS = {
    "/api/markets",
    "/api/markets/{id}",
    "/api/markets/{id}/positions",
    "/api/markets/{id}/prices",
    "/api/markets/{id}/prices/history",
    "/api/markets/{id}/quote",
    "/api/markets/{id}/trades",
    "/api/prices",
    "/api/prices/history",
    "/api/users/{address}/positions",
    "/api/users/{address}/history",
    "/api/users/{address}/portfolio",
    "/api/leaderboard",
    "/api/oracle/questions",
    "/api/oracle/questions/{id}",
    "/api/status",
    "/api/indexer/status",
}
# Of who is signed in, or signs in: method, path, and the answers that each may give.
OF_USERS = {
    ("post", "/api/auth/nonce"): {"200", "400", "429", "503"},
    ("post", "/api/auth/verify"): {"200", "400", "401", "413", "415", "429", "503"},
    ("post", "/api/auth/refresh"): {"200", "400", "401", "413", "415", "429", "503"},
    ("post", "/api/auth/logout"): {"204", "400", "401", "413", "415", "429", "503"},
    ("get", "/api/me"): {"200", "400", "401", "429", "503"},
    ("get", "/api/me/watchlist"): {"200", "400", "401", "429", "503"},
    ("put", "/api/me/watchlist/{id}"): {"204", "400", "401", "403", "404", "409", "429", "503"},
    ("delete", "/api/me/watchlist/{id}"): {"204", "400", "401", "403", "404", "429", "503"},
    ("patch", "/api/markets/{id}/metadata"): {"200", "400", "401", "403", "404", "413", "415", "429", "503"},
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
        is_list = not path.endswith(("}", "/prices", "/prices/history", "/quote", "/status", "/portfolio"))
        assert ({"cursor", "limit"} <= names) is is_list, path
        reference = content["$ref"].rpartition("/")[2]
        assert ({"results", "next", "previous"} == set(properties(schema, reference))) is is_list, path


def test_parameters_are_those_that_the_endpoints_take(schema: dict[str, Any]) -> None:
    names = {parameter["name"] for parameter in schema["paths"]["/api/markets"]["get"]["parameters"]}
    assert names == {
        "search",
        "category",
        "status",
        "featured",
        "creator",
        "collateralToken",
        "endsBefore",
        "endsAfter",
        "ordering",
        "cursor",
        "limit",
        "X-Min-Block",
    }
    status = schema["paths"]["/api/status"]["get"].get("parameters", [])
    assert "X-Min-Block" not in {parameter["name"] for parameter in status}  # it tells of the present


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
        response = client.get(link)
        assert response.status_code == 200, link
        assert response.getvalue()


def test_the_page_may_run_no_script_but_ours(client: Client) -> None:
    page = client.get("/api/docs")
    policy = dict(each.split(" ", 1) for each in page["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page.text, re.S)
    assert len(scripts) == 3
    assert all("src=" in attributes and not text.strip() for attributes, text in scripts)
    script = client.get("/api/docs?script=")
    assert script["Content-Type"] == "application/javascript"
    assert '"/api/schema"' in script.text
    assert not re.search(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}/""", script.text)


def test_every_path_of_the_api_is_in_the_document(schema: dict[str, Any]) -> None:
    """Generated from the URL map, so that none can be forgotten."""
    served = {
        "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", f"{prefix}{inner.pattern}")
        for outer in get_resolver().url_patterns
        for prefix, inner in (
            [(str(outer.pattern), each) for each in outer.url_patterns]
            if hasattr(outer, "url_patterns")
            else [("", outer)]
        )
    }
    of_api = {path for path in served if path.startswith("/api/")} - {"/api/schema", "/api/asyncapi", "/api/docs"}
    assert of_api == set(schema["paths"])


@pytest.mark.parametrize(("method", "path"), OF_USERS)
def test_what_is_of_users_says_all_its_answers(schema: dict[str, Any], method: str, path: str) -> None:
    operation = schema["paths"][path][method]
    assert set(operation["responses"]) == OF_USERS[method, path]
    is_open = path.startswith("/api/auth/")
    assert operation.get("security") == ([{}] if is_open else [{"jwtAuth": []}, {"cookieAuth": []}])
    assert operation["description"]


def test_every_endpoint_says_how_it_refuses(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            assert {"400", "429", "503"} <= set(refusals), (method, path)
            assert ("404" in refusals) >= ("{" in path)
            for status, answer in refusals.items():
                (content,) = answer["content"].items()
                assert content[0] == "application/problem+json"
                assert content[1]["schema"] == {"$ref": "#/components/schemas/Problem"}
                (example,) = content[1]["examples"].values()
                assert example["value"]["status"] == int(status)
                assert example["value"]["detail"]


def test_bodies_have_examples(schema: dict[str, Any]) -> None:
    for (method, path), statuses in OF_USERS.items():
        operation = schema["paths"][path][method]
        for content in (operation.get("requestBody", {}), operation["responses"].get("200", {})):
            for kind in content.get("content", {}).values():
                assert kind["examples"], (method, path)
        assert ("requestBody" in operation) == ("415" in statuses)
