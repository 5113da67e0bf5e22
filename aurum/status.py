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

from aurum.schema import example_of
from indexer.status import far_apart, read_status
from markets.models import Market, Trade
from markets.reading import ChainReadMixin

INDEXER: dict[str, Any] = {
    "state": "running",
    "stopReason": None,
    "chainId": 8453,
    "headBlock": 12345679,
    "headAt": "2026-01-31T12:35:00Z",
    "indexedBlock": 12345678,
    "indexedBlockHash": "0x" + "b1" * 32,
    "indexedAt": "2026-01-31T12:34:58Z",
    "safeBlock": 12345646,
    "finalizedBlock": 12345614,
    "lagBlocks": 1,
    "lagSeconds": 2,
    "events": 512345,
    "failedEvents": 0,
    "reorganisations": 1,
    "lastReorganisationAt": "2026-01-30T01:02:03Z",
    "lastReorganisationDepth": 1,
    "lastError": None,
    "lastErrorAt": None,
    "heartbeatAt": "2026-01-31T12:35:00Z",
    "endpoints": [
        {
            "host": "rpc.example",
            "healthy": True,
            "quarantinedUntil": None,
            "quarantines": 0,
            "failures": 0,
            "lastError": "",
            "latencyMs": 12,
        }
    ],
    "sinceStart": {
        "startedAt": "2026-01-31T00:00:00Z",
        "blocks": 22649,
        "events": 1234,
        "failedEvents": 0,
        "blocksPerSecond": 0.5,
        "eventsPerSecond": 0.25,
        "reorganisations": 0,
        "phaseSeconds": {"fetch": 4.5, "decode": 0.5, "apply": 1.25, "write": 2.25},
        "rpcRequests": [{"endpoint": "rpc.example", "method": "eth_getLogs", "outcome": "ok", "count": 22649}],
    },
}
STATUS = {
    "status": "operational",
    "version": settings.VERSION,
    "environment": "production",
    "versions": {"python": "3.12.4", "django": "5.2.19", "postgresql": "16.3"},
    "chainId": 8453,
    "contracts": {"MarketFactory": "0x" + "fa" * 20, "AurumOracle": "0x" + "0a" * 20},
    "markets": 120,
    "trades": 34567,
    "indexer": INDEXER,
}


class EndpointSerializer(serializers.Serializer):
    """A node, by its host alone: its URL may hold a key. Latency in milliseconds; quarantines since the start."""

    host = serializers.CharField()
    healthy = serializers.BooleanField()
    quarantined_until = serializers.CharField(allow_null=True)
    quarantines = serializers.IntegerField(default=0)
    failures = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    latency_ms = serializers.IntegerField(allow_null=True)


class PhaseSecondsSerializer(serializers.Serializer):
    """Where the time of committed batches went."""

    fetch = serializers.FloatField()
    decode = serializers.FloatField()
    apply = serializers.FloatField()
    write = serializers.FloatField()


class RpcRequestsSerializer(serializers.Serializer):
    """HTTP requests to a node by the first method in them. The outcome is `ok` or the kind of error."""

    endpoint = serializers.CharField()
    method = serializers.CharField()
    outcome = serializers.CharField()
    count = serializers.IntegerField()


class SinceStartSerializer(serializers.Serializer):
    """What the indexer's process has done since it started. Rates are those of the last minute."""

    started_at = serializers.CharField()
    blocks = serializers.IntegerField()
    events = serializers.IntegerField()
    failed_events = serializers.IntegerField()
    blocks_per_second = serializers.FloatField()
    events_per_second = serializers.FloatField()
    reorganisations = serializers.IntegerField()
    phase_seconds = PhaseSecondsSerializer()
    rpc_requests = RpcRequestsSerializer(many=True)


@example_of("Following the chain", INDEXER)
class IndexerStatusSerializer(serializers.Serializer):
    """How far the indexer is. Lag is in blocks, and in seconds of chain time."""

    state = serializers.ChoiceField(["running", "stopped"])
    stop_reason = serializers.CharField(allow_null=True, help_text="Why it ended and must not go on by itself.")
    chain_id = serializers.IntegerField()
    head_block = serializers.IntegerField(allow_null=True)
    head_at = serializers.DateTimeField(allow_null=True)
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
    since_start = SinceStartSerializer(allow_null=True)


@example_of("In order", STATUS)
class StatusSerializer(serializers.Serializer):
    """The API, what it serves, and the indexer behind it."""

    status = serializers.ChoiceField(
        ["operational", "degraded"], help_text="Degraded, as in /health: the indexer is stopped, or far behind."
    )
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
    versioned = False

    def get(self, request: Request) -> Response:
        return Response(IndexerStatusSerializer(read_status()).data)


class StatusView(ChainReadMixin, GenericAPIView):
    """Versions, the chain and its contracts, and how far the indexer is."""

    serializer_class = StatusSerializer
    versioned = False

    @extend_schema(responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        indexer = read_status()
        is_behind = far_apart(indexer["head_block"], indexer["indexed_block"])
        status: dict[str, Any] = {
            "status": "operational" if indexer["state"] == "running" and not is_behind else "degraded",
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
