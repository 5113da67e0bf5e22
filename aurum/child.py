"""Keeps one command of manage.py running beside this process."""

import logging
import subprocess
import sys
import threading

logger = logging.getLogger(__name__)
RESTART_PAUSE = 5.0  # seconds; what ended at once would otherwise end many times a second


class Child:
    """A command that is started again when it ends by itself, until `stop`."""

    def __init__(self, command: str) -> None:
        self._command = [sys.executable, sys.argv[0], command]
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name=command)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the command with SIGTERM and waits for it."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()
        self._thread.join()

    def _keep_running(self) -> None:
        while not self._stopping.is_set():
            self._process = subprocess.Popen(self._command)  # noqa: S603
            if self._stopping.is_set():  # stop() came before it could see the process
                self._process.terminate()
            code = self._process.wait()
            if not self._stopping.is_set():
                logger.error("%s ended with exit code %d, starting it again", self._command[-1], code)
                self._stopping.wait(RESTART_PAUSE)
