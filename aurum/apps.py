from django.apps import AppConfig
from django.conf import settings

from aurum import sentry, tracing


class AurumConfig(AppConfig):
    name = "aurum"

    def ready(self) -> None:
        about = {"environment": settings.ENVIRONMENT, "release": settings.VERSION}
        if settings.SENTRY_DSN:
            sentry.start(settings.SENTRY_DSN, settings.REDACTOR, **about)
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            tracing.start(settings.OTEL_EXPORTER_OTLP_ENDPOINT, settings.REDACTOR, **about)
