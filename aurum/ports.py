"""TCP ports of this host: a free one, and one line where a port is taken, before anything starts."""

import socket
import sys


def free_or_exit(host: str, port: int, variable: str) -> None:
    """Exits with 1 and a clear line where nothing can listen on the port. `variable` names what to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sys.exit(f"port {port} on {host} can't be used ({error.strerror}): stop what uses it, or set {variable}")


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
