"""Anvil, the development chain's node, as an object: start, address, stop."""

import ctypes
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from aurum.ports import free_port

FOLDER = Path(__file__).resolve().parent
# The mnemonic of the Foundry documentation: its accounts are public knowledge, and so is any money on them.
MNEMONIC = "test test test test test test test test test test test junk"
CHAIN_ID = 31337
# Blocks whose state anvil keeps in memory, hence the deepest anvil_reorg. Without a limit it writes gigabytes to disk.
HISTORY_BLOCKS = 128
BLOCK_GAS_LIMIT = 1_000_000_000  # gas; room for an AMM of 256 outcomes, and for many transactions in one block
START_TIMEOUT = 20.0  # seconds; it takes 0.06 on an idle machine
STOP_TIMEOUT = 20.0  # seconds; the state is written first
POLL_INTERVAL = 0.01  # seconds between two looks at a starting node
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class NodeError(Exception):
    """The development chain's node did not start, or died."""


class PortBusyError(NodeError):
    """Another process listens on the port."""


def binary() -> Path:
    """The native anvil of this platform's npm package.

    Not `.bin/anvil`: that is a Node.js wrapper, which survives its child badly and costs a start of Node.
    """
    found = sorted((FOLDER / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    if not found:
        raise NodeError(f"anvil is not installed: run `npm ci --ignore-scripts` in {FOLDER}")
    return found[0]


class Anvil:
    """One anvil process; use it as a context manager, or call `start` and `stop`.

    port: 0 picks a free one at every start.
    state: file that the chain is loaded from, if it exists, and saved to, at `stop` and every `state_interval` seconds.
        Blocks, logs and balances come back; old states do not, so nothing older can be undone by a reorganisation.
    genesis_time: unix seconds of block 0 of a new chain; its clock then runs on from there. Default: now.
    seconds_per_block: when given, block times are counted, not measured: a repeatable chain.
    die_with_parent: on Linux, the kernel ends anvil (which saves its state) when the starting thread ends, kill -9 too.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        mnemonic: str = MNEMONIC,
        chain_id: int = CHAIN_ID,
        state: Path | None = None,
        state_interval: int = 30,
        genesis_time: int | None = None,
        seconds_per_block: int | None = None,
        history_blocks: int = HISTORY_BLOCKS,
        options: Sequence[str] = (),
        die_with_parent: bool = False,
    ) -> None:
        self.host = host
        self.chain_id = chain_id
        self.port = port
        self._any_port = port == 0
        self._mnemonic = mnemonic
        self._state = state
        self._state_interval = state_interval
        self._genesis_time = genesis_time
        self._seconds_per_block = seconds_per_block
        self._history_blocks = history_blocks
        self._options = tuple(options)
        self._die_with_parent = die_with_parent
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the node, by HTTP; `ws_url` for WebSocket."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://", 1)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Returns when the node answers. Raises PortBusyError or NodeError."""
        if self._process:
            raise NodeError("anvil is already started")
        if self._any_port:
            self.port = free_port(self.host)
        else:
            self._check_port()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(  # noqa: S603 - our own binary
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then stops us in order
            preexec_fn=_end_with_parent() if self._die_with_parent else None,
        )
        try:
            self._wait_until_it_answers()
            if self._seconds_per_block is not None:
                self.request("anvil_setBlockTimestampInterval", self._seconds_per_block)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the process and waits for it; the state file is complete afterwards. Does nothing when it is not up."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._output:
            self._output.close()

    def check(self, timeout: float = 0) -> None:
        """Watches the process for `timeout` seconds. Raises NodeError, with its last words, if it ends by itself."""
        if self._process is None:
            raise NodeError("anvil is not started")
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return
        message = self._last_words()
        kind = PortBusyError if "in use" in message else NodeError
        raise kind(f"anvil ended with status {code} on {self.host}:{self.port}: {message or 'no message'}")

    def request(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call without web3, for anvil's own methods. Raises NodeError with the node's message."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        post = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(post, timeout=START_TIMEOUT) as response:  # noqa: S310
            answer = json.load(response)
        if "error" in answer:
            raise NodeError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        command = [str(binary()), "--quiet", "--host", self.host, "--port", str(self.port)]
        command += ["--chain-id", str(self.chain_id), "--mnemonic", self._mnemonic]
        command += ["--prune-history", str(self._history_blocks)]
        command += ["--gas-limit", str(BLOCK_GAS_LIMIT)]
        command += ["--order", "fifo"]  # transactions of one block keep the order in which they were sent
        if self._state is not None:
            command += ["--state", str(self._state), "--state-interval", str(self._state_interval)]
        if self._genesis_time is not None:
            command += ["--timestamp", str(self._genesis_time)]
        return [*command, *self._options]

    def _check_port(self) -> None:
        # Asked before the start: afterwards the other process' answer could pass for anvil's.
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise PortBusyError(f"{self.host}:{self.port} is not free: {error.strerror}") from error

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            self.check(POLL_INTERVAL)
            try:
                found = int(self.request("eth_chainId"), 16)
            except OSError:
                continue
            if found != self.chain_id:
                raise NodeError(f"{self.url} answers with chain id {found}, not {self.chain_id}")
            return
        raise NodeError(f"anvil did not answer on {self.url} within {START_TIMEOUT:.0f} s")

    def _last_words(self) -> str:
        if self._output is None:
            return ""
        self._output.seek(0)
        return self._output.read().decode(errors="replace").strip()


def _end_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: little is safe after it
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
