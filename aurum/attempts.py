"""How often an address may try what an attacker would try often: signing in, and passwords."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit import UNSAFE
from django_ratelimit.core import get_usage

from aurum.problems import too_many_requests
from aurum.throttling import Usage, address_of


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
