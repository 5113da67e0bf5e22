"""The admin's home: its figures are right, cost the same whatever the tables hold, and are staff's alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aurum import operations
from aurum.database import connect
from indexer.models import Reorganisation, RepairRequest
from markets.chaintime import rfc3339
from markets.models import IndexedBlock
from resolver.models import Kind, WalletAction, WalletStatus, WalletSwitch
from tests import factories
from tests.factories import HOSTILE, START

pytestmark = pytest.mark.django_db

HOME, SOURCE = "/admin/", "/admin/operations.json"


def person(name: str, group: str = "", *, is_staff: bool = True) -> Client:
    user = User.objects.create_user(name, is_staff=is_staff)
    user.groups.set(Group.objects.filter(name=group))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def viewer() -> Client:
    return person("vera", "viewer")


def make_events(count: int, *, minutes_ago: int, name: str = "FPMMBuy", **columns: Any) -> None:
    """Events of blocks of that minute, each in one of its own, five seconds on their way."""
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    for number in range(count):
        event = factories.make_event(
            event_name=name, block_timestamp=minute, created_at=minute + timedelta(seconds=5 + number), **columns
        )
        IndexedBlock.objects.create(
            number=event.block_number, hash=event.block_hash, parent_hash=event.block_hash, timestamp=minute
        )


def make_action(**columns: Any) -> WalletAction:
    subject = factories.hex_id("subject")
    defaults = {"chain_id": 31337, "kind": Kind.RESOLVE, "contract": factories.FACTORY, "calldata": "0x"}
    return WalletAction.objects.create(subject=subject, **defaults | columns)


def test_the_figures(viewer: Client) -> None:
    now = timezone.now()
    factories.make_checkpoint(block_number=1_000_000, block_timestamp=now - timedelta(seconds=400))
    factories.make_status(
        head_block=1_000_200,
        head_timestamp=now,
        reorganisations=3,
        last_reorganisation_depth=2,
        last_reorganisation_at=now - timedelta(hours=5),
    )
    factories.make_event(processed=False, error="e", block_number=500)
    RepairRequest.objects.create(from_block=10, to_block=19, next_block=15, reason="r")
    for depth in range(1, 8):
        Reorganisation.objects.create(at=START, depth=depth, fork_block=1_000 * depth)
    make_action()
    make_action(state="failed", error="reverted")
    WalletSwitch.objects.update_or_create(pk=1, defaults={"stopped": True, "reason": "gas"})
    answer = viewer.get(SOURCE)
    assert answer["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    facts = {key: (fact["text"], fact["state"]) for key, fact in answer.json()["facts"].items()}
    assert facts["state"] == ("running", "good")
    assert facts["head"] == ("1,000,200", "")
    assert facts["indexed"] == ("1,000,000", "")
    assert facts["lag"] == ("200 blocks", "bad")
    assert facts["reorganisations"] == ("2 blocks deep", "")
    assert answer.json()["facts"]["reorganisations"]["note"] == "5 h ago; 3 in all"
    assert facts["failed"] == ("1", "warn")
    assert facts["wallet"] == ("stopped", "bad")
    assert (facts["pending"], facts["failed_actions"], facts["balance"]) == (
        ("1", ""),
        ("1", "warn"),
        ("not known", ""),
    )
    assert facts["repairs"] == ("1", "warn")
    assert facts["sockets"] == ("0", "")
    tables = answer.json()["tables"]
    assert [row["cells"][:3] for row in tables["nodes"]] == [["rpc.example", "healthy", "12 ms"]]
    assert [row["cells"][1:] for row in tables["reorganisations"]] == [
        [f"{depth} blocks", f"{depth},000"] for depth in (7, 6, 5, 4, 3)
    ]
    newest = tables["reorganisations"][0]
    assert newest["cells"][0] == rfc3339(START)
    assert viewer.get(newest["url"]).status_code == 200
    assert [row["cells"][:4] for row in tables["repairs"]] == [["blocks 10 to 19", "running", "50%", "r"]]
    assert [(row["state"], row["cells"][3]) for row in tables["actions"]] == [("bad", "reverted"), ("", "")]
    # Without a script the page says the same.
    page = viewer.get(HOME).text
    for text, _ in facts.values():
        assert f"<dd>{text}</dd>" in page or text.endswith((" s ago", "MiB")) or " of " in text, text


@pytest.mark.parametrize(
    ("columns", "wallet", "balance"),
    [
        ({}, ("runs", "good", "heard of 10 s ago"), ("0.1234 ETH", "")),
        ({"hindrance": "no node answers"}, ("waits", "warn", "no node answers"), ("0.1234 ETH", "")),
        ({"balance": 4 * 10**15}, ("runs", "good", "heard of 10 s ago"), ("0.0040 ETH", "warn")),
        ({"balance": None}, ("runs", "good", "heard of 10 s ago"), ("not known", "")),
        ({"ago": 90}, ("silent", "warn", "heard of 90 s ago"), ("0.1234 ETH", "")),
        ({"ago": 900}, ("silent", "bad", "heard of 15 min ago"), ("0.1234 ETH", "")),
    ],
)
def test_the_wallet(
    columns: dict[str, Any],
    wallet: tuple[str, str, str],
    balance: tuple[str, str],
    viewer: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    heartbeat_at = now - timedelta(seconds=columns.get("ago", 10))
    signer = factories.address("signer")
    defaults = {"balance": 1234 * 10**14, "signer": signer}
    given = {name: value for name, value in columns.items() if name != "ago"}
    WalletStatus.objects.create(heartbeat_at=heartbeat_at, **defaults | given)
    facts = viewer.get(SOURCE).json()["facts"]
    assert tuple(facts["wallet"][name] for name in ("text", "state", "note")) == wallet
    assert tuple(facts["balance"][name] for name in ("text", "state", "note")) == (*balance, signer)


def test_corrections_that_expired_wait_for_nobody(viewer: Client) -> None:
    for expires_at, text in ((timezone.now(), "0"), (timezone.now() + timedelta(days=1), "1")):
        factories.make_correction(factories.make_market(), "payouts", None, since=None, expires_at=expires_at)
        fact = viewer.get(SOURCE).json()["facts"]["corrections"]
        assert (fact["text"], fact["state"]) == (text, "warn" if text == "1" else "")
        assert viewer.get("/admin/markets/marketcorrection/?state=pending").context["cl"].result_count == int(text)


def test_a_wallet_that_has_not_run(viewer: Client) -> None:
    facts = viewer.get(SOURCE).json()["facts"]
    assert [(facts[key]["text"], facts[key]["state"]) for key in ("wallet", "balance")] == [
        ("has not run yet", ""),
        ("not known", ""),
    ]


def test_sockets_are_those_of_all_web_processes(viewer: Client) -> None:
    with connect() as one, connect() as other, connect():
        for number, each in enumerate((one, other)):
            each.execute(
                "SELECT set_config('application_name', %s, false)", [f"aurum web {number} {number + 7} sockets"]
            )
        fact = viewer.get(SOURCE).json()["facts"]["sockets"]
    assert (fact["text"], fact["note"]) == ("15", "in 2 web processes")


def test_nothing_is_indexed_yet(viewer: Client) -> None:
    facts = viewer.get(SOURCE).json()["facts"]
    assert (facts["state"]["text"], facts["head"]["text"], facts["lag"]["state"]) == ("stopped", "unknown", "warn")
    assert facts["outbox"]["text"] == "empty"
    assert viewer.get(HOME).status_code == 200


def test_events_and_trades_by_minute(viewer: Client) -> None:
    factories.make_checkpoint(block_timestamp=timezone.now())
    make_events(4, minutes_ago=61)
    make_events(2, minutes_ago=10)
    make_events(3, minutes_ago=10, name="Transfer")
    make_events(1, minutes_ago=2, name="FPMMSell")
    charts = viewer.get(SOURCE).json()["charts"]
    assert {len(charts[name]) for name in ("minutes", "events", "trades", "delay")} == {60}
    assert (sum(charts["events"]), sum(charts["trades"]), charts["complete"]) == (6, 3, True)
    place = charts["events"].index(5)
    assert (charts["trades"][place], charts["delay"][place], charts["delay"][place + 1]) == (2, 7.0, None)
    assert charts["minutes"][place + 8] - charts["minutes"][place] == 480
    assert charts["events"][place + 8] == 1


def test_an_hour_of_more_events_than_are_read(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MOST_EVENTS", 3)
    make_events(5, minutes_ago=1)
    charts = viewer.get(SOURCE).json()["charts"]
    assert (sum(charts["events"]), charts["complete"]) == (3, False)


@pytest.mark.parametrize("page", [HOME, SOURCE])
def test_the_number_of_statements_does_not_grow(viewer: Client, page: str) -> None:
    factories.make_checkpoint(block_timestamp=timezone.now())
    factories.make_status()
    counts = []
    for rows in (1, 9):
        make_events(rows, minutes_ago=3)
        for number in range(rows):
            factories.make_event(processed=False, error="e")
            Reorganisation.objects.create(depth=1, fork_block=number)
            RepairRequest.objects.create(from_block=number, to_block=number, reason="r")
            make_action()
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert viewer.get(page).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]
    assert counts[0] < 30


def test_the_charts_are_read_by_indexes() -> None:
    """A table of millions is never read from end to end."""
    make_events(1, minutes_ago=3)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {operations.BY_MINUTE}", [["FPMMBuy"], 0, operations.MOST_EVENTS])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "indexed_events_order" in plan


@pytest.mark.parametrize(
    ("group", "is_staff", "status"),
    [("viewer", True, 200), ("operator", True, 200), ("", True, 403), ("", False, 403)],
)
def test_who_sees_the_figures(group: str, is_staff: bool, status: int) -> None:
    assert person("somebody", group, is_staff=is_staff).get(SOURCE).status_code == status


def test_the_home_of_staff_without_a_group_is_empty() -> None:
    factories.make_status(last_error="canary", last_error_at=timezone.now())
    page = person("somebody").get(HOME)
    assert (page.status_code, "sections" in page.context, "canary" in page.text) == (200, False, False)
    assert "operations/home.js" not in page.text


def test_strangers_and_passwords_alone_do_not(client: Client, settings: Any) -> None:
    assert client.get(SOURCE).status_code == 403
    settings.ADMIN_TOTP = True
    assert person("somebody", "operator").get(SOURCE).status_code == 403
    settings.ADMIN_TOTP = False
    assert person("another", "operator").post(SOURCE).status_code == 405


def test_what_nodes_and_people_say_is_inert(viewer: Client) -> None:
    node = {"host": HOSTILE, "healthy": False, "quarantined_until": HOSTILE, "last_error": HOSTILE, "latency_ms": None}
    factories.make_status(endpoints=[node], last_error=HOSTILE, last_error_at=timezone.now(), stop_reason="<b>")
    RepairRequest.objects.create(from_block=1, to_block=2, reason=HOSTILE, error=HOSTILE)
    make_action(state="failed", error=HOSTILE)
    page = viewer.get(HOME).text
    assert ("<script>alert" in page, "<img src=x" in page, "\u202e" in page) == (False, False, False)
    assert "&lt;script&gt;alert(1)" in page
