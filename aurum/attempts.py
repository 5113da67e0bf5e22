"""How often an address may try what an attacker would try often: signing in, and passwords."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_ratelimit import UNSAFE
from django_ratelimit.core import get_usage

from aurum.problems import too_many_requests
from aurum.throttling import UNKNOWN, Usage, address_of


def limited(group: str, setting: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Bounds how often an address may write (POST and the like) to a view: `setting` names (times, seconds)."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            used = get_usage(
                request,
                group=group,
                key=lambda _, request: address_of(request),
                rate=lambda *_: getattr(settings, setting),
                method=UNSAFE,
                increment=True,
            )
            if used is None:  # it only reads
                return view(request, *args, **kwargs)
            usage = Usage(limit=used["limit"], count=used["count"], seconds_left=used["time_left"])
            request.rate_limit = usage  # type: ignore[attr-defined]
            if usage.is_exceeded:
                return too_many_requests(request, usage.wait)
            return view(request, *args, **kwargs)

        return counted

    return decorate


def ip_address_of(request: HttpRequest) -> str | None:
    """The client's address for a column of the type `inet`: the first of its /64, where it has an IPv6 one."""
    address = address_of(request).partition("/")[0]
    return None if address == UNKNOWN else address


def locked_out(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """The answer to who guessed a password too often; django-axes counts."""
    return too_many_requests(request, int(settings.AXES_COOLOFF_TIME.total_seconds()))
