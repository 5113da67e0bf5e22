"""Whether an action is still to be done, as the chain itself says at one block: what the indexer says never decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eth_abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from indexer.chain import Header, MalformedAnswer
from markets.chaintime import from_seconds
from oracle.lifecycle import STALE_AFTER
from resolver.contracts import STAKE, Contracts
from resolver.models import Kind, WalletAction
from resolver.node import Sight
from resolver.policy import Standing, Verdict
from resolver.simulation import NOBODY, PROPOSAL

Block = str | dict[str, str]  # a height in hex, or EIP-1898's {"blockHash": …}
Call = Callable[[str, str, Block], bytes | None]  # contract, data, block -> answer, None where it reverts

MARKET = "(bytes32,bytes32,address,address,address,uint256,uint256,bool,bool)"  # MarketFactory.Market, in its order


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """AurumOracle.Proposal, as far as it matters here. Times in Unix seconds, 0 for never."""

    outcomes: int
    resolved: bool
    proposer: str
    payouts: tuple[int, ...]
    proposed_at: int
    expires_at: int
    disputer: str
    reveal_ends_at: int


class ChainAt:
    """What the contracts say at one block; `time` is the block's, in Unix seconds. `owner` is the wallet's address.

    Raises MalformedAnswer where an answer is none of theirs.
    """

    def __init__(self, call: Call, contracts: Contracts, *, owner: str, block: Block, time: int) -> None:
        self._call, self._contracts, self._owner, self._block = call, contracts, owner, block
        self.time = time

    def proposal(self, question_id: str) -> Proposal | None:
        """None where the oracle does not know the question."""
        found = self._read(self._contracts.oracle, "getProposal(bytes32)", [question_id], [PROPOSAL])
        if found is None:
            return None
        outcomes, _, resolved, _, proposer, payouts, _, at, expires, disputer, _, _, _, _, reveal_ends, *_ = found[0]
        return Proposal(
            outcomes=outcomes,
            resolved=resolved,
            proposer=proposer,
            payouts=tuple(payouts),
            proposed_at=at,
            expires_at=expires,
            disputer=disputer,
            reveal_ends_at=reveal_ends,
        )

    def is_stale(self, question_id: str, proposal: Proposal) -> bool:
        """What the oracle says of its proposal, or the block's time: nodes differ in the time that a call has."""
        said = self._read(self._contracts.oracle, "isProposalStale(bytes32)", [question_id], ["bool"])
        too_old = self.time > proposal.proposed_at + int(STALE_AFTER.total_seconds())
        return too_old or said is None or bool(said[0])

    def market(self, market_id: str) -> tuple[str, bool] | None:
        """Condition, and whether its payouts are announced; None where the factory does not know the market."""
        found = self._read(self._contracts.factory, "getMarket(bytes32)", [market_id], [MARKET])
        return None if found is None else ("0x" + found[0][1].hex(), found[0][8])

    def payout_denominator(self, condition_id: str) -> int:
        """0 until the condition is resolved."""
        asked = "payoutDenominator(bytes32)"
        found = self._read(self._contracts.conditional_tokens, asked, [condition_id], ["uint256"])
        return 0 if found is None else int(found[0])

    @cached_property
    def balance(self) -> int:
        """The wallet's AURUM."""
        found = self._read(self._contracts.aurum, "balanceOf(address)", [self._owner], ["uint256"])
        return 0 if found is None else int(found[0])

    @cached_property
    def allowance(self) -> int:
        """What the oracle may take of it."""
        arguments = [self._owner, self._contracts.oracle]
        found = self._read(self._contracts.aurum, "allowance(address,address)", arguments, ["uint256"])
        return 0 if found is None else int(found[0])

    def _read(self, contract: str, function: str, words: Sequence[str], types: Sequence[str]) -> Any:
        data = "0x" + keccak(function.encode())[:4].hex() + "".join(word[2:].rjust(64, "0") for word in words)
        answer = self._call(contract, data, self._block)
        if not answer:  # it reverts; or it is not there yet, as in a final block of a young chain
            return None
        try:
            return decode(types, answer)
        except (DecodingError, OverflowError, ValueError):
            raise MalformedAnswer(f"{contract} answers {function} with something else") from None


