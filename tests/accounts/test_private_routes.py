"""Every route that needs somebody to be signed in, from the URL map itself: strangers get nothing of anybody's."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver
from rest_framework.permissions import AllowAny

from accounts.models import WatchedMarket
from markets.models import Market, MarketMetadata
from tests import factories
from tests.accounts.people import signed_in
from tests.problems import problem_of

OWNER, STRANGER = "0x" + "11" * 20, "0x" + "22" * 20
METHODS = ("get", "post", "put", "patch", "delete")

pytestmark = pytest.mark.django_db


def patterns(resolver: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for part in resolver.url_patterns:
        route = prefix + str(part.pattern)
        if isinstance(part, URLPattern):
            yield route, part.callback
        else:
            yield from patterns(part, route)


def private_routes() -> set[tuple[str, str]]:
    """Method and route of each API view that not everybody may use."""
    found = set()
    for route, view in patterns(get_resolver()):
        cls = getattr(view, "cls", None)
        if cls is not None and AllowAny not in cls.permission_classes:
            found |= {(method, route) for method in METHODS if hasattr(cls, method)}
    return found


@pytest.fixture
def market() -> Market:
    """A market that the owner made, watches and describes."""
    market = factories.make_market(creator=OWNER)
    signed_in(OWNER)
    WatchedMarket.objects.create(user=User.objects.get(username=OWNER), market=market)
    MarketMetadata.objects.create(market=market, category="Sport")
    return market


def sees_only_themselves(answer: Any) -> None:
    assert answer.status_code == 200
    assert (answer.json()["username"], answer.json()["watchlistCount"]) == (STRANGER, 0)


def sees_nothing(answer: Any) -> None:
    assert (answer.status_code, answer.json()["results"]) == (200, [])


def writes_their_own(answer: Any) -> None:
    """The owner's entry stays, as the test looks for itself."""
    assert answer.status_code == 204


def is_forbidden(answer: Any) -> None:
    problem_of(answer, 403)


# What a stranger gets on each private route with the owner's ids in it. A route that is not here fails the test.
STRANGER_GETS: dict[tuple[str, str], Callable[[Any], None]] = {
    ("get", "api/me"): sees_only_themselves,
    ("get", "api/me/watchlist"): sees_nothing,
    ("put", "api/me/watchlist/<str:id>"): writes_their_own,
    ("delete", "api/me/watchlist/<str:id>"): writes_their_own,
    ("patch", "api/markets/<str:id>/metadata"): is_forbidden,
}


def ask(client: Client, method: str, route: str, market: Market, **headers: Any) -> Any:
    path = "/" + route.replace("<str:id>", market.market_id)
    body = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
    return getattr(client, method)(path, **body, **headers)


def of_the_owner() -> tuple[Any, ...]:
    return (
        list(WatchedMarket.objects.filter(user__username=OWNER).values()),
        list(MarketMetadata.objects.values()),
        list(User.objects.filter(username=OWNER).values()),
    )


def test_every_private_route_is_in_the_table() -> None:
    assert private_routes() == set(STRANGER_GETS)


@pytest.mark.parametrize(("method", "route"), STRANGER_GETS)
def test_nobody_gets_nothing(client: Client, market: Market, method: str, route: str) -> None:
    before = of_the_owner()
    answer = ask(client, method, route, market)
    assert problem_of(answer, 401)["detail"] == "Authentication credentials were not provided."
    assert answer["WWW-Authenticate"] == 'Bearer realm="aurum"'
    assert of_the_owner() == before


@pytest.mark.parametrize(("method", "route"), STRANGER_GETS)
def test_a_stranger_gets_nothing_of_the_owners(client: Client, market: Market, method: str, route: str) -> None:
    before = of_the_owner()
    answer = ask(client, method, route, market, **signed_in(STRANGER))
    STRANGER_GETS[method, route](answer)
    assert OWNER not in answer.content.decode()
    assert of_the_owner() == before
