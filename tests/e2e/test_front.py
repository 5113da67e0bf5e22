"""Kept answers, over real sockets: the same as Django's, never older than the next look, and nobody else's."""

import gzip
import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Event
from typing import Any, NamedTuple

import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as Browser
from eth_utils import to_checksum_address

from aurum.answer_cache import TRUST
from aurum.wsgi_bridge import MAX_BODY
from indexer.devchain.deploy import Deployment
from markets.metadata_csv import MAX_BYTES
from markets.models import Checkpoint, MarketMetadata
from tests import factories
from tests.processes import serving

pytestmark = pytest.mark.django_db(transaction=True)

CONTRACTS = (
    "conditional_tokens",
    "market_factory",
    "aurum_token",
    "aurum_oracle",
    "fee_collector",
    "collateral",
    "fpmm_factory",
)
# No test here needs a chain.
NOWHERE = Deployment(
    rpc_url="http://127.0.0.1:1",
    chain_id=31337,
    start_block=0,
    **dict.fromkeys(CONTRACTS, to_checksum_address("0x" + "11" * 20)),
)
PATIENCE = 20.0  # seconds for what takes milliseconds, on a machine that is busy with other tests


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def results(self) -> Any:
        return json.loads(self.body)["results"]


class Connection:
    """One kept-alive connection, spoken to in bytes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Answer:
        while b"\r\n\r\n" not in self._rest:
            self._read()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        assert len(headers) == len(lines), "a header came twice"
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            self._read()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Answer(int(line.split()[1]), headers, body)

    def _read(self) -> None:
        data = self._socket.recv(2**16)
        assert data, "the server closed the connection"
        self._rest += data

    def get(self, path: str, **headers: str) -> Answer:
        self.send(request(path, **headers))
        return self.receive()


def request(path: str, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[str]:
    with serving(NOWHERE) as address:
        yield address


@pytest.fixture
def client(server: str) -> Connection:
    factories.make_checkpoint()
    return Connection(server)


def until(client: Connection, path: str, wanted: Any) -> Answer:
    """Asks until the answer is as wanted: a commit takes a moment to be heard of."""
    for _ in range(400):
        answer = client.get(path)
        if wanted(answer):
            return answer
        Event().wait(PATIENCE / 400)
    raise AssertionError("the answer stayed as it was")


def test_a_kept_answer_is_the_same_under_a_request_id_of_its_own(client: Connection) -> None:
    factories.make_market()
    first, *others = [client.get("/api/markets") for _ in range(5)]
    assert first.status == 200
    own = {"x-request-id", "date", "ratelimit-remaining", "ratelimit-reset"}
    for other in others:
        assert other.body == first.body
        assert {k: v for k, v in other.headers.items() if k not in own} == {
            k: v for k, v in first.headers.items() if k not in own
        }
    assert len({answer.headers["x-request-id"] for answer in (first, *others)}) == 5
    remaining = [int(answer.headers["ratelimit-remaining"]) for answer in (first, *others)]
    assert remaining == list(range(remaining[0], remaining[0] - 5, -1))
    assert client.get("/api/markets", X_Request_ID="mine").headers["x-request-id"] == "mine"
    assert first.headers["x-indexed-block"] == "1000000"


@pytest.mark.parametrize("more", [{}, {"Origin": "http://localhost:5173"}])
def test_a_direct_read_is_the_same_as_djangos(client: Connection, more: dict[str, str]) -> None:
    """With a cookie, whatever it is, a request goes to Django."""
    market, user = factories.make_market(), "0x" + "1a" * 20
    for _ in range(40):
        factories.make_trade(market)
    factories.make_position(market, user_address=user)
    path = f"/api/markets/{market.market_id}"
    until(client, path, lambda answer: answer.status == 200)
    ours = [path, f"{path}/prices", f"{path}/positions", f"{path}/trades", f"/api/users/{user}/positions"]
    theirs = [f"{path}/quote?side=buy&outcome=0&amount=5", f"{path}x", f"{path}?asOfBlock=7000000", "/api/markets?x=1"]
    rest = json.loads(client.get(f"{path}/trades?limit=7").body)["next"].removeprefix("http://localhost")
    client.get("/api/markets", **more)  # from which the headers are learnt
    for target in (*ours, rest, *theirs):
        direct, djangos = client.get(target, **more), client.get(target, Cookie="a=b", **more)
        assert (direct.status, _named(direct.headers)) == (djangos.status, _named(djangos.headers)), target
        bodies = [_without_id(answer) for answer in (direct, djangos)]
        assert bodies[0] == bodies[1], target
        remaining = [int(answer.headers["ratelimit-remaining"]) for answer in (direct, djangos)]
        assert remaining[0] == remaining[1] + 1


def _named(headers: dict[str, str]) -> dict[str, str]:
    """Without what differs from answer to answer; lists in no order."""
    own = ("x-request-id", "date", "ratelimit-remaining", "ratelimit-reset", "content-length")
    headers = {name: value for name, value in headers.items() if name not in own}
    return headers | {"vary": ",".join(sorted(headers.get("vary", "").lower().replace(" ", "").split(",")))}


def _without_id(answer: Answer) -> Any:
    return {name: value for name, value in json.loads(answer.body).items() if name != "requestId"}


def test_every_change_shows(client: Connection) -> None:
    """The ledger's, people's, and one that goes back."""
    market = factories.make_market()
    path = f"/api/markets/{market.market_id}"
    before = until(client, path, lambda answer: answer.status == 200)
    MarketMetadata.objects.create(market=market, category="Weather")
    said = until(client, path, lambda answer: b"Weather" in answer.body)
    assert said.headers["etag"] != before.headers["etag"]
    Checkpoint.objects.update(block_number=1_000_001, block_hash="0x" + "aa" * 32)
    until(client, path, lambda answer: answer.headers["x-indexed-block"] == "1000001")
    Checkpoint.objects.update(block_number=1_000_000)
    until(client, path, lambda answer: answer.headers["x-indexed-block"] == "1000000")
    Checkpoint.objects.update(finalized_block=1_000_000)
    until(client, path, lambda answer: json.loads(answer.body)["finality"] == "final")


def test_a_lost_listener_keeps_nothing_old(client: Connection) -> None:
    market = factories.make_market()
    path = f"/api/markets/{market.market_id}"
    until(client, path, lambda answer: answer.status == 200)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database() AND query ~ 'LISTEN|concat_ws'"
        )
        assert cursor.fetchall()
    MarketMetadata.objects.create(market=market, category="Sport")
    Event().wait(TRUST)
    assert b"Sport" in client.get(path).body


def test_who_has_the_answer_hears_304(client: Connection) -> None:
    factories.make_market()
    etag = client.get("/api/markets").headers["etag"]
    for offered in (etag, f'"other", {etag}', f'W/"x",{etag}'):
        answer = client.get("/api/markets", If_None_Match=offered)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers["x-indexed-block"] == "1000000"
    assert client.get("/api/markets", If_None_Match='W/"other"').status == 200


def test_gzip_is_for_those_who_take_it(client: Connection) -> None:
    for _ in range(5):
        factories.make_market()
    plain = client.get("/api/markets")
    assert "content-encoding" not in plain.headers
    for _ in range(2):
        packed = client.get("/api/markets", Accept_Encoding="br, gzip;q=0.8")
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert "Accept-Encoding" in packed.headers["vary"]
    assert "content-encoding" not in client.get("/api/markets", Accept_Encoding="gzip;q=0").headers


def test_origins_have_answers_of_their_own(client: Connection) -> None:
    ours = "http://localhost:5173"
    for _ in range(2):
        assert client.get("/api/markets", Origin=ours).headers["access-control-allow-origin"] == ours
        assert "access-control-allow-origin" not in client.get("/api/markets", Origin="https://evil.example").headers
        assert "access-control-allow-origin" not in client.get("/api/markets").headers


def test_hosts_have_links_of_their_own(client: Connection) -> None:
    for _ in range(3):
        factories.make_market()
    client.get("/api/markets?limit=2")
    client.send(b"GET /api/markets?limit=2 HTTP/1.1\r\nHost: other.localhost\r\n\r\n")
    assert json.loads(client.receive().body)["next"].startswith("http://other.localhost/api/markets?")


@pytest.mark.parametrize("header", ["Cookie", "Authorization"])
def test_nobody_gets_what_was_made_for_somebody(client: Connection, header: str) -> None:
    """A request with credentials is Django's, before and behind a kept one."""
    public = client.get("/api/markets")
    personal = client.get("/api/markets", **{header: "sessionid=x"})
    assert personal.status in (200, 401)
    assert client.get("/api/markets").body == public.body


