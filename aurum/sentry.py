"""Errors to Sentry, where SENTRY_DSN is set: without secrets, bodies, cookies, addresses, and values of variables."""

from typing import Any

from aurum.extras import wanted_by
from aurum.log_context import log_fields
from aurum.redaction import Redactor

# Of a request, what its line in the log tells, too.
OF_REQUEST = ("url", "method")
LEVELS = 10  # that an event has more of than the fields of a log line


def start(dsn: str, redactor: Redactor, *, environment: str, release: str, **more: Any) -> None:
    """Reports what is logged as an error, from now on. `more` are options of sentry_sdk.init."""
    sdk = wanted_by("SENTRY_DSN", "sentry_sdk", "requirements-sentry.txt")
    sdk.init(
        dsn=dsn,
        environment=environment,
        release=release,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=lambda event, hint: reported(event, redactor),
        **more,
    )


def reported(event: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The event as it is sent, with the context's fields as tags."""
    request = event.get("request")
    if request:
        event["request"] = {name: request[name].partition("?")[0] for name in OF_REQUEST if name in request}
    event.pop("user", None)
    event["tags"] = {**(event.get("tags") or {}), **{name: str(value)[:200] for name, value in log_fields().items()}}
    clean: dict[str, Any] = redactor.value(event, depth=-LEVELS)
    return clean
