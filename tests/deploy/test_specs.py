"""Every deployment's file names what exists, gives each process what it needs, and the wallet's key to one alone."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import get_commands

from aurum.health import PROBES
from resolver.configured import NEEDED
from tests.deploy import specs
from tests.deploy.specs import Process

SIGNING = re.compile(r"PRIVATE_KEY|KMS")
ALL = list(specs.processes())
# Files that say which variables there are; Railway's and the Procfile leave that to the platform.
COMPLETE = ("compose.yaml", "render.yaml", ".do/app.yaml")
ADDRESS = "0x" + "11" * 20
# What a person or the platform fills in.
FILLED = {
    "DATABASE_URL": "postgresql://aurum:word@db:5432/aurum",
    "REDIS_URL": "rediss://default:word@cache:25061",
    "JWT_SECRET": "0123456789abcdef" * 4,
    "RPC_URL": "https://sepolia.base.org",
    "CHAIN_ID": "84532",
    "ALLOWED_HOSTS": "api.aurumlabs.io",
    **{name: ADDRESS for name in specs.example_names() if name.endswith("_ADDRESS") and name != "SOCKETS_PER_ADDRESS"},
}
# What each file may say, by where it stands: a misspelt key is ignored by the platform, or refused.
KEYS = {
    "compose.yaml": "name services volumes x-backend x-environment x-without-signer",
    "compose.yaml services": "build cap_add cap_drop command depends_on env_file environment healthcheck image init "
    "ports read_only restart security_opt shm_size stop_grace_period tmpfs volumes",
    "compose.yaml healthcheck": "disable interval retries start_period test timeout",
    "render.yaml": "databases envVarGroups services",
    "render.yaml services": "dockerCommand envVars healthCheckPath ipAllowList maxShutdownDelaySeconds maxmemoryPolicy "
    "name plan preDeployCommand runtime type",
    "render.yaml envVars": "fromDatabase fromGroup fromService generateValue key sync value",
    "railway.json": "$schema build deploy",
    "railway.json deploy": "drainingSeconds healthcheckPath healthcheckTimeout preDeployCommand restartPolicyType "
    "startCommand",
    ".do/app.yaml": "databases envs jobs name region services workers",
    ".do/app.yaml components": "dockerfile_path envs github health_check http_port instance_count instance_size_slug "
    "kind name run_command termination",
    ".do/app.yaml envs": "key scope type value",
    ".do/app.yaml health_check": "failure_threshold http_path initial_delay_seconds period_seconds timeout_seconds",
}


def assert_keys(where: str, *mappings: dict[str, Any]) -> None:
    for mapping in mappings:
        assert set(mapping) <= set(KEYS[where].split()), where


def named(processes: list[Process]) -> list[Any]:
    return [pytest.param(process, id=f"{process.spec} {process.name}") for process in processes]


@pytest.mark.parametrize("spec", ["Procfile", "compose.yaml", "render.yaml", "railway.json", ".do/app.yaml"])
def test_every_deployment_starts_the_same_processes(spec: str) -> None:
    commands = {process.name: process.command for process in ALL if process.spec == spec}
    assert commands == {process.name: process.command for process in specs.procfile()}
    assert set(commands) == {"release", "web", "indexer", "resolver"}


@pytest.mark.parametrize("process", named(ALL))
def test_each_command_exists(process: Process) -> None:
    assert process.command[:2] == ("python", "manage.py")
    assert process.command[2] in set(get_commands())


@pytest.mark.parametrize("process", named([process for process in ALL if process.spec in COMPLETE]))
def test_each_variable_is_one_that_the_settings_read(process: Process) -> None:
    assert process.variables
    assert set(process.variables) <= set(specs.example_names())


@pytest.mark.parametrize("process", named([process for process in ALL if process.spec in COMPLETE]))
def test_the_settings_load_with_what_the_process_is_given(process: Process) -> None:
    """Nothing that production insists on is missing, and nothing is malformed."""
    given = {}
    for name, value in process.variables.items():
        if value and "$" not in value:
            given[name] = value
        elif name in FILLED and value != "":
            given[name] = FILLED[name]
    given |= {"NODE_ENV": "production", "AURUM_ENV_FILES": ""}
    source = "from aurum import settings; print(settings.ENVIRONMENT, settings.DATABASES['default']['NAME'])"
    loaded = subprocess.run(
        [sys.executable, "-c", source],
        cwd=specs.ROOT,
        env=given | {"AURUM_ENV_FILES": ""},
        capture_output=True,
        text=True,
    )
    assert (loaded.stdout, loaded.stderr) == ("production aurum\n", "")


@pytest.mark.parametrize("process", named([process for process in ALL if process.spec in COMPLETE]))
def test_the_admin_can_preview_what_is_asked_of_the_wallet(process: Process) -> None:
    if process.name == "web":
        assert {name.replace("RPC_URLS", "RPC_URL") for name in NEEDED} <= set(process.variables)


@pytest.mark.parametrize("process", named([process for process in ALL if process.spec in COMPLETE]))
def test_the_resolver_alone_has_the_wallets_key(process: Process) -> None:
    """In compose.yaml all have .env: there the others are given an empty one."""
    has = {name for name, value in process.variables.items() if SIGNING.search(name) and value != ""}
    if process.name == "resolver":
        assert has or process.spec == "compose.yaml"
    else:
        assert has == set()


def test_compose_empties_every_variable_of_the_signer() -> None:
    signing = {name for name in specs.example_names() if SIGNING.search(name)}
    others = [process for process in specs.compose() if process.name != "resolver"]
    assert len(others) == 3
    for process in others:
        assert {name for name in signing if process.variables.get(name) == ""} == signing


@pytest.mark.parametrize("file", [*COMPLETE, "railway.json", "Dockerfile", "Procfile"])
def test_no_secret_stands_in_a_file(file: str) -> None:
    found = re.findall(r"(?:SECRET|PASSWORD|PRIVATE_KEY|KMS_KEY_ID)\w*[\"']?(?::\s+|=)(\S+)", specs.text(file))
    allowed = ('""', '"$(python', "${POSTGRES_PASSWORD:?set")
    assert [value for value in found if value not in allowed and "envVarKey" not in value] == []
    assert not re.search(r"://\w+:[^$@\s]+@", specs.text(file))


# --- compose.yaml -----------------------------------------------------------------------------------------------------


def test_compose_is_consistent_and_closed() -> None:
    spec = specs.load("compose.yaml")
    assert_keys("compose.yaml", spec)
    assert_keys("compose.yaml services", *spec["services"].values())
    for name, service in spec["services"].items():
        health = service.get("healthcheck", {})
        assert_keys("compose.yaml healthcheck", health)
        assert "no-new-privileges:true" in service["security_opt"]
        if name != "postgres":
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["tmpfs"] == (["/data"] if name == "redis" else ["/tmp"])  # noqa: S108
        for needed, how in service.get("depends_on", {}).items():
            other = spec["services"][needed]
            if how["condition"] == "service_healthy":
                assert "test" in other["healthcheck"]
            else:
                assert (how["condition"], other["restart"]) == ("service_completed_successfully", "no")
    published = {name: service["ports"] for name, service in spec["services"].items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:${PORT:-3001}:3001"]}


def test_compose_checks_the_indexer_by_a_command_that_exists() -> None:
    program, *command = specs.load("compose.yaml")["services"]["indexer"]["healthcheck"]["test"]
    assert (program, command) == ("CMD", ["python", "manage.py", "indexer_status"])
    assert "indexer_status" in get_commands()


# --- Render, Railway, DigitalOcean ------------------------------------------------------------------------------------


def test_render_refers_to_what_it_defines() -> None:
    spec = specs.load("render.yaml")
    assert_keys("render.yaml", spec)
    assert_keys("render.yaml services", *spec["services"])
    services = {service["name"]: service for service in spec["services"]}
    databases = {database["name"] for database in spec["databases"]}
    groups = {group["name"] for group in spec["envVarGroups"]}
    for service in spec["services"]:
        keys = {variable.get("key") for variable in service.get("envVars", [])}
        assert len(keys) == len(service.get("envVars", []))
        assert_keys("render.yaml envVars", *service.get("envVars", []))
        for variable in service.get("envVars", []):
            assert variable.get("fromGroup") in {None, *groups}
            if "fromDatabase" in variable:
                assert variable["fromDatabase"]["name"] in databases
            if "fromService" in variable:
                other = services[variable["fromService"]["name"]]
                assert other["type"] == variable["fromService"]["type"]
                if "envVarKey" in variable["fromService"]:
                    assert variable["fromService"]["envVarKey"] in {given.get("key") for given in other["envVars"]}
    assert services["aurum-web"]["healthCheckPath"] in PROBES
    assert not [group for group in spec["envVarGroups"] for given in group["envVars"] if "sync" in given]


@pytest.mark.parametrize("file", ["railway.json", "railway.indexer.json", "railway.resolver.json"])
def test_railway_builds_the_one_image(file: str) -> None:
    spec = json.loads(specs.text(file))
    assert_keys("railway.json", spec)
    assert_keys("railway.json deploy", spec["deploy"])
    assert spec["build"] == {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"}
    assert spec["deploy"].get("healthcheckPath") in ({*PROBES} if file == "railway.json" else {None})


def test_digitalocean_refers_to_what_it_defines() -> None:
    spec = specs.load(".do/app.yaml")
    assert_keys(".do/app.yaml", spec)
    components = spec["jobs"] + spec["services"] + spec["workers"]
    assert_keys(".do/app.yaml components", *components)
    given = [*spec["envs"], *(variable for component in components for variable in component.get("envs", []))]
    assert_keys(".do/app.yaml envs", *given)
    bound = {match for variable in given for match in re.findall(r"\$\{(\w+)\.\w+\}", variable.get("value", ""))}
    assert bound == {database["name"] for database in spec["databases"]}
    assert_keys(".do/app.yaml health_check", spec["services"][0]["health_check"])
    assert spec["services"][0]["health_check"]["http_path"] in PROBES
    assert spec["services"][0]["http_port"] == int(re.findall(r"\bPORT=(\d+)", specs.text("Dockerfile"))[-1])
    assert {component["dockerfile_path"] for component in components} == {"Dockerfile"}


# --- Dockerfile -------------------------------------------------------------------------------------------------------


def test_the_image_is_small_and_runs_as_nobody() -> None:
    file = specs.text("Dockerfile")
    build, final = re.split(r"^FROM ", file, flags=re.M)[1:]
    assert [stage.splitlines()[0] for stage in (build, final)] == ["python:3.12-slim AS build", "python:3.12-slim"]
    assert "pip install" not in final
    assert "COPY . " not in final
    user = re.search(r"^USER (\d+):(\d+)$", final, re.M)
    assert user is not None
    assert "0" not in user.groups()
    assert "STOPSIGNAL SIGTERM" in final
    assert specs.dockerfile_command() == ["python", "manage.py", "serve"]
    assert not re.search(r"curl|wget|root", final)


def test_what_docker_does_not_copy_is_what_production_does_not_need() -> None:
    ignored = specs.text(".dockerignore").split()
    for name in (".git", ".env", ".env.*", ".data", ".venv", "tests", "**/node_modules", "requirements-dev.txt"):
        assert name in ignored
    assert os.path.isdir(specs.ROOT / "docs" / "client")
    assert ignored.index("docs/*") < ignored.index("!docs/client")
