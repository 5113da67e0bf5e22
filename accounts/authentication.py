"""`Authorization: Bearer …` on the API."""

from typing import Any

from django.utils import timezone
from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework import exceptions
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import AccessToken, Token

from accounts import tokens


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


class TokenScheme(SimpleJWTScheme):
    """For the OpenAPI document."""

    target_class = "accounts.authentication.TokenAuthentication"
