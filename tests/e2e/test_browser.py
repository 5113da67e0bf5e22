"""Our pages, and the seed's snippet, in a real browser."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from tests import contract
from tests.e2e.test_clients import CLIENTS, PATIENCE
from tests.e2e.test_front import NOWHERE
from tests.e2e.test_serve import get
from tests.processes import PROJECT, index_once, running, serving

pytestmark = pytest.mark.django_db(transaction=True)


class Browser:
    """A scene of tests/clients/browser.js: a line says what it sees, and a line lets it go on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def sees(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=PATIENCE)
        return json.loads(line)

    def go_on(self) -> None:
        print(file=self.process.stdin, flush=True)


def screenshots(name: str) -> Path:
    """Where a scene's pictures are kept, to be looked at: `.data/screenshots`. Empty."""
    folder = PROJECT / ".data/screenshots" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def browsing(scene: str, address: str, *arguments: str) -> Iterator[Browser]:
    """A browser in a scene; in the end no page has complained, or asked another host for anything."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "Chromium is needed for the tests of our pages: `apt-get install chromium`, or your system's way"
    process = subprocess.Popen(
        ["node", "browser.js", chromium, scene, f"http://{address}", *arguments],
        cwd=CLIENTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    browser = Browser(process)
    try:
        yield browser
        seen = browser.sees()
        while "complaints" not in seen:
            seen = browser.sees()
        assert seen == {"complaints": [], "elsewhere": []}
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.terminate()  # Playwright ends its browser
        process.communicate(timeout=PATIENCE)


def test_live_prices_move_with_a_trade(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    made = actions.deploy_amm(actions.create_market("Will it <b>move</b>?"), liquidity=10_000_000)
    index_once(chain[1])
    with (
        serving(chain[1]) as address,
        running("run_indexer", deployment=chain[1]),
        browsing("live", address, "0x" + made.market_id.hex()) as browser,
    ):
        assert browser.sees() == {"state": "open", "title": "Will it <b>move</b>?", "before": ["50.0%", "50.0%"]}
        receipt = actions.buy(made, 0, 1_000_000, sender=actions.accounts[1])
        browser.go_on()
        seen = browser.sees()
    assert receipt is not None
    reserves = actions.balances(made, str(made.amm))
    assert seen["after"] == [f"{reserves[1 - outcome] / sum(reserves) * 100:.1f}%" for outcome in (0, 1)]
    assert (seen["trades"], seen["trade"][0], seen["gaps"]) == (1, "bought", "0")
    assert int(seen["block"].replace(",", "")) >= receipt["blockNumber"]


def test_the_documentation_lists_every_endpoint_without_another_host() -> None:
    with serving(NOWHERE) as address:
        document = get(address, "/api/schema")[2]
        with browsing("docs", address) as browser:
            seen = browser.sees()
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert {(method, path) for method, path in seen["operations"]} == described
    assert document["info"]["title"] in seen["title"]


def test_the_seeds_snippet_receives_its_messages(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    made = actions.deploy_amm(actions.create_market(), liquidity=10_000_000)
    market_id = "0x" + made.market_id.hex()
    index_once(chain[1])
    heard: dict[str, dict[str, Any]] = {}
    with (
        serving(chain[1]) as address,
        running("run_indexer", deployment=chain[1]),
        browsing("seed", address, market_id) as browser,
    ):
        while not {"trade", "price_update"} <= heard.keys():
            message = browser.sees()
            contract.check(json.dumps(message))
            is_second = message["type"] in heard
            heard[message["type"]] = message
            if message["type"] == "subscribed" and is_second:
                actions.buy(made, 0, 1_000_000, sender=actions.accounts[1])
        browser.go_on()
    for kind in ("trade", "price_update"):
        assert heard[kind]["marketId"] == market_id
