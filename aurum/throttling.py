"""Rate limits: who asks, and how often they did.

The API's own limit (`RATE_LIMIT_MAX` requests in `RATE_LIMIT_WINDOW`) counts users, and addresses of who is not signed
in; attempts.py has the limits of sign-in and passwords. All count in the cache (cache.py).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from math import ceil
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

logger = logging.getLogger(__name__)
LONGEST_TRUSTED = 1024  # characters at the end of X-Forwarded-For, where those of trusted proxies stand
USAGE = "aurum.usage"  # in a request's scope and environment: what was counted in front of Django
UNKNOWN = "unknown"  # the address of whom no address is known of
IPV6_PREFIX = 64  # bits: what one customer of a provider has at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of a limit somebody has used, this request included."""

    limit: int
    count: int
    seconds_left: float  # until counting starts again

    @property
    def is_exceeded(self) -> bool:
        return self.count > self.limit

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(0, self.limit - self.count)),
            "RateLimit-Reset": str(self.wait),
        }

    @property
    def wait(self) -> int:
        """Whole seconds until counting starts again."""
        return max(1, ceil(self.seconds_left))


def client_address(peer: str, forwarded_for: str, trusted_proxies: int) -> str:
    """The client's address: an IPv4 address, or the /64 of an IPv6 one; `unknown` where the peer has none.

    Each proxy appends the address that it was asked from to `forwarded_for` (X-Forwarded-For). With n trusted ones the
    n-th from the right is the client's, as the outermost of them saw it; what is left of it anybody can write. An
    entry that is no address gives nobody a counter of their own: then it is the peer's.
    """
    return _client_address(peer, forwarded_for[-LONGEST_TRUSTED:] if trusted_proxies else "", trusted_proxies)


@lru_cache(maxsize=4096)
def _client_address(peer: str, forwarded_for: str, trusted_proxies: int) -> str:
    entries = [entry.strip() for entry in forwarded_for.split(",") if entry.strip()]
    if trusted_proxies and entries:
        written = _network(entries[-min(trusted_proxies, len(entries))])
        if written:
            return written
    return _network(peer) or UNKNOWN


def _network(text: str) -> str | None:
    """An address as it is counted; None for what is none. Some proxies add the port: `1.2.3.4:5`, `[::1]:5`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if not isinstance(address, IPv4Address):
        if address.ipv4_mapped is None:
            return str(ip_network((address, IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(address)


def address_of(request: HttpRequest) -> str:
    """The client address of a request."""
    meta = request.META
    return client_address(meta.get("REMOTE_ADDR") or "", meta.get("HTTP_X_FORWARDED_FOR", ""), settings.TRUSTED_PROXIES)


def key_of(subject: str) -> str:
    """Where the requests of a subject are counted in the cache."""
    return f"requests:{subject}"


def count(subject: str) -> Usage:
    """Counts one more request of a subject, such as `user:7` or `address:192.0.2.1`, against the API's limit."""
    ours: Any = cache  # cache.py's
    number, seconds_left = ours.hit(key_of(subject), settings.RATE_LIMIT_WINDOW / 1000)
    return Usage(limit=settings.RATE_LIMIT_MAX, count=number, seconds_left=seconds_left)


def admit(request: HttpRequest) -> None:
    """Counts a request without credentials, where it was not counted in front of Django. Raises Throttled."""
    usage = request.META.get(USAGE) or count(f"address:{address_of(request)}")
    request.rate_limit = usage  # type: ignore[attr-defined]
    if usage.is_exceeded:
        raise Throttled(usage.wait)


class ApiThrottle(BaseThrottle):
    """The API's limit. It leaves what was counted on the request, for `RateLimitHeadersMiddleware`."""

    def allow_request(self, request: Request, view: Any) -> bool:
        user = request.user
        self.usage = count(f"user:{user.pk}" if user.is_authenticated else f"address:{address_of(request)}")
        request._request.rate_limit = self.usage  # type: ignore[attr-defined]
        return not self.usage.is_exceeded

    def wait(self) -> float:
        return self.usage.wait


class RateLimitHeadersMiddleware:
    """Tells the client what it has left."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        usage = getattr(request, "rate_limit", None)
        if usage is not None:
            for name, value in usage.headers.items():
                response[name] = value
        return response


def announce() -> None:
    """Says once, when a server starts, what an operator would else find out too late."""
    level = logging.INFO if settings.DEVELOPMENT else logging.WARNING
    if not settings.REDIS_URL:
        logger.log(level, "REDIS_URL is not set: rate limits are counted by each process for itself")
    if not settings.TRUSTED_PROXIES:
        logger.log(level, "TRUSTED_PROXIES is 0: behind a proxy, all clients share one rate limit")
