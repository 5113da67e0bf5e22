"""Rows of each kind that the API serves, for clients that look around."""

from datetime import timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.utils import timezone

from accounts import tokens
from accounts.models import WatchedMarket
from markets.models import Market, MarketMetadata
from oracle.models import Question
from tests import factories
from tests.factories import MAX_UINT256, START, UNIT

USER = "0x" + "11" * 20
OTHER = "0x" + "22" * 20


class Data(NamedTuple):
    """What was made, and the access token of `USER`, who made the first market."""

    markets: list[Market]
    questions: list[Question]
    token: str


def make_data() -> Data:
    """A chain of a day: markets open, ended, resolved and without a pool, and what was done on them."""
    factories.make_checkpoint()
    factories.make_status()
    factories.make_collateral()
    markets = [
        factories.make_market(creator=USER, outcomes=["Yes", "No"]),
        factories.make_market(reserves=[1, 2**200, 3], outcomes=["A", "B", factories.HOSTILE]),
        factories.make_market(payouts=[1, 0]),
        factories.make_market(reserves=None, collateral_token="0x" + "c1" * 20),
        factories.make_market(reserves=[0, 0]),
        factories.make_market(resolution_time=START + timedelta(hours=1)),
        factories.make_market(question=factories.HOSTILE),
    ]
    traded = [market for market in markets if market.reserves and all(market.reserves)]
    for market in traded:
        for number in range(4):
            trader = USER if number % 2 else OTHER
            factories.make_trade(market, trader=trader, side="sell" if number == 3 else "buy", outcome=number % 2)
            factories.make_price_point(market)
            factories.make_history_entry(market, user_address=trader)
        for address in (USER, OTHER):
            factories.make_position(market, user_address=address, amount=0 if address == OTHER else 3 * UNIT)
    factories.make_history_entry(
        markets[0], user_address=USER, type="split", outcome=None, counterparty=None, outcome_amounts=[UNIT, UNIT]
    )
    factories.make_history_entry(markets[1], user_address=USER, type="transfer_in", amount=MAX_UINT256)
    MarketMetadata.objects.create(market=markets[0], category="Weather", description=factories.HOSTILE)
    return Data(markets, make_questions(markets[0]), _token(markets))


def make_questions(market: Market) -> list[Question]:
    """Registered, proposed, disputed with votes hidden and revealed, resolved, voided."""
    proposal = {"proposer": USER, "proposed_payouts": [1, 0], "proposal_stake": UNIT, "proposed_at": START}
    proposal |= {"expires_at": START + timedelta(days=3)}
    dispute = {"disputer": OTHER, "disputed_payouts": [0, 1], "dispute_stake": UNIT}
    dispute |= {"disputed_at": START + timedelta(hours=23)}
    questions = [
        factories.make_question(question_id=market.question_id),
        factories.make_question(**proposal),
        factories.make_question(**proposal, **dispute),
        factories.make_question(**proposal, payouts=[1, 0], resolved_at=START + timedelta(hours=2)),
        factories.make_question(voided_at=START + timedelta(hours=2)),
    ]
    factories.make_vote(questions[2])
    factories.make_vote(
        questions[2], payouts=[1, 0], weight=MAX_UINT256, revealed_at=START + timedelta(hours=23, minutes=30)
    )
    return questions


def _token(markets: list[Market]) -> str:
    user = User.objects.create(username=USER)
    WatchedMarket.objects.create(user=user, market_id=markets[1].market_id)
    return tokens.start(user, timezone.now())["access"]
