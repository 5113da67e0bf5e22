"""What each deployment's file starts, and in which environment."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; `variables` without a value are filled in by a person or by the platform."""

    spec: str
    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str | None]


def text(name: str) -> str:
    return (ROOT / name).read_text()


def load(name: str) -> Any:
    return yaml.safe_load(text(name))


def example_names() -> list[str]:
    return re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text(".env.example"), re.M)


def processes() -> Iterator[Process]:
    """Of every file that starts some."""
    yield from procfile()
    yield from compose()
    yield from render()
    yield from railway()
    yield from digitalocean()


def procfile() -> Iterator[Process]:
    for name, line in parse_procfile(text("Procfile")).processes.items():
        yield _process("Procfile", name, line, {})


def compose() -> Iterator[Process]:
    """Those of our image; each has all of .env, under what the file itself says."""
    for name, service in load("compose.yaml")["services"].items():
        if service["image"] == "aurum-backend":
            assert service["env_file"] == ".env"
            said = {key: str(value) for key, value in service["environment"].items()}
            variables = dict.fromkeys(example_names()) | said
            command = service.get("command", " ".join(dockerfile_command()))
            yield _process("compose.yaml", {"migrate": "release"}.get(name, name), command, variables)


def render() -> Iterator[Process]:
    spec = load("render.yaml")
    groups = {group["name"]: group["envVars"] for group in spec["envVarGroups"]}
    for service in spec["services"]:
        if service["type"] == "keyvalue":
            continue
        variables: dict[str, str | None] = {}
        for variable in service["envVars"]:
            for given in groups[variable["fromGroup"]] if "fromGroup" in variable else [variable]:
                variables[given["key"]] = given.get("value")
        if service["type"] == "web":
            variables["RENDER_EXTERNAL_HOSTNAME"] = None  # the platform's own
            yield _process("render.yaml", "release", service["preDeployCommand"], variables)
        yield _process("render.yaml", service["name"].removeprefix("aurum-"), service["dockerCommand"], variables)


def railway() -> Iterator[Process]:
    for name in ("web", "indexer", "resolver"):
        file = "railway.json" if name == "web" else f"railway.{name}.json"
        deploy = json.loads(text(file))["deploy"]
        for command in deploy.get("preDeployCommand", []):
            yield _process("railway.json", "release", command, {})
        yield _process("railway.json", name, deploy["startCommand"], {})


def digitalocean() -> Iterator[Process]:
    spec = load(".do/app.yaml")
    shared = spec["envs"]
    for kind in ("jobs", "services", "workers"):
        for component in spec[kind]:
            variables = {given["key"]: given.get("value") for given in shared + component.get("envs", [])}
            name = {"migrate": "release"}.get(component["name"], component["name"])
            yield _process(".do/app.yaml", name, component["run_command"], variables)


def dockerfile_command() -> list[str]:
    return list(json.loads(re.findall(r"^CMD (\[.*\])$", text("Dockerfile"), re.M)[-1]))


def _process(spec: str, name: str, command: str, variables: Mapping[str, str | None]) -> Process:
    return Process(spec=spec, name=name, command=tuple(shlex.split(command)), variables=variables)
