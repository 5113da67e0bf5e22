"""Who enters the admin, and with what: password, code, recovery codes; and what happens to those who guess."""

import re
import sys
from base64 import b32decode
from importlib.util import find_spec, module_from_spec
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators.models import AuditEntry
from operators.second_factor import RECOVERY_CODES

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
BACKEND = "django.contrib.auth.backends.ModelBackend"
LOGIN, HOME, SET_UP = "/admin/login/", "/admin/", "/admin/second-factor/"


@pytest.fixture(autouse=True)
def nobody_tried_before() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def totp_is_asked_for(settings) -> None:  # type: ignore[no-untyped-def]
    settings.ADMIN_TOTP = True
    settings.PASSWORD_LIMIT = (1000, 60)


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


def sign_in(client: Client, code: str = "", *, password: str = PASSWORD, address: str = "192.0.2.1"):  # type: ignore[no-untyped-def]
    form = {"username": "ada", "password": password, "code": code, "next": HOME}
    return client.post(LOGIN, form, REMOTE_ADDR=address)


def present_code(device: TOTPDevice, *, step: int = 0) -> str:
    """What the authenticator shows, `step` times 30 seconds from now."""
    return f"{TOTP(device.bin_key, device.step, device.t0, device.digits, step).token():06d}"


def set_up(client: Client, user: User) -> list[str]:
    """Signs `user` in by password, and sets the authenticator up; the recovery codes."""
    assert sign_in(client)["Location"] == HOME
    page = client.get(SET_UP).text
    device = TOTPDevice.objects.get(user=user, confirmed=False)
    secret = re.search(r'id="secret">([A-Z2-7=]+)<', page)
    assert secret is not None
    assert b32decode(secret[1]) == device.bin_key
    done = client.post(SET_UP, {"code": present_code(device)})
    codes = re.search(r'id="recovery-codes">([^<]+)<', done.text)
    assert codes is not None, done.text
    return codes[1].split()


def test_a_password_alone_leads_to_the_second_factor_and_nowhere_else(client: Client, ada: User) -> None:
    assert sign_in(client)["Location"] == HOME
    for page in (HOME, "/admin/markets/market/", "/admin/auth/user/"):
        refused = client.get(page)
        assert (refused.status_code, refused["Location"].partition("?")[0]) == (302, LOGIN)
    assert client.get(LOGIN)["Location"] == SET_UP
    assert client.patch("/api/markets/0x00/metadata", {}, "application/json").status_code == 401


def test_setting_up_the_second_factor(client: Client, ada: User) -> None:
    codes = set_up(client, ada)
    assert len(set(codes)) == RECOVERY_CODES
    assert client.get(HOME).status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject) == ("ada", "second_factor.set_up", "user:ada")
    assert sign_in(Client()).context["form"].errors == {
        "__all__": ["The code is missing, wrong or used; after wrong ones, wait a moment."]
    }


def test_two_pages_that_were_loaded_at_once(client: Client, ada: User) -> None:
    first, _ = (TOTPDevice.objects.create(user=ada, confirmed=False) for _ in range(2))
    sign_in(client)
    client.get(SET_UP)
    assert "recovery-codes" in client.post(SET_UP, {"code": present_code(first)}).text
    assert [*TOTPDevice.objects.all()] == [first]


def test_a_wrong_code_sets_nothing_up(client: Client, ada: User) -> None:
    sign_in(client)
    for code in ("000000", "", "x" * 6, "1" * 400):
        assert "recovery-codes" not in client.post(SET_UP, {"code": code}).text
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    assert client.get(HOME).status_code == 302


def test_a_code_signs_in_once(client: Client, ada: User) -> None:
    set_up(client, ada)
    device = TOTPDevice.objects.get()
    code = present_code(device, step=1)
    first, second = Client(), Client()
    assert sign_in(first, code)["Location"] == HOME
    assert first.get(HOME).status_code == 200
    assert sign_in(second, code).status_code == 200
    assert second.get(HOME).status_code == 302


def test_a_recovery_code_signs_in_once(client: Client, ada: User) -> None:
    code = set_up(client, ada)[0]
    assert sign_in(Client(), code)["Location"] == HOME
    assert StaticToken.objects.count() == RECOVERY_CODES - 1
    assert sign_in(Client(), code).status_code == 200


def test_another_phone_takes_the_place_of_the_one_before(client: Client, ada: User) -> None:
    codes = set_up(client, ada)
    lost = TOTPDevice.objects.get()
    StaticDevice.objects.create(user=ada, name="another").token_set.create(token="another")
    client.get(SET_UP)
    new = TOTPDevice.objects.get(user=ada, confirmed=False)
    assert "recovery-codes" in client.post(SET_UP, {"code": present_code(new)}).text
    assert [*TOTPDevice.objects.all()] == [new]
    for code in (present_code(lost, step=1), codes[1], "another"):
        assert sign_in(Client(), code).status_code == 200
    assert client.get(HOME).status_code == 200
    entries = AuditEntry.objects.order_by("id").values_list("action", "subject", "before")
    assert [*entries] == [
        ("second_factor.set_up", "user:ada", {"devices": 0}),
        ("second_factor.set_up", "user:ada", {"devices": 3}),
    ]


