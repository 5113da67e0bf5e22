"""Stock clients on a live server: the seed's own JavaScript, and TypeScript that a generator made of the document."""

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from markets.models import Market
from oracle.models import Question
from tests.documents.data import USER, make_data
from tests.e2e.test_front import NOWHERE
from tests.factories import UNIT
from tests.processes import PROJECT, index_once, running, serving

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS = PROJECT / "tests" / "clients"
PATIENCE = 120  # seconds for what takes a few, on a machine that is busy with other tests


def node(folder: Path, *arguments: str) -> str:
    """What a program for Node.js prints; it must end well."""
    done = subprocess.run(
        ["node", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_generated_client_works(tmp_path: Path) -> None:
    """Its types pass the strictest check, and what they say arrives."""
    data = make_data()
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "client.ts").write_text((CLIENTS / "client.ts").read_text())
    with serving(NOWHERE) as address:
        with urlopen(f"http://{address}/api/schema") as answer:
            (tmp_path / "schema.json").write_bytes(answer.read())
        node(tmp_path, "node_modules/openapi-typescript/bin/cli.js", "schema.json", "--output", "api.d.ts")
        strict = ("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes")
        modules = ("--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext")
        node(tmp_path, "node_modules/typescript/bin/tsc", *strict, *modules, "--types", "node", "client.ts")
        seen = json.loads(node(tmp_path, "client.js", f"http://{address}", USER))
    assert seen == {
        "markets": [market.market_id for market in data.markets],
        "sum": 1,
        "paid": "1000000",
        "held": str(sum(3 * UNIT for market in data.markets if market.reserves and all(market.reserves))),
        "series": [0, 1],
        "stakes": [str(UNIT)],
        "problem": [400, {"limit": ["Must be a whole number from 1 to 200."]}],
        "again": 304,
    }


def test_the_seeds_own_javascript_works(chain: tuple[Web3, Deployment], actions: Actions, tmp_path: Path) -> None:
    """Every path of the seed's tables, and its snippets: both messages of a trade, with the fields that it names."""
    trader = actions.accounts[1]
    made = actions.deploy_amm(actions.create_market("Will it arrive?"), liquidity=10_000_000, fee=10**16)
    actions.buy(made, 1, 1_000_000, sender=trader)
    index_once(chain[1])
    market, question = Market.objects.get(), Question.objects.get()
    asked = [market.market_id, trader, question.question_id]
    with serving(chain[1]) as address, running("run_indexer", deployment=chain[1]):
        client = subprocess.Popen(["node", "seed.js", address, *asked], cwd=CLIENTS, stdout=subprocess.PIPE, text=True)
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "subscribed\n"
            receipt = actions.buy(made, 0, 1_000_000, sender=trader)
            output, _ = client.communicate(timeout=PATIENCE)
        finally:
            client.kill()
    assert receipt is not None
    seen: dict[str, Any] = json.loads(output)
    assert {path: status for path, (status, _) in seen["rest"].items()} == dict.fromkeys(seen["rest"], 200)
    bodies = {path: body for path, (_, body) in seen["rest"].items()}
    assert len(bodies) == 10
    assert [each["marketId"] for each in bodies["/api/markets"]["results"]] == [market.market_id]
    assert bodies[f"/api/markets/{market.market_id}"]["question"] == "Will it arrive?"
    assert [each["type"] for each in bodies[f"/api/users/{trader}/history"]["results"]] == ["buy"]
    assert [each["outcomeIndex"] for each in bodies[f"/api/users/{trader}/positions"]["results"]] == [1]
    assert bodies[f"/api/oracle/questions/{question.question_id}"]["state"] == "registered"
    assert set(bodies["/health"]) == {"status", "database", "indexer", "uptime"}

    bought = actions.events(receipt["logs"])[-1][1]["outcomeTokensBought"]
    reserves = actions.balances(made, str(made.amm))
    assert seen["heard"] == {
        "trade": {
            "type": "trade",
            "marketId": market.market_id,
            "trader": trader.lower(),
            "outcome": 0,
            "amount": str(bought),
            "price": 1_000_000 / bought,
        },
        "price_update": {
            "type": "price_update",
            "marketId": market.market_id,
            "prices": [reserves[1] / sum(reserves), reserves[0] / sum(reserves)],
            "timestamp": chain[0].eth.get_block(receipt["blockNumber"])["timestamp"],
        },
    }
