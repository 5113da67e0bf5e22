"""What a subscription starts from: a channel's `seq`, its state at that `seq`, or the messages since an earlier one.

All of one frame is read in one snapshot of the database, the primary: a replica that lags would know less than what the
hub has handed out already.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection

from aurum.parameters import HEX
from markets import feeds, listings, messages
from markets.messages import MessageType, Snapshot
from markets.models import Channel, Checkpoint, OutboxMessage
from markets.pages import HEAD, Rows, one_snapshot
from markets.protocol import Form, FrameError

MAX_REPLAY = 5_000  # messages that one frame can ask for
MAX_POSITIONS = 200  # in a user's snapshot, as on the largest page

# States by key, as JSON; keys of which there is none are left out.
Read = Callable[[Sequence[str]], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of channels: how frames name one (`form`), which channel of the outbox that is, and its state.

    `summary`, `pushes`, `snapshot` and `snapshot_of_all` (without a key, where that is optional) say what clients get.
    `unknown` is the error where there is no state. A private kind's keys are not the client's to choose: `keys_of`
    gives those of a user, by the primary key.
    """

    form: Form
    channel: Callable[[str], str]
    read: Read
    summary: str
    pushes: Sequence[MessageType]
    snapshot: Snapshot
    snapshot_of_all: Snapshot | None = None
    unknown: str = "bad_frame"
    keys_of: Callable[[Any], Sequence[str]] | None = None

    @property
    def is_private(self) -> bool:
        return self.keys_of is not None


class Start(NamedTuple):
    """Where one channel's subscription starts. `snapshot` is JSON; None where `replayed` messages fill the gap."""

    key: str
    seq: int
    snapshot: str | None
    replayed: list[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one frame's subscriptions start from; `lost` are the keys (with `seq`) of gaps that can't be filled."""

    position: dict[str, int]
    starts: list[Start]
    lost: list[tuple[str, int]]


def read_starts(kind: Kind, keys: Sequence[str], since: Mapping[str, int]) -> Reading:
    """Reads where subscriptions start. Raises FrameError where a channel is of nothing that there is."""
    with one_snapshot():
        checkpoint = Checkpoint.objects.first() or Checkpoint(block_number=-1)
        names = {key: kind.channel(key) for key in keys}
        seqs = dict(Channel.objects.filter(name__in=names.values()).values_list("name", "seq"))
        seq_of = {key: seqs.get(name, 0) for key, name in names.items()}
        resumed = {key: since[key] for key in keys if key in since and (seq_of[key] or since[key])}
        fresh = [key for key in keys if key not in resumed]
        states = kind.read(fresh) if fresh else {}
        if missing := [key for key in fresh if key not in states]:
            details: dict[str, Any] = {kind.form.keys: missing} if kind.form.keys and len(keys) > 1 else {}
            raise FrameError(kind.unknown, **details)
        replays = _replays({names[key]: (resumed[key], seq_of[key]) for key in resumed})
    starts = [Start(key, seq_of[key], states[key], []) for key in fresh]
    starts += [Start(key, seq_of[key], None, replays[names[key]]) for key in resumed if names[key] in replays]
    lost = [(key, seq_of[key]) for key in resumed if names[key] not in replays]
    position = {
        "blockNumber": checkpoint.block_number,
        "safeBlock": checkpoint.safe_block,
        "finalizedBlock": checkpoint.finalized_block,
    }
    return Reading(position=position, starts=starts, lost=lost)


def _replays(gaps: Mapping[str, tuple[int, int]]) -> dict[str, list[tuple[int, str]]]:
    """The messages that fill gaps: channel -> (the last that is known, the channel's last). Whole ones alone."""
    left = MAX_REPLAY
    filled: dict[str, list[tuple[int, str]]] = {}
    for channel, (known, last) in gaps.items():
        if not 0 <= last - known <= left:
            continue
        missed = OutboxMessage.objects.filter(channel=channel, seq__gt=known, seq__lte=last).order_by("seq")
        messages = list(missed.values_list("seq", "payload")) if last > known else []
        if len(messages) == last - known:
            left -= len(messages)
            filled[channel] = messages
    return filled


# --- states -----------------------------------------------------------------------------------------------------------


def _objects(rows: Rows, key: str, values: Mapping[str, Any], rest: str = "") -> Iterable[tuple[str, str]]:
    """What REST says of these rows, with `key` of each."""
    statement = rows.statement([key, *rows.row.columns()], rows.where, rest)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found = [row[HEAD:] for row in cursor.fetchall() if row[HEAD] is not None]
    return [(row[0], rows.row.finish(row[1:])) for row in found]


def read_markets(market_ids: Sequence[str]) -> Mapping[str, str]:
    return dict(_objects(listings.markets_by_id, "m.market_id", {"markets": list(market_ids)}))


def read_prices(market_ids: Sequence[str]) -> Mapping[str, str]:
    return dict(_objects(listings.several_prices, "m.market_id", {"markets": list(market_ids)}))


def read_user(addresses: Sequence[str]) -> Mapping[str, str]:
    """An address' open positions, the latest moved first."""
    states = {}
    for address in addresses:
        rest = f"ORDER BY p.updated_at DESC, p.id DESC LIMIT {MAX_POSITIONS + 1}"
        found = [text for _, text in _objects(listings.open_positions, "p.id", {"address": address}, rest)]
        is_complete = "true" if len(found) <= MAX_POSITIONS else "false"
        states[address] = f'{{"positions":[{",".join(found[:MAX_POSITIONS])}],"isComplete":{is_complete}}}'
    return states


def read_all_markets(keys: Sequence[str]) -> Mapping[str, str]:
    """How many markets there are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(*) FILTER (WHERE resolved) FROM markets")
        count, resolved = cursor.fetchone()
    return {"": f'{{"markets":{count},"resolved":{resolved}}}'}


OF_MARKET = Form(key="marketId", keys="marketIds", pattern=HEX[32], error="bad_market_id")
MARKET_PUSHES = (
    *(messages.TRADE, messages.TRADE_REVERTED),
    *(messages.MARKET_UPDATE, messages.MARKET_RESOLVED, messages.MARKET_REVERTED),
)
KINDS: dict[str, Kind] = {
    "market": Kind(
        form=OF_MARKET,
        channel=feeds.market_channel,
        read=read_markets,
        summary="Trades and state of a market.",
        pushes=MARKET_PUSHES,
        snapshot=messages.A_MARKET,
        unknown="unknown_market",
    ),
    "prices": Kind(
        form=OF_MARKET,
        channel=feeds.prices_channel,
        read=read_prices,
        summary="Prices of a market.",
        pushes=(messages.PRICE_UPDATE,),
        snapshot=messages.PRICES_NOW,
        unknown="unknown_market",
    ),
    "markets": Kind(
        form=Form(),
        channel=lambda key: feeds.MARKETS_CHANNEL,
        read=read_all_markets,
        summary="Which markets there are, and which are resolved.",
        pushes=(
            *(messages.MARKET_CREATED, messages.MARKET_UPDATE),
            *(messages.MARKET_RESOLVED, messages.MARKET_REVERTED),
        ),
        snapshot=messages.MARKET_COUNTS,
    ),
    "user": Kind(
        form=Form(key="address", pattern=HEX[20], error="bad_address"),
        channel=feeds.user_channel,
        read=read_user,
        summary="What an address holds. Public, as in REST.",
        pushes=(messages.POSITION_UPDATE,),
        snapshot=messages.POSITIONS,
    ),
}
