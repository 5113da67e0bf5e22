"""Tokens: what opens a private route, and what only looks like it."""

import base64
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import jwt
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import tokens
from accounts.models import ApiSession
from tests.accounts.people import Person, post, signed_in, token_headers
from tests.problems import problem_of

USER = "0x" + "11" * 20
INVALID = "The access token is invalid, has expired or was revoked."
USED = "The refresh token is invalid, has expired or was used before."

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def unlimited(settings: Any) -> None:
    settings.SIGN_IN_LIMIT = (100_000, 60)


@pytest.fixture
def pair() -> dict[str, Any]:
    """A session's tokens."""
    return tokens.start(User.objects.create_user(USER), timezone.now())


def me(client: Client, access: str) -> Any:
    return client.get("/api/me", **token_headers(access))


def refresh(client: Client, token: str) -> Any:
    return post(client, "/api/auth/refresh", {"refresh": token})


def assert_refused(answer: Any, detail: str = INVALID) -> None:
    assert problem_of(answer, 401)["detail"] == detail
    assert answer["WWW-Authenticate"] == 'Bearer realm="aurum"'


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def forged(token: str, *, key: str | None = None, algorithm: str = "HS256", **changes: Any) -> str:
    """The same claims but for `changes` (None takes one away), signed with our own secret unless told otherwise."""
    changed = {name: value for name, value in (claims(token) | changes).items() if value is not None}
    return jwt.encode(changed, django_settings.JWT_SECRET if key is None else key, algorithm=algorithm)


# --- access tokens ----------------------------------------------------------------------------------------------------


def test_what_an_access_token_says(pair: dict[str, Any]) -> None:
    said = claims(pair["access"])
    session = ApiSession.objects.get()
    assert (said["iss"], said["aud"], said["token_type"]) == ("aurum", "aurum-api", "access")
    assert (said["sub"], said["sid"]) == (USER, str(session.id))
    assert said["exp"] - said["iat"] == 15 * 60
    assert claims(pair["refresh"])["exp"] == int(session.expires_at.timestamp())
    # Nothing else about anybody.
    assert set(said) == {"iss", "aud", "token_type", "sub", "sid", "exp", "iat", "jti"}


def test_a_forged_token_with_the_right_secret_is_good(client: Client, pair: dict[str, Any]) -> None:
    """So that what the next tests change is what makes the difference."""
    assert me(client, forged(pair["access"])).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-api"},
        {"aud": None},
        {"iss": "somebody"},
        {"iss": None},
        {"token_type": "refresh"},
        {"token_type": None},
        {"jti": None},
        {"exp": None},
        {"exp": 1_700_000_000},
        {"exp": "soon"},
        {"iat": 4_000_000_000},
        {"nbf": 4_000_000_000},
        {"sid": None},
        {"sid": "not a session"},
        {"sid": str(uuid.UUID(int=7))},
        {"sid": ["a", "b"]},
        {"sub": None},
        {"sub": "0x" + "22" * 20},
        {"key": "x" * 48},
        {"algorithm": "HS384"},
    ],
    ids=str,
)
def test_a_token_that_is_wrong_in_one_way(client: Client, pair: dict[str, Any], changes: dict[str, Any]) -> None:
    assert_refused(me(client, forged(pair["access"], **changes)))


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, payload)]
    return f"{parts[0]}.{parts[1]}.{signature}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_a_token_without_a_signature(client: Client, pair: dict[str, Any], algorithm: str) -> None:
    payload = claims(pair["access"])
    assert_refused(me(client, unsigned({"alg": algorithm, "typ": "JWT"}, payload)))
    assert_refused(me(client, unsigned({"alg": algorithm}, payload, pair["access"].rpartition(".")[2])))


def test_a_refresh_token_opens_nothing(client: Client, pair: dict[str, Any]) -> None:
    assert_refused(me(client, pair["refresh"]))


def test_an_access_token_refreshes_nothing(client: Client, pair: dict[str, Any]) -> None:
    assert_refused(refresh(client, pair["access"]), USED)
    assert me(client, pair["access"]).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "..",
        "e30.e30.e30",
        "é.ü.ß",
        "\x00",
        "a" * 5000,
        base64.urlsafe_b64encode(b"[" * 700).decode() + ".e30.x",
        base64.urlsafe_b64encode(b'{"alg":' * 100).decode() + ".e30.x",
        base64.urlsafe_b64encode(b'{"alg": "HS256", "kid": {"a": 1}, "crit": ["x"]}').decode() + ".e30.x",
    ],
    ids=lambda token: token[:12].encode("unicode_escape").decode(),
)
def test_what_is_no_token(client: Client, token: str) -> None:
    answer = client.get("/api/me", headers={"Authorization": f"Bearer {token}".encode().decode("latin1")})
    assert_refused(answer)
    problem = problem_of(refresh(client, token), 400 if token in ("", "\x00", "a" * 5000) else 401)
    assert problem["detail"]


@pytest.mark.parametrize("header", ["Basic dTpw", "Token abc", "", "abc"])
def test_other_schemes_sign_nobody_in(client: Client, header: str) -> None:
    answer = client.get("/api/me", headers={"Authorization": header})
    assert_refused(answer, "Authentication credentials were not provided.")


def test_a_bad_token_is_refused_where_none_is_needed(client: Client) -> None:
    """A client must hear that its token is not good any more."""
    assert client.get("/api/markets").status_code == 200
    assert_refused(client.get("/api/markets", **token_headers("a.b.c")))


