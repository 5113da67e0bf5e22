"""Keeps one command of manage.py running beside this process."""

import logging
import os
import subprocess
import sys
import threading

logger = logging.getLogger(__name__)
RESTART_PAUSE = 5.0  # seconds; what ended at once would otherwise end many times a second
GRACE = 20.0  # seconds between SIGTERM and SIGKILL: a batch in flight is committed or rolled back


class Child:
    """A command that is started again when it ends by itself, until `stop`."""

    def __init__(self, command: str, **environment: str) -> None:
        self._command = [sys.executable, sys.argv[0], command]
        self._environment = environment
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name=command)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the command and waits for it; SIGTERM, then SIGKILL after GRACE. Harmless where it was not started."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        if self._thread.is_alive():
            self._thread.join(GRACE)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._thread.join()

    def _keep_running(self) -> None:
        while not self._stopping.is_set():
            self._process = subprocess.Popen(self._command, env=os.environ | self._environment)  # noqa: S603
            if self._stopping.is_set():  # stop() came before it could see the process
                self._process.terminate()
            code = self._process.wait()
            if not self._stopping.is_set():
                logger.error("%s ended with exit code %d, starting it again", self._command[-1], code)
                self._stopping.wait(RESTART_PAUSE)
