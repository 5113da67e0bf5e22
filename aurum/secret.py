"""PURE. Values that nothing prints: a key, and URLs that hold one."""

from typing import Any, NoReturn
from urllib.parse import urlsplit

SHOWN = "[secret]"


class Secret:
    """A text that only `reveal` tells: not repr, str, format, vars, json or pickle, and so no log and no traceback."""

    __slots__ = ("_open",)

    def __init__(self, value: str) -> None:
        self._open = lambda: value

    def reveal(self) -> str:
        return self._open()

    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return SHOWN

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: Any) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is not pickled")


class SecretUrl(str):
    """A URL for those who connect to it. Whoever prints it by its repr, as tracebacks and lists do, sees the host."""

    __slots__ = ()

    def __repr__(self) -> str:
        parts = urlsplit(str(self))
        return f"'{parts.scheme}://{parts.hostname}/…'"

    def __deepcopy__(self, memo: Any) -> "SecretUrl":
        return self
