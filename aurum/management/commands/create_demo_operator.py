"""Creates the superuser `operator` of a development database; its password is kept in .data/operator-password."""

import os
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

NAME = "operator"


class Command(BaseCommand):
    help = __doc__

    def handle(self, **options: Any) -> None:
        if not settings.DEVELOPMENT:
            raise CommandError(f"only development has a demo operator, and DJANGO_ENV is {settings.ENVIRONMENT}")
        password = _password()
        user, _ = get_user_model().objects.get_or_create(username=NAME)
        if not (user.is_superuser and user.is_staff and user.is_active and user.check_password(password)):
            user.is_superuser = user.is_staff = user.is_active = True
            user.set_password(password)
            user.save()
        self.stdout.write(f"{NAME} / {password}")


def _password() -> str:
    """The one of the last time, else a new one."""
    path = settings.DATA_DIR / "operator-password"
    if path.is_file():
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, mode=0o600)) as file:
        file.write(password := secrets.token_urlsafe(12))
    return password
