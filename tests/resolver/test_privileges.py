"""Every address of the admin, with every method, for every role: the exact answer, and whether anything changed.

The addresses come from the URL map itself: one that is new and not in the tables fails here.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import URLPattern, reverse
from django.views.generic import RedirectView

from indexer.models import RepairRequest
from markets.corrections import standing
from operators.models import AuditEntry
from resolver.actions import calldata_of
from resolver.models import ActionState, ResolutionRequest
from resolver.pages import seal
from tests import factories
from tests.aurum.test_admin import rows  # noqa: F401
from tests.factories import ORACLE, UNIT
from tests.resolver.staff import UNTOUCHED, WALLET, FakeSimulator, make_action, make_request, person

pytestmark = pytest.mark.django_db

STAFF = ("viewer", "operator", "resolver", "superuser")
APPS = ("accounts", "indexer", "markets", "operators", "oracle", "resolver")
CHANGED = 302  # of a POST of staff: the step is made, and its page is shown
Answers = tuple[int, int, int, int]  # of a viewer, an operator, a resolver, a superuser

ALL, NOBODY = (200, 200, 200, 200), (403, 403, 403, 403)
# GET and POST of what every model has, where the table below has nothing else.
USUAL: dict[str, tuple[Answers, Answers]] = {
    "changelist": (ALL, ALL),
    "add": (NOBODY, NOBODY),
    "change": (ALL, NOBODY),
    "delete": (NOBODY, NOBODY),
    "history": (ALL, ALL),
}
OPERATORS = (403, 200, 403, 200)
ASKERS, APPROVERS = (403, 405, 405, 405), (403, 403, 405, 405)
TABLE: dict[str, tuple[Answers, Answers]] = {
    "resolver_resolutionrequest_propose": ((403, 200, 200, 200), (403, CHANGED, CHANGED, CHANGED)),
    "resolver_resolutionrequest_void": ((403, 200, 200, 200), (403, CHANGED, CHANGED, CHANGED)),
    "resolver_resolutionrequest_approve": (APPROVERS, (403, 403, CHANGED, CHANGED)),
    "resolver_resolutionrequest_reject": (APPROVERS, (403, 403, CHANGED, CHANGED)),
    # Somebody else has asked for it: they hear so.
    "resolver_resolutionrequest_withdraw": (ASKERS, (403, 200, 200, 200)),
    "resolver_walletaction_retry": (APPROVERS, (403, 403, CHANGED, CHANGED)),
    "resolver_walletaction_cancel": (APPROVERS, (403, 403, CHANGED, CHANGED)),
    "resolver_walletswitch_stop": (ASKERS, (403, CHANGED, CHANGED, CHANGED)),
    "resolver_walletswitch_release": (APPROVERS, (403, 403, CHANGED, CHANGED)),
    "markets_marketmetadata_add": ((403, 200, 403, 200), (403, CHANGED, 403, CHANGED)),
    "markets_marketmetadata_change": (ALL, (403, CHANGED, 403, CHANGED)),
    # What is not confirmed yet, and a file that is not there, are shown again.
    "markets_market_correct": (OPERATORS, OPERATORS),
    "markets_marketmetadata_import": (OPERATORS, OPERATORS),
    "markets_marketmetadata_export": (ALL, ALL),
    "markets_marketcorrection_approve": ((403, 200, 200, 200), (403, CHANGED, CHANGED, CHANGED)),
    "markets_marketcorrection_revoke": ((403, 200, 200, 200), (403, CHANGED, CHANGED, CHANGED)),
    "indexer_indexedevent_retry": (OPERATORS, (403, CHANGED, 403, CHANGED)),
    "indexer_repairrequest_request": (OPERATORS, (403, CHANGED, 403, CHANGED)),
    "indexer_repairrequest_cancel": (OPERATORS, (403, CHANGED, 403, CHANGED)),
    # Its action "hide".
    "markets_market_changelist": (ALL, (200, CHANGED, 200, CHANGED)),
    # Its action "try again".
    "indexer_indexedevent_changelist": (ALL, (200, CHANGED, 200, CHANGED)),
}


def patterns() -> Iterator[URLPattern]:
    for outer in admin.site.get_urls():
        inner = getattr(outer, "url_patterns", None)
        if inner is not None and str(outer.pattern).split("/")[0] in APPS:
            yield from inner


def names() -> list[str]:
    """The names of all addresses of our applications' models."""
    return sorted({pattern.name for pattern in patterns() if pattern.name})


def expected(name: str) -> tuple[Answers, Answers]:
    return TABLE.get(name) or USUAL[name.rpartition("_")[2]]


