"""A plain HTTP client that costs little: threads with a kept-alive connection each, for servers on this machine."""

import socket
import threading
from collections.abc import Sequence
from time import perf_counter

HOST = "127.0.0.1"
CONNECTIONS = 4


class Refused(Exception):
    """The server answered with something else than 200."""


def load(port: int, paths: Sequence[str], requests: int, connections: int = CONNECTIONS) -> list[float]:
    """Asks for `paths` in turn, so many times in all, and returns what each answer took, in seconds."""
    seconds: list[float] = []
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            with socket.create_connection((HOST, port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for number in range(first, requests, connections):
                    started = perf_counter()
                    _ask(connection, paths[number % len(paths)])
                    seconds.append(perf_counter() - started)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return seconds


def _ask(connection: socket.socket, path: str) -> None:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise Refused(f"{path}: {head[:200].decode()}")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    missing = int(headers[b"content-length"]) - len(body)
    while missing > 0:
        missing -= len(_received(connection))


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(2**18)
    if not data:
        raise Refused("the server closed the connection")
    return data
