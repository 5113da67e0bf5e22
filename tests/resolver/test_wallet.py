"""The wallet's rules, each alone, against a chain that does what a test says."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from eth_hash.auto import keccak

from aurum.log_context import log_fields
from aurum.secret import Secret
from indexer.chain import Header
from operators.models import AuditEntry
from resolver.metrics import WalletCollector
from resolver.models import ActionState, Kind, WalletAction, WalletSwitch, WalletTransaction
from resolver.node import Fees, Outcome, Receipt, Reverted, Sending, Sight
from resolver.policy import Policy, Standing, Verdict
from resolver.signer import LocalSigner
from resolver.wallet import Wallet
from tests.hearing import hearing
from tests.resolver.wallets import Clock

pytestmark = pytest.mark.django_db

KEY = "0x" + "46" * 32
ORACLE = "0x" + "0a" * 20
FINALIZE = "0x" + keccak(b"finalizeProposal(bytes32)")[:4].hex()
GWEI = 10**9


@dataclass
class FakeChain:
    """A node in memory. `mine` puts what waits into a block."""

    base: int = 10 * GWEI
    tip: int = GWEI
    chain: int = 31337
    height: int = 100
    finalized: int = 90
    nonce: int = 5
    gas: int = 100_000
    reverts: str = ""
    answers: list[Sending] = field(default_factory=list)  # to the next transactions; then they are taken
    waiting: list[str] = field(default_factory=list)
    mined: dict[str, Receipt] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)

    def chain_id(self) -> int:
        return self.chain

    def look(self) -> Sight:
        head = Header(number=self.height, hash=_hash(self.height), parent_hash=_hash(self.height - 1), timestamp=1)
        return Sight(head=head, finalized=self.finalized)

    def fees(self) -> Fees:
        return Fees(base=self.base, tip=self.tip)

    def count(self, address: str, block: str = "latest") -> int:
        return self.nonce

    def balance(self, address: str) -> int:
        return 7

    def receipt(self, transaction_hash: str) -> Receipt | None:
        return self.mined.get(transaction_hash)

    def knows(self, transaction_hash: str) -> bool:
        return transaction_hash in self.waiting or transaction_hash in self.mined

    def block_hash(self, number: int) -> str | None:
        return _hash(number) if number <= self.height else None

    def call(self, *, sender: str, to: str, data: str, block: str = "latest") -> bytes:
        if self.reverts:
            raise Reverted(self.reverts)
        return b""

    def estimate(self, *, sender: str, to: str, data: str) -> int:
        self.call(sender=sender, to=to, data=data)
        return self.gas

    def send(self, raw: bytes) -> Sending:
        self.sent.append("0x" + keccak(raw).hex())
        answer = self.answers.pop(0) if self.answers else Sending(outcome=Outcome.ACCEPTED)
        if answer.taken:
            self.waiting.append(self.sent[-1])
        return answer

    def mine(self, transaction_hash: str, *, succeeded: bool = True) -> None:
        self.height += 1
        self.nonce += 1
        self.waiting.clear()
        self.mined[transaction_hash] = Receipt(
            block_number=self.height, block_hash=_hash(self.height), succeeded=succeeded
        )


def _hash(number: int) -> str:
    return f"0x{number:064x}"


class Case:
    """A wallet, its chain, its clock, and what still_needed says."""

    def __init__(self, **policy: Any) -> None:
        self.chain = FakeChain()
        self.clock = Clock(ahead=60)  # what is queued now is due
        self.verdict = Verdict(standing=Standing.NEEDED)
        fixed = {"allowed": frozenset([(ORACLE, FINALIZE)]), "most_fee": 100 * GWEI, "daily_limit": 10}
        self.policy = Policy(chain_id=31337, **fixed | policy)
        self.wallet = self.new_wallet()

    def new_wallet(self) -> Wallet:
        signer = LocalSigner(Secret(KEY))
        return Wallet(signer, self.chain, lambda action: self.verdict, policy=self.policy, clock=self.clock)

    def step(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.wallet.step()


def queue(number: int = 1, **more: Any) -> WalletAction:
    subject = _hash(number)
    fixed = {"contract": ORACLE, "calldata": FINALIZE + subject[2:], "reason": "due", "actor": "resolver"}
    return WalletAction.objects.create(chain_id=31337, kind=Kind.FINALIZE, subject=subject, **fixed | more)


def states() -> list[str]:
    return list(WalletAction.objects.order_by("id").values_list("state", flat=True))


def fees_of(sent: WalletTransaction) -> tuple[int, int]:
    return sent.max_fee, sent.priority_fee


def test_the_life_of_an_action() -> None:
    case, action = Case(), queue()
    case.step()
    sent = WalletTransaction.objects.get()
    assert states() == ["sent"]
    assert (sent.nonce, sent.gas, fees_of(sent)) == (5, 125_000, (21 * GWEI, GWEI))
    assert case.chain.sent == [sent.hash]
    case.chain.mine(sent.hash)
    case.step()
    assert states() == ["mined"]
    case.chain.finalized = case.chain.height
    case.step()
    assert states() == ["done"]
    action.refresh_from_db()
    assert (action.transaction_hash, action.block_number) == (sent.hash, 101)
    told = AuditEntry.objects.order_by("id").values_list("actor", "action", "subject")
    assert list(told) == [
        ("resolver", f"wallet.{what}", f"question:{action.subject}") for what in ("signed", "sent", "mined", "done")
    ]
    case.step()
    assert case.chain.sent == [sent.hash]


def test_an_actions_lines_and_audit_say_which_step_and_which_action_they_are_of() -> None:
    case, action = Case(), queue()
    with hearing("resolver") as lines:
        case.step()
        case.chain.mine(WalletTransaction.objects.get().hash)
        case.step()
    steps = list(AuditEntry.objects.order_by("id").values_list("request_id", flat=True))
    assert [fields for _, fields in lines] == [{"requestId": each, "actionId": action.pk} for each in steps]
    signed, sent, mined = steps
    assert re.fullmatch("wallet-[0-9a-f]{32}", signed)
    assert (sent == signed, mined == signed) == (True, False)
    assert log_fields() == {}


def test_one_after_the_other() -> None:
    case = Case()
    queue(1), queue(2)
    case.step()
    case.step()
    assert states() == ["sent", "queued"]
    case.chain.mine(case.chain.sent[0])
    case.step()
    assert states() == ["mined", "sent"]
    assert WalletTransaction.objects.latest("id").nonce == 6


def test_the_database_allows_one_in_flight() -> None:
    queue(1, state=ActionState.SENT)
    with pytest.raises(IntegrityError, match="wallet_one_in_flight"), transaction.atomic():
        queue(2, state=ActionState.SIGNED)


@pytest.mark.parametrize(
    ("contract", "calldata"),
    [
        ("0x" + "0b" * 20, FINALIZE + "00" * 32),
        (ORACLE, "0xdeadbeef" + "00" * 32),
        (ORACLE, "0x"),
        (ORACLE, FINALIZE[:8]),
    ],
)
def test_only_what_is_allowed_is_signed(contract: str, calldata: str) -> None:
    case, action = Case(), queue(contract=contract, calldata=calldata)
    case.step()
    action.refresh_from_db()
    assert action.state == ActionState.FAILED
    assert action.error == f"{calldata[:10]} of {contract} is not allowed"
    assert WalletTransaction.objects.count() == 0
    assert AuditEntry.objects.get().action == "wallet.forbidden"


def test_an_entry_that_is_too_short_allows_nothing() -> None:
    case = Case(allowed=frozenset([(ORACLE, "0x")]))
    queue()
    case.step()
    assert states() == ["failed"]


def test_a_stopped_wallet_neither_signs_nor_sends() -> None:
    case, switch = Case(), WalletSwitch.objects.create(stopped=True)
    queue()
    case.step()
    assert (states(), case.chain.sent) == (["queued"], [])
    WalletSwitch.objects.update(stopped=False)
    case.chain.answers = [Sending(outcome=Outcome.UNKNOWN)]
    case.step()
    assert (states(), len(case.chain.sent)) == (["signed"], 1)
    WalletSwitch.objects.update(stopped=True)
    case.step()
    assert len(case.chain.sent) == 1
    # What is in a block already is still followed.
    case.chain.mine(case.chain.sent[0])
    case.chain.finalized = case.chain.height
    case.step()
    assert states() == ["done"]
    assert switch.pk == 1


def test_stopped_while_it_signs() -> None:
    case = Case()
    queue()
    case.wallet._may_send = lambda: True  # type: ignore[method-assign]
    WalletSwitch.objects.create(stopped=True)
    case.step()
    assert (states(), case.chain.sent, WalletTransaction.objects.count()) == (["queued"], [], 0)


def test_the_daily_limit() -> None:
    case = Case(daily_limit=2)
    case.clock.now = case.clock.now.replace(hour=12) + timedelta(days=1)
    for number in range(3):
        queue(number)
    for _ in range(6):
        case.step()
        if case.chain.waiting:
            case.chain.mine(case.chain.waiting[0])
    assert states() == ["mined", "mined", "queued"]
    assert "2 actions are signed today" in WalletAction.objects.latest("id").error
    case.step(seconds=12 * 3600)
    assert states() == ["mined", "mined", "sent"]


def test_replaced_with_ten_percent_more_up_to_the_cap() -> None:
    case = Case(most_fee=25 * GWEI)
    queue()
    case.step()
    case.step(seconds=59)
    assert WalletTransaction.objects.count() == 1
    case.step(seconds=1)
    first, second = WalletTransaction.objects.order_by("id")
    assert fees_of(first) == (21 * GWEI, GWEI)
    assert fees_of(second) == (231 * GWEI // 10, 11 * GWEI // 10)
    assert second.nonce == first.nonce == 5
    # 10% more would be 25.41: the same goes again, and it says so.
    case.chain.waiting.clear()
    case.step(seconds=60)
    case.step(seconds=60)
    assert WalletTransaction.objects.count() == 2
    assert case.chain.sent[2:] == [second.hash] * (len(case.chain.sent) - 2)
    assert len(case.chain.sent) >= 4
    assert "above the cap" in WalletAction.objects.get().error
    # The first one may be mined all the same.
    case.chain.mine(first.hash)
    case.chain.finalized = case.chain.height
    case.step()
    assert (states(), WalletAction.objects.get().transaction_hash) == (["done"], first.hash)


def test_a_replacement_pays_the_market() -> None:
    case = Case()
    queue()
    case.step()
    case.chain.base = 30 * GWEI
    case.step(seconds=60)
    assert fees_of(WalletTransaction.objects.latest("id")) == (61 * GWEI, 11 * GWEI // 10)


def test_nothing_is_signed_while_the_base_fee_is_above_the_cap() -> None:
    case = Case(most_fee=10 * GWEI)
    action = queue()
    case.step()
    action.refresh_from_db()
    assert (action.state, WalletTransaction.objects.count()) == ("queued", 0)
    assert "the cap" in action.error
    case.chain.base = 8 * GWEI
    case.step()
    assert states() == ["sent"]
    assert fees_of(WalletTransaction.objects.get()) == (10 * GWEI, GWEI)


@pytest.mark.parametrize("outcome", [Outcome.UNDERPRICED, Outcome.FEE_TOO_LOW])
def test_refused_for_its_fee(outcome: Outcome) -> None:
    case = Case()
    queue()
    case.chain.answers = [Sending(outcome=outcome), Sending(outcome=outcome)]
    case.step()
    case.step(seconds=5)
    first, second = WalletTransaction.objects.order_by("id")
    assert second.max_fee == first.max_fee * 11 // 10
    assert (states(), case.chain.sent) == (["sent"], [first.hash, first.hash, second.hash])


def test_no_money() -> None:
    case = Case()
    queue()
    case.chain.answers = [Sending(outcome=Outcome.NO_FUNDS, said="insufficient funds for gas")]
    case.step()
    assert states() == ["signed"]
    assert WalletTransaction.objects.get().error == "insufficient funds: insufficient funds for gas"
    case.step()
    assert (states(), WalletTransaction.objects.count()) == (["sent"], 1)


def test_another_chain() -> None:
    case = Case()
    queue()
    case.chain.chain = 1
    case.step()
    assert (states(), WalletTransaction.objects.count()) == (["queued"], 0)


def test_the_contract_would_refuse() -> None:
    case, action = Case(attempts=3), queue()
    case.chain.reverts = "AlreadyResolved"
    for number in range(3):
        case.step(seconds=3600)
        action.refresh_from_db()
        assert action.attempts == number + 1
    assert (action.state, action.error) == ("failed", "the contract would refuse: AlreadyResolved")
    assert case.chain.sent == []


def test_it_reverts() -> None:
    case, action = Case(), queue()
    case.step()
    case.chain.mine(case.chain.sent[0], succeeded=False)
    case.chain.reverts = "ProposalStale"
    case.step()
    action.refresh_from_db()
    assert (action.state, action.error) == ("failed", "the transaction reverted: ProposalStale")
    queue(2)
    case.chain.reverts = ""
    case.step()
    assert states() == ["failed", "sent"]
    assert WalletTransaction.objects.latest("id").nonce == 6


def test_somebody_else_was_quicker() -> None:
    case = Case()
    queue()
    case.step()
    case.chain.mine(case.chain.sent[0], succeeded=False)
    case.verdict = Verdict(standing=Standing.DONE, reason="resolved")
    case.step()
    assert states() == ["queued"]  # not final
    case.verdict = Verdict(standing=Standing.DONE, final=True, reason="resolved")
    case.step(seconds=60)
    assert states() == ["unneeded"]
    assert len(case.chain.sent) == 1


def test_not_possible_now() -> None:
    case, action = Case(attempts=2), queue()
    case.verdict = Verdict(standing=Standing.BLOCKED, reason="it can be challenged")
    case.step()
    action.refresh_from_db()
    assert (action.state, action.attempts, action.error) == ("queued", 1, "it can be challenged")
    case.step()  # it waits
    action.refresh_from_db()
    assert action.attempts == 1
    for _ in range(5):  # a vote takes days
        case.step(seconds=3600)
    assert (states(), AuditEntry.objects.filter(action="wallet.put_off").count()) == (["queued"], 1)
    case.verdict = Verdict(standing=Standing.NEEDED)
    case.step(seconds=3600)
    assert states() == ["sent"]


def test_a_node_that_is_behind_is_no_reorganisation() -> None:
    case = Case()
    queue()
    case.step()
    case.chain.mine(case.chain.sent[0])
    case.step()
    receipts, case.chain.mined = case.chain.mined, {}
    case.step()
    assert states() == ["mined"]
    case.chain.height = 100
    case.step()
    assert states() == ["mined"]
    case.chain.mined = receipts
    case.step()
    assert (states(), len(case.chain.sent)) == (["mined"], 1)


def test_without_a_signer() -> None:
    case, action = Case(), queue()
    wallet = Wallet(None, case.chain, lambda action: case.verdict, policy=case.policy)
    assert not wallet.step()
    action.refresh_from_db()
    assert (action.state, case.chain.sent) == ("queued", [])


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_cancelled_actions_transaction_is_mined_when_the_same_was_asked_for_again(succeeds: bool) -> None:
    """Both have one nonce: what is mined is kept where it belongs, and the other one finds out what the chain says."""
    case, cancelled = Case(), queue()
    case.step()
    first = WalletTransaction.objects.get()
    WalletAction.objects.update(state=ActionState.CANCELLED)
    again = queue()
    case.step()
    second = WalletTransaction.objects.latest("id")
    assert (second.action_id, second.nonce) == (again.pk, first.nonce)
    case.chain.mine(first.hash, succeeded=succeeds)
    case.verdict = Verdict(standing=Standing.DONE, final=True, reason="it is done")
    for _ in range(4):
        case.step(60)
    assert states() == ["cancelled", "unneeded"]
    cancelled.refresh_from_db()
    assert (cancelled.transaction_hash, cancelled.block_number) == (first.hash, 101)
    what = "mined" if succeeds else "reverted"
    assert AuditEntry.objects.filter(action=f"wallet.{what}", after__action=cancelled.pk).count() == 1


def test_another_signers_transaction_is_only_watched() -> None:
    case = Case()
    queue()
    case.chain.answers = [Sending(outcome=Outcome.UNKNOWN)]
    case.step()
    WalletTransaction.objects.update(signer="0x" + "77" * 20)
    case.step(seconds=600)
    assert (states(), len(case.chain.sent), WalletTransaction.objects.count()) == (["signed"], 1, 1)


def test_metrics() -> None:
    case = Case()
    queue()
    case.step()
    case.chain.mine(case.chain.sent[0])
    case.step()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in WalletCollector(case.wallet.counts).collect()
        for sample in metric.samples
    }
    assert samples["wallet_transactions_signed_total",] == 1
    assert samples["wallet_actions_total", "sent"] == samples["wallet_actions_total", "mined"] == 1
    assert samples["wallet_actions_total", "failed"] == 0
    assert samples["wallet_balance_wei",] == 7
