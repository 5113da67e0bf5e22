"""A WebSocket client, the web server and the indexer, each a process of its own, on a real chain."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from web3 import Web3
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from indexer.devchain.actions import Actions
from indexer.devchain.actions import Market as ChainMarket
from indexer.devchain.deploy import Deployment
from markets.models import OutboxMessage
from tests.processes import index_once, running, serving

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = 20.0  # seconds that a message may take, on a machine that is busy with other tests


@pytest.fixture
def market(actions: Actions) -> ChainMarket:
    return actions.deploy_amm(actions.create_market("Will it arrive?"), liquidity=10_000_000, fee=10**16)


@pytest.fixture
def server(chain: tuple[Web3, Deployment], market: ChainMarket) -> Iterator[str]:
    """Where the web server listens; the market is indexed."""
    index_once(chain[1])
    with serving(chain[1]) as address:
        yield address


@pytest.fixture
def socket(server: str) -> Iterator[ClientConnection]:
    with connect(f"ws://{server}/ws") as connection:
        yield connection


def send(socket: ClientConnection, **frame: Any) -> None:
    socket.send(json.dumps(frame))


def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next answer, or message of a channel."""
    while True:
        message = json.loads(socket.recv(timeout=TIMEOUT))
        if message["type"] not in ("heartbeat", "finality"):
            return message


def market_id(market: ChainMarket) -> str:
    return "0x" + market.market_id.hex()


def test_a_trade_arrives_with_its_price(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket, socket: ClientConnection
) -> None:
    trader = actions.accounts[1]
    # The seed's own frames.
    send(socket, type="subscribe", channel="market", marketId=market_id(market))
    send(socket, type="subscribe", channel="prices", marketId=market_id(market))
    answers = [receive(socket), receive(socket)]
    told = OutboxMessage.objects.filter(channel=f"market:{market_id(market)}").count()
    assert [(answer["type"], answer["channel"], answer["seq"]) for answer in answers] == [
        ("subscribed", "market", told),
        ("subscribed", "prices", 1),
    ]
    assert answers[1]["snapshot"]["prices"] == [0.5, 0.5]

    with running("run_indexer", deployment=chain[1]):
        receipt = actions.buy(market, 0, 1_000_000, sender=trader)
        messages = {message["type"]: message for message in (receive(socket) for _ in range(3))}

    assert receipt is not None
    block = chain[0].eth.get_block(receipt["blockNumber"])
    bought = actions.events(receipt["logs"])[-1][1]["outcomeTokensBought"]
    reserves = actions.balances(market, str(market.amm))
    where = {"blockNumber": receipt["blockNumber"], "transactionHash": "0x" + receipt["transactionHash"].hex()}
    where |= {"logIndex": receipt["logs"][-1]["logIndex"], "timestamp": block["timestamp"], "finality": "pending"}
    identifier = messages["trade"].pop("id")
    assert len(identifier) == 36
    assert messages["trade"] == where | {
        "type": "trade",
        "channel": "market",
        "marketId": market_id(market),
        "trader": trader.lower(),
        "side": "buy",
        "outcome": 0,
        "amount": str(bought),
        "collateralAmount": "1000000",
        "feeAmount": "10000",
        "price": 1_000_000 / bought,
        "seq": told + 1,
    }
    assert messages["price_update"] == where | {
        "type": "price_update",
        "channel": "prices",
        "marketId": market_id(market),
        "prices": [reserves[1] / sum(reserves), reserves[0] / sum(reserves)],
        "reserves": [str(reserve) for reserve in reserves],
        "seq": 2,
    }
    state = messages["market_update"]
    assert (state["seq"], state["tradeCount"], state["volume"]) == (told + 2, 1, "1000000")
    assert "transactionHash" not in state