def test_every_address_is_in_the_tables() -> None:
    models = {f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry}
    usual = {f"{model}_{page}" for model in models if model.split("_")[0] in APPS for page in USUAL}
    assert set(names()) == usual | set(TABLE)


def test_what_has_no_name_leads_to_what_has() -> None:
    unnamed = {getattr(pattern.callback, "view_class", None) for pattern in patterns() if not pattern.name}
    assert unnamed == {RedirectView}


class World:
    """One row of everything, and how each address is asked for so that it would do something."""

    def __init__(self, rows: dict[type, Any]) -> None:  # noqa: F811
        self.rows = {f"{model._meta.app_label}_{model._meta.model_name}": row for model, row in rows.items()}
        self.wish = make_request(person("operator"))
        self.failed, self.queued = make_action(ActionState.FAILED), make_action()
        self.question = factories.make_question()
        self.market = factories.make_market()
        self.correction = factories.make_correction(self.market, "payouts", ["1", "0"], since=None)
        self.event = factories.make_event(processed=False, error="e")
        self.repair = RepairRequest.objects.create(from_block=1, to_block=2, reason="r")

    def address(self, name: str) -> str:
        model, _, page = name.rpartition("_")
        own: dict[str, tuple[Any, ...]] = {
            **dict.fromkeys(("propose", "void"), (self.question.pk,)),
            **dict.fromkeys(("approve", "reject", "withdraw"), (self.wish.pk,)),
            **dict.fromkeys(("stop", "release", "add", "changelist"), ()),
            **dict.fromkeys(("import", "export", "request"), ()),
            "correct": (self.market.pk,),
            "markets_marketcorrection_approve": (self.correction.pk,),
            "markets_marketcorrection_revoke": (self.correction.pk,),
            "resolver_walletaction_retry": (self.failed.pk,),
            "resolver_walletaction_cancel": (self.queued.pk,),
            "indexer_indexedevent_retry": (self.event.pk,),
            "indexer_repairrequest_cancel": (self.repair.pk,),
        }
        if name in own or page in own:
            return reverse(f"admin:{name}", args=own.get(name) or own[page])
        return reverse(f"admin:{name}", args=[self.rows[model].pk])

    def form(self, name: str) -> dict[str, Any]:
        """What is sent there."""
        page = name.rpartition("_")[2]
        forms: dict[str, dict[str, Any]] = {
            "propose": {"winner": "0", "seen": self.seal("propose", [UNIT, 0]), "ask": "Ask"},
            "void": {"seen": self.seal("void", None), "ask": "Ask"},
            "add": {"market": self.market.market_id, "category": "Sport"},
            "change": {"category": "changed"},
            "delete": {"post": "yes"},
            "correct": {"field": "question", "value": "Another one?"},
            "markets_marketcorrection_approve": {"seen": standing(self.market, "payouts").seal},
            "request": {"first": 1_000, "last": 1_001},
            "markets_market_changelist": {
                "action": "hide",
                "_selected_action": [str(self.market.pk)],
                "confirm": "yes",
            },
            "changelist": {
                "action": "try_again",
                "_selected_action": [str(self.rows["indexer_indexedevent"].pk)],
            },
        }
        return {"reason": "a good reason"} | forms.get(name, forms.get(page, {}))

    def seal(self, kind: str, payouts: list[int] | None) -> str:
        return seal(calldata_of(kind, self.question.question_id, payouts), UNTOUCHED, WALLET, ORACLE)


@pytest.fixture
def world(rows: dict[type, Any], monkeypatch: pytest.MonkeyPatch) -> World:  # noqa: F811
    fake = FakeSimulator()
    monkeypatch.setattr("resolver.admin.configured_simulator", lambda: fake)
    return World(rows)


def everything() -> dict[str, str]:
    """A fingerprint of each table of our applications, and of the admin's own log."""
    models = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    tables = [model._meta.db_table for model in [*models, LogEntry]]
    selects = (
        f"SELECT '{table}', md5(string_agg(row::text, '|' ORDER BY row::text)) FROM {table} AS row"  # noqa: S608
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(selects))
        return dict(cursor.fetchall())


def signed_in(user: Any, **options: Any) -> Client:
    client = Client(**options)
    if user.is_authenticated:
        client.force_login(user)
    return client


def switch(world: World, name: str) -> None:
    """The wallet as it must be for the step to do something."""
    if name.startswith("resolver_walletswitch_"):
        type(world.rows["resolver_walletswitch"]).objects.update(stopped=name != "resolver_walletswitch_stop")


