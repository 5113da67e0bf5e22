"""replay_events, reset_indexer, --from-block and --to-block: each ends where an uninterrupted sync does."""

import subprocess

import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import play
from indexer.devchain.deploy import Deployment
from indexer.models import IndexedEvent
from markets.models import Checkpoint, Market, MarketMetadata, OutboxMessage, Position, Trade
from operators.models import AuditEntry
from tests.indexing import runner, sync
from tests.processes import index_once, manage
from tests.snapshots import database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def played(chain: tuple[Web3, Deployment]) -> Deployment:
    """A chain with a life on it, its end not final, indexed."""
    play(*chain, seed=5, markets=5, steps=60)
    Actions(*chain).request("anvil_mine", "0x5")
    sync(chain[1])
    return chain[1]


def run(*arguments: str, deployment: Deployment | None, **more: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    process: subprocess.Popen[str] = manage(*arguments, deployment=deployment, **more)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def test_replay_needs_no_node_and_gives_the_same_rows(played: Deployment) -> None:
    before = database()
    Position.objects.update(amount=1)
    Trade.objects.all().delete()
    Market.objects.update(volume=0, resolved=False, question="spoilt")
    code, output = run("replay_events", deployment=played, RPC_URL="")
    assert (code, output.strip().splitlines()[-1]) == (0, f"applied {IndexedEvent.objects.count()} stored events again")
    assert database() == before
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action) == ("command", "indexer.replay")
    assert entry.after == {"events": len(before["indexed_events"])}


def test_replay_applies_what_could_not_be_applied_before(played: Deployment) -> None:
    before = database()
    IndexedEvent.objects.filter(event_name="FPMMBuy").update(processed=False, error="a bug that is mended")
    run("replay_events", deployment=played)
    assert database() == before


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95, 1.0])
def test_a_reset_keeps_what_is_below_and_the_next_run_ends_where_it_was(played: Deployment, share: float) -> None:
    before = database()
    head = Checkpoint.objects.get().block_number
    kept = max(played.start_block - 1, int(head * share))
    market = Market.objects.first()
    assert market is not None
    MarketMetadata.objects.create(market=market, category="Sports")
    code, output = run("reset_indexer", "--yes", "--to-block", str(kept), deployment=played)
    assert (code, output.strip().splitlines()[-1]) == (0, f"the checkpoint is at block {kept}")
    assert not IndexedEvent.objects.filter(block_number__gt=kept).exists()
    assert not Trade.objects.filter(block_number__gt=kept).exists()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.before) == ("command", "indexer.reset", {"block": head})
    assert entry.after == {"toBlock": kept, "block": kept}
    if share == 0.0:
        assert not Market.objects.exists()
    sync(played)
    assert MarketMetadata.objects.get().category == "Sports"
    MarketMetadata.objects.all().delete()
    # Nothing was told twice.
    assert database() == before


def test_a_reset_of_everything(played: Deployment) -> None:
    before = database()
    code, _ = run("reset_indexer", "--yes", deployment=played)
    assert code == 0
    assert not any(rows for table, rows in database().items() if table in ("markets", "trades", "indexed_events"))
    messages = OutboxMessage.objects.count()
    sync(played)
    assert OutboxMessage.objects.count() == messages
    assert database() == before


def test_a_reset_asks_first(played: Deployment) -> None:
    before = database()
    code, output = run("reset_indexer", deployment=played)
    assert code == 1
    assert output.strip().endswith("Keep nothing? [y/N] CommandError: nothing was changed")
    assert database() == before
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("command", [["replay_events"], ["reset_indexer", "--yes"]])
def test_rebuilding_before_anything_is_indexed_says_so(command: list[str]) -> None:
    code, output = run(*command, deployment=None)
    assert (code, output.strip()) == (0, "nothing is indexed")
    assert not AuditEntry.objects.exists()


def test_to_block_ends_there_and_from_block_reads_again(played: Deployment) -> None:
    before = database()
    half = Checkpoint.objects.get().block_number // 2
    with runner(played, from_block=half, to_block=half + 10) as running:
        running.follow()
    assert Checkpoint.objects.get().block_number == half + 10
    assert not IndexedEvent.objects.filter(block_number__gt=half + 10).exists()
    index_once(played)
    assert database() == before


def test_rebuilding_beside_a_running_indexer_is_refused(played: Deployment) -> None:
    before = database()
    with runner(played) as running:
        running.sync_once()
        for command in (["replay_events"], ["reset_indexer", "--yes"]):
            code, output = run(*command, deployment=played)
            assert (code, output.strip()) == (1, "CommandError: an indexer is running; stop it first")
    assert database() == before
