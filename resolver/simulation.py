"""What the contract would say to a transaction: `eth_call` from the wallet's address, at one block of one node."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from time import monotonic
from typing import Any

from eth_abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from indexer.chain import HEX_BYTES, MAX_CHAIN_ID, Header, MalformedAnswer, parsed, quantity, shown
from indexer.endpoints import Call, Endpoint, RpcError, RpcRefused
from indexer.rpc import REVERT_CODE, REVERTED
from resolver.reverts import NO_ALLOWANCE, explained

PATIENCE = 5.0  # seconds over all nodes, after which no further one is asked
ENDPOINT_TIMEOUT = 2.0  # seconds that one node has for one request
AT_ONCE = 4  # simulations; a web process has more threads than that
STAKE = 100 * 10**18  # AURUM (AurumOracle.sol)
NOBODY = "0x" + "00" * 20
GET_PROPOSAL = "0x" + keccak(b"getProposal(bytes32)")[:4].hex()
BALANCE_OF = "0x" + keccak(b"balanceOf(address)")[:4].hex()
# AurumOracle.Proposal, in its order: slots, binary, resolved, voided; proposer, payouts, stake, when, until; disputer,
# payouts, stake, when, until, until; the weights.
PROPOSAL = (
    "(uint256,bool,bool,bool,"
    "address,uint256[],uint256,uint256,uint256,"
    "address,uint256[],uint256,uint256,uint256,uint256,uint256,uint256)"
)
_running = threading.BoundedSemaphore(AT_ONCE)


class Unsimulated(Exception):
    """Nothing is known of what the contract would say; the text says why, and holds no URL."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What a call would do at one block. `error` is the contract's, and empty where it would succeed."""

    chain_id: int
    signer: str
    contract: str
    calldata: str
    block_number: int
    block_hash: str
    block_time: str  # ISO, UTC
    error: str
    note: str  # what the wallet has to do first
    # The question on chain at this block: `outcomes`, `resolved`, `voided`, `proposer`, `payouts`, `proposed_at`,
    # `disputer`, `disputed_payouts`, `disputed_at`; times in Unix seconds, payouts as strings, None for nobody.
    standing: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Simulator:
    """Simulates calls of the oracle. Addresses are lower-case `0x` strings; `clock` counts seconds."""

    def __init__(
        self, urls: Sequence[str], *, chain_id: int, oracle: str, token: str, signer: str, clock: Any = monotonic
    ) -> None:
        self.chain_id, self.oracle, self.token, self.signer = chain_id, oracle, token, signer
        self._urls = urls
        self._clock = clock

    def run(self, question_id: str, calldata: str) -> Simulation:
        """The call at the latest block of the first node that answers all of it. Raises Unsimulated."""
        if not _running.acquire(timeout=1.0):
            raise Unsimulated("Too many transactions are being simulated; try again in a moment.")
        try:
            deadline, error = self._clock() + PATIENCE, "RPC_URL is not set"
            for url in self._urls:
                left = deadline - self._clock()
                if left <= 0:
                    break
                try:
                    return self._run(self._endpoint(url, min(left, ENDPOINT_TIMEOUT)), deadline, question_id, calldata)
                except (RpcError, MalformedAnswer) as failure:
                    error = str(failure)
            raise Unsimulated(f"No node answers, so nothing is known of the transaction: {error}")
        finally:
            _running.release()

    def _endpoint(self, url: str, timeout: float) -> Endpoint:
        return Endpoint(url, clock=self._clock, random=Random(), timeout=timeout, observe=lambda *_: None)

    def _run(self, endpoint: Endpoint, deadline: float, question_id: str, calldata: str) -> Simulation:
        chain_id, head = endpoint.ask([("eth_chainId", []), ("eth_getBlockByNumber", ["latest", False])])
        if quantity(parsed(chain_id), "chain id", MAX_CHAIN_ID) != self.chain_id:
            raise MalformedAnswer(f"{endpoint.host} is of another chain")
        block = Header.from_json(head)

        def call(to: str, data: str) -> tuple[str, str]:
            if self._clock() > deadline:
                raise RpcError(f"{endpoint.host} is slow")
            return _called(endpoint, to, data, self.signer, block.hash)

        proposal, refusal = call(self.oracle, GET_PROPOSAL + question_id[2:])
        if refusal:
            raise Unsimulated(f"The oracle does not know the question: {refusal}")
        error, note = call(self.oracle, calldata)[1], ""
        if error.startswith(NO_ALLOWANCE):
            # The contract looks at the stake last: all else is well, if the wallet has it.
            error, note = (
                "",
                "The wallet lets the oracle take the stake of 100 AURUM first, in a transaction of its own.",
            )
            balance, refusal = call(self.token, BALANCE_OF + f"{int(self.signer, 16):064x}")
            if refusal or int(balance or "0x0", 16) < STAKE:
                error, note = f"The wallet has less than the stake of 100 AURUM. {refusal}".strip(), ""
        return Simulation(
            chain_id=self.chain_id,
            signer=self.signer,
            contract=self.oracle,
            calldata=calldata,
            block_number=block.number,
            block_hash=block.hash,
            block_time=datetime.fromtimestamp(block.timestamp, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            error=error,
            note=note,
            standing=read_standing(proposal),
        )


def _called(endpoint: Endpoint, to: str, data: str, sender: str, block_hash: str) -> tuple[str, str]:
    """What the contract answers, and why it refuses: one of them is empty. Raises RpcError, MalformedAnswer."""
    call: Call = ("eth_call", [{"from": sender, "to": to, "data": data}, {"blockHash": block_hash}])
    try:
        answer = endpoint.ask([call])[0]
    except RpcRefused as refusal:
        if refusal.code == REVERT_CODE or REVERTED.search(refusal.said):
            return "", explained(refusal.said) or "it refuses without a reason"
        raise
    said = parsed(answer)
    if not isinstance(said, str) or not HEX_BYTES.fullmatch(said):
        raise MalformedAnswer(f"{endpoint.host}: eth_call answered {shown(answer)}")
    return said, ""


def read_standing(answer: str) -> dict[str, Any]:
    """`Simulation.standing` of what getProposal answers. Raises MalformedAnswer."""
    try:
        outcomes, _, resolved, voided, proposer, payouts, _, at, _, disputer, disputed, _, disputed_at, *_ = decode(
            [PROPOSAL], bytes.fromhex(answer[2:])
        )[0]
    except (DecodingError, OverflowError, ValueError):
        raise MalformedAnswer("the oracle's answer to getProposal is no proposal") from None
    return {
        "outcomes": outcomes,
        "resolved": resolved,
        "voided": voided,
        "proposer": None if proposer == NOBODY else proposer,
        "payouts": [str(payout) for payout in payouts],
        "proposed_at": at,
        "disputer": None if disputer == NOBODY else disputer,
        "disputed_payouts": [str(payout) for payout in disputed],
        "disputed_at": disputed_at,
    }
