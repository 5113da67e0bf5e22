"""SIGKILL at random moments of a sync: the database ends as after an uninterrupted one."""

import random
import signal
import subprocess

import pytest
from django.core.management import call_command
from web3 import Web3

from indexer.devchain.bots import play
from indexer.devchain.deploy import Deployment
from markets.models import Checkpoint
from tests.processes import index_once, manage
from tests.snapshots import database

pytestmark = pytest.mark.django_db(transaction=True)

KILLS = 20


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
