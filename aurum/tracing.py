"""Traces to OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set: requests and their statements, without secrets.

A trace that begins here has its request's id as its own, where that has a trace id's form, as ours have. Each span of
a request says `requestId`.
"""

import re
from collections.abc import Sequence
from typing import Any

from aurum.extras import wanted_by
from aurum.log_context import current_request_id, log_fields
from aurum.redaction import Redactor

REQUIREMENTS = "requirements-otel.txt"
SETTING = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
URLS = frozenset({"http.url", "http.target", "url.full"})
# What people put secrets into.
DROPPED = frozenset({"url.query", "db.statement.parameters"})


def start(endpoint: str, redactor: Redactor, *, environment: str, release: str, exporter: Any = None) -> Any:
    """Traces Django and psycopg from now on, to `endpoint`/v1/traces or the exporter. Returns the provider."""
    wanted_by(SETTING, "opentelemetry.sdk.trace", REQUIREMENTS)
    django = wanted_by(SETTING, "opentelemetry.instrumentation.django", REQUIREMENTS)
    psycopg = wanted_by(SETTING, "opentelemetry.instrumentation.psycopg", REQUIREMENTS)
    otlp = wanted_by(SETTING, "opentelemetry.exporter.otlp.proto.http.trace_exporter", REQUIREMENTS)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {"service.name": "aurum", "service.version": release, "deployment.environment": environment}
    provider = TracerProvider(resource=Resource.create(named), id_generator=_id_generator())
    exporter = exporter or otlp.OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(_named())
    provider.add_span_processor(BatchSpanProcessor(_redacting(exporter, redactor)))
    # Behind RequestIdMiddleware, which is first.
    django.DjangoInstrumentor().instrument(tracer_provider=provider, middleware_position=1)
    psycopg.PsycopgInstrumentor().instrument(tracer_provider=provider)
    return provider


def _id_generator() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class RequestsId(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            request_id = current_request_id.get()
            return int(request_id, 16) if TRACE_ID.fullmatch(request_id) else super().generate_trace_id()

    return RequestsId()


def _named() -> Any:
    from opentelemetry.sdk.trace import SpanProcessor

    class Named(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            for name, value in log_fields().items():
                span.set_attribute(name, str(value))

    return Named()


def _redacting(exporter: Any, redactor: Redactor) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Redacting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result: SpanExportResult = exporter.export([_clean(span, redactor) for span in spans])
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return bool(exporter.force_flush(timeout_millis))

    return Redacting()


def _clean(span: Any, redactor: Redactor) -> Any:
    """A copy: spans are not to be changed when they have ended."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Status

    return ReadableSpan(
        name=redactor.text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes, redactor),
        events=[Event(each.name, _attributes(each.attributes, redactor), each.timestamp) for each in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, redactor.text(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Any, redactor: Redactor) -> dict[str, Any]:
    shown = {name: value for name, value in (attributes or {}).items() if name not in DROPPED}
    for name in URLS & shown.keys():
        shown[name] = str(shown[name]).partition("?")[0]
    clean: dict[str, Any] = redactor.value(shown)
    return clean
