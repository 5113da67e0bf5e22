"""How markets end, on real contracts: positions redeem what the payouts say, and all who tell of it say the same."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from indexer.devchain.actions import Actions, Market
from markets.models import Market as Row
from oracle.models import Question, QuestionAnomaly
from resolver.contracts import STAKE
from resolver.models import ActionState, WalletAction, WalletTransaction
from tests.indexing import assert_equals_fresh_sync
from tests.resolver.scenes import DAY, HOUR, MINED, ONE, Scene, states

pytestmark = pytest.mark.django_db(transaction=True)

YES, NO = [ONE, 0], [0, ONE]
PROPOSER, DISPUTER = 3, 4  # accounts
FINALIZED = [("finalize", MINED), ("resolve", MINED)]


@pytest.fixture
def scene(actions: Actions, settings: Any) -> Scene:
    return Scene(actions, settings)


def propose(scene: Scene, market: Market, payouts: list[int]) -> None:
    scene.actions.propose(market, payouts, sender=scene.actions.accounts[PROPOSER])


def dispute(scene: Scene, market: Market, payouts: list[int]) -> None:
    scene.actions.dispute(market, payouts, sender=scene.actions.accounts[DISPUTER])


# --- how it comes to its payouts: each returns them, and the actions that the wallet has taken by then ----------------

History = Callable[[Scene, Market], tuple[list[int], list[tuple[str, str]]]]


def undisputed(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, YES)
    scene.later(2 * HOUR - 60)
    assert scene.resolve() == "0 queued\n"
    assert (states(), scene.question(market)["state"]) == ([], "proposed")
    scene.later(60)
    return YES, FINALIZED


def votes_for_the_proposal(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, YES)
    dispute(scene, market, NO)
    scene.vote(market, [(5, YES, 300 * ONE), (6, NO, 299 * ONE)])
    assert scene.question(market)["leading"] == "proposal"
    return YES, FINALIZED


def votes_for_the_dispute(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, YES)
    dispute(scene, market, NO)
    scene.later(3 * HOUR)
    assert scene.resolve() == "0 queued\n"  # past the challenge period, and disputed
    scene.vote(market, [(5, YES, 300 * ONE), (6, NO, 300 * ONE), (7, NO, 1)])
    body = scene.question(market)
    assert [(entry["side"], entry["weight"]) for entry in body["tally"]] == [
        ("dispute", str(300 * ONE + 1)),
        ("proposal", str(300 * ONE)),
    ]
    assert body["leading"] == "dispute"
    proposal = scene.actions.proposal(market)
    assert (proposal["proposalWeight"], proposal["disputeWeight"]) == (300 * ONE, 300 * ONE + 1)
    return NO, FINALIZED


def a_tie(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, NO)
    dispute(scene, market, YES)
    scene.vote(market, [(5, YES, 300 * ONE), (6, NO, 300 * ONE)])
    assert scene.question(market)["leading"] == "proposal"
    return NO, FINALIZED


def void(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, YES)
    scene.sync()
    scene.decide(market, None)
    return [ONE // 2, ONE // 2], [("void", MINED), ("resolve", MINED)]


def fractions(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, [3 * 10**17, 7 * 10**17])
    scene.later(2 * HOUR)
    return [3 * 10**17, 7 * 10**17], FINALIZED


def fractions_of_three(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    """The denominator is what the payouts add up to."""
    propose(scene, market, [1, 2])
    scene.later(2 * HOUR)
    return [1, 2], FINALIZED


def stale_and_replaced(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, YES)
    scene.later(7 * DAY + 1)
    assert scene.resolve() == "0 queued\n"
    assert scene.question(market)["state"] == "registered"
    scene.fund()
    scene.decide(market, NO)
    said = scene.resolve()
    assert said.splitlines()[-1] == "2 queued"
    assert states() == [("approve_stake", MINED), ("propose", MINED)]
    allowance = scene.actions.aurum.functions.allowance(scene.wallet, scene.actions.oracle.address).call()
    assert (allowance, scene.actions.aurum.functions.balanceOf(scene.wallet).call()) == (0, 0)
    assert scene.question(market)["proposal"]["proposer"] == scene.wallet.lower()
    scene.later(2 * HOUR)
    return NO, [("approve_stake", MINED), ("propose", MINED), *FINALIZED]


def stale_and_voided(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    propose(scene, market, YES)
    dispute(scene, market, NO)
    scene.later(7 * DAY + 1)
    assert scene.resolve() == "0 queued\n"
    scene.decide(market, None)
    return [ONE // 2, ONE // 2], [("void", MINED), ("resolve", MINED)]


def of_four(scene: Scene, market: Market) -> tuple[list[int], list[tuple[str, str]]]:
    payouts = [10**17, 0, 0, 9 * 10**17]
    propose(scene, market, payouts)
    scene.later(2 * HOUR)
    assert scene.resolve() == "0 queued\n"  # a categorical question has a day
    scene.later(22 * HOUR)
    return payouts, FINALIZED


HISTORIES: list[History] = [
    undisputed, votes_for_the_proposal, votes_for_the_dispute, a_tie, void, fractions, fractions_of_three,
    stale_and_replaced, stale_and_voided, of_four,
]  # fmt: skip


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_a_market_ends(scene: Scene, history: History) -> None:
    market = scene.market(4 if history is of_four else 2)
    payouts, expected = history(scene, market)
    scene.resolve()  # settles the question
    assert scene.payouts(market) == payouts
    scene.resolve()  # announces the market's payouts
    assert (scene.announced(market), states()) == ([payouts], expected)
    sent = scene.sent()
    assert sent == len(expected)
    for _ in range(2):
        assert scene.resolve() == "0 queued\n"
    assert (scene.sent(), scene.announced(market)) == (sent, [payouts])
    check_redemption(scene, market, payouts)
    check_what_is_told(scene, market, payouts, voided=expected[0][0] == "void")
    assert not QuestionAnomaly.objects.exists()
    assert_equals_fresh_sync(scene.actions.deployment)


def check_redemption(scene: Scene, market: Market, payouts: list[int]) -> None:
    token = scene.actions.collateral.functions
    for holder in scene.actions.accounts[1:3]:
        held, before = scene.actions.balances(market, holder), token.balanceOf(holder).call()
        scene.actions.redeem(market, sender=holder)
        due = sum(amount * payout // sum(payouts) for amount, payout in zip(held, payouts, strict=True))
        assert token.balanceOf(holder).call() - before == due
        assert sum(held)
    scene.sync()


def check_what_is_told(scene: Scene, market: Market, payouts: list[int], *, voided: bool) -> None:
    """API and admin page say what the chain says."""
    body = scene.question(market)
    texts = [str(payout) for payout in payouts]
    assert (body["state"], body["payouts"]) == ("voided" if voided else "resolved", texts)
    assert (body["availableActions"], body["actors"], body["anomalies"]) == ([], [], [])
    proposal = scene.actions.proposal(market)
    assert (proposal["resolved"], proposal["voided"]) == (True, voided)
    shown = Client().get(f"/api/markets/0x{market.market_id.hex()}").json()
    assert (shown["status"], shown["payouts"]) == ("resolved", texts)
    row = Row.objects.get()
    assert (row.confirmed_at is not None, row.payouts) == (True, payouts)
    for outcome, holder in ((0, 1), (len(payouts) - 1, 2)):
        address = scene.actions.accounts[holder].lower()
        found = Client().get(f"/api/users/{address}/positions").json()["results"]
        assert [(position["outcomeIndex"], position["amount"]) for position in found] == [(outcome, "0")]
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="a long enough password"))
    page = client.get(reverse("admin:oracle_question_change", args=[Question.objects.get().pk]))
    assert page.status_code == 200
    assert ("voided" if voided else "resolved") in page.text
    for place, payout in enumerate(payouts):
        assert f"<div>{place} · {market.outcomes[place].decode()} · proposed" in page.text
        assert f" · paid {payout}</div>" in page.text


# --- what is left alone -----------------------------------------------------------------------------------------------


def test_a_dry_run_writes_and_sends_nothing(scene: Scene, settings: Any) -> None:
    market = scene.market()
    propose(scene, market, YES)
    scene.later(2 * HOUR)
    settings.PRIVATE_KEY = None
    question = "0x" + market.question_id.hex()
    assert scene.resolve("--dry-run") == (
        f"finalize: {settings.AURUM_ORACLE_ADDRESS}.finalizeProposal(questionId={question}) by resolver: "
        "its challenge period is over\n    the contract would accept it\n1 to send; nothing was sent\n"
    )
    assert (states(), scene.sent()) == ([], 0)
    with pytest.raises(CommandError, match="there is no signer: set PRIVATE_KEY"):
        scene.resolve()
    assert (states(), scene.sent()) == ([], 0)


def test_what_somebody_finalises_meanwhile_is_left_alone(scene: Scene) -> None:
    market = scene.market()
    propose(scene, market, YES)
    scene.later(2 * HOUR)
    scene.actions.finalize(market, sender=scene.actions.accounts[5])  # which is not indexed yet
    said = scene.resolve()
    assert said == f"left alone: finalize 0x{market.question_id.hex()}: the question is settled\n0 queued\n"
    assert scene.resolve().splitlines()[-1] == "1 queued"
    assert (states(), scene.sent()) == ([("resolve", MINED)], 1)


def test_a_candidate_of_replaced_blocks_is_not_sent(scene: Scene) -> None:
    """The indexer believes in a proposal that is not on the chain any more; then it reads the new blocks."""
    market = scene.market()
    snapshot = scene.actions.request("evm_snapshot")
    propose(scene, market, YES)
    scene.later(2 * HOUR)
    scene.actions.request("evm_revert", snapshot)
    scene.actions.mine()
    said = scene.resolve()
    assert said == f"left alone: finalize 0x{market.question_id.hex()}: nothing is proposed\n0 queued\n"
    assert (states(), scene.sent()) == ([], 0)


def test_a_failed_action_waits_for_an_operator(scene: Scene) -> None:
    market = scene.market()
    propose(scene, market, YES)
    scene.later(2 * HOUR)
    scene.resolve()
    WalletAction.objects.update(state=ActionState.FAILED)
    with pytest.raises(CommandError, match="actions that have failed and wait for an operator: 1") as raised:
        scene.resolve()
    assert raised.value.returncode == 2
    scene.sync()
    assert [kind for kind, _ in states()] == ["finalize", "resolve"]


def test_proposals_come_one_by_one(scene: Scene) -> None:
    """Each has its own approval, which the one before can't use up."""
    markets = [scene.market(), scene.market()]
    scene.fund(2)
    for market in markets:
        scene.decide(market, YES)
    assert scene.resolve().splitlines()[-1] == "2 queued"
    assert scene.resolve().splitlines()[-1] == "2 queued"
    assert states() == [("approve_stake", MINED), ("propose", MINED)] * 2
    assert [scene.question(market)["state"] for market in markets] == ["proposed", "proposed"]
    assert scene.actions.aurum.functions.balanceOf(scene.actions.oracle.address).call() == 2 * STAKE


def test_what_was_approved_for_another_proposal_is_not_begun(scene: Scene) -> None:
    market = scene.market()
    scene.fund()
    scene.decide(market, YES)
    propose(scene, market, NO)
    scene.sync()
    said = scene.resolve()
    assert said.startswith(f"left alone: propose 0x{market.question_id.hex()}: there is another proposal since")
    assert (states(), WalletTransaction.objects.count(), scene.sent()) == ([], 0, 0)
