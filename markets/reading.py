"""What the API's read views share: the checkpoint that an answer is true at, and ids in paths."""

import re
import uuid
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from rest_framework import exceptions
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from aurum.filters import refuse_unknown
from aurum.problems import UNAVAILABLE, database_unavailable
from markets.models import Checkpoint, CollateralToken

UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
BYTES32_FORM = re.compile(r"0x[0-9a-fA-F]{64}")


def by_id(value: str, chain_field: str) -> Q:
    """A row by its UUID or by its 32-byte id on chain; any other form is 400."""
    if UUID_FORM.fullmatch(value):
        return Q(id=uuid.UUID(value))
    if BYTES32_FORM.fullmatch(value):
        return Q(**{chain_field: value.lower()})
    raise exceptions.ValidationError({"id": ["Must be a UUID, or 0x and 64 hexadecimal digits."]})


class ChainReadMixin:
    """A view whose answers carry `X-Indexed-Block`, and which refuses parameters that it does not have."""

    # There is nothing but GET here: whoever tries to write hears 405, not to sign in.
    permission_classes = (AllowAny,)
    ordering: tuple[str, ...] = ()
    # Whether the answer is one object: then no query parameter is known. Lists leave the check to their filters.
    single = False

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        return Checkpoint.objects.first()

    @cached_property
    def chain_time(self) -> datetime:
        """The indexed block's time."""
        return Checkpoint.chain_time(self.checkpoint)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Reads everything of one answer at one moment: a commit in between must not make half of it newer."""
        if connection.in_atomic_block:
            return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except UNAVAILABLE as error:
            return database_unavailable(request, error)

    def get_ordering(self) -> tuple[str, ...]:
        """The keyset of the list, for the pagination."""
        return self.ordering

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        if self.single:
            refuse_unknown(request, set())

    def get_serializer_context(self) -> dict[str, Any]:
        tokens = {token.address: token for token in CollateralToken.objects.all()}
        context = super().get_serializer_context()  # type: ignore[misc]
        return context | {
            "checkpoint": self.checkpoint,
            "chain_time": self.chain_time,
            "collateral_tokens": tokens,
        }

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if response.status_code < 400 and self.checkpoint is not None:
            response["X-Indexed-Block"] = str(self.checkpoint.block_number)
        return response
