"""Access and refresh tokens of a session. Either names the session (`sid`), which says whether they are still good."""

import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from accounts.models import ApiSession

LONGEST_TOKEN = 1024  # characters; ours are half as long
SESSION_CLAIM = "sid"
REUSED = "a refresh token was used again"


class BadToken(Exception):
    """Not a token of ours, of this kind, that is still good."""


def read(kind: type[Token], raw: str | bytes) -> Token:
    """A token whose signature, audience, issuer, kind and times are right. Raises BadToken."""
    if len(raw) > LONGEST_TOKEN or not raw.isascii():
        raise BadToken
    try:
        return kind(raw)  # type: ignore[arg-type]
    except (TokenError, RecursionError, ValueError, TypeError, OverflowError) as error:
        raise BadToken from error


def session_of(token: Token, now: datetime) -> ApiSession:
    """The live session that a token names, with its user, who must not be disabled. Raises BadToken."""
    try:
        identity = uuid.UUID(str(token.get(SESSION_CLAIM)))
    except ValueError:
        raise BadToken from None
    session = ApiSession.objects.live(now).select_related("user").filter(id=identity).first()
    if session is None or not session.user.is_active or session.user.get_username() != token.get("sub"):
        raise BadToken
    return session


def start(user: Any, now: datetime) -> dict[str, Any]:
    """A new session's tokens."""
    refresh = RefreshToken.for_user(user)
    session = ApiSession.objects.create(user=user, refresh_id=refresh["jti"], expires_at=now + settings.JWT_EXPIRES_IN)
    return _pair(session, refresh, now)


def rotate(raw: str, now: datetime) -> dict[str, Any]:
    """New tokens for a refresh token, which can't be used again: whoever does ends the session. Raises BadToken."""
    used = read(RefreshToken, raw)
    session = session_of(used, now)
    refresh = RefreshToken.for_user(session.user)
    # One statement: of two uses at the same time, one finds another id.
    current = ApiSession.objects.live(now).filter(id=session.id, refresh_id=used["jti"])
    if not current.update(refresh_id=refresh["jti"], refreshed_at=now):
        revoke(session.id, now, REUSED)
        raise BadToken
    return _pair(session, refresh, now)


def revoke(session_id: uuid.UUID, now: datetime, why: str) -> None:
    """Ends a session, and with it all its tokens."""
    ApiSession.objects.filter(id=session_id, revoked_at=None).update(revoked_at=now, revoked_because=why)


def _pair(session: ApiSession, refresh: RefreshToken, now: datetime) -> dict[str, Any]:
    refresh[SESSION_CLAIM] = str(session.id)
    refresh["exp"] = int(session.expires_at.timestamp())
    access: AccessToken = refresh.access_token
    expires_at = min(now + access.lifetime, session.expires_at)
    access["exp"] = int(expires_at.timestamp())
    return {
        "address": session.user.get_username(),
        "token_type": "Bearer",
        "access": str(access),
        "expires_at": expires_at,
        "refresh": str(refresh),
        "refresh_expires_at": session.expires_at,
    }