def test_a_session_cookie_opens_the_same_routes(client: Client) -> None:
    client.force_login(User.objects.create_superuser("operator"))
    body = client.get("/api/me").json()
    assert (body["address"], body["username"], body["isStaff"], body["sessionExpiresAt"]) == (
        None,
        "operator",
        True,
        None,
    )


def test_a_session_cookie_alone_writes_nothing() -> None:
    """Another site's page could send it."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("operator"))
    answer = client.put(f"/api/me/watchlist/{'0x' + '00' * 32}")
    assert problem_of(answer, 403)["detail"].startswith("CSRF Failed")
    # A token is no cookie.
    assert client.put(f"/api/me/watchlist/{'0x' + '00' * 32}", **signed_in()).status_code == 404


# --- users who are gone -----------------------------------------------------------------------------------------------


def test_a_deleted_user(client: Client, pair: dict[str, Any]) -> None:
    User.objects.get().delete()
    assert_refused(me(client, pair["access"]))
    assert_refused(refresh(client, pair["refresh"]), USED)
    # Nor does a new user of the same address inherit them.
    User.objects.create_user(USER)
    assert_refused(me(client, pair["access"]))
    assert_refused(refresh(client, pair["refresh"]), USED)


def test_a_disabled_user(client: Client, pair: dict[str, Any]) -> None:
    User.objects.update(is_active=False)
    assert_refused(me(client, pair["access"]))
    assert_refused(refresh(client, pair["refresh"]), USED)
    User.objects.update(is_active=True)
    assert me(client, pair["access"]).status_code == 200


# --- refreshing -------------------------------------------------------------------------------------------------------


def test_refreshing_gives_a_new_pair_of_the_same_session(client: Client, pair: dict[str, Any]) -> None:
    answer = refresh(client, pair["refresh"])
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    new = answer.json()
    assert new["refresh"] != pair["refresh"]
    assert claims(new["access"])["sid"] == claims(pair["access"])["sid"]
    # It does not last longer.
    assert claims(new["refresh"])["exp"] == claims(pair["refresh"])["exp"]
    assert me(client, new["access"]).status_code == 200
    assert ApiSession.objects.get().refreshed_at is not None
    assert refresh(client, new["refresh"]).status_code == 200


def test_a_refresh_token_used_again_ends_the_session(client: Client, pair: dict[str, Any]) -> None:
    new = refresh(client, pair["refresh"]).json()
    other = tokens.start(User.objects.get(), timezone.now())
    assert_refused(refresh(client, pair["refresh"]), USED)
    for dead in (pair["access"], new["access"]):
        assert_refused(me(client, dead))
    assert_refused(refresh(client, new["refresh"]), USED)
    assert ApiSession.objects.exclude(revoked_at=None).get().revoked_because == "a refresh token was used again"
    # Other sessions of the user go on.
    assert me(client, other["access"]).status_code == 200


def test_a_session_ends(client: Client, pair: dict[str, Any]) -> None:
    ApiSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_refused(me(client, pair["access"]))
    assert_refused(refresh(client, pair["refresh"]), USED)


def test_no_token_outlives_its_session(settings: Any) -> None:
    settings.JWT_EXPIRES_IN = timedelta(minutes=2)
    pair = tokens.start(User.objects.create_user(USER), timezone.now())
    assert claims(pair["access"])["exp"] == claims(pair["refresh"])["exp"]
    assert claims(pair["access"])["exp"] - claims(pair["access"])["iat"] == 120


def test_expired_sessions_are_cleared_away_when_somebody_signs_in(client: Client, pair: dict[str, Any]) -> None:
    ApiSession.objects.update(expires_at=timezone.now())
    assert Person(1).sign_in(client).status_code == 200
    assert ApiSession.objects.get().user.username == Person(1).address.lower()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.django_db(transaction=True)
def test_one_refresh_token_used_at_the_same_time_is_one_pair_at_most(threads: ThreadPoolExecutor) -> None:
    pair = tokens.start(User.objects.create_user(USER), timezone.now())
    start = Barrier(8)

    def use(_: int) -> int:
        try:
            start.wait(timeout=30)
            return refresh(Client(), pair["refresh"]).status_code
        finally:
            connection.close()

    assert sorted(threads.map(use, range(8))) == [200] + [401] * 7
    assert ApiSession.objects.get().revoked_because == "a refresh token was used again"


# --- signing out ------------------------------------------------------------------------------------------------------


def test_signing_out_ends_all_tokens_of_the_session(client: Client, pair: dict[str, Any]) -> None:
    new = refresh(client, pair["refresh"]).json()
    other = tokens.start(User.objects.get(), timezone.now())
    answer = post(client, "/api/auth/logout", {"refresh": new["refresh"]})
    assert (answer.status_code, answer.content) == (204, b"")
    for dead in (pair["access"], new["access"]):
        assert_refused(me(client, dead))
    assert_refused(refresh(client, new["refresh"]), USED)
    assert me(client, other["access"]).status_code == 200
    gone = post(client, "/api/auth/logout", {"refresh": new["refresh"]})
    assert_refused(gone, "The refresh token is invalid or its session has ended.")


def test_an_access_token_signs_nobody_out(client: Client, pair: dict[str, Any]) -> None:
    problem_of(post(client, "/api/auth/logout", {"refresh": pair["access"]}), 401)
    assert me(client, pair["access"]).status_code == 200
