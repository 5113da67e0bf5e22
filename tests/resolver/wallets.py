"""A wallet on a real chain with things to do, what it must have done at the end, and a node's proxy that lies."""

import json
import secrets
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from eth_abi import decode
from eth_hash.auto import keccak

from aurum.database import connect
from aurum.secret import Secret
from indexer.devchain.actions import ONE, Actions, Market
from indexer.rpc import Rpc
from resolver.models import OVER, ActionState, Kind, WalletAction, WalletSwitch, WalletTransaction
from resolver.node import Chain, NodeChain
from resolver.policy import Policy, Standing, Verdict
from resolver.signer import LocalSigner, Signer
from resolver.signer_lock import SignerLock
from resolver.wallet import Wallet

FINALIZE = "0x" + keccak(b"finalizeProposal(bytes32)")[:4].hex()
GET_PROPOSAL = "0x" + keccak(b"getProposal(bytes32)")[:4].hex()
PROPOSAL = (
    "(uint256,bool,bool,bool,address,uint256[],uint256,uint256,uint256,address,uint256[],uint256,uint256,"
    "uint256,uint256,uint256,uint256)"
)
RESOLVED, EXPIRES_AT = 2, 8  # places in it
GWEI = 10**9
STEP = 7.0  # seconds of the wallet's clock from one step to the next
REPLACE_AFTER = 20.0  # seconds
MOST_STEPS = 60


class Clock:
    """Counts on by itself, as often as it is told to."""

    def __init__(self, *, ahead: float = 0.0) -> None:
        self.now = datetime.now(tz=UTC) + timedelta(seconds=ahead)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float = STEP) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class OracleStanding:
    """Whether a question is still to be finalised, by AurumOracle.getProposal."""

    chain: Chain
    oracle: str

    def __call__(self, action: WalletAction) -> Verdict:
        sight = self.chain.look()
        proposal = self._proposal(action, "latest")
        if proposal[RESOLVED]:
            final = bool(self._proposal(action, hex(sight.finalized))[RESOLVED])
            return Verdict(standing=Standing.DONE, final=final, reason="the question is resolved")
        if proposal[EXPIRES_AT] > sight.head.timestamp:
            return Verdict(standing=Standing.BLOCKED, reason="it can be challenged")
        return Verdict(standing=Standing.NEEDED)

    def _proposal(self, action: WalletAction, block: str) -> tuple[Any, ...]:
        data = GET_PROPOSAL + action.subject[2:]
        answer = self.chain.call(sender=self.oracle, to=self.oracle, data=data, block=block)
        return tuple(decode([PROPOSAL], answer)[0])


def build(
    *,
    url: str,
    key: str,
    oracle: str,
    clock: Clock,
    wrap_chain: Callable[[Chain], Chain] = lambda chain: chain,
    wrap_signer: Callable[[Signer], Signer] = lambda signer: signer,
    kind: type[Wallet] = Wallet,
    lock: bool = True,
    stale: float = 10.0,
    timeout: float = 10.0,
    **policy: Any,
) -> Wallet:
    """A wallet for this node, which may finalise questions."""
    urls = url.split(",")
    chain = wrap_chain(NodeChain(Rpc(urls, timeout=timeout, pause=lambda seconds: None), confirmations=4))
    signer = wrap_signer(LocalSigner(Secret(key)))
    rules = Policy(
        **{
            "chain_id": 31337,
            "allowed": frozenset([(oracle, FINALIZE)]),
            "most_fee": 100 * GWEI,
            "daily_limit": 1000,
            "replace_after": REPLACE_AFTER,
        }
        | policy
    )
    held = SignerLock(connect, chain_id=rules.chain_id, address=signer.address, stale=stale) if lock else None
    truth = OracleStanding(chain=chain, oracle=oracle)
    return kind(signer, chain, truth, policy=rules, lock=held, clock=clock)


