"""REST endpoints of sign-in, and of what is a user's own."""

import re
from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import RefreshToken

from accounts import listings, messages, serializers, sign_in, tokens, wallets, watchlist
from accounts.models import ApiSession, WatchedMarket
from aurum.parameters import HEX, MARKET_ID, Parameter, read_parameters
from aurum.schema import page_of, problems
from markets.models import Market
from markets.pages import carried_out
from markets.reading import by_id

ADDRESS_FORM = re.compile(r"0x[0-9a-f]{40}")
LOGGED_OUT = "signed out"

EXAMPLE_NONCE = OpenApiExample(
    "A nonce", {"nonce": "5f0c8a52a1b04d0f93c1e7ab", "expiresAt": "2026-01-01T00:05:00Z"}, response_only=True
)
EXAMPLE_SIGNED = OpenApiExample(
    "A signed message",
    {
        "message": (
            "app.aurumlabs.io wants you to sign in with your Ethereum account:\n"
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\n\nSign in to Aurum.\n\nURI: https://app.aurumlabs.io\n"
            "Version: 1\nChain ID: 8453\nNonce: 5f0c8a52a1b04d0f93c1e7ab\nIssued At: 2026-01-01T00:00:10.000Z"
        ),
        "signature": "0x" + "5b" * 64 + "1c",
    },
    request_only=True,
)
EXAMPLE_TOKENS = OpenApiExample(
    "Tokens",
    {
        "address": "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "tokenType": "Bearer",
        "access": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
        "expiresAt": "2026-01-01T00:15:10Z",
        "refresh": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
        "refreshExpiresAt": "2026-01-08T00:00:10Z",
    },
    response_only=True,
)
EXAMPLE_REFRESH = OpenApiExample(
    "A refresh token", {"refresh": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…"}, request_only=True
)


class SignInRefused(exceptions.APIException):
    """401 of endpoints that no token opens; DRF's own becomes 403 there."""

    status_code = 401
    auth_header = 'Bearer realm="aurum"'  # DRF's exception handler sends it


class NodeUnavailable(exceptions.APIException):
    status_code = 503
    default_detail = "The wallet can't be checked at the moment. Ask for a new nonce and try again."
    wait = 5  # seconds


class WatchlistFull(exceptions.APIException):
    status_code = 409


class PrivateMixin:
    """Answers that no cache may keep."""

    parameters: Mapping[str, Parameter] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        read_parameters(request.query_params, self.parameters)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        response["Cache-Control"] = "no-store"
        return response


class SignInView(PrivateMixin, APIView):
    """A step of signing in or out. A stale token in the header must not stand in its way, and its limit is its own."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()


class NonceView(SignInView):
    """A nonce for one sign-in, within five minutes."""

    @extend_schema(request=None, responses={200: serializers.NonceSerializer} | problems(400), examples=[EXAMPLE_NONCE])
    def post(self, request: Request) -> Response:
        nonce = sign_in.new_nonce(timezone.now())
        body = {"nonce": nonce.value, "expires_at": nonce.expires_at}
        return Response(serializers.NonceSerializer(body).data)


class VerifyView(SignInView):
    """Signs in with a signed message (EIP-4361). Its nonce is used up, unless the message itself is refused.

    Contract wallets vouch by EIP-1271, those that are not deployed yet by EIP-6492.
    """

    @extend_schema(
        request=serializers.SignedMessageSerializer,
        responses={200: serializers.TokensSerializer}
        | problems(400, 413, 415, 503, s401="The signature is not of this address."),
        examples=[EXAMPLE_SIGNED, EXAMPLE_TOKENS],
    )
    def post(self, request: Request) -> Response:
        body = serializers.SignedMessageSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            signed = body.validated_data
            pair = sign_in.sign_in(signed["message"], signed["signature"], timezone.now())
        except messages.Malformed as error:
            raise exceptions.ValidationError({"message": [str(error)]}) from None
        except messages.Refused as error:
            raise SignInRefused(str(error)) from None
        except wallets.NodeUnavailable:
            raise NodeUnavailable from None
        return Response(serializers.TokensSerializer(pair).data)


class RefreshView(SignInView):
    """New tokens for a refresh token. Each is good once: using one again ends the session."""

    @extend_schema(
        request=serializers.RefreshTokenSerializer,
        responses={200: serializers.TokensSerializer}
        | problems(400, 413, 415, s401="The refresh token is invalid, has expired or was used before."),
        examples=[EXAMPLE_REFRESH, EXAMPLE_TOKENS],
    )
    def post(self, request: Request) -> Response:
        body = serializers.RefreshTokenSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            pair = tokens.rotate(body.validated_data["refresh"], timezone.now())
        except tokens.BadToken:
            raise SignInRefused("The refresh token is invalid, has expired or was used before.") from None
        return Response(serializers.TokensSerializer(pair).data)


class LogoutView(SignInView):
    """Ends the session of a refresh token, and all its tokens with it."""

    @extend_schema(
        request=serializers.RefreshTokenSerializer,
        responses={204: None} | problems(400, 413, 415, s401="The refresh token is invalid or its session has ended."),
        examples=[EXAMPLE_REFRESH],
    )
    def post(self, request: Request) -> Response:
        body = serializers.RefreshTokenSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        now = timezone.now()
        try:
            session = tokens.session_of(tokens.read(RefreshToken, body.validated_data["refresh"]), now)
        except tokens.BadToken:
            raise SignInRefused("The refresh token is invalid or its session has ended.") from None
        tokens.revoke(session.id, now, LOGGED_OUT)
        return Response(status=204)


class MeView(PrivateMixin, APIView):
    """Who is signed in."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(
        responses={200: serializers.MeSerializer} | problems(400, 401),
        examples=[
            OpenApiExample(
                "A user",
                {
                    "address": "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
                    "username": "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
                    "isStaff": False,
                    "isSuperuser": False,
                    "watchlistCount": 3,
                    "createdAt": "2026-01-01T00:00:10Z",
                    "sessionExpiresAt": "2026-01-08T00:00:10Z",
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        user: Any = request.user
        name = user.get_username()
        body = {
            "address": name if ADDRESS_FORM.fullmatch(name) else None,
            "username": name,
            "is_staff": user.is_staff,
            "is_superuser": user.is_superuser,
            "watchlist_count": WatchedMarket.objects.filter(user=user).count(),
            "created_at": user.date_joined,
            "session_expires_at": request.auth.expires_at if isinstance(request.auth, ApiSession) else None,
        }
        return Response(serializers.MeSerializer(body).data)


class WatchlistView(PrivateMixin, APIView):
    """The markets that the user watches, the last added first. One that is not indexed at the moment is left out."""

    permission_classes = (IsAuthenticated,)
    listing = listings.watchlist
    parameters = listing.parameters

    @extend_schema(
        responses={200: page_of(serializers.WatchedMarketSerializer)} | problems(400, 401),
    )
    def get(self, request: Request) -> HttpResponse:
        position, body = carried_out(self.listing.page(request._request, {"user": request.user.pk}))
        response = HttpResponse(body, content_type="application/json")
        if position.block_number is not None:
            response["X-Indexed-Block"] = str(position.block_number)
        return response


@extend_schema(parameters=[MARKET_ID])
class WatchedMarketView(PrivateMixin, APIView):
    """One market on the user's watchlist."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(
        request=None,
        responses={204: None}
        | problems(400, 401, 404, s409=f"A watchlist holds at most {watchlist.LONGEST_WATCHLIST} markets."),
    )
    def put(self, request: Request, id: str) -> Response:
        """Puts a market on the watchlist. It may be there already."""
        market = get_object_or_404(Market.objects.only("market_id"), by_id(id, "market_id"))
        try:
            watchlist.watch(request.user, market.market_id)
        except watchlist.WatchlistFull as error:
            raise WatchlistFull(str(error)) from None
        return Response(status=204)

    @extend_schema(request=None, responses={204: None} | problems(400, 401, 404))
    def delete(self, request: Request, id: str) -> Response:
        """Takes a market off the watchlist. It need not be on it; nor be indexed, where its marketId names it."""
        market = Market.objects.only("market_id").filter(by_id(id, "market_id")).first()
        market_id = market.market_id if market else id.lower() if HEX[32].fullmatch(id) else None
        was_there = market_id is not None and watchlist.unwatch(request.user, market_id)
        if not was_there and market is None:
            raise Http404
        return Response(status=204)
