"""The cache: Redis where `REDIS_URL` names one, this process' memory without it and while it does not answer."""

import logging
import pickle
import time
from functools import cache
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

TIMEOUT = 0.5  # seconds for connecting to Redis, and for an answer
REST = 5.0  # seconds that Redis is left alone after a failure: each request would wait for it
LOCAL_ENTRIES = 100_000  # above them the ones that were used least recently are dropped


class LocalCache(LocMemCache):
    """What this process remembers."""

    def publish(self, channel: str) -> None:
        """Nobody else could hear it."""

    def hit(self: Any, key: str, seconds: float, amount: int = 1) -> tuple[int, float]:
        """Counts under this key, from nothing on: the count, and the seconds until it is forgotten.

        They are `seconds` from the first hit on; later ones do not prolong them.
        """
        key = self.make_key(key)  # to validate one looks at each of its characters
        with self._lock:
            if self._has_expired(key):
                self._set(key, pickle.dumps(0), seconds)
            count = pickle.loads(self._cache[key]) + amount  # noqa: S301 (it is our own)
            self._cache[key] = pickle.dumps(count)
            self._cache.move_to_end(key, last=False)
            return count, self._expire_info[key] - time.time()


class SharedCache(RedisCache):
    """What all processes remember."""

    def publish(self, channel: str) -> None:
        self._cache.get_client(None, write=True).publish(channel, "")

    def hit(self, key: str, seconds: float, amount: int = 1) -> tuple[int, float]:
        """As LocalCache.hit, in one exchange."""
        key = self.make_and_validate_key(key)
        with self._cache.get_client(key, write=True).pipeline(transaction=True) as pipeline:
            pipeline.set(key, 0, px=round(seconds * 1000), nx=True)
            pipeline.incrby(key, amount)
            pipeline.pttl(key)
            _, count, milliseconds = pipeline.execute()
        return count, milliseconds / 1000


class Server:
    """A Redis server, and whether it is worth asking. One for each process: Django makes a cache for each request."""

    def __init__(self, url: str, params: dict[str, Any]) -> None:
        # Once more, because the server closes connections that nobody used for long.
        options = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 1)}
        self.cache = SharedCache(url, params | {"OPTIONS": options})
        self._is_down = False
        self._rests_until = 0.0

    def usable(self) -> bool:
        return time.monotonic() >= self._rests_until

    def answered(self) -> None:
        if self._is_down:
            self._is_down = False
            logger.warning("Redis answers again")

    def failed(self, error: Exception) -> None:
        self._rests_until = time.monotonic() + REST
        if not self._is_down:
            self._is_down = True
            logger.error("Redis does not answer, each process counts for itself until it does: %s", error)


@cache
def server(url: str, prefix: str) -> Server:
    return Server(url, {"KEY_PREFIX": prefix})


class Cache(BaseCache):
    """Django's cache backend. `LOCATION` is the URL of a Redis server, or empty."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._local = LocalCache(location, params | {"OPTIONS": {"MAX_ENTRIES": LOCAL_ENTRIES}})
        self._server = server(location, self.key_prefix) if location else None

    def hit(self, key: str, seconds: float, amount: int = 1) -> tuple[int, float]:
        """Counts under this key, from nothing on: the count, and the seconds until it is forgotten."""
        return self._asked("hit", key, seconds, amount)

    def publish(self, channel: str) -> None:
        """Wakes whoever listens to a channel of Redis, where there is one. It may be lost."""
        self._asked("publish", channel)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        return self._asked("add", key, value, timeout, version)

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return self._asked("get", key, default, version)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        self._asked("set", key, value, timeout, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        return self._asked("touch", key, timeout, version)

    def delete(self, key: Any, version: Any = None) -> bool:
        return self._asked("delete", key, version)

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        """A count that is not there starts: Redis may have gone with it since it was added."""
        try:
            return self._asked("incr", key, delta, version)
        except ValueError:
            self.add(key, delta, version=version)
            return delta

    def clear(self) -> None:
        self._asked("clear")

    def _asked(self, method: str, *arguments: Any) -> Any:
        if self._server is not None and self._server.usable():
            try:
                answer = getattr(self._server.cache, method)(*arguments)
            except (RedisError, OSError) as error:
                self._server.failed(error)
            else:
                self._server.answered()
                return answer
        return getattr(self._local, method)(*arguments)