@dataclass(kw_only=True)
class World:
    """A chain whose blocks are taken back after each trial, and questions that can be finalised."""

    actions: Actions
    markets: Sequence[Market]
    key: str = ""
    address: str = ""
    first_block: int = 0
    snapshot: Any = None
    reverted: int = 0
    clock: Clock = field(default_factory=Clock)

    @property
    def oracle(self) -> str:
        return self.actions.deployment.aurum_oracle.lower()

    @property
    def url(self) -> str:
        return self.actions.deployment.rpc_url

    def __enter__(self) -> Self:
        """A trial begins: an unknown signer with money, and its actions in the queue."""
        WalletTransaction.objects.all().delete()
        WalletAction.objects.all().delete()
        WalletSwitch.objects.all().delete()
        self.snapshot = self.actions.request("evm_snapshot")
        self.key = "0x" + secrets.token_hex(32)
        self.address = LocalSigner(Secret(self.key)).address
        self.clock = Clock(ahead=1000)  # later than those of processes that were killed
        self.actions.request("anvil_setBalance", self.address, hex(10**20))
        self.first_block = int(self.actions.request("eth_blockNumber"), 16) + 1
        for market in self.markets:
            self.queue(market)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.actions.request("evm_setAutomine", True)
        self.actions.request("evm_revert", self.snapshot)
        # anvil does not take its next base fee back with the blocks.
        head = self.actions.request("eth_getBlockByNumber", "latest", False)
        self.actions.request("anvil_setNextBlockBaseFeePerGas", head["baseFeePerGas"])

    def queue(self, market: Market) -> WalletAction:
        question = market.question_id.hex()
        return WalletAction.objects.create(
            chain_id=31337,
            kind=Kind.FINALIZE,
            subject="0x" + question,
            contract=self.oracle,
            calldata=FINALIZE + question,
            reason="the challenge period is over",
            actor="resolver",
        )

    def wallet(self, **more: Any) -> Wallet:
        return build(**{"url": self.url, "key": self.key, "oracle": self.oracle, "clock": self.clock} | more)

    def step(self, wallet: Wallet, *, mine: bool = True) -> bool:
        """One step, and a block."""
        changed = wallet.step()
        self.clock.advance()
        if mine:
            self.actions.mine()
        return changed

    def heal(self, **more: Any) -> int:
        """Lets a wallet work until nothing is left to do; returns how many steps that took."""
        wallet = self.wallet(**more)
        for number in range(MOST_STEPS):
            if not WalletAction.objects.exclude(state__in=OVER).exists():
                release(wallet)
                return number
            self.step(wallet)
        raise AssertionError([(a.state, a.error, a.attempts) for a in WalletAction.objects.all()])

    # --- what must be true at the end ---------------------------------------------------------------------------------

    def on_chain(self) -> list[tuple[str, str, int, int]]:
        """(hash, calldata, nonce, status) of every transaction of the signer that is in a block."""
        ask, found = self.actions.request, []  # raw: web3 takes ten times as long
        for number in range(self.first_block, int(ask("eth_blockNumber"), 16) + 1):
            for sent in ask("eth_getBlockByNumber", hex(number), True)["transactions"]:
                if sent["from"] == self.address:
                    status = ask("eth_getTransactionReceipt", sent["hash"])["status"]
                    found.append((sent["hash"], sent["input"], int(sent["nonce"], 16), int(status, 16)))
        return found

    def assert_each_done_once(self, *, reverted: int = 0) -> None:
        """Every action is done by one successful transaction; at most so many failed, which the trial forces."""
        mined = self.on_chain()
        done = sorted(data for _, data, _, status in mined if status == 1)
        assert done == sorted(WalletAction.objects.values_list("calldata", flat=True))
        assert len(mined) - len(done) <= reverted, mined
        self.reverted += len(mined) - len(done)
        assert [nonce for _, _, nonce, _ in mined] == list(range(len(mined)))
        assert {hash_ for hash_, _, _, _ in mined} <= set(WalletTransaction.objects.values_list("hash", flat=True))
        for action in WalletAction.objects.all():
            assert (action.state, action.error) == (ActionState.DONE, ""), (action.pk, action.state, action.error)
            assert (action.transaction_hash, action.calldata, 1) in {(h, data, s) for h, data, _, s in mined}
        assert_fees_rise()


def assert_fees_rise() -> None:
    """Of one nonce, each pays at least 110% of both fees of the one before."""
    last: dict[tuple[str, int], WalletTransaction] = {}
    for sent in WalletTransaction.objects.order_by("id"):
        older = last.get((sent.signer, sent.nonce))
        if older is not None:
            assert sent.max_fee * 10 >= older.max_fee * 11
            assert sent.priority_fee * 10 >= older.priority_fee * 11
        last[sent.signer, sent.nonce] = sent


def release(wallet: Wallet) -> None:
    if wallet._lock is not None:
        wallet._lock.release()


def new_world(actions: Actions, *, markets: int = 2) -> World:
    """Questions with proposals that nobody disputed in time."""
    made = [actions.create_market(f"Question {number}?") for number in range(markets)]
    for market in made:
        actions.propose(market, [ONE, 0], sender=actions.accounts[1])
    actions.advance(3 * 3600)
    return World(actions=actions, markets=made)


# --- a node that lies -------------------------------------------------------------------------------------------------

Forward = Callable[[], dict[str, Any]]
Rule = Callable[[list[Any], Forward], dict[str, Any] | None]


class Proxy:
    """Passes requests on to a node. A rule for a method may answer itself; None answers nothing at all."""

    def __init__(self, url: str) -> None:
        self._node = url
        self.rules: dict[str, Rule] = {}
        self.heard: list[str] = []
        self._end = Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answers = [outer._answer(item) for item in (asked if isinstance(asked, list) else [asked])]
                if None in answers:
                    outer._end.wait(2)
                    self.close_connection = True
                    return
                body = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, item: dict[str, Any]) -> dict[str, Any] | None:
        self.heard.append(item["method"])

        def forward() -> dict[str, Any]:
            post = urllib.request.Request(self._node, json.dumps(item).encode(), {"Content-Type": "application/json"})  # noqa: S310
            with urllib.request.urlopen(post, timeout=10) as answer:  # noqa: S310
                read: dict[str, Any] = json.load(answer)
                return read

        rule = self.rules.get(item["method"])
        said = rule(item["params"], forward) if rule else forward()
        if said is None:
            return None
        return {"jsonrpc": "2.0", "id": item["id"]} | {name: said[name] for name in ("result", "error") if name in said}
