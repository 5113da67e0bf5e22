"""Wallets that are killed, paused, lied to and doubled, on a real chain: each action is done once, and all heal.

WALLET_TRIALS=20 makes several hundred trials, and a kill at every exchange with the database; CI one of each kind.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from indexer.devchain.actions import Actions
from indexer.devchain.node import Anvil
from resolver.models import ActionState, WalletAction, WalletTransaction
from resolver.wallet import Wallet
from tests.chain.fixtures import GENESIS_TIME, new_actions
from tests.nursery import wait_until
from tests.processes import PROJECT, environment
from tests.resolver.wallet_process import POINTS
from tests.resolver.wallets import GWEI, Proxy, World, new_world, release

TRIALS = int(os.environ.get("WALLET_TRIALS", "1"))  # of each kind
USED = {"error": {"code": -32000, "message": "nonce too low: next nonce 2, tx nonce 1"}}
ALONE = {"stale": 0.5}  # seconds: a process that was killed or paused is soon forgotten

pytestmark = pytest.mark.django_db(transaction=True)


class Wallets:
    """Forks wallets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = count(1)
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.resolver.wallet_process"],
            env=environment(None, LOG_LEVEL="info", LOG_FORMAT="terminal", RPC_URL=""),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, world: World, **more: Any) -> int:
        """Its process id."""
        fixed = {"do": "start", "url": world.url, "key": world.key, "oracle": world.oracle, "lock": True, "stale": 0.5}
        return int(self._request(**fixed | more, output=str(self.output)))

    def wait(self, pid: int) -> int:
        """Its exit code, negative for a signal."""
        code = self._request(do="wait", pid=pid)
        assert code is not None, self.output.read_text()
        return int(code)

    @property
    def output(self) -> Path:
        return self._folder / "wallets.log"

    def _request(self, **request: Any) -> Any:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        print(json.dumps(request), file=self._zygote.stdin, flush=True)
        return json.loads(self._zygote.stdout.readline())

    def close(self) -> None:
        self._zygote.communicate(timeout=30)


@pytest.fixture(scope="module")
def chain() -> Iterator[Actions]:
    options = ("--slots-in-an-epoch", "2")
    with Anvil(genesis_time=GENESIS_TIME, seconds_per_block=1, history_blocks=10_000, options=options) as node:
        yield new_actions(node)


@pytest.fixture(scope="module")
def world(chain: Actions) -> World:
    """Blocks are final four behind the head."""
    return new_world(chain)


@pytest.fixture
def wallets(tmp_path: Path) -> Iterator[Wallets]:
    started = Wallets(tmp_path)
    yield started
    started.close()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point: str, world: World, wallets: Wallets) -> None:
    for trial in range(TRIALS):
        with world:
            pid = wallets.start(world, point=point, nth=1 + trial % 2)
            assert wallets.wait(pid) == -signal.SIGKILL, wallets.output.read_text()
            world.heal(**ALONE)
            world.assert_each_done_once()


def test_killed_at_exchanges_with_the_database(world: World, wallets: Wallets) -> None:
    """Before the n-th, or when it is sent: from the first look at the queue to the end."""
    killed = 0
    step = 1 if TRIALS >= 20 else 40
    for place, sign in product(range(1, 400, step), (1, -1)):
        with world:
            code = wallets.wait(wallets.start(world, exchange=sign * place))
            if code == 0:
                break
            assert code == -signal.SIGKILL, wallets.output.read_text()
            killed += 1
            world.heal(**ALONE)
            world.assert_each_done_once()
    assert killed > 60 // step
    print(f"{killed} kills at exchanges with the database")


@pytest.mark.parametrize("lock", [True, False])
def test_two_at_once(lock: bool, world: World, wallets: Wallets) -> None:
    """Without the lock too: safety does not rest on it."""
    for _ in range(TRIALS):
        with world:
            pids = [wallets.start(world, lock=lock) for _ in range(2)]
            assert [wallets.wait(pid) for pid in pids] == [0, 0], wallets.output.read_text()
            world.heal(**ALONE)
            world.assert_each_done_once()


