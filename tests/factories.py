"""Rows as the projections write them, for tests that start from a filled database instead of from a chain.

Ids follow from what names the row on chain (markets.identity), as everywhere; hashes and addresses are made up,
distinct and repeatable. A factory also moves the sums that its row is part of: supplies, volumes, counts.
"""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import JSONField, Value

from indexer.models import IndexedEvent, IndexerStatus
from markets import identity
from markets.amm import liquidity
from markets.ctf import outcome_position_ids
from markets.models import (
    Amm,
    Checkpoint,
    CollateralToken,
    Condition,
    HistoryEntry,
    IndexedBlock,
    Market,
    MarketCorrection,
    MarketTrader,
    OutcomeToken,
    Position,
    PricePoint,
    Trade,
)
from oracle.models import Question, QuestionAnomaly, QuestionEvent, Vote

UNIT = 10**18
MAX_UINT256 = 2**256 - 1
START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_BLOCK = 1_000
COLLATERAL = "0x" + "c0" * 20
FACTORY = "0x" + "fa" * 20
ORACLE = "0x" + "0a" * 20
# HTML, a right-to-left override, quotes, a template tag and what NUL was turned into.
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202edlrow\u202c \"'&amp; {{ 7*7 }} {% now %} \ufffd"

_numbers = itertools.count(1)


def row_id(kind: str, *parts: object) -> UUID:
    """The id that a row of this kind has, as the models hold it."""
    return UUID(identity.row_id(kind, *parts))


def event_row_id(kind: str, at: dict[str, Any], sequence: int = 0) -> UUID:
    """The id of a row that is one event's alone; `at` has the columns of `emitted`."""
    place = at["block_number"], at["log_index"], at["transaction_hash"]
    return UUID(identity.event_row_id(kind, *place, sequence))


def hex_id(kind: str, number: int | None = None, *, byte_length: int = 32) -> str:
    """A 32-byte word (or an address) that is this `kind` and number's alone; a new one without a number."""
    number = next(_numbers) if number is None else number
    return "0x" + hashlib.sha256(f"{kind}:{number}".encode()).hexdigest()[: 2 * byte_length]


def address(kind: str, number: int | None = None) -> str:
    """An address; a new one without a number."""
    return hex_id(kind, number, byte_length=20)


def emitted(**overrides: Any) -> dict[str, Any]:
    """The columns that say where an event stands: each call a later block, unless one is given."""
    block_number = overrides.pop("block_number", FIRST_BLOCK + next(_numbers))
    return {
        "block_number": block_number,
        "block_hash": hex_id("block", block_number),
        "transaction_hash": hex_id("transaction"),
        "log_index": 0,
        "timestamp": START + timedelta(seconds=2 * (block_number - FIRST_BLOCK)),
    } | overrides


def make_checkpoint(**overrides: Any) -> Checkpoint:
    """The checkpoint, far ahead of the other factories' blocks unless told otherwise."""
    block_number = overrides.get("block_number", 1_000_000)
    columns: dict[str, Any] = {
        "chain_id": 31337,
        "genesis_hash": hex_id("block", 0),
        "contracts": {"MarketFactory": FACTORY, "AurumOracle": ORACLE},
        "start_block": FIRST_BLOCK,
        "block_number": block_number,
        "block_hash": hex_id("block", block_number),
        "block_timestamp": START + timedelta(days=1),
        "safe_block": block_number - 32,
        "finalized_block": block_number - 64,
        "event_count": 0,
    }
    return Checkpoint.objects.create(**columns | overrides)


def make_status(**overrides: Any) -> IndexerStatus:
    """What the indexer says of itself: running at the head, on one healthy endpoint."""
    columns: dict[str, Any] = {
        "heartbeat_at": datetime.now(tz=UTC),
        "head_block": 1_000_000,
        "head_timestamp": START + timedelta(days=1),
        "endpoints": [
            {
                "host": "rpc.example",
                "healthy": True,
                "quarantined_until": None,
                "quarantines": 2,
                "failures": 0,
                "last_error": "",
                "latency_ms": 12,
            }
        ],
        "counters": {
            "started_at": "2026-01-01T00:00:00Z",
            "blocks": 1_000,
            "events": 12,
            "failed_events": 3,
            "blocks_per_second": 0.5,
            "events_per_second": 0.025,
            "reorganisations": 1,
            "phase_seconds": {"fetch": 4.0, "decode": 0.5, "apply": 1.25, "write": 2.0},
            "rpc_requests": [{"endpoint": "rpc.example", "method": "eth_getLogs", "outcome": "ok", "count": 7}],
        },
    }
    return IndexerStatus.objects.create(**columns | overrides)


def make_collateral(**overrides: Any) -> CollateralToken:
    """The token that every factory's market is paid in."""
    return CollateralToken.objects.create(**{"address": COLLATERAL, "symbol": "USDC", "decimals": 6} | overrides)


