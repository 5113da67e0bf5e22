"""Sign-In with Ethereum, as wallets do it and as attackers would."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiSession, SignInNonce
from accounts.sign_in import new_nonce as make_nonce
from tests.accounts.people import Person, iso, new_nonce, post, text, token_headers, verify
from tests.problems import problem_of

ALICE, MALLORY = Person(1), Person(2)
ALICES = ALICE.address.lower()

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def unlimited(settings: Any) -> None:
    settings.SIGN_IN_LIMIT = (100_000, 60)


def nobody_is_signed_in() -> bool:
    return not ApiSession.objects.exists() and not User.objects.exists()


def refusal(answer: Any) -> str:
    """Why an answer that must be 401 refuses a well-formed message; and nobody must be signed in."""
    body = problem_of(answer, 401)
    assert answer["WWW-Authenticate"] == 'Bearer realm="aurum"'
    assert nobody_is_signed_in()
    return body["detail"]


# --- the good case ----------------------------------------------------------------------------------------------------


def test_a_signed_message_becomes_tokens(client: Client) -> None:
    before = timezone.now()
    answer = ALICE.sign_in(client)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    body = answer.json()
    assert set(body) == {"address", "tokenType", "access", "expiresAt", "refresh", "refreshExpiresAt"}
    assert (body["address"], body["tokenType"]) == (ALICES, "Bearer")
    assert timedelta(minutes=15) <= datetime.fromisoformat(body["expiresAt"]) + timedelta(seconds=1) - before
    session = ApiSession.objects.get()
    assert session.expires_at - before >= timedelta(days=7)
    assert body["refreshExpiresAt"] == session.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    user = User.objects.get()
    assert (user.username, user.has_usable_password(), user.is_staff) == (ALICES, False, False)
    me = client.get("/api/me", **token_headers(body["access"]))
    assert (me.status_code, me["Cache-Control"]) == (200, "no-store")
    assert me.json() == {
        "address": ALICES,
        "username": ALICES,
        "isStaff": False,
        "isSuperuser": False,
        "watchlistCount": 0,
        "createdAt": user.date_joined.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sessionExpiresAt": body["refreshExpiresAt"],
    }


def test_the_same_address_is_the_same_user(client: Client) -> None:
    assert ALICE.sign_in(client).status_code == 200
    first = User.objects.get()
    assert ALICE.sign_in(client).status_code == 200
    again = User.objects.get()
    assert again.pk == first.pk
    assert again.last_login > first.last_login
    assert ApiSession.objects.filter(user=again).count() == 2


@pytest.mark.parametrize(
    "parts",
    [
        {"uri": "http://localhost:5173/sign-in?next=/markets#top"},
        {"domain": "http://localhost:5173"},
        {"after": "\nRequest ID: 7\nResources:\n- https://a.example/terms\n- ipfs://b"},
        {"after": "\nResources:"},
    ],
)
def test_messages_of_other_forms(client: Client, parts: dict[str, Any]) -> None:
    assert ALICE.sign_in(client, **parts).status_code == 200


@pytest.mark.parametrize("written", [str.lower, lambda address: "0x" + address[2:].upper()])
def test_an_address_without_a_checksum(client: Client, written: Any) -> None:
    message = text(written(ALICE.address), new_nonce(client))
    assert verify(client, message, ALICE.sign(message)).json()["address"] == ALICES


def test_a_message_without_a_statement(client: Client) -> None:
    message = text(ALICE.address, new_nonce(client)).replace("Sign in to Aurum.\n", "")
    assert verify(client, message, ALICE.sign(message)).status_code == 200


def test_domains_beside_those_of_cors_origin(client: Client, settings: Any) -> None:
    settings.SIWE_ORIGINS = frozenset(["http://localhost:5173", "https://aurum.example"])
    assert ALICE.sign_in(client, domain="aurum.example", uri="https://aurum.example").status_code == 200
    # The page's scheme counts: http would be another page.
    problem_of(ALICE.sign_in(client, domain="aurum.example", uri="http://aurum.example"), 401)


def test_a_stale_token_does_not_stand_in_the_way(client: Client) -> None:
    nonce = client.post("/api/auth/nonce", **token_headers("stale")).json()["nonce"]
    message = text(ALICE.address, nonce)
    body = {"message": message, "signature": ALICE.sign(message)}
    assert post(client, "/api/auth/verify", body, **token_headers("stale")).status_code == 200


# --- attacks ----------------------------------------------------------------------------------------------------------


def test_a_replayed_message(client: Client) -> None:
    message = text(ALICE.address, new_nonce(client))
    signature = ALICE.sign(message)
    assert verify(client, message, signature).status_code == 200
    problem = problem_of(verify(client, message, signature), 401)
    assert problem["detail"] == "The nonce is unknown, was used before or has expired."
    assert ApiSession.objects.count() == 1


def test_a_nonce_of_nobody(client: Client) -> None:
    message = text(ALICE.address, "0123456789abcdef01234567")
    assert refusal(verify(client, message, ALICE.sign(message))).startswith("The nonce is unknown")


def test_a_nonce_is_good_for_five_minutes(client: Client) -> None:
    nonce = new_nonce(client)
    left = SignInNonce.objects.get().expires_at - timezone.now()
    assert timedelta(minutes=4, seconds=50) < left <= timedelta(minutes=5)
    SignInNonce.objects.update(expires_at=timezone.now())
    message = text(ALICE.address, nonce)
    assert refusal(verify(client, message, ALICE.sign(message))).startswith("The nonce is unknown")


def test_used_and_expired_nonces_leave_nothing_behind(client: Client) -> None:
    for _ in range(3):
        new_nonce(client)
    SignInNonce.objects.update(expires_at=timezone.now())
    assert ALICE.sign_in(client).status_code == 200
    assert not SignInNonce.objects.exists()


def test_giving_out_a_nonce_is_two_statements(client: Client) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        make_nonce(timezone.now())
    assert [query["sql"].split()[0] for query in queries] == ["DELETE", "INSERT"]


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ({"domain": "evil.example", "uri": "https://evil.example"}, "The message is for another domain."),
        ({"domain": "testserver", "uri": "http://testserver"}, "The message is for another domain."),
        ({"domain": "localhost:5173.evil.example"}, "The message is for another domain."),
        ({"domain": "localhost"}, "The message is for another domain."),
        ({"uri": "https://evil.example/"}, "The message is for another URI."),
        ({"uri": "https://["}, "The message is for another URI."),
        ({"uri": "https://localhost:5173"}, "The message is for another URI."),
        ({"uri": "http://localhost:5173@evil.example"}, "The message is for another URI."),
        ({"uri": "urn:localhost:5173"}, "The message is for another URI."),
        ({"domain": "https://localhost:5173"}, "The message is for another URI."),
        ({"chain_id": 1}, "The message is for another chain."),
        ({"chain_id": 10**18}, "The message is for another chain."),
        ({"issued_at": "9999-12-31T23:59:59-23:59"}, "The message was issued in the future."),
        ({"issued_at": "0001-01-01T00:00:00+23:59"}, "The message was issued too long ago."),
    ],
)
def test_a_message_for_somewhere_else(client: Client, parts: dict[str, Any], detail: str) -> None:
    assert refusal(ALICE.sign_in(client, **parts)) == detail


@pytest.mark.parametrize(
    ("seconds", "detail"),
    [
        (65, "The message was issued in the future."),
        (50, None),
        (-590, None),
        (-605, "The message was issued too long ago."),
    ],
)
def test_a_message_of_another_time(client: Client, seconds: int, detail: str | None) -> None:
    answer = ALICE.sign_in(client, issued_at=iso(timezone.now() + timedelta(seconds=seconds)))
    assert (answer.status_code == 200) if detail is None else (refusal(answer) == detail)


@pytest.mark.parametrize(
    ("line", "seconds", "detail"),
    [
        ("Expiration Time", -1, "The message has expired."),
        ("Expiration Time", 60, None),
        ("Not Before", 60, "The message is not valid yet."),
        ("Not Before", -1, None),
    ],
)
def test_a_message_says_when_it_is_good(client: Client, line: str, seconds: int, detail: str | None) -> None:
    answer = ALICE.sign_in(client, after=f"\n{line}: {iso(timezone.now() + timedelta(seconds=seconds))}")
    assert (answer.status_code == 200) if detail is None else (refusal(answer) == detail)


def test_the_host_header_is_not_believed(client: Client) -> None:
    message = text(ALICE.address, new_nonce(client), domain="evil.example", uri="https://evil.example")
    body = {"message": message, "signature": ALICE.sign(message)}
    answer = post(client, "/api/auth/verify", body, headers={"Host": "evil.example"})
    assert refusal(answer) == "The message is for another domain."


@pytest.mark.parametrize(
    "signature",
    ["0x" + "00" * 65, "0x" + "00" * 64 + "1b", "0x", "0x00", "0x" + "11" * 64, "0x" + "ff" * 65, "0x" + "11" * 8000],
)
def test_a_signature_of_nobody(client: Client, signature: str) -> None:
    message = text(ALICE.address, new_nonce(client))
    assert refusal(verify(client, message, signature)) == "The signature is not of this address."


def test_a_signature_of_somebody_else(client: Client) -> None:
    message = text(ALICE.address, new_nonce(client))
    assert refusal(verify(client, message, MALLORY.sign(message))) == "The signature is not of this address."


def test_a_signature_of_another_message(client: Client) -> None:
    message = text(ALICE.address, new_nonce(client))
    other = text(ALICE.address, new_nonce(client))
    assert refusal(verify(client, message, ALICE.sign(other))) == "The signature is not of this address."
    # The nonce is used up all the same.
    assert refusal(verify(client, message, ALICE.sign(message))).startswith("The nonce is unknown")


def test_nobody_signs_in_as_the_zero_address(client: Client) -> None:
    message = text("0x" + "00" * 20, new_nonce(client))
    assert refusal(verify(client, message, "0x" + "00" * 65)) == "Nobody has this address."


def test_a_disabled_user(client: Client) -> None:
    User.objects.create_user(ALICES, is_active=False)
    assert problem_of(ALICE.sign_in(client), 401)["detail"] == "This account is disabled."
    assert not ApiSession.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda message: "",
        lambda message: "hello",
        lambda message: message + "\n",
        lambda message: " " + message,
        lambda message: message.replace("\n", "\r\n"),
        lambda message: message.replace("Version: 1", "Version: 2"),
        lambda message: message.replace("Chain ID: 31337", "Chain ID: 0x7a69"),
        lambda message: message.replace("Chain ID: 31337", "Chain ID: 031337"),
        lambda message: message.replace("Chain ID: 31337", "Chain ID: " + "9" * 3000),
        lambda message: message.replace("Sign in", "Sign\x00in"),
        lambda message: message.replace("Sign in", "Sign\ud800in"),
        lambda message: message.replace("Sign in", "Unterschreib für"),
        lambda message: message.replace("Sign in", "a" * 5000),
        lambda message: re.sub(r"Issued At: .*", "Issued At: yesterday", message),
        lambda message: re.sub(r"Issued At: .*", "Issued At: 2026-02-30T00:00:00Z", message),
        lambda message: re.sub(r"Issued At: .*", "Issued At: 2026-01-01T00:00:00", message),
        lambda message: re.sub(r"Nonce: .*", "Nonce: a", message),
        lambda message: message.replace(ALICE.address, "0x" + "aB" * 20),
        lambda message: message.replace("URI: http://localhost:5173", "URI: "),
        lambda message: message + "\nNot Before: 2026-01-01T00:00:00Z\nExpiration Time: 2026-01-01T00:00:00Z",
        lambda message: message + "\nResources:" + "\n- https://a.example" * 17,
    ],
)
def test_what_is_no_message(client: Client, change: Any) -> None:
    message = change(text(ALICE.address, new_nonce(client)))
    problem = problem_of(verify(client, message, "0x" + "11" * 65), 400)
    assert set(problem["errors"]) == {"message"}
    assert nobody_is_signed_in()
    assert SignInNonce.objects.count() == 1


@pytest.mark.parametrize("signature", ["", "11", "0x1", "0xzz", "0x11 ", "\n0x11", "0x" + "11" * 9000, "0x٣٣"])
def test_what_is_no_signature(client: Client, signature: str) -> None:
    problem = problem_of(verify(client, text(ALICE.address, new_nonce(client)), signature), 400)
    assert set(problem["errors"]) == {"signature"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"{}", 400),
        (b'{"message": 1, "signature": NaN}', 400),
        (b'{"message": {"a": []}, "signature": ["0x"]}', 400),
        (b'{"message": "m", "signature": "0x", "isStaff": true}', 400),
        (b'{"\\ud800": 1}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 60_000, 400),
        (b'{"a":' * 12_000, 400),
        (b'{"message": ' + b"9" * 50_000 + b"}", 400),
        (b'"' + b"a" * 140_000 + b'"', 413),
    ],
)
@pytest.mark.parametrize("path", ["/api/auth/verify", "/api/auth/refresh", "/api/auth/logout"])
def test_hostile_bodies(client: Client, path: str, body: bytes, status: int) -> None:
    problem_of(client.generic("POST", path, body, content_type="application/json"), status)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_only_json_is_a_body(client: Client, content_type: str) -> None:
    problem_of(client.generic("POST", "/api/auth/verify", b"a=b", content_type=content_type), 415)


def test_a_charset_that_does_not_exist(client: Client) -> None:
    answer = client.generic("POST", "/api/auth/verify", b"{}", content_type="application/json; charset=bogus")
    assert set(problem_of(answer, 400)["errors"]) == {"message", "signature"}


@pytest.mark.parametrize("path", ["nonce", "verify", "refresh", "logout"])
def test_reading_is_not_allowed(client: Client, path: str) -> None:
    problem_of(client.get(f"/api/auth/{path}"), 405)


def test_an_unknown_parameter(client: Client) -> None:
    assert problem_of(client.post("/api/auth/nonce?address=1"), 400)["errors"] == {"address": ["Unknown parameter."]}


# --- at the same time -------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(50) as pool:
        yield pool


@pytest.mark.django_db(transaction=True)
def test_fifty_uses_of_one_nonce_at_the_same_time_are_one_session(threads: ThreadPoolExecutor) -> None:
    message = text(ALICE.address, new_nonce(Client()))
    signature = ALICE.sign(message)
    start = Barrier(50)

    def use(_: int) -> int:
        try:
            start.wait(timeout=30)
            return verify(Client(), message, signature).status_code
        finally:
            connection.close()

    statuses = sorted(threads.map(use, range(50)))
    assert statuses == [200] + [401] * 49
    assert ApiSession.objects.count() == 1
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_first_sign_ins_at_the_same_time_are_one_user(threads: ThreadPoolExecutor) -> None:
    start = Barrier(8)

    def use(_: int) -> int:
        try:
            start.wait(timeout=30)
            return ALICE.sign_in(Client()).status_code
        finally:
            connection.close()

    assert list(threads.map(use, range(8))) == [200] * 8
    assert User.objects.count() == 1
    assert ApiSession.objects.count() == 8