def test_what_has_no_version_is_not_kept(client: Connection) -> None:
    answers = [client.get("/api/indexer/status") for _ in range(2)]
    assert all("etag" not in answer.headers for answer in answers)
    factories.make_status(last_error="the node is away")
    assert json.loads(client.get("/api/indexer/status").body)["lastError"] == "the node is away"


def test_errors_are_not_kept(client: Connection) -> None:
    market_id = factories.hex_id("market")
    assert client.get(f"/api/markets/{market_id}").status == 404
    factories.make_market(market_id=market_id)
    assert client.get(f"/api/markets/{market_id}").status == 200
    assert [client.get("/api/markets?limit=0").status for _ in range(2)] == [400, 400]


def test_requests_in_one_packet_and_in_many_are_answered_in_order(client: Connection) -> None:
    factories.make_market()
    kept, other = "/api/markets", "/api/markets?limit=0"
    client.get(kept)
    client.send(request(kept) + request(other) + request(kept))
    assert [client.receive().status for _ in range(3)] == [200, 400, 200]
    data = request(kept)
    for cut in (1, 4, 12, len(data) - 2):
        client.send(data[:cut])
        Event().wait(0.05)
        client.send(data[cut:])
        assert client.receive().status == 200
    # A kept request that comes while another one is half there belongs to that one's headers.
    client.send(b"GET /api/markets HTTP/1.1\r\nX-Half: ")
    Event().wait(0.05)
    client.send(data)
    assert client.receive().status == 200
    assert client.get(kept).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET /api/markets HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /api/markets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
        b"HEAD /api/markets HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/markets HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /api/markets HTTP/1.1\r\n Host: localhost\r\n\r\n",
        b"GET /api/markets HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /api/markets HTTP/1.1\r\n\r\n",
        b"GET /api/markets\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/markets HTTP/9.9\r\nHost: localhost\r\n\r\n",
    ],
)
def test_unusual_requests_hear_what_they_would_without_kept_answers(server: str, data: bytes) -> None:
    """First with nothing kept, then with the plain answer kept: the same status, and the same end of the connection."""
    factories.make_checkpoint()
    statuses = []
    for path in (None, "/api/markets"):
        client = Connection(server)
        if path:
            client.get(path)
        client.send(data)
        line = client._socket.recv(64)
        statuses.append(line[:12])
    assert statuses[0] == statuses[1]