def make_correction(market: Market, field: str, value: Any, **overrides: Any) -> MarketCorrection:
    """A correction in force, asked for by one operator and approved by another; `since=None` makes a pending one."""
    first, second = (User.objects.get_or_create(username=name)[0] for name in ("first", "second"))
    columns: dict[str, Any] = {"reason": "as agreed", "requested_by": first, "approved_by": second, "since": START}
    if overrides.get("since", START) is None:
        del columns["approved_by"]
    stored = Value(None, JSONField()) if value is None else value
    return MarketCorrection.objects.create(market=market, field=field, value=stored, **columns | overrides)


def make_condition(**overrides: Any) -> Condition:
    """A prepared condition of the oracle."""
    condition_id = overrides.pop("condition_id", None) or hex_id("condition")
    columns: dict[str, Any] = {
        "id": row_id("condition", condition_id),
        "condition_id": condition_id,
        "oracle": ORACLE,
        "question_id": hex_id("question"),
        "outcome_slot_count": 2,
    }
    return Condition.objects.create(**columns | overrides)


def make_market(**overrides: Any) -> Market:
    """A market with its condition and tokens, and with `reserves` its AMM, what that holds, and its price point.

    `reserves=None` makes one without an AMM; `payouts` resolves it.
    """
    market_id = overrides.pop("market_id", None) or hex_id("market")
    at = emitted(**{key: overrides.pop(key) for key in ("block_number", "log_index") if key in overrides})
    time = overrides.pop("created_at", at["timestamp"])
    outcomes = overrides.get("outcomes", ["Yes", "No"])
    reserves = overrides.pop("reserves", [350 * UNIT, 650 * UNIT])
    payouts = overrides.get("payouts")
    columns: dict[str, Any] = {
        "id": row_id("market", market_id),
        "market_id": market_id,
        "question_id": hex_id("question"),
        "condition_id": hex_id("condition"),
        "creator": address("creator"),
        "collateral_token": COLLATERAL,
        "amm_address": None if reserves is None else address("amm"),
        "question": f"Will {market_id[:10]} happen?",
        "outcomes": outcomes,
        "resolution_time": START + timedelta(days=36_500),
        "resolved": payouts is not None,
        "resolved_at": time if payouts else None,
        "resolved_block": at["block_number"] if payouts else None,
        "fee": None if reserves is None else 2 * 10**16,
        "reserves": reserves,
        "liquidity": liquidity(reserves) if reserves else 0,
        "block_number": at["block_number"],
        "block_hash": at["block_hash"],
        "transaction_hash": at["transaction_hash"],
        "log_index": at["log_index"],
        "created_at": time,
        "updated_at": time,
    }
    columns |= overrides
    columns.setdefault("resolution_timestamp", int(columns["resolution_time"].timestamp()))
    market = Market.objects.create(**columns)
    if not Condition.objects.filter(condition_id=market.condition_id).exists():
        make_condition(
            condition_id=market.condition_id,
            question_id=market.question_id,
            outcome_slot_count=len(outcomes),
            payout_numerators=payouts,
            resolved_at=market.resolved_at,
        )
    position_ids = outcome_position_ids(market.collateral_token, market.condition_id, len(outcomes))
    OutcomeToken.objects.bulk_create(
        OutcomeToken(
            id=row_id("outcome_token", position_id), position_id=position_id, market=market, outcome_index=outcome
        )
        for outcome, position_id in enumerate(position_ids)
    )
    if reserves is not None:
        _fund(market, at)
    return market


def _fund(market: Market, at: dict[str, Any]) -> None:
    Amm.objects.create(
        id=row_id("amm", market.amm_address),
        address=market.amm_address,
        market=market,
        fee=market.fee,
        total_shares=max(market.reserves),
        reserves=market.reserves,
        block_number=market.block_number,
        created_at=market.created_at,
    )
    for outcome, amount in enumerate(market.reserves):
        make_position(market, user_address=market.amm_address, outcome_index=outcome, amount=amount, is_amm=True)
    make_price_point(market, **at)


def make_price_point(market: Market, **overrides: Any) -> PricePoint:
    """A price point with the reserves that the market has, unless others are given."""
    columns = emitted(**overrides)
    point_id = event_row_id("price_point", columns)
    return PricePoint.objects.create(**{"id": point_id, "market": market, "reserves": market.reserves} | columns)


def make_position(market: Market, **overrides: Any) -> Position:
    """What an address holds of an outcome; the outcome's supply grows by as much."""
    columns: dict[str, Any] = {
        "user_address": overrides.pop("user_address", None) or address("user"),
        "market": market,
        "outcome_index": 0,
        "amount": 10 * UNIT,
        "created_at": market.created_at,
        "updated_at": market.created_at,
    }
    columns |= overrides
    identity = row_id("position", market.market_id, columns["outcome_index"], columns["user_address"])
    position = Position.objects.create(id=identity, **columns)
    token = OutcomeToken.objects.get(market=market, outcome_index=position.outcome_index)
    token.supply += position.amount
    token.save(update_fields=["supply"])
    return position


