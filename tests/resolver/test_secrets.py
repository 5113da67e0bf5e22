"""Canaries: the wallet's key and the RPC URL's key are in no log, error, traceback, page, row, metric or listing."""

import copy
import io
import json
import logging
import pickle
import pprint
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from random import Random
from time import monotonic
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.views.debug import ExceptionReporter
from prometheus_client import CollectorRegistry, generate_latest

from aurum import environment
from aurum.logs import JsonFormatter, TerminalFormatter
from aurum.redaction import Redactor
from aurum.secret import Secret, SecretUrl
from indexer.chain import MalformedAnswer
from indexer.endpoints import Endpoint, RpcError
from indexer.rpc import Rpc
from resolver.following import tell
from resolver.metrics import WalletCollector
from resolver.models import WalletAction, WalletTransaction
from resolver.node import NodeChain
from resolver.policy import Policy, Standing, Verdict
from resolver.signer import LocalSigner, SigningFailed
from resolver.wallet import Wallet
from tests.processes import PROJECT
from tests.processes import environment as process_environment
from tests.resolver.wallets import Proxy

KEY = "0x" + "c0ffee15dead" * 5 + "beef"  # 64 digits
URL_KEY = "CANARYKEYc4n4ryC4N4RY"
CANARIES = (KEY, KEY[2:], KEY.upper()[2:], URL_KEY, str(int(KEY, 16)))


def assert_silent(text: str) -> None:
    assert [canary for canary in CANARIES if canary in text] == []


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """All that is logged at any level meanwhile, by both formatters."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers = [logging.StreamHandler(stream), logging.StreamHandler(stream)]
    # Which know no secret to hide.
    handlers[0].setFormatter(JsonFormatter(Redactor([])))
    handlers[1].setFormatter(TerminalFormatter(Redactor([])))
    before = root.level
    root.setLevel(logging.DEBUG)
    for handler in handlers:
        root.addHandler(handler)
    yield stream.getvalue
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(before)


def told_of(error: BaseException) -> str:
    """Everything that Python and Django say of an error, local variables included; but for the test's own frame."""
    assert error.__traceback__ is not None
    error.with_traceback(error.__traceback__.tb_next)
    reporter = ExceptionReporter(RequestFactory().get("/"), type(error), error, error.__traceback__)
    pages = [reporter.get_traceback_text(), reporter.get_traceback_html()]
    plain = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return "\n".join([*pages, plain, repr(error), str(error)])


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>80}", pprint.pformat({"a": [secret]})]
    shown += [json.dumps({"a": secret}, default=str), repr(copy.deepcopy(secret)), repr(vars(LocalSigner(secret)))]
    assert_silent(" ".join(shown))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_url_shows_its_host() -> None:
    url = SecretUrl(f"https://user:{URL_KEY}@node.example/v2/{URL_KEY}?key={URL_KEY}")
    assert repr([url]) == "['https://node.example/…']"
    assert_silent(pprint.pformat({"RPC_URLS": [url]}) + repr(copy.deepcopy(url)))


