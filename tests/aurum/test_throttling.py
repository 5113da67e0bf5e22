"""Rate limits: of whom, of what, and that nobody gets around them."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, get_resolver

from aurum import throttling
from aurum.throttling import ApiThrottle, client_address
from tests import factories
from tests.accounts.people import signed_in, token_headers
from tests.problems import problem_of
from tests.valkey import url, valkey

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def _counted_anew() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    """Three requests a minute."""
    settings.RATE_LIMIT_MAX = 3
    settings.RATE_LIMIT_WINDOW = 60_000


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of what counts: Django's memory cache and django-ratelimit."""
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


def statuses(client: Client, count: int, path: str = "/api/markets", **more: Any) -> list[int]:
    return [client.get(path, **more).status_code for _ in range(count)]


# --- whose requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted", "address"),
    [
        # Nothing is trusted: the peer.
        ("192.0.2.1", "", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 0, "192.0.2.1"),
        # One proxy: what it saw, never what the client wrote before it.
        ("10.0.0.1", "198.51.100.7", 1, "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7", 1, "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1,2.2.2.2,198.51.100.7", 1, "198.51.100.7"),
        # Two.
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", 2, "198.51.100.7"),
        # Fewer entries than proxies: somebody came in between, and is the first that was seen.
        ("10.0.0.1", "198.51.100.7", 2, "198.51.100.7"),
        ("10.0.0.1", "", 2, "10.0.0.1"),
        # Ports, as some proxies add them.
        ("10.0.0.1", "198.51.100.7:4711", 1, "198.51.100.7"),
        ("10.0.0.1", "[2001:db8:1:2:3::4]:4711", 1, "2001:db8:1:2::/64"),
        # An IPv6 customer has 2^64 addresses, and an IPv4 one may be written as IPv6.
        ("2001:db8:1:2:3::4", "", 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("fe80::1%eth0", "", 0, "fe80::/64"),
        # Junk is nobody's address: the peer's is left.
        ("10.0.0.1", "bogus", 1, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, unknown", 1, "10.0.0.1"),
        ("10.0.0.1", "999.1.1.1", 1, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, '; DROP TABLE", 1, "10.0.0.1"),
        ("10.0.0.1", ",,, ,", 1, "10.0.0.1"),
        ("10.0.0.1", "[", 1, "10.0.0.1"),
        ("10.0.0.1", "\x00", 1, "10.0.0.1"),
        ("10.0.0.1", "ü" * 10_000, 1, "10.0.0.1"),
        ("10.0.0.1", "1" * 10_000, 1, "10.0.0.1"),
        ("", "", 0, "unknown"),
        ("", "198.51.100.7", 1, "198.51.100.7"),
    ],
)
def test_client_address(peer: str, forwarded_for: str, trusted: int, address: str) -> None:
    assert client_address(peer, forwarded_for, trusted) == address


def test_what_is_left_is_said_with_every_answer(client: Client, clock: Clock) -> None:
    said = []
    for number in range(5):
        answer = client.get("/api/markets")
        said.append([answer.status_code, *(answer[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset"))])
        clock.now += 10.5 * (number < 3)
    assert said == [
        [200, "3", "2", "60"],
        [200, "3", "1", "50"],
        [200, "3", "0", "39"],
        [429, "3", "0", "29"],
        [429, "3", "0", "29"],
    ]


def test_too_many_requests_are_a_problem(client: Client, clock: Clock) -> None:
    assert statuses(client, 3) == [200] * 3
    clock.now += 18
    answer = client.get("/api/markets", headers={"Origin": "http://localhost:5173"})
    assert problem_of(answer, 429)["detail"] == "Request was throttled. Expected available in 42 seconds."
    assert answer["Retry-After"] == "42"
    exposed = answer["Access-Control-Expose-Headers"]
    assert {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"} <= set(exposed.split(", "))


def test_after_the_window_counting_starts_again(client: Client, clock: Clock) -> None:
    assert statuses(client, 4) == [200, 200, 200, 429]
    clock.now += 59
    assert statuses(client, 1) == [429]
    clock.now += 1.5
    assert statuses(client, 4) == [200, 200, 200, 429]


def test_who_is_refused_stays_so_for_no_longer(client: Client, clock: Clock) -> None:
    """Asking again does not prolong it."""
    for _ in range(10):
        client.get("/api/markets")
        clock.now += 5.9
    clock.now += 1.5
    assert statuses(client, 1) == [200]


def test_users_are_counted_apart_and_apart_from_their_address(client: Client) -> None:
    first, second = signed_in("0x" + "11" * 20), signed_in("0x" + "22" * 20)
    assert statuses(client, 4, **first) == [200, 200, 200, 429]
    assert statuses(client, 4, **second) == [200, 200, 200, 429]
    assert statuses(client, 4) == [200, 200, 200, 429]
    # Wherever they are.
    assert statuses(client, 1, REMOTE_ADDR="198.51.100.7", **first) == [429]


def test_addresses_are_counted_apart(client: Client) -> None:
    assert statuses(client, 4, REMOTE_ADDR="192.0.2.1") == [200, 200, 200, 429]
    assert statuses(client, 1, REMOTE_ADDR="192.0.2.2") == [200]
    assert statuses(client, 4, REMOTE_ADDR="2001:db8::1") == [200, 200, 200, 429]
    assert statuses(client, 1, REMOTE_ADDR="2001:db8::ffff") == [429]
    assert statuses(client, 1, REMOTE_ADDR="2001:db8:0:1::1") == [200]


@pytest.mark.parametrize(("trusted", "last"), [(0, "x"), (0, "10.0.0.9"), (1, "198.51.100.7"), (2, "198.51.100.7, x")])
def test_rotating_x_forwarded_for_does_not_help(client: Client, settings: Any, trusted: int, last: str) -> None:
    settings.TRUSTED_PROXIES = trusted
    found = [
        client.get("/api/markets", headers={"X-Forwarded-For": f"203.0.113.{number}, {last}"}).status_code
        for number in range(6)
    ]
    assert found == [200] * 3 + [429] * 3


def test_behind_a_proxy_clients_are_told_apart(client: Client, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    for number in range(3):
        headers = {"X-Forwarded-For": f"198.51.100.{number}"}
        assert statuses(client, 4, headers=headers) == [200, 200, 200, 429]


# --- what is counted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/markets?bogus=1", 400),
        ("/api/markets/bogus", 400),
        (f"/api/markets/0x{'00' * 32}", 404),
        ("/api/me", 401),
        ("/api/me/watchlist", 401),
        ("/api/status", 200),
        ("/api/schema", 200),
        ("/api/docs", 200),
    ],
)
def test_every_answer_counts(client: Client, path: str, status: int) -> None:
    assert statuses(client, 4, path) == [status] * 3 + [429]
    assert statuses(client, 1) == [429]


def test_bad_tokens_count(client: Client) -> None:
    """Otherwise they could be tried without end."""
    found = statuses(client, 5, "/api/markets", **token_headers("a.b.c"))
    assert found == [401, 401, 401, 429, 429]


def test_wrong_methods_and_forbidden_writes_count(client: Client) -> None:
    assert [client.post("/api/markets").status_code for _ in range(2)] == [405, 405]
    market = factories.make_market()
    headers = signed_in()
    path = f"/api/markets/{market.id}/metadata"
    found = [client.patch(path, "{}", content_type="application/json", **headers).status_code for _ in range(4)]
    assert found == [403, 403, 403, 429]
    assert statuses(client, 2) == [200, 429]


def views(resolver: Any) -> Iterator[Any]:
    for part in resolver.url_patterns:
        if isinstance(part, URLPattern):
            yield part.callback
        else:
            yield from views(part)


def test_every_api_view_has_a_limit() -> None:
    api = [view for view in views(get_resolver()) if hasattr(view, "cls")]
    assert len(api) >= 20
    unbounded = {view.cls.__name__ for view in api if ApiThrottle not in view.cls.throttle_classes}
    assert unbounded == {"NonceView", "VerifyView", "RefreshView", "LogoutView"}
    assert all(hasattr(view, "__wrapped__") for view in api if view.cls.__name__ in unbounded)


@pytest.mark.django_db(transaction=True)
def test_health_is_never_refused(client: Client) -> None:
    assert statuses(client, 4) == [200, 200, 200, 429]
    for path in ("/health", "/health/live", "/health/ready"):
        assert statuses(client, 10, path) == [200] * 10
    assert "RateLimit-Limit" not in client.get("/health")


def test_operators_are_not_locked_out_of_the_admin(client: Client) -> None:
    User.objects.create_superuser("operator", password=PASSWORD)
    assert statuses(client, 4) == [200, 200, 200, 429]
    answer = client.post("/admin/login/", {"username": "operator", "password": PASSWORD, "next": "/admin/"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert statuses(client, 10, "/admin/markets/market/") == [200] * 10
    # As a user of the API they have a limit like everybody.
    assert statuses(client, 4) == [200, 200, 200, 429]
    assert statuses(client, 1, "/admin/") == [200]


# --- sign-in and passwords --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nonce", "verify", "refresh", "logout"])
def test_sign_in_has_a_limit_of_its_own(client: Client, settings: Any, clock: Clock, name: str) -> None:
    settings.SIGN_IN_LIMIT = (2, 60)
    path = f"/api/auth/{name}"
    first = client.post(path, "{}", content_type="application/json")
    assert first.status_code == (200 if name == "nonce" else 400)
    assert (first["RateLimit-Limit"], first["RateLimit-Remaining"]) == ("2", "1")
    client.post(path, "{}", content_type="application/json")
    answer = client.post(path, "{}", content_type="application/json", headers={"X-Forwarded-For": "1.2.3.4"})
    wait = int(answer["Retry-After"])
    assert 1 <= wait <= 60
    assert problem_of(answer, 429)["detail"] == f"Too many attempts. Try again in {wait} seconds."
    assert (answer["RateLimit-Remaining"], answer["RateLimit-Reset"]) == ("0", str(wait))
    # Others are not concerned, nor is the rest of the API.
    assert client.post(path, "{}", content_type="application/json", REMOTE_ADDR="192.0.2.9").status_code < 429
    assert statuses(client, 1) == [200]
    clock.now += wait + 1
    assert client.post(path, "{}", content_type="application/json").status_code == first.status_code


def test_passwords_are_not_guessed(client: Client, settings: Any, clock: Clock) -> None:
    settings.PASSWORD_LIMIT = (3, 60)
    User.objects.create_superuser("operator", password=PASSWORD)
    guess = {"username": "operator", "password": "wrong"}
    assert [client.post("/admin/login/", guess).status_code for _ in range(3)] == [200] * 3
    answer = client.post("/admin/login/", guess | {"password": PASSWORD})
    assert (answer.status_code, answer["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert "Too many attempts" in answer.text
    assert "_auth_user_id" not in client.session
    # The page itself can be seen, and others are not concerned.
    assert client.get("/admin/login/").status_code == 200
    other = client.post("/admin/login/?next=/admin/", guess | {"password": PASSWORD}, REMOTE_ADDR="192.0.2.9")
    assert other.status_code == 302
    clock.now += int(answer["Retry-After"]) + 1
    assert client.post("/admin/login/?next=/admin/", guess | {"password": PASSWORD}).status_code == 302


# --- with Redis -------------------------------------------------------------------------------------------------------


def use(settings: Any, redis_url: str) -> None:
    settings.CACHES = {"default": {"BACKEND": "aurum.cache.Cache", "LOCATION": redis_url, "KEY_PREFIX": "aurum"}}


def test_redis_that_dies_in_the_middle_is_no_500_and_no_open_door(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SIGN_IN_LIMIT = (3, 3600)
    with valkey() as server:
        use(settings, url(server))
        assert statuses(client, 4) == [200, 200, 200, 429]
        assert [client.post("/api/auth/nonce").status_code for _ in range(2)] == [200] * 2
        server.stop()
        # The process counts for itself now.
        assert statuses(client, 5) == [200, 200, 200, 429, 429]
        assert [client.post("/api/auth/nonce").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        assert client.get("/health/live").status_code == 200
    said = [record.message for record in caplog.records if record.name == "aurum.cache"]
    assert len(said) == 1
    assert said[0].startswith("Redis does not answer, each process counts for itself until it does: ")


# --- what operators are told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redis_url", "proxies", "said"),
    [
        ("", 0, ["REDIS_URL is not set", "TRUSTED_PROXIES is 0"]),
        ("redis://localhost/0", 0, ["TRUSTED_PROXIES is 0"]),
        ("", 1, ["REDIS_URL is not set"]),
        ("redis://localhost/0", 1, []),
    ],
)
@pytest.mark.parametrize("development", [True, False])
def test_what_is_said_at_the_start(
    settings: Any, caplog: pytest.LogCaptureFixture, redis_url: str, proxies: int, said: list[str], development: bool
) -> None:
    settings.REDIS_URL, settings.TRUSTED_PROXIES, settings.DEVELOPMENT = redis_url, proxies, development
    with caplog.at_level(logging.INFO, "aurum.throttling"):
        throttling.announce()
    found = [(record.levelname, record.message) for record in caplog.records]
    assert [level for level, _ in found] == ["INFO" if development else "WARNING"] * len(said)
    assert all(message.startswith(start) for (_, message), start in zip(found, said, strict=True))
