"""Every operation of the served document, asked by schemathesis as the document allows, and as it does not.

No 5xx, no status, header or body that the document does not have; what it forbids is refused, what it allows is not.
CASES is how many it makes up for an operation; `make fuzz-api CASES=1000` asks for longer, SEED=7 for other ones.
"""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copy

import pytest

from tests.documents.data import OTHER, USER, make_data
from tests.e2e.test_front import NOWHERE
from tests.processes import PROJECT, serving

pytestmark = pytest.mark.django_db(transaction=True)
CONFIGURATION = Path(__file__).resolve().parent / "schemathesis.toml"
CASES = os.environ.get("CASES") or "5"
SEED = os.environ.get("SEED") or "1"


def test_the_api_is_what_its_document_says(tmp_path: Path) -> None:
    data = make_data()
    markets = [market.market_id for market in data.markets]
    ids = [*markets, str(data.markets[0].id), *(question.question_id for question in data.questions)]
    for name, values in {"ids": ids, "markets": markets, "addresses": [USER, OTHER]}.items():
        (tmp_path / f"{name}.txt").write_text("".join(f'"{value}"\n' for value in values))
    copy(CONFIGURATION, tmp_path)
    with serving(NOWHERE, DJANGO_SETTINGS_MODULE="tests.documents.settings") as address:
        fuzz = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / CONFIGURATION.name)),
                *("run", f"http://{address}/api/schema", "--max-examples", CASES, "--seed", SEED),
            ],
            cwd=tmp_path,  # where it keeps what it found
            env={**os.environ, "FUZZ_TOKEN": data.token, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300 + int(CASES) * 10,
        )
    assert fuzz.returncode == 0, fuzz.stdout + fuzz.stderr
