"""/api/status and /api/indexer/status."""

import platform
from typing import Any

import django
from django.conf import settings
from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from indexer.status import read_status
from markets.models import Market, Trade
from markets.reading import ChainReadMixin


class EndpointSerializer(serializers.Serializer):
    """A node, by its host alone: its URL may hold a key. Latency in milliseconds."""

    host = serializers.CharField()
    healthy = serializers.BooleanField()
    quarantined_until = serializers.CharField(allow_null=True)
    failures = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    latency_ms = serializers.IntegerField(allow_null=True)


class IndexerStatusSerializer(serializers.Serializer):
    """How far the indexer is. Lag is in blocks, and in seconds of chain time."""

    state = serializers.ChoiceField(["running", "stopped"])
    chain_id = serializers.IntegerField()
    head_block = serializers.IntegerField(allow_null=True)
    indexed_block = serializers.IntegerField(allow_null=True)
    indexed_block_hash = serializers.CharField(allow_null=True)
    indexed_at = serializers.DateTimeField(allow_null=True)
    safe_block = serializers.IntegerField(allow_null=True)
    finalized_block = serializers.IntegerField(allow_null=True)
    lag_blocks = serializers.IntegerField(allow_null=True)
    lag_seconds = serializers.IntegerField(allow_null=True)
    events = serializers.IntegerField()
    failed_events = serializers.IntegerField()
    reorganisations = serializers.IntegerField()
    last_reorganisation_at = serializers.DateTimeField(allow_null=True)
    last_reorganisation_depth = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField(allow_null=True)
    last_error_at = serializers.DateTimeField(allow_null=True)
    heartbeat_at = serializers.DateTimeField(allow_null=True)
    endpoints = EndpointSerializer(many=True)


class StatusSerializer(serializers.Serializer):
    """The API, what it serves, and the indexer behind it."""

    status = serializers.ChoiceField(["operational", "degraded"])
    version = serializers.CharField()
    environment = serializers.CharField()
    versions = serializers.DictField(child=serializers.CharField())
    chain_id = serializers.IntegerField()
    contracts = serializers.DictField(child=serializers.CharField())
    markets = serializers.IntegerField()
    trades = serializers.IntegerField()
    indexer = IndexerStatusSerializer()


class IndexerStatusView(ChainReadMixin, GenericAPIView):
    """How far the indexer is."""

    serializer_class = IndexerStatusSerializer
    single = True

    def get(self, request: Request) -> Response:
        return Response(IndexerStatusSerializer(read_status()).data)


class StatusView(ChainReadMixin, GenericAPIView):
    """Versions, the chain and its contracts, and how far the indexer is."""

    serializer_class = StatusSerializer
    single = True

    @extend_schema(responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        indexer = read_status()
        status: dict[str, Any] = {
            "status": "operational" if indexer["state"] == "running" else "degraded",
            "version": settings.VERSION,
            "environment": settings.ENVIRONMENT,
            "versions": {
                "python": platform.python_version(),
                "django": django.get_version(),
                "postgresql": ".".join(map(str, divmod(connection.cursor().connection.info.server_version, 10000))),
            },
            "chain_id": indexer["chain_id"],
            "contracts": self.checkpoint.contracts if self.checkpoint else {},
            "markets": Market.objects.count(),
            "trades": Trade.objects.count(),
            "indexer": indexer,
        }
        return Response(StatusSerializer(status).data)