def test_every_trade_arrives_once_and_in_order(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket, socket: ClientConnection
) -> None:
    send(socket, type="subscribe", channel="market", marketId=market_id(market).upper().replace("0X", "0x"))
    answer = receive(socket)
    assert answer["marketId"] == market_id(market)
    with running("run_indexer", deployment=chain[1]):
        for amount in range(1, 31):
            actions.buy(market, amount % 2, amount * 1000, sender=actions.accounts[1])
        received = [receive(socket)]
        while received[-1].get("tradeCount") != 30:
            received.append(receive(socket))

    assert [message["seq"] for message in received] == [answer["seq"] + 1 + count for count in range(len(received))]
    trades = [message["collateralAmount"] for message in received if message["type"] == "trade"]
    assert trades == [str(amount * 1000) for amount in range(1, 31)]
    stored = OutboxMessage.objects.filter(channel=f"market:{market_id(market)}", seq__gt=answer["seq"]).order_by("seq")
    assert [json.loads(message.payload) for message in stored] == received


def test_unsubscribed_clients_hear_nothing(
    chain: tuple[Web3, Deployment], actions: Actions, market: ChainMarket, socket: ClientConnection
) -> None:
    for channel in ("market", "prices"):
        send(socket, type="subscribe", channel=channel, marketId=market_id(market))
        receive(socket)
    send(socket, type="unsubscribe", channel="market", marketId=market_id(market), id=7)
    assert receive(socket) == {"type": "unsubscribed", "channel": "market", "marketId": market_id(market), "id": 7}

    with running("run_indexer", deployment=chain[1]):
        actions.buy(market, 0, 1000, sender=actions.accounts[1])
        assert receive(socket)["type"] == "price_update"
        # What comes next is the answer to this, not the trade.
        send(socket, type="subscribe", channel="market", marketId=market_id(market))
        assert receive(socket)["type"] == "subscribed"


UNKNOWN = "0x" + "ab" * 32


BAD_FRAMES: list[tuple[str | bytes, str]] = [
    ("{", "bad_json"),
    ("[" * 5000, "bad_json"),
    ("[1]", "bad_frame"),
    ("{}", "unknown_type"),
    ('{"type":["subscribe"]}', "unknown_type"),
    ('{"type":"subscribe","channel":"nope","marketId":"0x"}', "unknown_channel"),
    ('{"type":"subscribe","channel":{},"marketId":"0x"}', "unknown_channel"),
    ('{"type":"subscribe","channel":"prices","marketId":"0x12"}', "bad_market_id"),
    ('{"type":"subscribe","channel":"prices","marketId":null}', "bad_market_id"),
    (json.dumps({"type": "subscribe", "channel": "prices", "marketId": UNKNOWN}), "unknown_market"),
    (json.dumps({"type": "unsubscribe", "channel": "prices", "marketId": UNKNOWN}), "not_subscribed"),
    (b"\x00\x01", "binary_frame"),
]


def test_bad_frames_are_answered_and_the_connection_goes_on(market: ChainMarket, socket: ClientConnection) -> None:
    for frame, code in BAD_FRAMES:
        socket.send(frame)
        answer = receive(socket)
        assert (answer["type"], answer["code"]) == ("error", code), frame
        assert answer["message"]
    # Half a surrogate pair is JSON, and comes back as it was.
    socket.send('{"type":"nothing","id":"\\ud800"}')
    assert receive(socket)["id"] == "\ud800"
    send(socket, type="subscribe", channel="prices", marketId=market_id(market))
    assert receive(socket)["type"] == "subscribed"


def test_foreign_pages_and_unknown_paths_are_refused(server: str) -> None:
    for path, origin, status in [
        ("/ws", "https://evil.example", 403),
        ("/ws/other", None, 403),
    ]:
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{server}{path}", origin=origin)  # type: ignore[arg-type]
        assert refused.value.response.status_code == status
    for origin in ("http://localhost:5173", f"http://{server}", None):
        with connect(f"ws://{server}/ws", origin=origin) as socket:  # type: ignore[arg-type]
            send(socket, type="subscribe")
            assert receive(socket)["code"] == "unknown_channel"
