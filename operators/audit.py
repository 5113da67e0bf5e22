"""Writes the audit. Call it in the transaction of the change that it tells of, so that neither is there alone."""

from typing import Any

from django.http import HttpRequest

from aurum.log_context import current_request_id
from aurum.throttling import address_of
from operators.models import AuditEntry


def record(
    by: HttpRequest | str,
    action: str,
    subject: str,
    *,
    before: Any = None,
    after: Any = None,
    reason: str = "",
) -> AuditEntry:
    """Adds an entry. `by` is the request of whoever is signed in, or a process' name; before and after are JSON."""
    actor, address = (by, "") if isinstance(by, str) else (by.user.get_username(), address_of(by))
    return AuditEntry.objects.create(
        actor=actor,
        address=address,
        request_id=current_request_id.get(),
        action=action,
        subject=subject,
        before=before,
        after=after,
        reason=reason,
    )
