"""People of each role, and rows of the resolver, for tests of what they may do."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser, Group, User
from django.http import HttpRequest
from django.test import RequestFactory

from resolver.actions import calldata, calldata_of
from resolver.models import ActionState, Kind, ResolutionRequest, WalletAction, WalletTransaction
from resolver.simulation import Simulation, Unsimulated
from tests import factories
from tests.factories import ORACLE, UNIT, hex_id

WALLET = "0x" + "3a" * 20
CHAIN_ID = 31337
# Nobody has proposed anything.
UNTOUCHED: dict[str, Any] = {
    "outcomes": 2,
    "resolved": False,
    "voided": False,
    "proposer": None,
    "payouts": [],
    "proposed_at": 0,
    "disputer": None,
    "disputed_payouts": [],
    "disputed_at": 0,
}
ROLES = ("anonymous", "user", "viewer", "operator", "resolver", "superuser")


def person(role: str, name: str = "") -> User | AnonymousUser:
    """A new person; one who is in no group where the role is none of operators/access.py."""
    if role == "anonymous":
        return AnonymousUser()
    name = name or f"{role}-{User.objects.count()}"
    if role == "superuser":
        return User.objects.create_superuser(name, password="a long enough password")
    user = User.objects.create_user(name, is_staff=role != "user")
    if role != "user":
        user.groups.add(Group.objects.get(name=role))
    return user


def request_of(user: Any) -> HttpRequest:
    """A request of whoever is signed in, for the functions of resolver/requests.py."""
    request = RequestFactory().post("/admin/", REMOTE_ADDR="203.0.113.7")
    request.user = user
    return request


def simulation(call: str, **overrides: Any) -> Simulation:
    """One that succeeds, on a question that nobody has proposed anything for."""
    said: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "signer": WALLET,
        "contract": ORACLE,
        "calldata": call,
        "block_number": 1_000_000,
        "block_hash": hex_id("block", 1_000_000),
        "block_time": "2026-01-02T00:00:00Z",
        "error": "",
        "note": "",
        "standing": dict(UNTOUCHED),
    }
    return Simulation(**said | overrides)


@dataclass
class FakeSimulator:
    """Says what it is told to, as `Simulator` would; `away` as where no node answers."""

    overrides: dict[str, Any] = field(default_factory=dict)
    away: str = ""
    runs: list[tuple[str, str]] = field(default_factory=list)

    def run(self, question_id: str, calldata: str) -> Simulation:
        self.runs.append((question_id, calldata))
        if self.away:
            raise Unsimulated(self.away)
        return simulation(calldata, **self.overrides)


def make_request(requested_by: Any, **overrides: Any) -> ResolutionRequest:
    """A pending wish that outcome 0 wins, of a question of its own unless one is given."""
    question_id = overrides.pop("question_id", None) or factories.make_question().question_id
    columns: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "question_id": question_id,
        "kind": "propose",
        "payouts": [UNIT, 0],
        "reason": "it happened",
        "requested_by": requested_by,
    } | overrides
    columns["calldata"] = calldata_of(columns["kind"], question_id, columns["payouts"])
    columns["simulation"] = simulation(columns["calldata"]).as_json()
    return ResolutionRequest.objects.create(**columns | overrides)


def make_action(state: str = ActionState.QUEUED, **overrides: Any) -> WalletAction:
    """The finalisation of a question."""
    subject = overrides.pop("subject", None) or hex_id("question")
    columns: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "kind": Kind.FINALIZE,
        "subject": subject,
        "contract": ORACLE,
        "calldata": calldata("finalize", subject),
        "reason": "its period is over",
        "actor": "resolver",
        "state": state,
    }
    return WalletAction.objects.create(**columns | overrides)


def make_transaction(action: WalletAction, **overrides: Any) -> WalletTransaction:
    """A signed transaction of an action; its raw bytes are a canary."""
    columns: dict[str, Any] = {
        "action": action,
        "chain_id": CHAIN_ID,
        "signer": WALLET,
        "nonce": 7,
        "hash": hex_id("transaction"),
        "raw": b"\xca\xfe\xba\xbe" * 8,
        "gas": 100_000,
        "max_fee": 3 * 10**9,
        "priority_fee": 10**9,
    }
    return WalletTransaction.objects.create(**columns | overrides)
