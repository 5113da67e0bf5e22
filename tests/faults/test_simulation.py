"""The indexer against nodes that fail and lie, branches that are replaced, and crashes; then a quiet end.

Afterwards every table is what a fresh sync of the final chain gives. `make faults SEEDS=1000` runs more seeds than CI
does, `make faults SEED=47` one of them again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from tests.faults.simulation import WINDOW, Crashed, Simulation, crash_at
from tests.snapshots import FEED, database

pytestmark = pytest.mark.django_db(transaction=True)

# Seeds that have failed once. A change to the simulation changes what they do: a bug has a test of its own as well.
KEPT_SEEDS: tuple[int, ...] = (31, 47, 52)
MANY = int(os.environ.get("SEEDS") or 100)  # takes CI about five minutes
ALL_SEEDS = sorted({*KEPT_SEEDS, *range(MANY)})
SEEDS = [int(seed)] if (seed := os.environ.get("SEED")) else ALL_SEEDS
FRESH = 1000  # blocks in a batch of the sync that all is compared with


@contextmanager
def named(seed: int) -> Iterator[None]:
    """Says with a failure how to see it again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"To run this seed again: make faults SEED={seed}")
        raise


def differences(lived: dict[str, list[dict[str, Any]]], fresh: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The rows that only one of the two has."""
    return [
        f"{table}, {name}: {row}"
        for table in lived
        for name, rows, others in (("lived", lived, fresh), ("fresh", fresh, lived))
        for row in rows[table]
        if row not in others[table]
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_simulation(seed: int) -> None:
    with named(seed):
        simulation = Simulation(seed)
        with simulation.nodes[0], simulation.nodes[1]:
            simulation.run()
            lived = database(without=FEED)
            assert lived["checkpoint"][0]["block_hash"] == simulation.chain.head.hash
            assert lived["indexed_events"]
            call_command("flush", interactive=False, verbosity=0)
            simulation.quiet(batch_size=FRESH)
            assert differences(lived, database(without=FEED)) == []


def test_a_seed_repeats_itself() -> None:
    """Whoever is told a seed sees the same requests, faults and crashes."""
    asked = []
    for _ in range(2):
        simulation = Simulation(8)
        with simulation.nodes[0], simulation.nodes[1]:
            simulation.run()
        asked.append(simulation.asked)
        call_command("flush", interactive=False, verbosity=0)
    assert asked[0] == asked[1]
    assert len(asked[0]) > 100


def test_a_crash_at_every_statement_of_a_batch() -> None:
    """Before and behind each SQL statement of an append and of a reorganisation: the next start makes it good."""
    simulation = Simulation(77)
    with simulation.nodes[0], simulation.nodes[1]:
        simulation.grow(20)
        simulation.quiet()
        crashes = 0
        for replaced in (False, True):
            statement = 1
            while True:
                if replaced:
                    simulation.replace(2, 2)
                else:
                    simulation.grow(1)
                reached = False
                for place in (statement, -statement):
                    try:
                        with simulation.indexer() as runner, crash_at(place):
                            runner._sync()
                        reached = True
                    except Crashed:
                        crashes += 1
                        connection.close()
                simulation.quiet()
                if reached:
                    break
                statement += 1
        assert crashes > 100
        lived = database(without=FEED)
        call_command("flush", interactive=False, verbosity=0)
        simulation.quiet()
        assert lived == database(without=FEED)


def test_what_is_final_for_one_node_is_not_so_below_the_head_of_another() -> None:
    """Our branch was compared up to the head of the node that is behind. What is above it may be of another branch."""
    simulation = Simulation(1)
    with simulation.nodes[0], simulation.nodes[1]:
        simulation.grow(30)
        with simulation.indexer() as runner:
            view = runner.rpc.look()
            assert (view.head.number, view.finalized) == (30, 30 - WINDOW)
            assert runner._finality(replace(view, head=runner.rpc.header(12))) == (12, 12)