@pytest.mark.parametrize("lost", ["phone", "recovery code"])
def test_the_sessions_of_what_was_lost_end(client: Client, ada: User, lost: str) -> None:
    codes = set_up(client, ada)
    thief = Client()
    code = present_code(TOTPDevice.objects.get(), step=1) if lost == "phone" else codes[0]
    assert sign_in(thief, code)["Location"] == HOME
    client.get(SET_UP)
    client.post(SET_UP, {"code": present_code(TOTPDevice.objects.get(confirmed=False))})
    assert thief.get(HOME).status_code == 302
    assert client.get(HOME).status_code == 200


def test_what_a_superuser_does_for_who_has_lost_everything(client: Client, ada: User, settings: Any) -> None:
    set_up(client, ada)
    root = Client()
    root.force_login(User.objects.create_superuser("root"), backend=BACKEND)
    settings.ADMIN_TOTP = False
    for kind in (TOTPDevice, StaticDevice):
        delete = f"admin:{kind._meta.label_lower.replace('.', '_')}_delete"
        root.post(reverse(delete, args=[kind.objects.get().pk]), {"post": "yes"})
    settings.ADMIN_TOTP = True
    assert client.get(HOME).status_code == 302
    assert len(set_up(Client(), ada)) == RECOVERY_CODES


def test_a_form_that_was_refused_leaves_no_code_behind(client: Client, ada: User) -> None:
    code = set_up(client, ada)[0]
    sign_in(client, code, password="a guess")
    assert code not in str(AccessAttempt.objects.values().get())


def test_a_password_alone_cannot_replace_the_second_factor(client: Client, ada: User) -> None:
    set_up(client, ada)
    thief = Client()
    thief.force_login(ada, backend=BACKEND)
    assert thief.get(SET_UP)["Location"] == LOGIN
    assert thief.post(SET_UP, {"code": "123456"})["Location"] == LOGIN
    assert TOTPDevice.objects.count() == 1


@pytest.mark.parametrize("page", [SET_UP, HOME])
def test_who_is_no_staff_sees_neither(client: Client, page: str) -> None:
    client.force_login(User.objects.create_user("bob"), backend=BACKEND)
    assert client.get(page)["Location"].partition("?")[0] == LOGIN
    assert not TOTPDevice.objects.exists()


def test_guessing_locks_the_name_for_the_address_that_guesses(client: Client, ada: User) -> None:
    statuses = [sign_in(client, password=f"guess {attempt}").status_code for attempt in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    locked = sign_in(client)
    assert (locked.status_code, locked["Retry-After"]) == (429, "900")
    assert sign_in(client, address="192.0.2.2")["Location"] == HOME


def test_the_admin_stands_elsewhere(client: Client, ada: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMIN_PATH = "ops/door"
    spec = find_spec("aurum.urls")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(urls := module_from_spec(spec))
    monkeypatch.setitem(sys.modules, "elsewhere", urls)
    settings.ROOT_URLCONF = "elsewhere"
    for page in ("", "login/", "operations.json", "second-factor/", "markets/market/"):
        assert client.get(f"/admin/{page}").status_code == 404, page
    assert client.get("/ops/door/")["Location"] == "/ops/door/login/?next=/ops/door/"
    form = {"username": "ada", "password": PASSWORD, "next": "/ops/door/"}
    assert client.post("/ops/door/login/", form)["Location"] == "/ops/door/"
    assert client.get("/ops/door/login/")["Location"] == "/ops/door/second-factor/"
    settings.ADMIN_TOTP = False
    page = client.get("/ops/door/")
    assert (page.status_code, "/admin/" in page.text.replace("/static/admin/", "")) == (200, False)
    assert client.get("/ops/door/operations.json").status_code == 200


@pytest.mark.parametrize("address", ["2001:db8::7", "", "nonsense"])
def test_any_address_signs_in(client: Client, ada: User, address: str) -> None:
    assert sign_in(client, address=address)["Location"] == HOME


def test_without_the_setting_a_password_is_enough(client: Client, ada: User, settings) -> None:  # type: ignore[no-untyped-def]
    settings.ADMIN_TOTP = False
    assert sign_in(client)["Location"] == HOME
    assert client.get(HOME).status_code == 200


def test_every_page_has_a_policy_without_exceptions(client: Client, ada: User) -> None:
    set_up(client, ada)
    for page in ("/live", "/api/docs", LOGIN, SET_UP, HOME, reverse("admin:markets_market_changelist"), "/nowhere"):
        policy = client.get(page)["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= {*policy}, (
            page
        )
        assert not [each for each in policy if "unsafe" in each], page