def make_block(**overrides: Any) -> IndexedBlock:
    """A block that had logs of ours; the same one where it is there already."""
    at = emitted(**overrides)
    columns = {
        "hash": at["block_hash"],
        "parent_hash": hex_id("block", at["block_number"] - 1),
        "timestamp": at["timestamp"],
    }
    return IndexedBlock.objects.get_or_create(number=at["block_number"], defaults=columns)[0]


def make_trade(market: Market, **overrides: Any) -> Trade:
    """A trade of 10 outcome tokens at 0.65, in a block that is indexed, counted in the market's figures."""
    columns = {
        "amm_address": market.amm_address,
        "trader": overrides.pop("trader", None) or address("user"),
        "side": "buy",
        "outcome": 0,
        "amount": 10 * UNIT,
        "collateral_amount": 65 * UNIT // 10,
        "fee_amount": 13 * UNIT // 100,
    } | emitted(**overrides)
    make_block(block_number=columns["block_number"], timestamp=columns["timestamp"])
    identity = event_row_id("trade", columns)
    market_volume = market.volume + columns["collateral_amount"]
    trade = Trade.objects.create(id=identity, market=market, **{"market_volume": market_volume} | columns)
    trader, new = MarketTrader.objects.get_or_create(
        id=row_id("market_trader", market.market_id, trade.trader),
        defaults={"market": market, "address": trade.trader},
    )
    trader.trade_count += 1
    trader.volume += trade.collateral_amount
    trader.save()
    market.volume += trade.collateral_amount
    market.trading_fees += trade.fee_amount
    market.trade_count += 1
    market.trader_count += new
    market.save()
    return trade


def make_history_entry(market: Market, **overrides: Any) -> HistoryEntry:
    """A buy of 10 outcome tokens for 6.5, unless it is told to be something else."""
    columns = {
        "type": "buy",
        "user_address": overrides.pop("user_address", None) or address("user"),
        "outcome": 0,
        "amount": 10 * UNIT,
        "collateral_amount": 65 * UNIT // 10,
        "counterparty": market.amm_address,
        "sequence": 0,
    } | emitted(**overrides)
    identity = event_row_id(columns["type"], columns, columns["sequence"])
    return HistoryEntry.objects.create(id=identity, market=market, **columns)


def make_question(**overrides: Any) -> Question:
    """A registered question with the first step of its timeline."""
    question_id = overrides.pop("question_id", None) or hex_id("question")
    at = emitted(**{key: overrides.pop(key) for key in ("block_number", "log_index") if key in overrides})
    columns: dict[str, Any] = {
        "id": row_id("question", question_id),
        "question_id": question_id,
        "outcome_slot_count": 2,
        "is_binary": True,
        "registered_at": at["timestamp"],
        "block_number": at["block_number"],
        "log_index": at["log_index"],
        "updated_at": at["timestamp"],
    }
    question = Question.objects.create(**columns | overrides)
    make_question_event(question, **at)
    return question


def make_question_event(question: Question, **overrides: Any) -> QuestionEvent:
    """A step of a question's timeline."""
    columns = {"event": "QuestionRegistered"} | emitted(**overrides)
    identity = event_row_id("question_event", columns)
    return QuestionEvent.objects.create(id=identity, question=question, **columns)


def make_anomaly(question: Question, **overrides: Any) -> QuestionAnomaly:
    """Something that an event of the question says, and the contract does not let happen."""
    own = {name: overrides.pop(name) for name in ("event", "problem") if name in overrides}
    columns = {"event": "OutcomeProposed", "problem": "payouts that add up to 0"} | own | emitted(**overrides)
    identity = event_row_id("question_anomaly", columns)
    return QuestionAnomaly.objects.create(id=identity, question=question, **columns)


def make_vote(question: Question, **overrides: Any) -> Vote:
    """A committed vote on the question's dispute; `payouts`, `weight` and `revealed_at` reveal it."""
    columns: dict[str, Any] = {
        "voter": address("voter"),
        "commit_hash": hex_id("commitment"),
        "committed_at": question.disputed_at,
    }
    columns |= overrides
    identity = row_id("vote", question.question_id, question.disputed_at, columns["voter"])
    return Vote.objects.create(id=identity, question=question, **columns)


def make_event(**overrides: Any) -> IndexedEvent:
    """A stored, applied event of the factory."""
    at = emitted(
        **{key: overrides.pop(key) for key in ("block_number", "transaction_hash", "log_index") if key in overrides}
    )
    columns: dict[str, Any] = {
        "id": event_row_id("event", at),
        "block_number": at["block_number"],
        "block_hash": at["block_hash"],
        "block_timestamp": at["timestamp"],
        "transaction_hash": at["transaction_hash"],
        "transaction_index": 0,
        "log_index": at["log_index"],
        "address": FACTORY,
        "event_name": "FeesWithdrawn",
        "event_data": {"token": COLLATERAL, "to": address("user"), "amount": str(MAX_UINT256)},
        "topics": [hex_id("topic", 0)],
        "data": b"\x00\xff",
        "processed": True,
    }
    return IndexedEvent.objects.create(**columns | overrides)
