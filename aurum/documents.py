"""The OpenAPI and AsyncAPI documents, and the page that shows the first: everything on it is ours."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from aurum import asyncapi
from aurum.parameters import read_parameters


@cache
def _openapi() -> Mapping[str, Any]:
    schema: Mapping[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return schema


def _openapi_text() -> bytes:
    body: bytes = OpenApiJsonRenderer2().render(_openapi(), renderer_context={})
    return body


def _asyncapi_text() -> bytes:
    return json.dumps(
        asyncapi.document(settings.VERSION, _openapi()["components"]["schemas"]), separators=(",", ":")
    ).encode()


class DocumentView(APIView):
    """A document as application/json, which every tool knows, with an ETag: the same as long as the process runs."""

    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        read_parameters(request.query_params, {})
        body, etag = self._document()
        return HttpResponse(body, content_type="application/json", headers={"ETag": etag})

    @classmethod
    @cache
    def _document(cls) -> tuple[bytes, str]:
        body = cls.text()
        return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    @staticmethod
    def text() -> bytes:
        """The document."""
        raise NotImplementedError


class OpenApiView(DocumentView):
    text = staticmethod(_openapi_text)


class AsyncApiView(DocumentView):
    text = staticmethod(_asyncapi_text)


class PageView(SpectacularSwaggerSplitView):
    """Swagger UI. Its own script comes by `?script`, so that neither script nor style stands in the page."""

    template_name = "docs.html"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        return super().get(request, *args, **kwargs)