class Truth:
    """`StillNeeded` of policy.py, by reading the chain. It raises as the nodes' answers do, for "I can't tell now"."""

    def __init__(self, look: Callable[[], Sight], call: Call, contracts: Contracts, *, owner: str = NOBODY) -> None:
        self._look, self._call, self._contracts, self._owner = look, call, contracts, owner

    def __call__(self, action: WalletAction) -> Verdict:
        sight = self._look()
        verdict = self._verdict(action, sight.head, {"blockHash": sight.head.hash})
        if verdict.standing is not Standing.DONE:
            return verdict
        return Verdict(standing=Standing.DONE, final=self._is_final(action, sight), reason=verdict.reason)

    def _is_final(self, action: WalletAction, sight: Sight) -> bool:
        if sight.finalized < 0:
            return False
        return self._verdict(action, sight.head, hex(sight.finalized)).standing is Standing.DONE

    def _verdict(self, action: WalletAction, head: Header, block: Block) -> Verdict:
        chain = ChainAt(self._call, self._contracts, owner=self._owner, block=block, time=head.timestamp)
        return JUDGES[Kind(action.kind)](chain, action)


def _needed(reason: str = "") -> Verdict:
    return Verdict(standing=Standing.NEEDED, reason=reason)


def _done(reason: str) -> Verdict:
    return Verdict(standing=Standing.DONE, reason=reason)


def _blocked(reason: str) -> Verdict:
    return Verdict(standing=Standing.BLOCKED, reason=reason)


UNKNOWN_QUESTION = "the oracle does not know the question"
SETTLED = "the question is settled"


def _finalize(chain: ChainAt, action: WalletAction) -> Verdict:
    """Past its challenge period, or past its vote where it is disputed; and not stale."""
    proposal = chain.proposal(action.subject)
    if proposal is None:
        return _blocked(UNKNOWN_QUESTION)
    if proposal.resolved:
        return _done(SETTLED)
    if proposal.proposer == NOBODY:
        return _blocked("nothing is proposed")
    if chain.is_stale(action.subject, proposal):
        return _blocked("the proposal is stale: it can only be replaced, or the question voided")
    is_disputed = proposal.disputer != NOBODY
    ends = proposal.reveal_ends_at if is_disputed else proposal.expires_at
    if chain.time < ends:
        period = "vote" if is_disputed else "challenge period"
        return _blocked(f"its {period} ends at {from_seconds(ends):%Y-%m-%dT%H:%M:%SZ}")
    return _needed()


def _resolve(chain: ChainAt, action: WalletAction) -> Verdict:
    market = chain.market(action.subject)
    if market is None:
        return _blocked("the factory does not know the market")
    condition_id, is_resolved = market
    if is_resolved:
        return _done("the market's payouts are announced")
    if not chain.payout_denominator(condition_id):
        return _blocked("the market's condition is not resolved")
    return _needed()


def _void(chain: ChainAt, action: WalletAction) -> Verdict:
    proposal = chain.proposal(action.subject)
    if proposal is None:
        return _blocked(UNKNOWN_QUESTION)
    return _done(SETTLED) if proposal.resolved else _needed()


def _proposable(chain: ChainAt, action: WalletAction) -> Verdict:
    """Whether the question takes a proposal in the place of the one that `round` names (0 for none)."""
    proposal = chain.proposal(action.subject)
    if proposal is None:
        return _blocked(UNKNOWN_QUESTION)
    if proposal.resolved:
        return _done(SETTLED)
    if proposal.proposed_at > action.round:
        return _done("there is another proposal since")
    if proposal.proposed_at < action.round:
        return _blocked("the proposal that it would replace is gone")
    if proposal.proposer != NOBODY and not chain.is_stale(action.subject, proposal):
        return _blocked("the proposal that it would replace is not stale")
    if chain.balance < STAKE:
        return _blocked("the wallet has less than the stake of 100 AURUM")
    return _needed()


def _approve_stake(chain: ChainAt, action: WalletAction) -> Verdict:
    """The proposal takes the allowance with it: behind it, approving is done, and not to be done again."""
    verdict = _proposable(chain, action)
    if verdict.standing is Standing.NEEDED and chain.allowance >= STAKE:
        return _blocked("the oracle may take the stake already")
    return verdict


def _propose(chain: ChainAt, action: WalletAction) -> Verdict:
    verdict = _proposable(chain, action)
    if verdict.standing is not Standing.NEEDED:
        return verdict
    if chain.allowance < STAKE:
        return _blocked("the oracle may not take the stake yet")
    return _needed()


JUDGES: dict[Kind, Callable[[ChainAt, WalletAction], Verdict]] = {
    Kind.FINALIZE: _finalize,
    Kind.RESOLVE: _resolve,
    Kind.APPROVE_STAKE: _approve_stake,
    Kind.PROPOSE: _propose,
    Kind.VOID: _void,
}
