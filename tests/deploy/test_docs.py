"""The documents of operations: what they tell people to type works as it stands, and what they name is there."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.utils import timezone

from aurum import postgres_tools
from indexer.devchain.node import free_port
from indexer.management.configured import CONTRACT_SETTINGS
from indexer.models import IndexerStatus
from markets.models import Checkpoint
from tests import factories
from tests.deploy.specs import ROOT, text
from tests.processes import WebServer, environment
from tests.valkey import url, valkey

# The seed document's own headings of these sections.
ENTRIES = (
    "Database connection issues",
    "Indexer falling behind",
    "High memory usage",
    "Horizontal scaling",
    "Vertical scaling",
)
TARGETS = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
# Debian's slim images have no curl; all that the documents ask of it is `curl -s URL`.
CURL = f"""#!{sys.executable}
import sys, urllib.request
option, address = sys.argv[1:]
assert option == "-s"
sys.stdout.buffer.write(urllib.request.urlopen(address, timeout=30).read())
"""


def blocks() -> list[str]:
    return re.findall(r"^```bash run\n(.*?)^```$", text("docs/troubleshoot.md"), re.M | re.S)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an operator's shell: a server that answers, its database, Redis, PostgreSQL's programs."""
    factories.make_checkpoint()
    factories.make_status()
    (tmp_path / "curl").write_text(CURL)
    (tmp_path / "curl").chmod(stat.S_IRWXU)
    programs = Path(postgres_tools.find("psql", server=18)).parent
    with valkey() as server:
        metrics = str(free_port())
        web = WebServer(REDIS_URL=url(server), METRICS_ENABLED="true", METRICS_PORT=metrics)
        web.start()
        given = environment(None, REDIS_URL=url(server), METRICS_PORT=metrics, BASE=f"http://127.0.0.1:{web.port}")
        given["DATABASE_REPLICA_URL"] = given["DATABASE_URL"]
        for place, name in enumerate(CONTRACT_SETTINGS, start=1):
            given[name] = f"0x{place:040x}"
        path = f"{tmp_path}:{Path(sys.executable).parent}:{programs}:{os.environ['PATH']}"
        try:
            yield given | {"PATH": path}
        finally:
            web.kill()


@pytest.mark.django_db(transaction=True)
def test_each_command_for_trouble_works_as_it_stands(shell: dict[str, str]) -> None:
    outputs = []
    for block in blocks():
        # The indexer's own word is half a minute good, and the commands of a block may take longer.
        IndexerStatus.objects.update(heartbeat_at=timezone.now() + timedelta(minutes=5))
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=ROOT, env=shell, capture_output=True, text=True, timeout=120
        )
        assert ran.returncode == 0, f"{block}\n{ran.stdout}\n{ran.stderr}"
        outputs.append(ran.stdout)
    said = "\n".join(outputs)
    for word in ("(1 row)", "Pool of each process", '"lagBlocks":0', "VmRSS", "process_resident_memory_bytes", "True"):
        assert word in said
    assert not Checkpoint.objects.filter(block_number=1_000_000).exists()  # what `reset_indexer` is for


def test_each_entry_of_the_seed_has_a_command_that_is_run() -> None:
    sections = re.split(r"^## ", text("docs/troubleshoot.md"), flags=re.M)[1:]
    assert tuple(section.splitlines()[0] for section in sections) == ENTRIES
    assert all("```bash run" in section for section in sections)
    assert len(blocks()) == len(re.findall("bash run", text("docs/troubleshoot.md")))


def test_the_security_checklist_names_what_is_there() -> None:
    document = text("docs/security.md")
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document)
    assert len(tests) > 15
    for file, name in tests:
        assert re.search(rf"^(?:async )?def {name}\(", text(file), re.M), f"{file}::{name}"
    names = re.findall(r"`settings\.(\w+)`", document)
    assert len(names) > 8
    assert [name for name in names if not hasattr(settings, name)] == []
    assert set(re.findall(r"`make ([a-z-]+)`", document)) <= TARGETS


def test_the_security_checklist_has_every_line_of_the_guides() -> None:
    lines = re.findall(r"^\| ([^|]+?) \|", text("docs/security.md").split("Beyond it")[0], re.M)
    assert [line for line in lines if line not in ("|", "")] == [
        "JWT secret is strong and unique",
        "Database credentials are secure",
        "Private key is stored securely",
        "CORS is properly configured",
        "Rate limiting is enabled",
        "Input validation on all endpoints",
        "SQL injection prevention",
        "HTTPS enforced",
    ]


@pytest.mark.parametrize("name", ["deploy", "operate", "troubleshoot", "security"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text(f"docs/{name}.md"))
    for link in links:
        if not urlsplit(link).scheme:
            assert (ROOT / "docs" / link.split("#")[0]).exists(), link
