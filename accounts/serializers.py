"""Bodies and answers of sign-in, `/api/me` and the watchlist."""

from rest_framework import serializers

from accounts.messages import LONGEST_MESSAGE
from accounts.tokens import LONGEST_TOKEN
from aurum import sqljson
from aurum.bodies import StrictSerializer
from aurum.schema import example_of
from markets.examples import MARKET
from markets.serializers import MarketSerializer

LONGEST_SIGNATURE = 16_384  # characters; that of a wallet which is not deployed yet holds how to deploy it


class NonceSerializer(serializers.Serializer):
    nonce = serializers.CharField()
    expires_at = serializers.DateTimeField()


class SignedMessageSerializer(StrictSerializer):
    """A Sign-In with Ethereum message (EIP-4361) as it was signed, and the signature."""

    message = serializers.CharField(min_length=1, max_length=LONGEST_MESSAGE, trim_whitespace=False)
    signature = serializers.RegexField(
        r"\A0x(?:[0-9a-fA-F]{2})*\Z",
        max_length=LONGEST_SIGNATURE,
        trim_whitespace=False,
        error_messages={"invalid": "Must be 0x and hexadecimal digits, two for each byte."},
    )


class RefreshTokenSerializer(StrictSerializer):
    """A refresh token as `verify` or `refresh` gave it."""

    refresh = serializers.CharField(min_length=1, max_length=LONGEST_TOKEN, trim_whitespace=False)


class TokensSerializer(serializers.Serializer):
    """`access` goes into `Authorization: Bearer …`; `refresh` gets the next pair, once."""

    address = serializers.CharField()
    token_type = serializers.CharField()
    access = serializers.CharField()
    expires_at = serializers.DateTimeField()
    refresh = serializers.CharField()
    refresh_expires_at = serializers.DateTimeField(help_text="The session's end: refreshing does not put it off.")


class MeSerializer(serializers.Serializer):
    address = serializers.CharField(allow_null=True, help_text="Null for an operator without one.")
    username = serializers.CharField()
    is_staff = serializers.BooleanField()
    is_superuser = serializers.BooleanField()
    watchlist_count = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    session_expires_at = serializers.DateTimeField(allow_null=True, help_text="Null with a session cookie.")


@example_of("A market", MARKET | {"addedAt": "2026-02-01T09:00:00Z"})
class WatchedMarketSerializer(MarketSerializer):
    """A market as everywhere, and since when it is watched."""

    added_at = sqljson.Moment("w.added_at")
