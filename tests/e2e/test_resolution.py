"""From a wish to an approved resolution, in a real browser, on a real chain, with a market whose texts are hostile."""

from typing import Any

import pytest
from web3 import Web3

from indexer.devchain.actions import ONE, Actions
from indexer.devchain.deploy import Deployment
from markets.metadata import edit
from oracle.models import Question
from resolver.models import ResolutionRequest
from tests.e2e.test_browser import browsing, screenshots
from tests.factories import HOSTILE
from tests.processes import index_once, serving
from tests.resolver.staff import person

pytestmark = pytest.mark.django_db(transaction=True)

QUESTION = f"{HOSTILE} <script>window.hostile = 1</script><img src=x onerror='window.hostile = 2'>"


def test_an_operator_asks_and_a_resolver_approves(
    chain: tuple[Web3, Deployment], actions: Actions, settings: Any
) -> None:
    wallet = actions.accounts[1]
    made = actions.deploy_amm(actions.create_market(QUESTION, [QUESTION, "No"]), liquidity=10_000_000)
    actions.mint_aurum(wallet, 100 * ONE)
    index_once(chain[1])
    market_id = "0x" + made.market_id.hex()
    edit(market_id, {"description": QUESTION, "resolution_source": "https://example.org/result"}, by="ada")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # of the server
    for name, role in (("ada", "operator"), ("bob", "resolver")):
        user = person(role, name)
        user.set_password("a long enough password")
        user.save()
    question = Question.objects.get()
    pictures = screenshots("resolution")
    with (
        serving(chain[1], WALLET_ADDRESS=wallet.lower()) as address,
        browsing("resolution", address, str(question.pk), str(pictures)) as browser,
    ):
        seen = browser.sees()
    errors, asked, told = seen["texts"]
    assert errors == ["Together the payouts must be above 0 and at most 1; they are 0.", "This field is required."]
    assert asked == ["succeed"]
    assert told == [
        "It waits for another person's approval.",
        "Approved: the wallet does it at its next pass.",
        "The wallet is stopped: nothing is signed or sent. Its switch",
    ]
    assert (seen["approvable"], seen["ran"]) == (0, None)
    assert seen["steps"] == ["wallet.stop", "resolution.approve", "resolution.ask"]
    wish = ResolutionRequest.objects.get()
    assert (wish.state, wish.requested_by.username, wish.decided_by and wish.decided_by.username) == (
        "approved",
        "ada",
        "bob",
    )
    assert wish.payouts == [ONE, 0]
    assert list(pictures.glob("*.png"))
