"""The Dockerfile's steps on this machine, in a folder instead of a container: its RUN lines as they stand."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# What needs Debian's packages; the programs it brings have tests of their own.
LEFT_OUT = re.compile(r"^apt-get ")
# Absolute paths that the image has, and this machine must not get.
INSIDE = re.compile(r"(?<![\w.-])/(?:opt/venv|app|tmp)\b")
NOBODY = 10001


class Image:
    """What `docker build` would leave in `folder`; everybody may read it, nobody but its owner may write."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self.environment: dict[str, str] = {}
        self.command: list[str] = []
        self.healthcheck: list[str] = []
        self._directory = "/"

    def build(self) -> "Image":
        for part in ("bin", "tmp", "opt"):
            (self._folder / part).mkdir(parents=True)
        # The image's Python is called `python`.
        (self._folder / "bin" / "python").symlink_to(python_for_all())
        for word, rest in instructions((self._root / "Dockerfile").read_text()):
            getattr(self, f"_{word.lower()}", lambda rest: None)(rest)
        (self._folder / "tmp").chmod(0o1777)
        return self

    def start(self, command: Sequence[str], variables: dict[str, str], **options: Any) -> subprocess.Popen[str]:
        """Starts a command with these variables and no others but the image's own; as nobody, if we can."""
        who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_nobody() else {}
        environment = self.environment | variables
        program = shutil.which(command[0], path=environment["PATH"])
        assert program is not None, command
        return subprocess.Popen(
            [program, *command[1:]],
            cwd=self._inside("/app"),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **who,
            **options,
        )

    def files(self) -> dict[str, float]:
        """Each file of the application, with the time of its last change."""
        app = Path(self._inside("/app"))
        return {str(path): path.stat().st_mtime for path in sorted(app.rglob("*"))}

    def _from(self, rest: str) -> None:
        self.environment, self._directory = {"PATH": f"{self._folder}/bin:{SYSTEM_PATH}"}, "/"

    def _env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, value = pair.split("=", 1)
            self.environment[name] = self._inside(value).replace("$PATH", self.environment["PATH"])

    def _arg(self, rest: str) -> None:
        self._env(rest)

    def _workdir(self, rest: str) -> None:
        self._directory = rest

    def _copy(self, rest: str) -> None:
        source, target = rest.split()[-2:]
        if "--from" in rest:
            assert source == target  # one folder holds both stages
        elif source == ".":
            for path in sent(self._root):
                place = Path(self._inside(target)) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._root / path, place)
        else:
            for path in self._root.glob(source):
                shutil.copy(path, self._inside(target))

    def _run(self, rest: str) -> None:
        if not LEFT_OUT.match(rest):
            directory = self._inside(self._directory) if self._directory != "/" else str(self._folder)
            # pip finds what it has downloaded before, as Docker finds its layers.
            environment = self.environment | {"HOME": str(self._folder / "tmp")}
            environment["XDG_CACHE_HOME"] = str(Path.home() / ".cache")
            subprocess.run(["sh", "-c", self._inside(rest)], cwd=directory, env=environment, check=True)

    def _healthcheck(self, rest: str) -> None:
        self.healthcheck = json.loads(rest[rest.index("[") :])

    def _cmd(self, rest: str) -> None:
        self.command = json.loads(rest)

    def _inside(self, value: str) -> str:
        return INSIDE.sub(lambda match: f"{self._folder}{match[0]}", value)


def python_for_all() -> Path:
    """A Python of a version that we run on; if there is one, one that every user may run."""
    ours = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    others = [Path(folder) / f"python3.{minor}" for folder in SYSTEM_PATH.split(":") for minor in (12, 11, 13)]
    able = [path for path in (ours, *others) if path.exists() and _is_open(path) and _makes_environments(path)]
    return able[0] if able else ours


def as_nobody() -> bool:
    """Whether a command can be run as the image's user: only root can, with a Python that others may run."""
    return os.geteuid() == 0 and _is_open(python_for_all())


def _is_open(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.resolve().parents))


def _makes_environments(path: Path) -> bool:
    """Debian's own may lack the part that does."""
    return subprocess.run([str(path), "-c", "import ensurepip"], capture_output=True).returncode == 0


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Word and rest of each instruction, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, rest = line.split(maxsplit=1)
            yield word, rest.strip()


def sent(root: Path) -> Iterator[Path]:
    """The files that `docker build` sends: all but those of .dockerignore, where the last line that matches counts."""
    patterns = [line for line in (root / ".dockerignore").read_text().split() if line]
    for folder, names, files in os.walk(root):
        here = Path(folder).relative_to(root)
        # What is left out is not looked through, unless a later line takes a part of it back.
        names[:] = [
            name for name in names if not ignored(here / name, patterns) or _is_taken_back(here / name, patterns)
        ]
        yield from (here / name for name in files if not ignored(here / name, patterns))


def ignored(path: Path, patterns: list[str]) -> bool:
    verdict = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        parts = [str(part) for part in (path, *path.parents)][:-1]
        if any(_matches(part, wanted) for part in parts):
            verdict = not pattern.startswith("!")
    return verdict


def _matches(path: str, pattern: str) -> bool:
    """`*` stays within a name; `**/` is any number of folders."""
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def _is_taken_back(path: Path, patterns: list[str]) -> bool:
    return any(pattern.startswith(f"!{path}/") for pattern in patterns)
