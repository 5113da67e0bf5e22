"""What a market's creator may say of it, and nobody else."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from markets.models import Market, MarketMetadata, MetadataEdit
from operators.models import AuditEntry
from tests import factories
from tests.accounts.people import Person, signed_in, token_headers
from tests.problems import problem_of

CREATOR = Person(3)
EMPTY = {"category": "", "description": "", "imageUrl": "", "resolutionSource": ""}
BLANK = {"category": "", "description": "", "image_url": "", "resolution_source": ""}
WHOLE = {
    "category": "Weather",
    "description": "Rain at Heathrow.\nBy the Met Office.",
    "imageUrl": "https://img.example/rain.png",
    "resolutionSource": "https://www.metoffice.gov.uk",
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def market() -> Market:
    return factories.make_market(creator=CREATOR.address.lower())


@pytest.fixture
def creator() -> dict[str, Any]:
    return signed_in(CREATOR.address.lower())


def patch(client: Client, market: Market | str, body: object, **headers: Any) -> Any:
    name = market if isinstance(market, str) else market.market_id
    return client.patch(f"/api/markets/{name}/metadata", body, content_type="application/json", **headers)


def nothing_changed() -> bool:
    return not MetadataEdit.objects.exists() and not MarketMetadata.objects.exclude(category="").exists()


def test_the_creator_signs_in_and_edits(client: Client, market: Market) -> None:
    access = CREATOR.sign_in(client).json()["access"]
    answer = patch(client, market, WHOLE, **token_headers(access))
    assert (answer.status_code, answer.json()) == (200, WHOLE)
    assert client.get(f"/api/markets/{market.id}").json()["metadata"] == WHOLE


def test_every_edit_is_kept(client: Client, market: Market, creator: dict[str, Any]) -> None:
    assert patch(client, market, {"category": "Sport"}, **creator).json() == EMPTY | {"category": "Sport"}
    assert patch(client, str(market.id), {"description": "d"}, **creator).json()["category"] == "Sport"
    assert patch(client, market, {"category": ""}, **creator).json() == EMPTY | {"description": "d"}
    # What changes nothing is no edit.
    for body in ({}, {"category": ""}, {"description": "d"}):
        assert patch(client, market, body, **creator).json() == EMPTY | {"description": "d"}
    edits = MetadataEdit.objects.order_by("id")
    assert [(edit.market_id, edit.edited_by) for edit in edits] == [(market.market_id, CREATOR.address.lower())] * 3
    sport = BLANK | {"category": "Sport"}
    both = sport | {"description": "d"}
    assert [(edit.before, edit.after) for edit in edits] == [
        (BLANK, sport),
        (sport, both),
        (both, BLANK | {"description": "d"}),
    ]
    assert all(edit.edited_at for edit in edits)


@pytest.mark.parametrize(
    "field",
    ["creator", "marketId", "market", "resolved", "id", "volume", "image_url", "isStaff", "__class__", "", "\ud800"],
)
def test_no_other_field_is_written(client: Client, market: Market, creator: dict[str, Any], field: str) -> None:
    before = Market.objects.values().get()
    problem = problem_of(patch(client, market, {field: "x", "category": "Sport"}, **creator), 400)
    assert list(problem["errors"].values()) == [["Unknown field."]]
    assert nothing_changed()
    assert Market.objects.values().get() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("category", "x" * 65),
        ("category", None),
        ("category", 7.5e400),
        ("category", ["Sport"]),
        ("category", {"a": "b"}),
        ("category", True),
        ("category", "a\x00b"),
        ("category", "a\ud800b"),
        ("description", "x" * 10_001),
        ("resolutionSource", "x" * 501),
        ("reason", "x" * 1_001),
        ("imageUrl", "http://img.example/a.png"),
        ("imageUrl", "javascript:alert(1)"),
        ("imageUrl", "JaVaScRiPt:alert(1)//https://"),
        ("imageUrl", "data:image/svg+xml;base64,AAAA"),
        ("imageUrl", "//img.example/a.png"),
        ("imageUrl", "/a.png"),
        ("imageUrl", "https://"),
        ("imageUrl", "https://img.example/a b.png"),
        ("imageUrl", "https://img.example/\n.png"),
        ("imageUrl", "https://img.example/" + "x" * 500),
    ],
)
def test_a_bad_value(client: Client, market: Market, creator: dict[str, Any], field: str, value: object) -> None:
    if value == 7.5e400:
        answer = client.generic(
            "PATCH", f"/api/markets/{market.id}/metadata", '{"category": Infinity}', "application/json", **creator
        )
        assert "errors" not in problem_of(answer, 400)
    else:
        assert set(problem_of(patch(client, market, {field: value}, **creator), 400)["errors"]) == {field}
    assert nothing_changed()


def test_the_longest_values(client: Client, market: Market, creator: dict[str, Any]) -> None:
    longest = {"category": "ü" * 64, "description": "🎲" * 10_000, "resolutionSource": "x" * 500}
    longest["imageUrl"] = "https://img.example/" + "x" * 480
    assert patch(client, market, longest, **creator).json() == longest


def test_strangers_may_not(client: Client, market: Market) -> None:
    problem_of(patch(client, market, WHOLE), 401)
    for stranger in (
        signed_in(Person(4).address.lower()),
        signed_in("visitor", is_staff=True),
        signed_in("former", is_superuser=True, is_active=True, is_staff=False),
    ):
        problem = problem_of(patch(client, market, WHOLE, **stranger), 403)
        assert problem["detail"] == "Only the market's creator and operators may edit its metadata."
    assert nothing_changed()


@pytest.mark.parametrize("with_token", [True, False])
def test_operators_may(client: Client, market: Market, with_token: bool) -> None:
    headers = signed_in("operator", is_staff=True)
    operator = User.objects.get()
    operator.user_permissions.add(Permission.objects.get(codename="change_marketmetadata"))
    if not with_token:
        client.force_login(operator)
    sent = WHOLE | {"reason": "from the desk"}
    assert patch(client, market, sent, **headers if with_token else {}).json() == WHOLE
    assert MetadataEdit.objects.get().edited_by == "operator"
    assert AuditEntry.objects.get().reason == "from the desk"


def test_a_creators_reason_is_not_kept(client: Client, market: Market, creator: dict[str, Any]) -> None:
    assert patch(client, market, WHOLE | {"reason": "mine"}, **creator).json() == WHOLE
    assert not AuditEntry.objects.exists()


def test_what_operators_write_in_the_admin_is_kept(client: Client, market: Market) -> None:
    client.force_login(User.objects.create_superuser("operator"))
    add = reverse("admin:markets_marketmetadata_add")
    assert client.post(add, {"market": market.market_id, "category": "Sport"}).status_code == 302
    change = reverse("admin:markets_marketmetadata_change", args=[market.market_id])
    assert client.post(change, {"category": "Weather"}).status_code == 302
    assert [
        (edit.edited_by, edit.before["category"], edit.after["category"]) for edit in MetadataEdit.objects.all()
    ] == [
        ("operator", "", "Sport"),
        ("operator", "Sport", "Weather"),
    ]
    assert client.post(reverse("admin:markets_marketmetadata_delete", args=[market.market_id])).status_code == 403


@pytest.mark.parametrize(("name", "status"), [("0x" + "00" * 32, 404), ("bogus", 400), ("0x12", 400)])
def test_a_market_that_is_not_there(client: Client, creator: dict[str, Any], name: str, status: int) -> None:
    problem_of(patch(client, name, WHOLE, **creator), status)


def test_an_edit_outlives_the_market(client: Client, market: Market, creator: dict[str, Any]) -> None:
    patch(client, market, {"category": "Sport"}, **creator)
    User.objects.all().delete()
    Market.objects.filter(pk=market.pk).delete()
    assert MetadataEdit.objects.get().market_id == market.market_id
    assert MarketMetadata.objects.get().category == "Sport"
