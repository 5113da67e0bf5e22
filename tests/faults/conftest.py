"""Servers that tests of this folder start, and may kill."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import Server


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers, by name and command line, and ends them at the end."""
    made: list[Server] = []

    def make(name: str, *options: str) -> Server:
        made.append(Server(tmp_path / name, *options))
        return made[-1]

    yield make
    for server in made:
        server.stop()
