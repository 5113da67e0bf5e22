"""PATCH of a market's metadata, by its creator or by staff."""

from typing import Any

from django.core.validators import URLValidator
from django.db import transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aurum.bodies import StrictSerializer
from aurum.parameters import MARKET_ID, read_parameters
from aurum.schema import problems
from markets.examples import METADATA
from markets.metadata import FIELDS, edit, edit_as_staff, values
from markets.models import Market
from markets.reading import by_id
from markets.serializers import MetadataSerializer

PERMISSION = "markets.change_marketmetadata"  # of operators, as in the admin


class MetadataEditSerializer(StrictSerializer):
    """What to change; what is left out stays, and an empty text removes."""

    category = serializers.CharField(max_length=64, allow_blank=True, required=False)
    description = serializers.CharField(max_length=10_000, allow_blank=True, required=False)
    image_url = serializers.CharField(
        max_length=500,
        allow_blank=True,
        required=False,
        validators=[URLValidator(schemes=["https"], message="Must be a URL that starts with https://.")],
    )
    resolution_source = serializers.CharField(max_length=500, allow_blank=True, required=False)
    reason = serializers.CharField(
        max_length=1_000,
        allow_blank=True,
        required=False,
        help_text="Why an operator changes it: for the audit, never shown. A creator needs none, and none is kept.",
    )


class MarketMetadataView(APIView):
    """What people say of a market."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(
        parameters=[MARKET_ID],
        request=MetadataEditSerializer,
        responses={200: MetadataSerializer}
        | problems(400, 401, 404, 413, 415, s403="Only the market's creator and operators may edit its metadata."),
        examples=[
            OpenApiExample("Metadata", METADATA, response_only=True),
            OpenApiExample("An edit", METADATA | {"reason": "The question names no place."}, request_only=True),
        ],
    )
    def patch(self, request: Request, id: str) -> Response:
        """Changes a market's metadata. For its creator, signed in with that address, and for operators."""
        read_parameters(request.query_params, {})
        market = get_object_or_404(Market.objects.only("market_id", "creator"), by_id(id, "market_id"))
        user: Any = request.user
        if user.get_username() != market.creator and not (user.is_staff and user.has_perm(PERMISSION)):
            raise exceptions.PermissionDenied("Only the market's creator and operators may edit its metadata.")
        body = MetadataEditSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        changes: dict[str, str] = {**body.validated_data}
        reason = changes.pop("reason", "")
        if user.get_username() == market.creator:
            metadata = edit(market.market_id, changes, by=user.get_username())
            return Response({name: getattr(metadata, name) for name in FIELDS})
        with transaction.atomic():
            edit_as_staff(request._request, market.market_id, changes, reason)
            return Response(values(market.market_id))
