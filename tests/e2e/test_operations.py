"""What operators do all day, in real browsers, with a real chain and indexer, and texts that want to be run."""

from typing import Any

import pytest
from django.db import connection
from web3 import Web3

from indexer.devchain.actions import ONE, Actions
from indexer.devchain.deploy import Deployment
from indexer.models import IndexedEvent
from markets.metadata import edit
from markets.models import Market, MarketCorrection
from operators.models import AuditEntry
from tests.e2e.test_browser import browsing, screenshots
from tests.factories import HOSTILE
from tests.processes import index_once, running, serving
from tests.resolver.staff import person

pytestmark = pytest.mark.django_db(transaction=True)

QUESTION = f"Will the monsoon come? {HOSTILE}"
OUTCOMES = ("javascript:alert(3)", '=HYPERLINK("http://evil.example","x")')


def execute(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        assert cursor.rowcount == 1


def test_an_operators_day(chain: tuple[Web3, Deployment], actions: Actions, settings: Any) -> None:
    made = actions.deploy_amm(actions.create_market(QUESTION, OUTCOMES), liquidity=10_000_000)
    actions.deploy_amm(actions.create_market("Another"), liquidity=10_000_000)
    for number in range(1, 5):
        actions.buy(made, number % 2, 500_000 * number, sender=actions.accounts[number])
    actions.propose(made, [ONE, 0], sender=actions.accounts[1])
    index_once(chain[1])
    market = Market.objects.get(market_id="0x" + made.market_id.hex())
    edit(market.market_id, {"description": HOSTILE, "resolution_source": "javascript:alert(5)"}, by="ada")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # of the server
    for name, role in (("olga", "operator"), ("bob", "resolver")):
        user: Any = person(role, name)
        user.set_password("a long enough password")
        user.save()
    execute("UPDATE markets SET reserves = '[1, 2]' WHERE market_id = %s", market.market_id)
    pictures = screenshots("operations")
    with (
        serving(chain[1], ADMIN_TOTP="true") as address,
        running("run_indexer", deployment=chain[1]),
        browsing("operations", address, str(market.pk), str(pictures)) as browser,
    ):
        first = browser.sees()
        failed = IndexedEvent.objects.filter(event_name="FPMMBuy").latest("block_number")
        execute("UPDATE indexed_events SET processed = false, error = %s WHERE id = %s", HOSTILE, failed.pk)
        browser.go_on()
        second = browser.sees()
    assert first["home"] == {"charts": 3, "state": "running", "failed": "0", "trouble": ""}
    assert first["found"] == 1
    before, after = first["before"], first["after"]
    assert (before["different"], after["different"]) == (["reserves"], [])
    assert before["verdict"].startswith("1 different, ")
    assert after["verdict"].startswith("0 different, ")
    assert (first["reindexed"], first["own"], first["approved"]) == ("done", 0, "It is shown from now on.")
    assert (second["retried"], second["links"]) == ("done", [])
    assert second["kinds"] == ["audit", "chain", "correction", "oracle"]
    assert not IndexedEvent.objects.filter(processed=False).exists()
    correction = MarketCorrection.objects.get()
    assert (correction.value, correction.since is None) == (["Aye", "Nay"], False)
    steps = list(AuditEntry.objects.order_by("id").values_list("actor", "action"))
    assert steps == [
        *(("olga", "second_factor.set_up"), ("olga", "market.reconcile"), ("olga", "repair.request")),
        *(("olga", "market.reconcile"), ("olga", "correction.request"), ("bob", "second_factor.set_up")),
        *(("bob", "correction.approve"), ("olga", "event.retry")),
    ]
    names = sorted(path.name for path in pictures.glob("*.png"))
    assert (len(names), names[1]) == (18, "02-home.png")