@pytest.mark.parametrize("role", STAFF)
def test_staff_where_nothing_can_be_changed(world: World, role: str) -> None:
    client, place = signed_in(person(role)), STAFF.index(role)
    usual = [name for name in names() if name not in TABLE]
    before = everything()
    answers = {
        name: (
            client.get(world.address(name)).status_code,
            client.post(world.address(name), world.form(name)).status_code,
        )
        for name in usual
    }
    assert answers == {name: (expected(name)[0][place], expected(name)[1][place]) for name in usual}
    assert everything() == before


@pytest.mark.parametrize("role", STAFF)
@pytest.mark.parametrize("name", sorted(TABLE))
def test_staff_where_something_can(world: World, name: str, role: str) -> None:
    got, posted = (answers[STAFF.index(role)] for answers in TABLE[name])
    switch(world, name)
    client, address = signed_in(person(role)), world.address(name)
    before = everything()
    assert client.get(address).status_code == got
    assert client.head(address).status_code == got
    assert {client.put(address).status_code, client.delete(address).status_code} <= {200, 403, 405}
    assert everything() == before
    assert client.post(address, world.form(name)).status_code == posted
    assert (everything() != before) == (posted == CHANGED)


@pytest.mark.parametrize("role", ["anonymous", "user"])
def test_strangers(world: World, role: str) -> None:
    """Whoever is no staff is sent to the login, whatever the address and the method."""
    client = signed_in(person(role))
    before = everything()
    for name in names():
        address = world.address(name)
        for method, form in (("get", {}), ("post", world.form(name)), ("put", {}), ("delete", {})):
            answer = getattr(client, method)(address, form)
            assert answer.status_code == 302, (name, method)
            assert answer["Location"].startswith("/admin/login/?next="), (name, method)
    assert everything() == before


def test_without_the_token_of_the_form_nothing_happens(world: World) -> None:
    client = signed_in(person("superuser"), enforce_csrf_checks=True)
    before = everything()
    for name in names():
        assert client.post(world.address(name), world.form(name)).status_code == 403, name
    assert everything() == before


def test_get_does_nothing_even_with_the_form_in_the_address(world: World) -> None:
    client = signed_in(person("superuser"))
    before = everything()
    for name in names():
        client.get(world.address(name), world.form(name))
    assert everything() == before


@pytest.mark.parametrize("role", ["operator", "resolver", "superuser"])
def test_nobody_resolves_alone(world: World, role: str) -> None:
    """Asking, and then every way to decide oneself."""
    user = person(role)
    client = signed_in(user)
    asked = client.post(
        world.address("resolver_resolutionrequest_propose"), world.form("resolver_resolutionrequest_propose")
    )
    wish = ResolutionRequest.objects.get(requested_by=user)
    page = client.get(asked["Location"]).text
    assert ('value="Approve"' in page, 'value="Reject"' in page, 'value="Withdraw"' in page) == (False, False, True)
    before = everything()
    status = 403 if role == "operator" else 200
    for step in ("approve", "reject"):
        address = reverse(f"admin:resolver_resolutionrequest_{step}", args=[wish.pk])
        assert client.post(address, {"reason": "quickly"}).status_code == status
    assert everything() == before
    withdrawn = client.post(reverse("admin:resolver_resolutionrequest_withdraw", args=[wish.pk]), {"reason": "no"})
    assert withdrawn.status_code == CHANGED
    wish.refresh_from_db()
    assert (wish.state, AuditEntry.objects.filter(actor=user.get_username()).count()) == ("withdrawn", 2)


def test_who_lost_their_role_loses_its_steps(world: World) -> None:
    """Permissions are asked for at each step, not at the sign-in."""
    user = person("resolver")
    client = signed_in(user)
    User.objects.filter(pk=user.pk).update(is_staff=False)
    address = world.address("resolver_resolutionrequest_approve")
    before = everything()
    assert client.post(address, {"reason": "r"})["Location"].startswith("/admin/login/")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.groups.clear()
    assert client.post(address, {"reason": "r"}).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("role", ["viewer", "operator", "resolver"])
def test_people_and_groups_are_a_superusers(role: str) -> None:
    user = person(role)
    client = signed_in(user)
    for name in ("auth_user_changelist", "auth_user_add", "auth_group_changelist", "auth_group_add"):
        assert client.get(reverse(f"admin:{name}")).status_code == 403
        assert client.post(reverse(f"admin:{name}"), {"username": "eve"}).status_code == 403
    own = reverse("admin:auth_user_change", args=[user.pk])
    assert client.post(own, {"username": user.username, "is_superuser": "on"}).status_code == 403
    user.refresh_from_db()
    assert not user.is_superuser