def test_a_body_that_nobody_reads_is_a_problem_with_an_id(server: str) -> None:
    """It is refused before Django, which gives the other requests theirs."""
    body = b" " * (MAX_BODY + 1)
    client = Connection(server)
    client.send(b"POST /api/auth/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answer = client.receive()
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Request Entity Too Large",
        "status": 413,
        "detail": "The body is too large.",
        "requestId": answer.headers["x-request-id"],
    }


def test_the_largest_file_that_can_be_imported_passes_both_steps(server: str) -> None:
    """The second step brings the file again, as base64 in a form, where each `/` would be three characters."""
    text = "?" * 10_000  # `Pz8/` in base64
    market_ids = [factories.hex_id("imported", number) for number in range(MAX_BYTES // 10_100)]
    MarketMetadata.objects.bulk_create(MarketMetadata(market_id=market_id) for market_id in market_ids)
    lines = "".join(["marketId,description\n", *(f"{market_id},{text}\n" for market_id in market_ids)])
    file = lines.ljust(MAX_BYTES, "\n").encode()
    page = f"http://{server}/admin/markets/marketmetadata/import/"
    browser = Browser()
    browser.force_login(User.objects.create_superuser("olga"))
    with requests.Session() as session:
        session.cookies.set(settings.SESSION_COOKIE_NAME, browser.cookies[settings.SESSION_COOKIE_NAME].value)
        form = session.get(page, timeout=PATIENCE).text
        assert f"{MAX_BYTES // 1024} KiB" in form
        asked = hidden(form) | {"reason": "\U0001f600" * 1_000}
        preview = session.post(page, asked, files={"file": file}, timeout=PATIENCE)
        assert f"{len(market_ids)} change a market, 0 errors" in preview.text
        made = session.post(page, hidden(preview.text), timeout=PATIENCE, allow_redirects=False)
    assert (len(file), made.status_code) == (MAX_BYTES, 302)
    assert not MarketMetadata.objects.filter(description="").exists()


def hidden(page: str) -> dict[str, str]:
    """What a page's form brings back by itself."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))


@pytest.mark.parametrize("whole", [True, False])
def test_a_head_without_end_is_400(server: str, whole: bool) -> None:
    client = Connection(server)
    client.send(b"GET /api/markets HTTP/1.1\r\nHost: localhost\r\n")
    with suppress(ConnectionError):
        for _ in range(64):
            client.send(b"X-Junk: " + b"x" * 4096 + (b"\r\n" if whole else b""))
    assert client.receive().status == 400


def test_a_live_process_says_so_without_a_thread(server: str) -> None:
    client = Connection(server)
    answer = client.get("/health/live")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "live"})
    client.send(b"POST /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    assert client.receive().status == 405


def test_the_document_says_which_it_is(server: str) -> None:
    client = Connection(server)
    first = client.get("/api/schema", Accept_Encoding="gzip")
    assert (first.status, first.headers["content-encoding"]) == (200, "gzip")
    assert json.loads(gzip.decompress(first.body))["openapi"].startswith("3.1")
    assert client.get("/api/schema", If_None_Match=first.headers["etag"]).status == 304
    assert client.get("/api/schema?version=a%0ab").status == 400


def test_concurrent_misses_are_one(client: Connection, server: str) -> None:
    """Fifty clients ask at once for what nobody has asked for: all hear the same."""
    for _ in range(20):
        factories.make_market()
    clients = [Connection(server) for _ in range(50)]
    for each in clients:
        each.send(request("/api/markets?limit=20"))
    bodies = {each.receive().body for each in clients}
    assert len(bodies) == 1
    assert len(json.loads(bodies.pop())["results"]) == 20