@pytest.mark.parametrize("point", POINTS)
def test_paused_and_woken_after_another_took_over(point: str, world: World, wallets: Wallets) -> None:
    for _ in range(max(1, TRIALS // 4)):
        with world:
            pid = wallets.start(world, point=point, signal=signal.SIGSTOP)
            wait_until(lambda pid=pid: _is_stopped(pid), "stopped")
            taking = world.wallet(**ALONE)
            assert taking._lock is not None
            wait_until(taking._lock.hold, "taken over")
            release(taking)
            world.heal(**ALONE)
            world.assert_each_done_once()
            os.kill(pid, signal.SIGCONT)
            assert wallets.wait(pid) == 0, wallets.output.read_text()
            world.assert_each_done_once()


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_no_answer_after_the_node_took_it(world: World) -> None:
    for trial in range(TRIALS):
        with world, Proxy(world.url) as proxy:
            silent = count()

            def swallow(
                params: list[Any], forward: Callable[[], dict[str, Any]], silent: Any = silent, trial: int = trial
            ) -> Any:
                answer = forward()
                return None if next(silent) <= trial % 2 else answer

            proxy.rules["eth_sendRawTransaction"] = swallow
            world.heal(url=proxy.url, timeout=0.5)
            assert proxy.heard.count("eth_sendRawTransaction") >= 2
            world.assert_each_done_once()
            assert WalletTransaction.objects.count() == 2


def test_dropped(world: World) -> None:
    for _ in range(TRIALS):
        with world:
            world.actions.request("evm_setAutomine", False)
            wallet = world.wallet()
            world.step(wallet, mine=False)
            sent = WalletTransaction.objects.get()
            assert world.actions.request("anvil_dropTransaction", sent.hash) == sent.hash
            world.step(wallet, mine=False)
            release(wallet)
            world.heal()
            world.assert_each_done_once()
            assert WalletTransaction.objects.count() == 2  # the same one again, and the other action's


def test_stuck_under_a_higher_base_fee(world: World) -> None:
    for trial in range(TRIALS):
        with world:
            world.actions.request("evm_setAutomine", False)
            wallet = world.wallet()
            world.step(wallet, mine=False)
            gwei, transactions = ((20, 3), (60, 2))[trial % 2]
            world.actions.request("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
            world.actions.mine()
            assert world.on_chain() == []
            for _ in range(4):
                world.step(wallet, mine=False)
            # At once, for the node has thrown the first one out; once more when it has waited for long, up to the cap.
            assert WalletTransaction.objects.filter(nonce=0).count() == transactions
            release(wallet)
            world.heal()
            world.assert_each_done_once()


def test_a_nonce_gap(world: World) -> None:
    """The only node counts too many. What was signed too high may be mined after all, and then fails."""
    for trial in range(TRIALS):
        with world, Proxy(world.url) as proxy:
            proxy.rules["eth_getTransactionCount"] = lambda params, forward, trial=trial: {"result": hex(3 - trial % 3)}
            wallet = world.wallet(url=proxy.url)
            world.step(wallet)
            assert WalletTransaction.objects.get().nonce == 3 - trial % 3
            release(wallet)
            proxy.rules.clear()
            world.heal(url=proxy.url)
            assert WalletTransaction.objects.filter(nonce=0).count() == 1
            world.assert_each_done_once(reverted=1)


@pytest.mark.parametrize("wrong_by", [3, -1])
def test_a_node_that_always_counts_wrong(wrong_by: int, world: World) -> None:
    """What is in blocks is known better: only the first nonce is asked for."""
    for _ in range(TRIALS):
        with world, Proxy(world.url) as proxy:
            _first_one_mined(world)

            def wrong(params: list[Any], forward: Callable[[], dict[str, Any]]) -> Any:
                return {"result": hex(int(forward()["result"], 16) + wrong_by)}

            proxy.rules["eth_getTransactionCount"] = wrong
            world.heal(url=proxy.url)
            world.assert_each_done_once()
            assert WalletTransaction.objects.count() == 2


def test_a_node_that_counts_now_so_now_so(world: World) -> None:
    for _ in range(TRIALS):
        with world, Proxy(world.url) as proxy:
            times = count()

            def alternating(params: list[Any], forward: Callable[[], dict[str, Any]], times: Any = times) -> Any:
                number = next(times)
                more = number % 2 if number < 8 else 0
                return {"result": hex(int(forward()["result"], 16) + more)}

            proxy.rules["eth_getTransactionCount"] = alternating
            world.heal(url=proxy.url)
            world.assert_each_done_once()
            assert WalletTransaction.objects.count() == 2


def test_a_node_that_refuses_a_good_nonce(world: World) -> None:
    """It says that it is used, and counts as if it were: twice, and the wallet believes it, and comes back."""
    for _ in range(TRIALS):
        with world, Proxy(world.url) as proxy:
            _first_one_mined(world)
            proxy.rules["eth_sendRawTransaction"] = lambda params, forward: USED
            proxy.rules["eth_getTransactionCount"] = lambda params, forward: {"result": "0x2"}
            wallet = world.wallet(url=proxy.url)
            for _ in range(4):
                world.step(wallet)
            assert WalletTransaction.objects.latest("id").nonce == 2
            release(wallet)
            proxy.rules.clear()
            world.heal(url=proxy.url)
            world.assert_each_done_once(reverted=1)


def test_the_key_was_used_elsewhere(world: World) -> None:
    """A nonce that the wallet would use next is another transaction's."""
    for _ in range(TRIALS):
        with world:
            _first_one_mined(world)
            world.actions.request("anvil_impersonateAccount", world.address)
            world.actions.request(
                "eth_sendTransaction", {"from": world.address, "to": world.address, "value": "0x1", "gas": "0x5208"}
            )
            wait_until(lambda: len(world.on_chain()) == 2, "mined")
            world.heal()
            mined = world.on_chain()
            assert [nonce for _, _, nonce, _ in mined] == [0, 1, 2]
            assert [status for _, _, _, status in mined] == [1, 1, 1]
            assert set(WalletAction.objects.values_list("state", flat=True)) == {ActionState.DONE}
            used = [mined[0][0], mined[2][0]]
            assert list(WalletAction.objects.order_by("id").values_list("transaction_hash", flat=True)) == used


@pytest.mark.parametrize("back", ["in another block", "not by itself"])
def test_a_receipt_is_reorganised_out(back: str, world: World) -> None:
    for trial in range(TRIALS):
        with world:
            wallet = world.wallet()
            wait_until(lambda wallet=wallet: _both_mined(world, wallet), "mined")
            before = [row.transaction_hash for row in WalletAction.objects.order_by("id")]
            kept = [[_raw(hash_), 1] for hash_ in before[: 1 + trial % 2]] if back == "in another block" else []
            world.actions.request("anvil_reorg", 2, kept)
            if not kept:
                assert world.on_chain() == []
            release(wallet)
            world.heal()
            world.assert_each_done_once()
            assert [row.transaction_hash for row in WalletAction.objects.order_by("id")] == before


def _both_mined(world: World, wallet: Wallet) -> bool:
    """A step without a block of its own: each transaction gets one."""
    wallet.step()
    return set(WalletAction.objects.values_list("state", flat=True)) == {ActionState.MINED}


def _raw(transaction_hash: str | None) -> str:
    return "0x" + bytes(WalletTransaction.objects.get(hash=transaction_hash).raw).hex()


def _first_one_mined(world: World) -> None:
    """The first action, and nothing of the second."""
    second = WalletAction.objects.latest("id")
    WalletAction.objects.filter(pk=second.pk).update(state=ActionState.CANCELLED)
    wallet, first = world.wallet(), WalletAction.objects.exclude(pk=second.pk)

    def mined() -> bool:
        world.step(wallet)
        return first.get().state == ActionState.MINED

    wait_until(mined, "mined")  # a busy machine's node may answer too late for a step
    release(wallet)
    WalletAction.objects.filter(pk=second.pk).update(state=ActionState.QUEUED)
