"""The second factor of people who work in the admin: a code of their phone (TOTP), or one of their recovery codes."""

import re
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django_otp import devices_for_user, login
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators import audit

RECOVERY_CODES = 10
TOTP_CODE = re.compile(r"[0-9]{6}")


def passed(user: Any) -> bool:
    """Whether `user` may act as staff in this session: ADMIN_TOTP asks for a second factor."""
    return not settings.ADMIN_TOTP or user.is_verified()


def has_device(user: Any) -> bool:
    """Whether a code is asked for when `user` signs in."""
    return any(True for _ in devices_for_user(user))


def verified_by(user: Any, code: str) -> Device | None:
    """The device that `code` is of, which is used up with it. A device that saw wrong codes waits before the next."""
    kind = TOTPDevice if TOTP_CODE.fullmatch(code) else StaticDevice
    with transaction.atomic():
        for device in devices_for_user(user, for_verify=True):
            if isinstance(device, kind) and device.verify_is_allowed()[0] and device.verify_token(code):
                return device
    return None


def new_device(user: Any) -> TOTPDevice:
    """The device that `user` is about to set up; the same until it is confirmed, so that a page can be loaded again."""
    # Two pages that are loaded at once make two; the first one counts, and `confirm` deletes the other.
    begun = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("pk").first()
    return begun or TOTPDevice.objects.create(user=user, confirmed=False, name="phone")


def confirm(request: HttpRequest, device: TOTPDevice, code: str) -> list[str] | None:
    """Puts a new device in the place of all others, if the code is its own; the recovery codes, which are told once.

    None: a wrong code.
    """
    with transaction.atomic():
        if not (TOTP_CODE.fullmatch(code) and device.verify_is_allowed()[0] and device.verify_token(code)):
            return None
        device.confirmed = True
        device.save()
        # What was lost must not sign in any more, nor a session that it opened go on.
        others = [each for each in devices_for_user(device.user, confirmed=None) if each != device]
        for other in others:
            other.delete()
        recovery = StaticDevice.objects.create(user=device.user, name="recovery")
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create(StaticToken(device=recovery, token=each) for each in codes)
        subject = f"user:{device.user.get_username()}"
        audit.record(request, "second_factor.set_up", subject, before={"devices": len(others)})
    login(request, device)
    return codes
