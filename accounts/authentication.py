"""Who asks the API: `Authorization: Bearer …`, or a session of the admin."""

from typing import Any

from django.utils import timezone
from drf_spectacular.authentication import SessionScheme
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework import exceptions
from rest_framework.authentication import SessionAuthentication
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import AccessToken, Token

from accounts import tokens
from operators import second_factor


class TokenAuthentication(JWTAuthentication):
    """An access token of a live session, whose user is there and not disabled. `request.auth` is the ApiSession."""

    www_authenticate_realm = "aurum"

    def authenticate(self, request: Any) -> Any:
        try:
            found: Any = super().authenticate(request)
        except (tokens.BadToken, exceptions.AuthenticationFailed):
            raise exceptions.AuthenticationFailed("The access token is invalid, has expired or was revoked.") from None
        return None if found is None else (found[0].user, found[0])

    def get_validated_token(self, raw_token: bytes) -> Token:
        return tokens.read(AccessToken, raw_token)

    def get_user(self, validated_token: Token) -> Any:
        """The session: the user comes with it."""
        return tokens.session_of(validated_token, timezone.now())


class StaffSession(SessionAuthentication):
    """A session of the admin, whose user has shown a second factor where one is asked for."""

    def authenticate(self, request: Any) -> Any:
        found: Any = super().authenticate(request)
        return found if found is not None and second_factor.passed(found[0]) else None


class TokenScheme(SimpleJWTScheme):
    """For the OpenAPI document."""

    target_class = "accounts.authentication.TokenAuthentication"


class StaffScheme(SessionScheme):
    """For the OpenAPI document."""

    target_class = "accounts.authentication.StaffSession"
