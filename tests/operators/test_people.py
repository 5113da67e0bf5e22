"""Who may do what is changed in the admin alone, and each change is in the audit, without a password or a key."""

from typing import Any

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators.models import AuditEntry
from tests.factories import HOSTILE

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
BACKEND = "django.contrib.auth.backends.ModelBackend"


def signed_in(user: User) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.1")
    client.force_login(user, backend=BACKEND)
    return client


@pytest.fixture
def root() -> Client:
    return signed_in(User.objects.create_superuser("root", password=PASSWORD))


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob", password=PASSWORD)


def page(name: str, *arguments: object) -> str:
    return reverse(f"admin:{name}", args=arguments)


def said() -> tuple[Any, ...]:
    """The only entry: who, what, of whom, why."""
    entry = AuditEntry.objects.get()
    return entry.actor, entry.action, entry.subject, entry.reason


def person(**changed: Any) -> dict[str, Any]:
    """The form of bob's page."""
    return {
        "username": "bob",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "is_active": "on",
        "reason": "she asked",
    } | changed


def test_a_person_is_added(root: Client) -> None:
    form = {"username": "eve", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert "reason" in root.post(page("auth_user_add"), form).context["adminform"].errors
    assert not User.objects.filter(username="eve").exists()
    assert root.post(page("auth_user_add"), form | {"reason": "new on duty"}).status_code == 302
    assert said() == ("root", "user.add", "user:eve", "new on duty")
    entry = AuditEntry.objects.get()
    assert (entry.address, entry.before, entry.after["is_staff"]) == ("192.0.2.1", None, False)
    assert PASSWORD not in str(entry.after)


def test_a_person_is_given_rights(root: Client, bob: User) -> None:
    group, permission = Group.objects.get(name="resolver"), Permission.objects.get(codename="view_market")
    form = person(is_staff="on", is_superuser="on", groups=[group.pk], user_permissions=[permission.pk])
    assert root.post(page("auth_user_change", bob.pk), form).status_code == 302
    assert said() == ("root", "user.change", "user:bob", "she asked")
    entry = AuditEntry.objects.get()
    rights = ("is_staff", "is_superuser", "groups", "user_permissions")
    assert [entry.before[name] for name in rights] == [False, False, [], []]
    assert [entry.after[name] for name in rights] == [True, True, ["resolver"], [str(permission)]]
    assert not {"password", "last_login"} & {*entry.before, *entry.after}


def test_an_entry_that_fails_takes_the_change_along(root: Client, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("operators.people_admin.record", fail)
    root.raise_request_exception = False
    change = page("auth_user_change", bob.pk)
    password = page("auth_user_password_change", bob.pk)
    chosen = {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"}
    assert root.post(change, person(is_staff="on")).status_code == 500
    assert root.post(password, {"password1": "a new one here", "password2": "a new one here"}).status_code == 500
    assert root.post(page("auth_user_changelist"), chosen).status_code == 500
    bob.refresh_from_db()
    assert (bob.is_staff, bob.check_password(PASSWORD)) == (False, True)


def test_anothers_password(root: Client, bob: User) -> None:
    url = page("auth_user_password_change", bob.pk)
    root.post(url, {"usable_password": "true", "password1": "short", "password2": "short"})
    assert not AuditEntry.objects.exists()
    root.post(url, {"usable_password": "true", "password1": "a new one here", "password2": "a new one here"})
    assert said() == ("root", "user.password", "user:bob", "")
    bob.refresh_from_db()
    assert bob.check_password("a new one here")
    assert root.get(page("auth_user_password_change", 10**9)).status_code == 404


def test_ones_own_password(bob: User) -> None:
    bob.is_staff = True
    bob.save()
    client = signed_in(bob)
    new = {"new_password1": "a new one here", "new_password2": "a new one here"}
    client.post(page("password_change"), new | {"old_password": "a guess"})
    assert not AuditEntry.objects.exists()
    assert client.post(page("password_change"), new | {"old_password": PASSWORD}).status_code == 302
    assert said() == ("bob", "user.password", "user:bob", "")


@pytest.mark.parametrize("way", ["page", "list"])
def test_a_person_is_deleted(root: Client, bob: User, way: str) -> None:
    bob.groups.set(Group.objects.filter(name="operator"))
    chosen = {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"}
    url, form = {
        "page": (page("auth_user_delete", bob.pk), {"post": "yes"}),
        "list": (page("auth_user_changelist"), chosen),
    }[way]
    assert root.post(url, form).status_code == 302
    assert said() == ("root", "user.delete", "user:bob", "")
    assert AuditEntry.objects.get().before["groups"] == ["operator"]
    assert not User.objects.filter(username="bob").exists()


def test_a_group_is_made_changed_and_deleted(root: Client, bob: User) -> None:
    permission = Permission.objects.get(codename="view_market")
    root.post(page("auth_group_add"), {"name": "guests", "permissions": [permission.pk], "reason": "r"})
    group = Group.objects.get(name="guests")
    root.post(page("auth_group_change", group.pk), {"name": "visitors", "permissions": [], "reason": "r"})
    bob.groups.add(group)
    root.post(page("auth_group_delete", group.pk), {"post": "yes"})
    entries = AuditEntry.objects.order_by("id").values_list("action", "subject", "before", "after")
    guests, visitors = {"name": "guests", "permissions": [str(permission)]}, {"name": "visitors", "permissions": []}
    assert [*entries] == [
        ("group.add", "group:guests", None, guests),
        ("group.change", "group:visitors", guests, visitors),
        ("group.delete", "group:visitors", visitors | {"members": ["bob"]}, None),
    ]


@pytest.mark.parametrize("kind", [TOTPDevice, StaticDevice])
def test_a_second_factor_is_only_seen_and_deleted(root: Client, bob: User, kind: type) -> None:
    device = kind._default_manager.create(user=bob, name="phone")  # type: ignore[attr-defined]
    if kind is StaticDevice:
        StaticToken.objects.create(device=device, token="canary-token")
    name = f"{kind._meta.label_lower.replace('.', '_')}"  # type: ignore[attr-defined]
    shown = root.get(page(f"{name}_change", device.pk)).text
    assert "phone" in shown
    assert getattr(device, "key", "canary-token") not in shown
    for url in (page(f"{name}_add"), page(f"{name}_change", device.pk)):
        assert root.post(url, {"name": "mine", "user": bob.pk}).status_code == 403
    assert root.post(page(f"{name}_delete", device.pk), {"post": "yes"}).status_code == 302
    assert said() == ("root", "second_factor.delete", "user:bob", "")
    assert AuditEntry.objects.get().before == {"name": "phone", "confirmed": True}


def attempt(name: str, address: str, *, agent: str = "") -> AccessAttempt:
    return AccessAttempt.objects.create(
        username=name, ip_address=address, user_agent=agent, failures_since_start=5, post_data="canary-form"
    )


def test_a_locked_name_is_unlocked_for_its_address(root: Client) -> None:
    """django-axes has a row for each browser."""
    chosen, *_ = attempt("bob", "192.0.2.7", agent="a"), attempt("bob", "192.0.2.7", agent="b")
    attempt("bob", "192.0.2.8")
    listed = page("axes_accessattempt_changelist")
    assert "canary-form" not in root.get(page("axes_accessattempt_change", chosen.pk)).text
    root.post(listed, {"action": "unlock", "_selected_action": [chosen.pk]})
    assert [each.ip_address for each in AccessAttempt.objects.all()] == ["192.0.2.8"]
    assert said() == ("root", "sign_in.unlock", "user:bob", "")
    assert AuditEntry.objects.get().before == {"address": "192.0.2.7", "failures": 5}


def test_who_may_only_look_does_not_unlock(bob: User) -> None:
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename="view_accessattempt"))
    row, client = attempt("ada", "192.0.2.7"), signed_in(bob)
    listed = page("axes_accessattempt_changelist")
    assert client.get(listed).status_code == 200
    client.post(listed, {"action": "unlock", "_selected_action": [row.pk]})
    assert AccessAttempt.objects.exists()


def test_what_guessers_type_is_inert_and_stays(root: Client) -> None:
    row = attempt(HOSTILE[:255], "192.0.2.7", agent=HOSTILE[:255])
    log = AccessLog.objects.create(username=HOSTILE[:255], user_agent=HOSTILE[:255])
    for name, pk in (("axes_accessattempt", row.pk), ("axes_accesslog", log.pk)):
        for url in (page(f"{name}_changelist"), page(f"{name}_change", pk)):
            text = root.get(url).text
            assert ("<script>alert" in text, "<img src=x" in text, "\u202e" in text) == (False, False, False)
        assert root.post(page(f"{name}_delete", pk), {"post": "yes"}).status_code == 403
    assert root.get(page("axes_accessfailurelog_changelist")).status_code == 200


def test_who_may_see_people_sees_them(bob: User) -> None:
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "view_group"]))
    client = signed_in(bob)
    for url in (page("auth_user_change", bob.pk), page("auth_group_change", Group.objects.get(name="viewer").pk)):
        assert client.get(url).status_code == 200
        assert client.post(url, person(is_superuser="on")).status_code == 403