@pytest.mark.parametrize("value", [KEY + "0", KEY[:-1], KEY[:-1] + "g", "0x" + "0" * 64, "0x" + "f" * 64, f"'{KEY}'"])
def test_a_malformed_key(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_KEY", value)
    with pytest.raises(ImproperlyConfigured) as failure:
        environment.private_key(environ.Env())
    assert str(failure.value) == "PRIVATE_KEY must be a secp256k1 key: 0x and 64 hexadecimal digits"
    told = told_of(failure.value)
    assert value not in told
    assert_silent(told)


@pytest.mark.parametrize("value", ["", "0x...", "0x... # Backend wallet for transactions"])
def test_the_guides_placeholder_is_no_key(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_KEY", value)
    assert environment.private_key(environ.Env()) is None


def test_only_one_signer() -> None:
    environment.at_most_one(PRIVATE_KEY=Secret(KEY), PRIVATE_KEY_FILE="", KMS_KEY_ID="")
    with pytest.raises(ImproperlyConfigured, match=r"^only one of PRIVATE_KEY, KMS_KEY_ID can be set: there is one"):
        environment.at_most_one(PRIVATE_KEY=Secret(KEY), PRIVATE_KEY_FILE="", KMS_KEY_ID="alias/x")


def test_the_signers_own_errors() -> None:
    with pytest.raises(SigningFailed) as failure:
        LocalSigner(Secret(KEY)).sign(b"short")
    assert_silent(told_of(failure.value))


# What a node may answer: it repeats the URL in an error, a result, or in what is no JSON-RPC at all.
ECHOES: dict[str, dict[str, Any]] = {
    "an error": {"error": {"code": -32000, "message": f"no such route /v2/{URL_KEY}", "data": URL_KEY}},
    "an error without code": {"error": f"https://node.example/v2/{URL_KEY}"},
    "a result": {"result": f"https://node.example/v2/{URL_KEY}"},
    "a part of a result": {"result": {"number": "0x1", "hash": f"/v2/{URL_KEY}"}},
    "neither": {"results": URL_KEY},
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_node_that_repeats_the_url(echo: dict[str, Any], logged: Callable[[], str]) -> None:
    with Proxy("http://127.0.0.1:1") as node:
        for method in ("eth_chainId", "eth_getBlockByNumber", "eth_sendRawTransaction", "eth_estimateGas"):
            node.rules[method] = lambda params, forward: echo
        rpc = Rpc([SecretUrl(f"{node.url}/v2/{URL_KEY}")], pause=lambda seconds: None)
        chain = NodeChain(rpc, confirmations=4)
        for ask in (chain.chain_id, chain.look, lambda: chain.estimate(sender=KEY[:42], to=KEY[:42], data="0x")):
            with pytest.raises((RpcError, MalformedAnswer, Exception)) as failure:
                ask()
            assert_silent(told_of(failure.value))
        assert_silent(repr(chain.send(b"\x02")))
    assert_silent(logged() + json.dumps(rpc.health()))
    assert "RPC endpoint failed" in logged()


def test_a_host_that_is_not_there(logged: Callable[[], str]) -> None:
    """requests' own texts hold the URL."""
    rpc = Rpc([SecretUrl(f"http://127.0.0.1:1/v2/{URL_KEY}?key={URL_KEY}")], pause=lambda seconds: None)
    with pytest.raises(RpcError) as failure:
        rpc.chain_id()
    assert_silent(told_of(failure.value) + logged() + json.dumps(rpc.health()))


def test_the_frames_of_a_request_are_left_behind() -> None:
    url = f"http://127.0.0.1:1/v2/{URL_KEY}"
    endpoint = Endpoint(url, clock=monotonic, random=Random(), timeout=1.0, observe=lambda *told: None)
    with pytest.raises(RpcError) as failure:
        endpoint.ask([("eth_chainId", [])])
    names = [frame.name for frame in traceback.extract_tb(failure.value.__traceback__)]
    assert names == ["test_the_frames_of_a_request_are_left_behind", "ask"]
    assert failure.value.__context__ is None


@pytest.mark.django_db
def test_rows_pages_and_metrics(client: Client, django_user_model: Any, logged: Callable[[], str]) -> None:
    """A node that takes no transaction and repeats the URL: what is kept of that, and shown."""
    contract, data = "0x" + "0a" * 20, "0x12345678"
    action = WalletAction.objects.create(
        chain_id=31337,
        kind="finalize",
        subject="0x" + "01" * 32,
        contract=contract,
        calldata=data,
        reason="due",
        actor="resolver",
    )
    hash_ = "0x" + "02" * 32
    block = {"number": "0x64", "hash": hash_, "parentHash": hash_, "timestamp": "0x1", "baseFeePerGas": "0x1"}
    honest = {
        "eth_chainId": "0x7a69",
        "eth_getBlockByNumber": block,
        "eth_maxPriorityFeePerGas": "0x1",
        "eth_getTransactionCount": "0x0",
        "eth_getBalance": "0x1",
        "eth_estimateGas": "0x5208",
        "eth_getTransactionReceipt": None,
        "eth_getTransactionByHash": None,
    }
    with Proxy("http://127.0.0.1:1") as node:
        for method, result in honest.items():
            node.rules[method] = lambda params, forward, result=result: {"result": result}
        node.rules["eth_sendRawTransaction"] = lambda params, forward: ECHOES["an error"]
        rpc = Rpc([SecretUrl(f"{node.url}/v2/{URL_KEY}")], pause=lambda seconds: None)
        policy = Policy(chain_id=31337, allowed=frozenset([(contract, data)]), most_fee=10**9, daily_limit=5)
        signer = LocalSigner(Secret(KEY))
        needed = Verdict(standing=Standing.NEEDED)
        wallet = Wallet(signer, NodeChain(rpc, confirmations=4), lambda action: needed, policy=policy)
        wallet.step()
    kept = WalletTransaction.objects.get()
    action.refresh_from_db()
    assert "[redacted]" in kept.error
    assert "[redacted]" in action.error
    registry = CollectorRegistry()
    registry.register(WalletCollector(wallet.counts))
    user = django_user_model.objects.create_superuser("root", password="a long password")
    client.force_login(user)
    tell(wallet)
    of_wallet = [
        *("walletaction/", f"walletaction/{action.pk}/change/", "wallettransaction/"),
        *(f"wallettransaction/{kept.pk}/change/", "walletswitch/", "walletstatus/", "walletstatus/1/change/"),
    ]
    paths = ["/admin/", "/admin/operations.json", "/api/indexer/status"]
    paths += [*[f"/admin/resolver/{page}" for page in of_wallet], "/health"]  # which forgets the connection
    answers = [client.get(path) for path in paths]
    assert {answer.status_code for answer in answers[:-1]} == {200}
    pages = [answer.content.decode() for answer in answers]
    rows = [kept.error, action.error, repr(vars(kept)), repr(vars(action)), repr(vars(wallet))]
    assert_silent("\n".join([*rows, *pages, generate_latest(registry).decode(), logged()]))


def fails(request: HttpRequest) -> HttpResponse:
    """A view in whose frames both keys are, and which a node that can't be reached makes fail."""
    signer = LocalSigner(Secret(KEY))
    rpc = Rpc([SecretUrl(f"http://127.0.0.1:1/v2/{URL_KEY}")], pause=lambda seconds: None)
    return HttpResponse(f"{signer.address} {rpc.chain_id()}")


urlpatterns = [path("fails", fails)]
handler500 = "aurum.problems.server_error"


@pytest.mark.django_db
def test_an_error_page(settings: Any, logged: Callable[[], str]) -> None:
    settings.ROOT_URLCONF, settings.DEBUG = __name__, False
    answer = Client(raise_request_exception=False).get("/fails")
    assert answer.status_code == 500
    assert "RpcUnavailable" in logged()
    assert_silent(answer.content.decode() + logged())


@pytest.mark.django_db
def test_what_a_command_lists_of_the_settings() -> None:
    more = {"PRIVATE_KEY": KEY, "RPC_URL": f"https://node.example/v2/{URL_KEY}", "LOG_LEVEL": "debug"}
    more["RPC_WS_URL"] = f"wss://node.example/v2/{URL_KEY}"
    listed = subprocess.run(
        [sys.executable, "manage.py", "diffsettings", "--all"],
        env=process_environment(None, **more),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PRIVATE_KEY = [secret]" in listed.stdout
    assert "RPC_URLS = ['https://node.example/…']" in listed.stdout
    assert_silent(listed.stdout + listed.stderr)
