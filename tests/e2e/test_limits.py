"""Sign-in and rate limits of the server as production runs it."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from tests.accounts.people import Person, text
from tests.processes import index_once, serving

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 20
ALICE = Person(1)


@pytest.fixture
def server(chain: tuple[Web3, Deployment], actions: Actions) -> Iterator[str]:
    """The address of a server with one market."""
    actions.create_market()
    index_once(chain[1])
    with serving(chain[1], RATE_LIMIT_MAX=str(LIMIT), RATE_LIMIT_WINDOW="3600000") as address:
        yield f"http://{address}"


def sign_in(server: str) -> dict[str, Any]:
    nonce = requests.post(f"{server}/api/auth/nonce", timeout=20).json()["nonce"]
    message = text(ALICE.address, nonce)
    answer = requests.post(
        f"{server}/api/auth/verify", json={"message": message, "signature": ALICE.sign(message)}, timeout=20
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_kept_answers_count_and_users_have_their_own_limit(server: str) -> None:
    session = requests.Session()
    found = []
    for number in range(LIMIT + 4):
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        answer = session.get(f"{server}/api/markets", headers=headers, timeout=20)
        found.append((answer.status_code, answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]))
    served = [(200, str(LIMIT), str(left)) for left in reversed(range(LIMIT))]
    assert found == served + [(429, str(LIMIT), "0")] * 4
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    # Conditional requests are no way around it.
    unmodified = session.get(f"{server}/api/markets", headers={"If-None-Match": "*"}, timeout=20)
    assert unmodified.status_code == 429
    assert session.get(f"{server}/health/live", timeout=20).status_code == 200

    tokens = sign_in(server)
    session.headers["Authorization"] = f"Bearer {tokens['access']}"
    me = session.get(f"{server}/api/me", timeout=20)
    assert (me.status_code, me.json()["address"]) == (200, ALICE.address.lower())
    assert me.headers["RateLimit-Remaining"] == str(LIMIT - 1)
    [market] = session.get(f"{server}/api/markets", timeout=20).json()["results"]
    assert session.put(f"{server}/api/me/watchlist/{market['marketId']}", timeout=20).status_code == 204
    watched = session.get(f"{server}/api/me/watchlist", timeout=20)
    assert [row["marketId"] for row in watched.json()["results"]] == [market["marketId"]]
    assert watched.headers["Cache-Control"] == "no-store"
    refresh = {"refresh": tokens["refresh"]}
    assert requests.post(f"{server}/api/auth/logout", json=refresh, timeout=20).status_code == 204
    assert requests.post(f"{server}/api/auth/refresh", json=refresh, timeout=20).status_code == 401
    # Without a session, it is one more request of this address.
    assert session.get(f"{server}/api/me", timeout=20).status_code == 429
