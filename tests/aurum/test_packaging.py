"""The files around the code name only what exists."""

import re
import stat
from pathlib import Path

import pytest
from django.core.management import get_commands
from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("docs/deploy.md", "docs/operate.md", "docs/troubleshoot.md")

# Every `npm …` of the seed document.
NPM_COMMANDS = (
    "npm install",
    "npm run migrate",
    "npm run migrate:rollback",
    "npm run migrate:create -- --name add_new_table",
    "npm run dev",
    "npm run indexer",
    "npm run start:with-indexer",
    "npm run db:status",
    "npm run indexer:reset",
)
SEED_VARIABLES = {
    "NODE_ENV",
    "PORT",
    "HOST",
    "DATABASE_URL",
    "JWT_SECRET",
    "JWT_EXPIRES_IN",
    "CORS_ORIGIN",
    "RPC_URL",
    "CHAIN_ID",
    "PRIVATE_KEY",
    "CONDITIONAL_TOKENS_ADDRESS",
    "MARKET_FACTORY_ADDRESS",
    "AURUM_TOKEN_ADDRESS",
    "AURUM_ORACLE_ADDRESS",
    "FEE_COLLECTOR_ADDRESS",
    "INDEXER_START_BLOCK",
    "INDEXER_BATCH_SIZE",
    "INDEXER_POLL_INTERVAL",
    "RATE_LIMIT_WINDOW",
    "RATE_LIMIT_MAX",
    "LOG_LEVEL",
    "METRICS_ENABLED",
    "METRICS_PORT",
}


def text(name: str) -> str:
    return (ROOT / name).read_text()


def example_names() -> list[str]:
    return re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text(".env.example"), re.M)


def names_read() -> set[str]:
    """Names in settings.py and environment.py that stand where a variable's name stands."""
    found = re.findall(r'env(?:\.\w+)?\(\s*(?:env, )?"([A-Z0-9_]+)"', text("aurum/settings.py"))
    found += re.findall(r'environment\.\w+\(\s*env, "([A-Z0-9_]+)"', text("aurum/settings.py"))
    source = text("aurum/environment.py")
    found += re.findall(r'(?:env\.\w+|environ\.get)\("([A-Z0-9_]+)"', source)
    found += re.findall(r'"([A-Z0-9_]+)"', re.search(r"for name in \(([^)]*)\)", source)[1])
    return set(found)


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("Procfile", ["release", "web", "indexer", "resolver"]),
        ("Procfile.dev", ["chain", "bots", "indexer", "web", "resolver"]),
    ],
)
def test_procfiles_start_commands_that_exist(file: str, names: list[str]) -> None:
    processes = parse_procfile(text(file)).processes
    assert list(processes) == names
    commands = {name: re.search(r"python manage\.py (\w+)", line)[1] for name, line in processes.items()}
    assert set(commands.values()) <= set(get_commands())


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml", "Makefile", "README.md", *DOCUMENTS])
def test_files_name_commands_that_exist(file: str) -> None:
    named = set(re.findall(r'manage\.py(?:",)? "?([a-z_]+)', text(file)))
    assert named
    assert named <= set(get_commands())


def test_env_example_has_each_variable_that_the_settings_read_once() -> None:
    names = example_names()
    assert sorted(set(names)) == sorted(names)
    of_compose = set(re.findall(r"\$\{([A-Z_]+)", text("compose.yaml")))
    assert set(names) == names_read() | of_compose


def test_env_example_has_the_seeds_variables() -> None:
    assert set(example_names()) & SEED_VARIABLES == SEED_VARIABLES


def test_env_example_sets_nothing_but_development() -> None:
    settings = [line for line in text(".env.example").splitlines() if line and not line.startswith("#")]
    assert settings == ["NODE_ENV=development"]


@pytest.mark.parametrize("command", NPM_COMMANDS)
def test_readme_translates_each_npm_command(command: str) -> None:
    assert f"| `{command}` |" in text("README.md")


def test_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    assert set(re.findall(r"make ([a-z-]+)", re.sub(r"(?s)[^`]*(`[^`]*`|$)", r"\1 ", text("README.md")))) <= targets


def test_production_image_has_no_development_packages() -> None:
    """requirements.txt alone, and no embedded PostgreSQL in it."""
    assert "requirements-dev" not in re.sub(r"#.*", "", text("Dockerfile"))
    assert not re.search(r"pgserver|honcho|pytest", text("requirements.txt"))


def test_ci_script_can_be_run() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
