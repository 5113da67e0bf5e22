"""Servers that tests of this folder start, and may kill."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import Server


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    """Makes servers, by name and command line, and ends them at the end."""
    made: list[Server] = []
    # Not in tmp_path: whenever pytest starts, it closes that one's parent to other users, and a server may be one.
    with tempfile.TemporaryDirectory(prefix="servers-") as folder:

        def make(name: str, *options: str) -> Server:
            made.append(Server(Path(folder) / name, *options))
            return made[-1]

        yield make
        for server in made:
            server.stop()
