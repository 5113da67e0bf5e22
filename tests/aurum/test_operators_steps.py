"""What operators do in the admin, step by step: who may, what is seen before, what is written, and the audit of it."""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from indexer.models import IndexedEvent, RepairRequest
from markets import corrections
from markets.models import Market, MarketCorrection, MarketMetadata, MarketPlacement
from operators.models import AuditEntry
from tests import factories
from tests.factories import HOSTILE

pytestmark = pytest.mark.django_db


def person(name: str, *groups: str, **more: Any) -> Client:
    """A browser in which a staff member of these groups is signed in."""
    user = User.objects.create_user(name, is_staff=True, **more)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


@pytest.fixture
def market() -> Market:
    factories.make_checkpoint()
    factories.make_collateral()
    return factories.make_market()


@pytest.fixture
def olga() -> Client:
    return person("olga", "operator")


class Active(HTMLParser):
    """What of a page would run: scripts and styles in it, handlers, links to scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in named):
            self.found.append(tag)
        self.found += [name for name in named if name.startswith("on")]
        self.found += [value for value in named.values() if value and value.lower().startswith("javascript:")]


def active_parts(page: str) -> list[str]:
    parser = Active()
    parser.feed(page)
    return parser.found


def correct_page(market: Market) -> str:
    return f"/admin/markets/market/{market.pk}/correct/"


def form(field: str, value: str, **more: str) -> dict[str, str]:
    return {"field": field, "value": value, "reason": "the creator's typo", "expires_at": "", **more}


def confirmed(client: Client, market: Market, asked: dict[str, str]) -> Any:
    """Asks for the difference, and confirms what the page then holds."""
    page = client.post(correct_page(market), asked)
    assert page.status_code == 200
    seen = dict(page.context["hidden"])["seen"]
    assert f'value="{escape(seen)}"' in page.text
    return client.post(correct_page(market), {**asked, "seen": seen})


def approved(client: Client, url: str) -> Any:
    """Looks at a correction, and approves what the page then shows."""
    return client.post(url, dict(client.get(url).context["hidden"]))


def audit() -> list[tuple[str, str, str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("actor", "action", "subject", "reason"))


def test_a_correction_by_one_person(olga: Client, market: Market) -> None:
    page = olga.post(correct_page(market), form("question", "Will it really?"))
    rows = dict(page.context["tables"][0].rows)
    assert (rows["the chain says"], rows["would be shown"]) == (market.question, "Will it really?")
    assert not MarketCorrection.objects.exists()
    assert audit() == []
    answer = confirmed(olga, market, form("question", "Will it really?", expires_at="2100-01-01 00:00"))
    correction = MarketCorrection.objects.get()
    assert (answer.status_code, answer["Location"]) == (
        302,
        f"/admin/markets/marketcorrection/{correction.pk}/change/",
    )
    assert correction.since is not None
    assert (correction.value, correction.requested_by.username, str(correction.expires_at)) == (
        *("Will it really?", "olga", "2100-01-01 00:00:00+00:00"),
    )
    assert audit() == [("olga", "correction.make", f"market:{market.market_id}", "the creator's typo")]
    entry = AuditEntry.objects.get()
    assert entry.before == {"question": market.question, "chain": market.question}
    assert entry.after == {"question": "Will it really?", "expiresAt": "2100-01-01T00:00:00Z", "id": correction.pk}
    # Another takes its place, and the one before is kept.
    confirmed(olga, market, form("question", "Third?"))
    states = MarketCorrection.objects.order_by("id").values_list("value", "revoked_because")
    assert list(states) == [("Will it really?", "Another took its place."), ("Third?", "")]


@pytest.mark.parametrize("second", ["operator", "resolver", "superuser"])
def test_a_guarded_one_waits_for_a_second_person(olga: Client, market: Market, client: Client, second: str) -> None:
    confirmed(olga, market, form("payouts", "1 0"))
    correction = MarketCorrection.objects.get()
    path = f"/api/markets/{market.market_id}"
    assert (correction.since, client.get(path).json()["corrected"]) == (None, False)
    approve = f"/admin/markets/marketcorrection/{correction.pk}/approve/"
    assert "Somebody else must approve it" in olga.get(approve).text
    assert "Somebody else must approve it" in olga.post(approve).text
    other = person("rita", second, is_superuser=second == "superuser")
    assert "the correction says" in other.get(approve).text
    assert client.get(path).json()["corrected"] is False, "to look is not to approve"
    assert approved(other, approve).status_code == 302
    assert client.get(path).json()["payouts"] == ["1", "0"]
    assert [row[:2] for row in audit()] == [("olga", "correction.request"), ("rita", "correction.approve")]
    assert "there is nothing to approve" in other.post(approve).text


def test_no_superuser_approves_their_own(market: Market) -> None:
    root = person("root", is_superuser=True)
    confirmed(root, market, form("outcomes", "Aye\nNay"))
    correction = MarketCorrection.objects.get()
    User.objects.filter(username="root").update(username="another name")
    assert approved(root, f"/admin/markets/marketcorrection/{correction.pk}/approve/").status_code == 200
    correction.refresh_from_db()
    assert (correction.since, correction.approved_by) == (None, None)


def test_revoking_and_rejecting_take_one_person_and_a_reason(olga: Client, market: Market, client: Client) -> None:
    confirmed(olga, market, form("question", "Another?"))
    confirmed(olga, market, form("payouts", "1 0"))
    rita = person("rita", "resolver")
    for correction in MarketCorrection.objects.order_by("id"):
        page = f"/admin/markets/marketcorrection/{correction.pk}/revoke/"
        assert rita.post(page, {"reason": "  "}).status_code == 200
        assert rita.post(page, {"reason": "wrong"}).status_code == 302
        assert "there is nothing to revoke" in rita.post(page, {"reason": "again"}).text
    assert [row[:2] for row in audit()][2:] == [("rita", "correction.revoke"), ("rita", "correction.reject")]
    assert client.get(f"/api/markets/{market.market_id}").json()["corrections"] == []


def test_one_waits_at_a_time_and_what_changed_meanwhile_is_shown_again(olga: Client, market: Market) -> None:
    asked = form("payouts", "1 0")
    confirmed(olga, market, asked)
    assert "waits for approval already" in confirmed(olga, market, asked).text
    question = form("question", "Another?")
    seen = dict(olga.post(correct_page(market), question).context["hidden"])["seen"]
    Market.objects.update(question="by a reorganisation")
    again = olga.post(correct_page(market), {**question, "seen": seen})
    assert "has changed since you saw it" in again.text
    assert MarketCorrection.objects.count() == 1


def test_of_two_who_confirm_at_once_the_second_sees_what_the_first_did(
    olga: Client, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = form("question", "Another?")
    seen = dict(olga.post(correct_page(market), asked).context["hidden"])["seen"]
    propose = corrections.propose

    def overtaken(*asked: Any, **more: Any) -> corrections.Proposal:
        proposal = propose(*asked, **more)
        factories.make_correction(market, "question", "The first one's?")
        return proposal

    monkeypatch.setattr(corrections, "propose", overtaken)
    again = olga.post(correct_page(market), {**asked, "seen": seen})
    monkeypatch.undo()
    assert "has changed since you saw it" in again.text
    assert dict(again.context["tables"][0].rows)["is shown now"] == "The first one's?"
    assert (MarketCorrection.objects.get().revoked_at, audit()) == (None, [])
    assert olga.post(correct_page(market), dict(again.context["hidden"])).status_code == 302
    assert AuditEntry.objects.get().before == {"question": "The first one's?", "chain": market.question}


def test_who_approves_approves_what_they_saw(olga: Client, market: Market) -> None:
    correction = factories.make_correction(market, "outcomes", ["Aye", "Nay"], since=None)
    page = f"/admin/markets/marketcorrection/{correction.pk}/approve/"
    seen = dict(olga.get(page).context["hidden"])
    factories.make_correction(market, "outcomes", ["Sure", "Never"])
    for body in (seen, {}):
        again = olga.post(page, body)
        assert "has changed since you saw it" in again.text
        rows = dict(again.context["tables"][0].rows)
        assert (rows["the chain says"], rows["is shown now"], rows["the correction says"]) == (
            *('["Yes", "No"]', '["Sure", "Never"]', '["Aye", "Nay"]'),
        )
    assert audit() == []
    assert olga.post(page, dict(again.context["hidden"])).status_code == 302
    assert AuditEntry.objects.get().before == {"outcomes": ["Sure", "Never"], "chain": ["Yes", "No"]}


def test_a_pending_one_that_expires_is_no_hindrance(olga: Client, market: Market) -> None:
    correction = factories.make_correction(market, "payouts", ["0", "1"], since=None, expires_at=timezone.now())
    page = f"/admin/markets/marketcorrection/{correction.pk}/revoke/"
    assert "there is nothing to revoke" in olga.post(page, {"reason": "late"}).text
    assert confirmed(olga, market, form("payouts", "1 0")).status_code == 302
    correction.refresh_from_db()
    assert correction.state_at(timezone.now()) == "revoked"
    assert correction.revoked_because == "It expired before anybody approved it."
    assert [row[1] for row in audit()] == ["correction.lapse", "correction.request"]
    assert AuditEntry.objects.order_by("id")[0].before == {"payouts": ["0", "1"], "id": correction.pk}
    assert MarketCorrection.objects.get(revoked_at=None).value == ["1", "0"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (form("question", "   "), "The question must not be empty."),
        (form("question", "x", reason=" "), "This field is required."),
        (form("payouts", "1"), "The market has 2 outcomes; 1 numerators are written."),
        (form("volume", "1"), "Select a valid choice."),
        (form("question", "x", expires_at="2001-01-01 00:00"), "It would have expired already."),
        (form("question", "a\u202eb"), "The question must not contain U+202E."),
    ],
)
def test_what_can_not_be_is_refused(olga: Client, market: Market, asked: dict[str, str], said: str) -> None:
    answer = olga.post(correct_page(market), asked)
    assert (answer.status_code, said in answer.text) == (200, True)
    assert not MarketCorrection.objects.exists()


def test_what_the_chain_says_already_is_no_correction(olga: Client, market: Market) -> None:
    assert (
        "That is what the chain says already."
        in olga.post(correct_page(market), form("question", market.question)).text
    )


def test_hostile_text_is_inert_on_every_page(olga: Client) -> None:
    factories.make_checkpoint()
    market = factories.make_market(question=HOSTILE, outcomes=[HOSTILE, "No"])
    pages = [
        olga.get(correct_page(market)),
        olga.post(correct_page(market), form("question", "<script>alert(3)</script>")),
    ]
    confirmed(olga, market, form("question", "<script>alert(3)</script>", reason=HOSTILE.replace("\u202e", "")))
    pk = MarketCorrection.objects.get().pk
    pages += [olga.get(f"/admin/markets/marketcorrection/{pk}/{step}/") for step in ("change", "approve", "revoke")]
    pages.append(olga.get("/admin/markets/marketcorrection/"))
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert active_parts(page.text) == []


# --- who may ----------------------------------------------------------------------------------------------------------


def steps(market: Market) -> dict[str, tuple[str, dict[str, Any]]]:
    """Each step: its address, and what is posted there."""
    event = factories.make_event(processed=False, error="e")
    waiting = factories.make_correction(market, "payouts", ["1", "0"], since=None)
    listed = {"_selected_action": [str(market.pk)], "confirm": "yes", "reason": "r"}
    repair = RepairRequest.objects.create(from_block=1, to_block=2, reason="r")
    return {
        "correct": (correct_page(market), form("question", "x")),
        "approve": (f"/admin/markets/marketcorrection/{waiting.pk}/approve/", {}),
        "revoke": (f"/admin/markets/marketcorrection/{waiting.pk}/revoke/", {"reason": "r"}),
        "hide": ("/admin/markets/market/", listed | {"action": "hide"}),
        "category": ("/admin/markets/market/", listed | {"action": "set_category", "category": "x"}),
        "import": ("/admin/markets/marketmetadata/import/", {}),
        "retry": (f"/admin/indexer/indexedevent/{event.pk}/retry/", {}),
        "again": ("/admin/indexer/repairrequest/request/", {"first": 1_000, "last": 1_001, "reason": "r"}),
        "cancel": (f"/admin/indexer/repairrequest/{repair.pk}/cancel/", {"reason": "r"}),
    }


def state() -> list[Any]:
    kinds = (MarketCorrection, MarketPlacement, MarketMetadata, RepairRequest, AuditEntry)
    return [list(kind._default_manager.order_by("pk").values()) for kind in kinds]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("group", "allowed"),
    [
        ("viewer", set()),
        ("operator", {"correct", "approve", "revoke", "hide", "category", "import", "retry", "again", "cancel"}),
        ("resolver", {"approve", "revoke"}),
    ],
)
def test_what_each_group_may_do(market: Market, group: str, allowed: set[str]) -> None:
    client = person("somebody", group)
    for name, (url, body) in steps(market).items():
        if name in allowed:
            assert client.post(url, body).status_code in (200, 302), name
            continue
        before = state()
        # The list of markets is shown again, without the action.
        assert client.post(url, body).status_code in ((200, 302) if "_selected_action" in body else (403,)), name
        assert state() == before, name


def test_nothing_is_done_by_get_nor_without_a_token_nor_by_strangers(market: Market) -> None:
    listed = steps(market)
    user = User.objects.create_superuser("root")
    guarded, stranger = Client(enforce_csrf_checks=True), Client()
    guarded.force_login(user)
    before = state()
    for name, (url, body) in listed.items():
        assert guarded.get(url, body).status_code in (200, 302), name
        assert guarded.post(url, body).status_code == 403, name
        assert stranger.post(url, body)["Location"].startswith("/admin/login/"), name
    assert state() == before


# --- placing, describing, retrying, reading again ---------------------------------------------------------------------


def act(client: Client, action: str, *markets: Market, **more: str) -> Any:
    chosen = [str(market.pk) for market in markets]
    return client.post("/admin/markets/market/", {"action": action, "_selected_action": chosen, **more}, follow=True)


def test_markets_are_hidden_and_shown_again(olga: Client, market: Market, client: Client) -> None:
    other = factories.make_market()
    page = act(olga, "hide", market, other)
    assert "Confirm" in page.text
    assert not MarketPlacement.objects.exists()
    assert "2 of 2 markets were changed" in act(olga, "hide", market, other, confirm="yes", reason="spam").text
    assert client.get("/api/markets").json()["results"] == []
    assert "0 of 1 markets were changed" in act(olga, "hide", market, confirm="yes", reason="again").text
    act(olga, "show", market, confirm="yes", reason="a mistake")
    assert [row["marketId"] for row in client.get("/api/markets").json()["results"]] == [market.market_id]
    assert [row[:2] for row in audit()] == [("olga", "market.hide")] * 2 + [("olga", "market.show")]
    last = AuditEntry.objects.latest("id")
    assert (last.before, last.after) == ({"hidden": True, "featured": False}, {"hidden": False, "featured": False})


def test_markets_are_featured(olga: Client, market: Market, client: Client) -> None:
    act(olga, "feature", market, confirm="yes", reason="news")
    assert client.get("/api/markets?featured=true").json()["results"][0]["featured"] is True
    act(olga, "unfeature", market, confirm="yes", reason="old")
    assert client.get("/api/markets?featured=true").json()["results"] == []


def test_the_category_of_several_is_set(olga: Client, market: Market) -> None:
    other = factories.make_market()
    MarketMetadata.objects.create(market=other, category="Sport", description="stays")
    act(olga, "set_category", market, other, confirm="yes", reason="sorted", category="Weather")
    rows = MarketMetadata.objects.order_by("description").values_list("category", "description")
    assert list(rows) == [("Weather", ""), ("Weather", "stays")]
    assert [row[1] for row in audit()] == ["metadata.edit"] * 2
    assert "0 of 1 markets" in act(olga, "set_category", other, confirm="yes", reason="r", category="Weather").text
    assert (
        "at most 64 characters" in act(olga, "set_category", other, confirm="yes", reason="r", category="x" * 65).text
    )


def test_one_failed_event_is_tried_again_from_its_page(olga: Client) -> None:
    failed = factories.make_event(processed=False, error="Traceback\nApplyError: <script>alert(4)</script>")
    page = f"/admin/indexer/indexedevent/{failed.pk}/retry/"
    assert page in olga.get(f"/admin/indexer/indexedevent/{failed.pk}/change/").text
    shown = olga.get(page).text
    assert ("ApplyError" in shown, "<script>alert" in shown) == (True, False)
    assert olga.post(page, {"reason": "x" * 1_001}).status_code == 200
    assert olga.post(page, {"reason": "the decoder is mended"}).status_code == 302
    request = RepairRequest.objects.get()
    block = failed.block_number
    assert (request.from_block, request.to_block, request.replay, request.requested_by) == (block, block, True, "olga")
    assert audit() == [("olga", "event.retry", f"repair:{request.pk}", "the decoder is mended")]
    IndexedEvent.objects.update(processed=True)
    assert "It did not fail." in olga.post(page).text
    assert RepairRequest.objects.count() == 1


def test_a_market_is_read_again_and_that_is_cancelled(olga: Client, market: Market) -> None:
    page = f"/admin/indexer/repairrequest/request/?market={market.market_id}"
    assert page in olga.get(f"/admin/markets/market/{market.pk}/change/").text
    assert f'value="{market.block_number}"' in olga.get(page).text
    body = {"first": str(market.block_number), "last": "1000000", "reason": "doubts"}
    assert olga.post(page, body).status_code == 302
    request = RepairRequest.objects.get()
    assert (request.market_id, request.requested_by, request.state) == (market.market_id, "olga", "queued")
    assert "0 of" in olga.get(f"/admin/indexer/repairrequest/{request.pk}/change/").text
    assert olga.post(f"/admin/indexer/repairrequest/{request.pk}/cancel/", {"reason": "enough"}).status_code == 302
    request.refresh_from_db()
    assert request.state == "cancelled"
    assert audit() == [
        ("olga", "repair.request", f"market:{market.market_id}", "doubts"),
        ("olga", "repair.cancel", f"market:{market.market_id}", "enough"),
    ]
    absurd = olga.post(page, body | {"first": "0", "last": str(2**63 - 1)})
    assert (absurd.status_code, "are indexed: name some of these" in absurd.text) == (200, True)
    assert RepairRequest.objects.count() == 1


@pytest.mark.parametrize(("state", "count"), [("open", 1), ("ended", 0), ("resolved", 1)])
def test_markets_are_filtered_by_status(olga: Client, market: Market, state: str, count: int) -> None:
    factories.make_market(payouts=[1, 0])
    assert len(olga.get("/admin/markets/market/", {"status": state}).context["cl"].result_list) == count
