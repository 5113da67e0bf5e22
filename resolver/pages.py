"""What the pages about a resolution show, as plain values: chains' and people's texts with their marks visible."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from aurum.admin import visible
from markets.amm import prices
from markets.metadata import FIELDS
from markets.models import Checkpoint, Market, MarketMetadata
from oracle import lifecycle
from oracle.models import Question
from oracle.serializers import QuestionSerializer, facts
from resolver.actions import NotOurs, decoded
from resolver.payouts import percent, redeemed, shown, void_payouts

FAR_APART = Fraction(1, 2)  # of a price and what an outcome redeems for, from which on the page says so
MOST_MARKETS = 10  # that are shown of one question
MOST_VOTES = 200
# What a link may be made of: no quotes, no other script's letters, and no name before the host that poses as one.
LINKED = re.compile(r"[A-Za-z0-9:/?#!$&()*+,;=%._~-]+")
_is_https = URLValidator(schemes=["https"])


def link_of(text: str) -> str:
    """The text where it is a plain https address that may become a link, else nothing."""
    try:
        _is_https(text)
    except ValidationError:
        return ""
    return text if LINKED.fullmatch(text) else ""


def outcome_names(market: Market | None, outcome_slot_count: int) -> list[str]:
    """Each outcome's name behind its number; names may be missing, alike, or pose as others."""
    names = market.outcomes if market and len(market.outcomes) == outcome_slot_count else []
    return [
        f"{index}: {visible(name)}" if name else f"{index}"
        for index, name in enumerate(names or [""] * outcome_slot_count)
    ]


def market_of(question_id: str) -> Market | None:
    """The question's first market; there is one, unless the factory did something strange."""
    return Market.objects.filter(question_id=question_id).order_by("created_at", "id").first()


def subject(question_id: str, payouts: Sequence[int] | None) -> dict[str, Any]:
    """The question and its markets; what `payouts` (None: those of voiding) mean for each outcome."""
    question = Question.objects.filter(question_id=question_id).first()
    markets = list(Market.objects.filter(question_id=question_id).order_by("created_at", "id")[:MOST_MARKETS])
    slots = question.outcome_slot_count if question else len(payouts or (markets[0].outcomes if markets else []))
    paid = list(payouts) if payouts is not None else (void_payouts(slots) if slots else [])
    return {
        "question_id": question_id,
        "question": question,
        "markets": [_market(market, slots, paid) for market in markets],
        "outcomes": _outcomes(markets[0] if markets else None, slots, paid),
        "standing": _standing(question) if question else None,
    }


def _market(market: Market, slots: int, paid: Sequence[int]) -> dict[str, Any]:
    metadata = MarketMetadata.objects.filter(market_id=market.market_id).first()
    said = {name: getattr(metadata, name) for name in FIELDS} if metadata else {}
    return {
        "market": market,
        "question": visible(market.question),
        "description": visible(said.get("description", "")),
        "category": visible(said.get("category", "")),
        "resolution_source": visible(said.get("resolution_source", "")),
        "resolution_link": link_of(said.get("resolution_source", "")),
        "ends": f"{market.resolution_time:%Y-%m-%d %H:%M:%S} UTC",
    }


def _outcomes(market: Market | None, slots: int, paid: Sequence[int]) -> list[dict[str, Any]]:
    current = prices(market.reserves) if market and market.reserves else None
    worth = redeemed(paid)
    rows = []
    for index, name in enumerate(outcome_names(market, slots)):
        price = current[index] if current and len(current) == slots else None
        redeems = worth[index] if worth and len(worth) == slots else None
        rows.append(
            {
                "name": name,
                "price": percent(price) if price is not None else "no price",
                "payout": shown(paid[index]) if index < len(paid) else "",
                "redeems": percent(redeems) if redeems is not None else "",
                "is_surprising": price is not None and redeems is not None and abs(price - redeems) >= FAR_APART,
            }
        )
    return rows


def _standing(question: Question) -> dict[str, Any]:
    """Proposal, dispute, votes and deadlines as they are indexed."""
    checkpoint = Checkpoint.objects.first()
    now = Checkpoint.chain_time(checkpoint)
    said = QuestionSerializer(question, context={"chain_time": now, "markets": {}}).data
    ends = lifecycle.deadlines(facts(question))
    return {
        "state": lifecycle.state_at(facts(question), now).value,
        "block": checkpoint.block_number if checkpoint else None,
        "proposal": _side(said["proposal"], "proposer", "proposed_at"),
        "dispute": _side(said["dispute"], "disputer", "disputed_at"),
        "votes": [
            {**vote, "payouts": vote["payouts"] and _payouts(vote["payouts"]), "weight": _aurum(vote["weight"])}
            for vote in said["votes"][:MOST_VOTES]
        ],
        "vote_count": len(said["votes"]),
        "tally": [{"payouts": _payouts(side["payouts"]), "weight": _aurum(side["weight"])} for side in said["tally"]],
        "deadlines": [(name, f"{end:%Y-%m-%d %H:%M:%S} UTC", end <= now) for name, end in ends.items() if end],
    }


def _side(said: Mapping[str, Any] | None, who: str, when: str) -> dict[str, Any] | None:
    if said is None:
        return None
    return {"who": said[who], "at": said[when], "payouts": _payouts(said["payouts"]), "stake": _aurum(said["stake"])}


def on_chain(simulation: Mapping[str, Any]) -> dict[str, Any]:
    """A stored or new simulation, for people."""
    said = simulation["standing"]
    return {
        **simulation,
        "error": visible(simulation["error"]),
        "is_settled": said["resolved"] or said["voided"],
        "proposal": said["proposer"]
        and {"who": said["proposer"], "at": _moment(said["proposed_at"]), "payouts": _payouts(said["payouts"])},
        "dispute": said["disputer"]
        and {
            "who": said["disputer"],
            "at": _moment(said["disputed_at"]),
            "payouts": _payouts(said["disputed_payouts"]),
        },
    }


def transaction(calldata: str, contract: str, signer: str) -> dict[str, Any]:
    """The decoded transaction."""
    return {"call": call(calldata), "calldata": calldata, "contract": contract, "signer": signer}


def call(calldata: str) -> dict[str, Any] | None:
    """A function and its arguments by name, as texts; None for what is no call of the wallet's."""
    try:
        said = decoded(calldata)
    except NotOurs:
        return None
    arguments = [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in said["arguments"].items()
    ]
    return {"function": said["function"], "arguments": arguments}


def seal(*parts: Any) -> str:
    """Changes with any of the parts, which are JSON: what is sent is what was seen."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _payouts(payouts: Sequence[Any]) -> str:
    return " / ".join(shown(int(payout)) for payout in payouts)


def _aurum(amount: str | None) -> str:
    return f"{shown(int(amount))} AURUM" if amount is not None else ""


def _moment(seconds: int) -> str:
    """Unix seconds that a contract says: any number."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
