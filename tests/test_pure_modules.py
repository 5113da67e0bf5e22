"""Which module may import what: PURE ones no framework, apps one way.

accounts, resolver -> indexer -> oracle -> markets -> operators
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
APPS = ("aurum", "operators", "markets", "oracle", "indexer", "accounts", "resolver")
# What each app must never import.
FORBIDDEN = {
    "operators": {"accounts", "resolver", "indexer", "oracle", "markets"},
    "markets": {"accounts", "resolver", "indexer", "oracle"},
    "oracle": {"accounts", "resolver", "indexer"},
    "indexer": {"accounts", "resolver"},
    "accounts": {"resolver"},
    "resolver": {"accounts"},
}


def modules(*apps: str) -> list[Path]:
    return sorted(path for app in apps for path in (PROJECT / app).rglob("*.py") if "node_modules" not in path.parts)


def is_pure(path: Path) -> bool:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("PURE.")


def imported(path: Path) -> set[str]:
    """The top packages that a module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide their direction"
            names.add((node.module or "").partition(".")[0])
    return names


PURE = [path for path in modules(*APPS) if is_pure(path)]


def test_the_modules_that_must_be_pure_are() -> None:
    names = {str(path.relative_to(PROJECT)) for path in PURE}
    assert names >= {
        "aurum/secret.py",
        "indexer/abi_types.py",
        "indexer/chain.py",
        "indexer/decode.py",
        "indexer/events.py",
        "markets/amm.py",
        "markets/chaintime.py",
        "markets/ctf.py",
        "markets/identity.py",
        "markets/quotes.py",
        "oracle/lifecycle.py",
        "resolver/fees.py",
        "resolver/transactions.py",
    }


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_pure_module_loads_no_framework(path: Path) -> None:
    name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    program = (
        f"import sys, {name}; print(*sorted({{'django', 'web3', 'rest_framework', 'channels'}} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


@pytest.mark.parametrize("app", FORBIDDEN)
def test_imports_run_one_way(app: str) -> None:
    wrong = {str(path): found for path in modules(app) if (found := imported(path) & FORBIDDEN[app])}
    assert wrong == {}
