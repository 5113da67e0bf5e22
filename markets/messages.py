"""What is said on `/ws`, as tables: each type of message with its fields, in JSON Schema, and an example.

/api/asyncapi is made of them (aurum/asyncapi.py). feeds.py makes the pushes, consumers.py and hub.py the rest; the
tests hold all that is said against these tables.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aurum.sqljson import AMOUNT, SIGNED
from markets import examples
from markets.correctable import CORRECTABLE
from markets.protocol import ERRORS, LONGEST_ID

Schema = dict[str, Any]

ADDRESS: Schema = {"type": "string", "pattern": "^0x[0-9a-f]{40}$"}
BYTES32: Schema = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
UUID: Schema = {"type": "string", "format": "uuid"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
BLOCK: Schema = {"type": "integer", "minimum": -1, "description": "A block's number; -1 where there is none yet."}
SEQ: Schema = COUNT | {"description": "The channel's number of the message: one more than that of the one before."}
SECONDS: Schema = {"type": "integer", "description": "The block's time, in Unix seconds."}
PRICE: Schema = {"type": ["number", "null"], "description": "Collateral for one outcome token."}
PRICES: Schema = {"type": ["array", "null"], "items": {"type": "number"}, "description": "By outcome."}
AMOUNTS: Schema = {"type": "array", "items": AMOUNT}
CORRECTED: Schema = {"const": True, "description": "It is what it is because blocks were replaced."}
CORRECTED_FIELDS: Schema = {
    "type": "array",
    "items": {"enum": list(CORRECTABLE)},
    "minItems": 1,
    "description": "What operators corrected of it, if anything, by the names in REST, which has the values.",
}
OWN_ID: Schema = {"type": ["string", "integer"], "maxLength": LONGEST_ID, "description": "Of the frame it answers."}


def nullable(schema: Schema) -> Schema:
    """`schema`, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def described(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> dict[str, Any]:
    """An object with these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


@dataclass(frozen=True, kw_only=True)
class MessageType:
    """One type of message: all have its `fields` but for those in `optional`. The example has every field."""

    type: str
    summary: str
    fields: Mapping[str, Schema]
    example: Mapping[str, Any]
    optional: Collection[str] = field(default=())

    def schema(self) -> dict[str, Any]:
        return described({"type": {"const": self.type}, **self.fields}, self.optional)

    def shown(self) -> dict[str, Any]:
        """The example as it is sent."""
        return {"type": self.type, **self.example}


# --- pushes -----------------------------------------------------------------------------------------------------------

STATE = {
    "seq": SEQ,
    "blockNumber": BLOCK,
    "finality": {"enum": ["pending", "safe", "final"], "description": "When it was said; `finality` messages go on."},
}
EVENT = STATE | {"transactionHash": BYTES32, "logIndex": COUNT}
OF_EVENT = ("transactionHash", "logIndex")  # which a corrected state does not have
IN_STATE = {"seq": 42, "blockNumber": 12345678, "finality": "pending"}
IN_EVENT = IN_STATE | {"transactionHash": "0x" + "7d" * 32, "logIndex": 4}
AT = 1769862896


def push(
    name: str,
    summary: str,
    channels: Sequence[str],
    fields: Mapping[str, Schema],
    example: Mapping[str, Any],
    **more: Any,
) -> MessageType:
    """A type of message that channels push; its own fields stand between the channel's and the block's time."""
    return MessageType(
        type=name,
        summary=summary,
        fields={"channel": {"enum": list(channels)}, **fields, "timestamp": SECONDS},
        example={"channel": channels[0], **example, "timestamp": AT},
        **more,
    )


TRADE = push(
    "trade",
    "Somebody traded with a market's pool. `amount` is of outcome tokens; `collateralAmount` was paid, fee included, or"
    " received.",
    ["market"],
    {
        "id": UUID,
        "marketId": BYTES32,
        "trader": ADDRESS,
        "side": {"enum": ["buy", "sell"]},
        "outcome": COUNT,
        "amount": AMOUNT,
        "collateralAmount": AMOUNT,
        "feeAmount": AMOUNT,
        "price": PRICE,
        **EVENT,
    },
    {name: value for name, value in examples.TRADE.items() if name != "timestamp"} | IN_EVENT,
)
TRADE_REVERTED = push(
    "trade_reverted",
    "A reorganisation took the trade with this `id` off the chain. Mined again, it comes as a `trade` of another `id`.",
    ["market"],
    {"id": UUID, "marketId": BYTES32, **EVENT},
    {"id": examples.ID, "marketId": examples.MARKET_ID, **IN_EVENT},
)
PRICE_UPDATE = push(
    "price_update",
    "A market's prices and its pool's reserves; null where it has no pool, prices also where that is empty.",
    ["prices"],
    {
        "marketId": BYTES32,
        "prices": PRICES,
        "reserves": nullable(AMOUNTS),
        **EVENT,
        "corrected": CORRECTED,
        "skipped": {
            "type": "array",
            "items": SEQ,
            "minItems": 2,
            "maxItems": 2,
            "description": "First and last `seq` of messages that this one stands for: they came faster than you read.",
        },
    },
    {name: examples.PRICES[name] for name in ("marketId", "prices", "reserves")}
    | IN_EVENT
    | {"corrected": True, "skipped": [38, 41]},
    optional=(*OF_EVENT, "corrected", "skipped"),
)
MARKET_CREATED = push(
    "market_created",
    "There is a new market. Texts are cut at 1,000 characters.",
    ["markets"],
    {
        "marketId": BYTES32,
        "questionId": BYTES32,
        "conditionId": BYTES32,
        "creator": ADDRESS,
        "collateralToken": ADDRESS,
        "question": TEXT,
        "outcomes": {"type": "array", "items": TEXT},
        "resolutionTimestamp": AMOUNT,
        **EVENT,
    },
    {
        name: examples.MARKET[name]
        for name in (
            *("marketId", "questionId", "conditionId", "creator", "collateralToken"),
            *("question", "outcomes", "resolutionTimestamp"),
        )
    }
    | IN_EVENT,
)
MARKET_UPDATE = push(
    "market_update",
    "What changes of a market, as it is behind a block, and when operators corrected what is shown of it or took that"
    " back. In `markets` only after a reorganisation.",
    ["market", "markets"],
    {
        "marketId": BYTES32,
        "ammAddress": nullable(ADDRESS),
        "fee": nullable(AMOUNT),
        "prices": PRICES,
        "reserves": nullable(AMOUNTS),
        **dict.fromkeys(("liquidity", "volume", "tradingFees", "feesCollected"), AMOUNT),
        "tradeCount": COUNT,
        "traders": COUNT,
        "resolved": FLAG,
        "payouts": nullable(AMOUNTS),
        "correctedFields": CORRECTED_FIELDS,
        **STATE,
        "corrected": CORRECTED,
    },
    {
        name: examples.MARKET[name]
        for name in (
            *("marketId", "ammAddress", "fee", "prices", "reserves", "liquidity", "volume", "tradingFees"),
            *("feesCollected", "tradeCount", "traders", "resolved", "payouts"),
        )
    }
    | IN_STATE
    | {"corrected": True, "correctedFields": ["question"]},
    optional=("corrected", "correctedFields"),
)
MARKET_RESOLVED = push(
    "market_resolved",
    "A market's payouts are fixed: an outcome pays its share of their sum.",
    ["market", "markets"],
    {"marketId": BYTES32, "payouts": AMOUNTS, **EVENT},
    {"marketId": examples.MARKET_ID, "payouts": ["1", "0"], **IN_EVENT},
)
MARKET_REVERTED = push(
    "market_reverted",
    "A reorganisation took the market off the chain. Created again, it comes as `market_created`.",
    ["market", "markets"],
    {"marketId": BYTES32, **STATE},
    {"marketId": examples.MARKET_ID, **IN_STATE},
)
POSITION_UPDATE = push(
    "position_update",
    "What an address holds of one outcome, as it is behind a block.",
    ["user"],
    {
        "id": UUID,
        "address": ADDRESS,
        "marketId": BYTES32,
        "outcomeIndex": COUNT,
        "amount": AMOUNT,
        "cost": AMOUNT,
        "realizedPnl": SIGNED,
        "untrackedAmount": AMOUNT,
        "status": {"enum": ["open", "closed"]},
        **STATE,
        "corrected": CORRECTED,
    },
    {
        name: examples.POSITION[name]
        for name in (*("id", "marketId", "outcomeIndex", "amount", "cost", "realizedPnl", "untrackedAmount", "status"),)
    }
    | {"address": examples.USER}
    | IN_STATE
    | {"corrected": True},
    optional=("corrected",),
)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A channel's state, as the answer to `subscribe` has it."""

    schema: Schema
    example: Any


# As REST says it: these schemas are the OpenAPI document's.
A_MARKET = Snapshot(schema={"$ref": "#/components/schemas/MarketAsOf"}, example=examples.MARKET | {"corrections": []})
PRICES_NOW = Snapshot(schema={"$ref": "#/components/schemas/MarketPrices"}, example=examples.PRICES)
POSITIONS = Snapshot(
    schema=described(
        {
            "positions": {"type": "array", "items": {"$ref": "#/components/schemas/Position"}},
            "isComplete": FLAG | {"description": "Whether there are no more than these."},
        }
    ),
    example={"positions": [examples.POSITION], "isComplete": True},
)
MARKET_COUNTS = Snapshot(
    schema=described({"markets": COUNT, "resolved": COUNT | {"description": "How many of them are."}}),
    example={"markets": 120, "resolved": 80},
)

# --- what concerns a connection --------------------------------------------------------------------------------------

FINALITY = MessageType(
    type="finality",
    summary="All that was said of blocks up to `safeBlock` is safe now, up to `finalizedBlock` final.",
    fields={"safeBlock": BLOCK, "finalizedBlock": BLOCK},
    example={"safeBlock": 12345646, "finalizedBlock": 12345614},
)
HEARTBEAT = MessageType(
    type="heartbeat",
    summary="Every 15 seconds. A connection without one for 30 is dead.",
    fields={
        "seq": COUNT | {"description": "Of all channels: rises with each message."},
        "blockNumber": BLOCK | {"description": "The indexed block."},
        "headBlock": nullable(COUNT) | {"description": "The chain's last one, as far as it is known."},
        "lagBlocks": nullable(COUNT),
        "safeBlock": BLOCK,
        "finalizedBlock": BLOCK,
    },
    example={
        "seq": 90210,
        "blockNumber": 12345678,
        "headBlock": 12345679,
        "lagBlocks": 1,
        "safeBlock": 12345646,
        "finalizedBlock": 12345614,
    },
)
DRAINING = MessageType(
    type="draining",
    summary="The server is about to restart, and closes with 1012. Connect anew, and resume.",
    fields={"closesIn": COUNT | {"description": "Seconds."}},
    example={"closesIn": 2},
)
ERROR = MessageType(
    type="error",
    summary="A frame could not be served.",
    fields={
        "code": {"enum": list(ERRORS), "description": "\n".join(f"- `{code}`: {ERRORS[code]}" for code in ERRORS)},
        "message": TEXT,
        "marketIds": {"type": "array", "items": BYTES32, "description": "With `unknown_market`, of several."},
        "requestId": TEXT | {"description": "The connection's, in our logs: that of its handshake."},
        "id": OWN_ID,
    },
    example={
        "code": "unknown_market",
        "message": ERRORS["unknown_market"],
        "marketIds": [examples.MARKET_ID],
        "requestId": "3f2a9c1d5e6b47788090a1b2c3d4e5f6",
        "id": 7,
    },
    optional=("marketIds", "requestId", "id"),
)
CONNECTION = (FINALITY, HEARTBEAT, DRAINING)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A frame of clients that concerns no channel, and its answer."""

    frame: MessageType
    answer: MessageType
    needs_token: bool = False


COMMANDS = (
    Command(
        frame=MessageType(
            type="auth",
            summary="Says who you are, for private channels. The token never stands in the URL.",
            fields={"token": TEXT | {"description": "An access token of /api/auth."}, "id": OWN_ID},
            example={"token": "eyJhbGciOiJIUzI1NiJ9.e30.signature", "id": 7},
            optional=("id",),
        ),
        answer=MessageType(
            type="authenticated",
            summary="Private channels can be subscribed to, until `expiresAt` (Unix seconds).",
            fields={"address": TEXT, "expiresAt": COUNT, "id": OWN_ID},
            example={"address": examples.USER, "expiresAt": 1769863796, "id": 7},
            optional=("id",),
        ),
        needs_token=True,
    ),
    Command(
        frame=MessageType(
            type="ping", summary="Asks for a `pong`.", fields={"id": OWN_ID}, example={"id": 7}, optional=("id",)
        ),
        answer=MessageType(
            type="pong", summary="Answers a `ping`.", fields={"id": OWN_ID}, example={"id": 7}, optional=("id",)
        ),
    ),
    Command(
        frame=MessageType(
            type="list",
            summary="Asks what you are subscribed to.",
            fields={"id": OWN_ID},
            example={"id": 7},
            optional=("id",),
        ),
        answer=MessageType(
            type="list",
            summary="What you are subscribed to.",
            fields={
                "subscriptions": {
                    "type": "array",
                    "items": described(
                        {"channel": TEXT, "marketId": BYTES32, "address": ADDRESS, "questionId": BYTES32},
                        ("marketId", "address", "questionId"),
                    ),
                },
                "id": OWN_ID,
            },
            example={"subscriptions": [{"channel": "prices", "marketId": examples.MARKET_ID}], "id": 7},
            optional=("id",),
        ),
    ),
)
