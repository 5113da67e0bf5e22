"""SIGKILL at random moments of a sync: the database ends as after an uninterrupted one."""

import random
import signal
import subprocess
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from web3 import Web3

from indexer.devchain.bots import play
from indexer.devchain.deploy import Deployment
from markets.models import Checkpoint
from tests.processes import index_once, manage

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = 20
# When a row was written and how the indexer was doing; the rest follows from the chain alone.
WALL_CLOCK = {"indexed_events": {"created_at"}, "outbox": {"created_at", "id"}}
NOT_DATA = {"indexer_status"}


def database() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of ours, without what the wall clock decides."""
    tables = {}
    for app in ("markets", "oracle", "indexer"):
        for model in apps.get_app_config(app).get_models():
            table = model._meta.db_table
            if table in NOT_DATA:
                continue
            left_out = WALL_CLOCK.get(table, set())
            rows = [
                {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
                for row in model._default_manager.values()
            ]
            kept = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
            tables[table] = sorted(kept, key=repr)
    return tables


def test_killed_syncs_lose_and_double_nothing(chain: tuple[Web3, Deployment]) -> None:
    w3, deployment = chain
    play(w3, deployment, seed=11, markets=5, steps=80)
    index_once(deployment, INDEXER_BATCH_SIZE="7")
    uninterrupted = database()
    assert len(uninterrupted["indexed_events"]) > 300
    call_command("flush", interactive=False, verbosity=0)

    dice = random.Random(4)
    reached = []
    # One block a batch: many commits for a kill to fall before, into or behind.
    while len(reached) < KILLS:
        process = manage("run_indexer", deployment=deployment, INDEXER_BATCH_SIZE="1")
        assert process.stdout is not None
        for _ in range(dice.randint(1, 12)):
            process.stdout.readline()  # one line a batch
        try:
            process.wait(timeout=dice.uniform(0, 0.02))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        reached.append(Checkpoint.objects.values_list("block_number", flat=True).first())
    assert reached == sorted(reached)
    assert reached[-1] < w3.eth.block_number, "every kill must hit a sync that is not over"
    index_once(deployment, INDEXER_BATCH_SIZE="7")

    assert database() == uninterrupted
