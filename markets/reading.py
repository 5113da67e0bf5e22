"""What the API's read views share: ids in paths, the block that an answer is true at, and conditional requests."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_etags
from rest_framework import exceptions
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aurum.parameters import HEX, UUID_FORM, Parameter, read_parameters
from aurum.problems import UNAVAILABLE, database_unavailable, problem_response
from aurum.sources import MIN_BLOCK, seen_block
from aurum.throttling import admit
from markets.models import Checkpoint, CollateralToken
from markets.pages import (
    Answer,
    Listing,
    Plan,
    Position,
    Rows,
    carried_out,
    current_position,
    one_snapshot,
    seen_by_client,
)


def by_id(value: str, chain_field: str) -> Q:
    """A row by its UUID or by its 32-byte id on chain; any other form is 400."""
    if UUID_FORM.fullmatch(value):
        return Q(id=uuid.UUID(value))
    if HEX[32].fullmatch(value):
        return Q(**{chain_field: value.lower()})
    raise exceptions.ValidationError({"id": ["Must be a UUID, or 0x and 64 hexadecimal digits."]})


def market_ids(id: str) -> dict[str, str | None]:
    """A market in a path, by its UUID or marketId, as values of a statement; any other form is 400."""
    by_uuid = UUID_FORM.fullmatch(id) is not None
    if not by_uuid and not HEX[32].fullmatch(id):
        raise exceptions.ValidationError({"id": ["Must be a UUID, or 0x and 64 hexadecimal digits."]})
    return {"uuid": id if by_uuid else None, "market_id": None if by_uuid else id.lower()}


def address_of(address: str) -> dict[str, str]:
    """An address in a path as a value of a statement; a malformed one is 400."""
    if not HEX[20].fullmatch(address):
        raise exceptions.ValidationError({"address": ["Must be 0x and 40 hexadecimal digits."]})
    return {"address": address.lower()}


def stamp(request: HttpRequest, response: HttpResponse, position: Position) -> HttpResponse:
    """The answer with where in the chain it stands; 304 where the client has it already."""
    if position.block_number is None or response.status_code != 200:
        return response
    offered = request.META.get("HTTP_IF_NONE_MATCH")
    if offered and position.etag in parse_etags(offered):
        response = HttpResponseNotModified()
    response["ETag"] = position.etag
    response["X-Indexed-Block"] = str(position.block_number)
    # Kept by browsers and caches, and asked for again each time.
    response["Cache-Control"] = "no-cache"
    patch_vary_headers(response, ("Accept-Encoding", "Origin"))
    return response


def _seen_block(request: HttpRequest) -> int:
    """The last block that the client says it has seen. Raises ValidationError."""
    headers = (request.META.get(name, "").encode() for name in ("HTTP_X_MIN_BLOCK", "HTTP_IF_NONE_MATCH"))
    try:
        return seen_block(*headers)
    except ValueError as error:
        raise exceptions.ValidationError({MIN_BLOCK: [str(error)]}) from error


class ReadView(APIView):
    """A public answer that PostgreSQL writes. Without credentials it needs little of what DRF does for a request, and
    may be read on a replica; whoever signs in may have written what the replica does not have yet.
    """

    # There is nothing but GET here: whoever tries to write hears 405, not to sign in.
    permission_classes = (AllowAny,)
    # What the path says, as values of the statement.
    path_values: ClassVar[Callable[..., Mapping[str, Any]]] = staticmethod(dict)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if (
            request.method not in ("GET", "HEAD")
            or "HTTP_AUTHORIZATION" in request.META
            or settings.SESSION_COOKIE_NAME in request.COOKIES
        ):
            return super().dispatch(request, *args, **kwargs)
        try:
            admit(request)
            with seen_by_client(_seen_block(request)):
                return self.get(request, **kwargs)
        except Exception as error:
            response = problem_response(error)
            if response is None:
                raise
            return response

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        _seen_block(request)  # the primary has seen as much as anybody; what is no block is refused all the same

    def get(self, request: Any, **path: str) -> HttpResponse:
        position, body = self.answer(request, self.path_values(**path))
        return stamp(request, HttpResponse(body, content_type="application/json"), position)

    def plan(self, request: HttpRequest, values: Mapping[str, Any]) -> Plan | None:
        """How the answer is read, for these values of the path; None where it takes more than one statement."""
        return None

    def answer(self, request: HttpRequest, values: Mapping[str, Any]) -> Answer:
        """The answer, for these values of the path."""
        plan = self.plan(request, values)
        if plan is None:
            raise NotImplementedError
        return carried_out(plan)


class ObjectView(ReadView):
    """One object."""

    rows: Rows
    parameters: ClassVar[dict[str, Parameter]] = {}

    def plan(self, request: HttpRequest, values: Mapping[str, Any]) -> Plan | None:
        return self.rows.plan({**values, **read_parameters(request.GET, self.parameters)})


class ListView(ReadView):
    """A list in pages."""

    listing: Listing

    @property
    def parameters(self) -> dict[str, Parameter]:
        return self.listing.parameters

    def plan(self, request: HttpRequest, values: Mapping[str, Any]) -> Plan | None:
        return self.listing.page(request, values)


class ChainReadMixin:
    """A view whose answers carry `X-Indexed-Block`, and which refuses parameters that it does not have."""

    # There is nothing but GET here: whoever tries to write hears 405, not to sign in.
    permission_classes = (AllowAny,)
    ordering: tuple[str, ...] = ()
    parameters: ClassVar[dict[str, Parameter]] = {}
    # Whether it changes with the indexed block alone.
    versioned = True

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        return Checkpoint.objects.first()

    @cached_property
    def chain_time(self) -> datetime:
        """The indexed block's time."""
        return Checkpoint.chain_time(self.checkpoint)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Reads everything of one answer at one moment: a commit in between must not make half of it newer."""
        try:
            with one_snapshot():
                return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except UNAVAILABLE as error:
            return database_unavailable(request, error)

    def get_ordering(self) -> tuple[str, ...]:
        """The keyset of the list, for the pagination."""
        return self.ordering

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if self.versioned:
            _seen_block(request)  # as ReadView does
        self.asked = read_parameters(request.query_params, self.parameters)

    def get_serializer_context(self) -> dict[str, Any]:
        tokens = {token.address: token for token in CollateralToken.objects.all()}
        context = super().get_serializer_context()  # type: ignore[misc]
        return context | {
            "checkpoint": self.checkpoint,
            "chain_time": self.chain_time,
            "collateral_tokens": tokens,
        }

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if response.status_code >= 400:
            return response
        if self.versioned:
            # On the connection that the rest was read on, at the same moment.
            return stamp(request._request, response, current_position(DEFAULT_DB_ALIAS))
        if self.checkpoint is not None:
            response["X-Indexed-Block"] = str(self.checkpoint.block_number)
        return response
