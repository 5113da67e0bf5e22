"""A real chain with a market, indexed; a wallet with its roles; and `resolve_markets` as operators run it."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.test import Client
from web3 import Web3

from aurum.secret import Secret
from indexer.devchain.actions import Actions, Market
from indexer.devchain.node import MNEMONIC
from resolver import requests
from resolver.actions import calldata_of
from resolver.contracts import STAKE
from resolver.models import ActionState, ResolutionRequest, WalletAction
from resolver.simulation import Simulator
from tests.indexing import sync
from tests.resolver.staff import person, request_of

# Account 9 of the mnemonic that everybody knows: nobody else sends from it, so that its nonces are the wallet's.
ACCOUNT = 9
ONE, HOUR, DAY = 10**18, 3_600, 86_400
ADMIN_ROLE = b"\0" * 32


def wallet_key() -> str:
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    return "0x" + bytes(Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{ACCOUNT}").key).hex()


class Scene:
    """`settings` is pytest-django's. `resolved` and `sent` say what has become of it on chain."""

    def __init__(self, actions: Actions, settings: Any) -> None:
        self.actions = actions
        self.w3: Web3 = actions.w3
        self.wallet = actions.accounts[ACCOUNT]
        self._users = 0
        at = actions.deployment
        settings.RPC_URLS = [at.rpc_url]
        settings.CHAIN_ID = at.chain_id
        settings.AURUM_ORACLE_ADDRESS = at.aurum_oracle.lower()
        settings.MARKET_FACTORY_ADDRESS = at.market_factory.lower()
        settings.AURUM_TOKEN_ADDRESS = at.aurum_token.lower()
        settings.CONDITIONAL_TOKENS_ADDRESS = at.conditional_tokens.lower()
        settings.PRIVATE_KEY = Secret(wallet_key())
        settings.WALLET_ADDRESS = self.wallet.lower()
        settings.INDEXER_CONFIRMATIONS = 64
        admin = actions.admin
        actions.transact(actions.market_factory, "grantMarketResolver", [self.wallet], sender=admin)
        actions.transact(actions.oracle, "grantRole", [ADMIN_ROLE, self.wallet], sender=admin)

    def market(self, outcomes: int = 2) -> Market:
        """One with an AMM, of which two accounts have bought different outcomes."""
        names = ["Yes", "No"] if outcomes == 2 else [f"Outcome {number}" for number in range(outcomes)]
        market = self.actions.deploy_amm(self.actions.create_market(outcomes=names))
        for holder, outcome in ((1, 0), (2, outcomes - 1)):
            self.actions.buy(market, outcome, 1_000_003, sender=self.actions.accounts[holder])
        self.sync()
        return market

    # --- the chain ----------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        sync(self.actions.deployment)

    def later(self, seconds: int) -> None:
        self.actions.advance(seconds)
        self.sync()

    def vote(self, market: Market, ballots: Sequence[tuple[int, Sequence[int], int]]) -> None:
        """(account, payouts, weight) of each vote on a dispute of this moment; then the vote is over."""
        salt = b"\x07" * 32
        for account, payouts, weight in ballots:
            voter = self.actions.accounts[account]
            self.actions.mint_aurum(voter, weight - self.actions.aurum.functions.balanceOf(voter).call())
            self.actions.commit(market, payouts, salt, sender=voter)
        self.later(DAY)
        for account, payouts, _ in ballots:
            self.actions.reveal(market, payouts, salt, sender=self.actions.accounts[account])
        self.later(DAY)

    def sent(self) -> int:
        """Transactions of the wallet."""
        return self.w3.eth.get_transaction_count(self.wallet)

    def announced(self, market: Market) -> list[list[int]]:
        """The payouts of each MarketResolved of a market."""
        logs = self.actions.market_factory.events.MarketResolved.get_logs(
            from_block=0, argument_filters={"marketId": market.market_id}
        )
        return [list(log["args"]["payouts"]) for log in logs]

    def payouts(self, market: Market) -> list[int]:
        read = self.actions.conditional_tokens.functions.payoutNumerators
        return [read(market.condition_id, outcome).call() for outcome in range(len(market.outcomes))]

    # --- the backend --------------------------------------------------------------------------------------------------

    def resolve(self, *arguments: str) -> str:
        """What `resolve_markets` prints; the indexer then reads what it did."""
        said = StringIO()
        with _signals_kept():
            call_command("resolve_markets", *arguments, stdout=said)
        self.sync()
        return said.getvalue()

    def decide(self, market: Market, payouts: Sequence[int] | None) -> ResolutionRequest:
        """Two people want this proposal, or with None the question voided."""
        question_id = "0x" + market.question_id.hex()
        kind = "void" if payouts is None else "propose"
        data = calldata_of(kind, question_id, payouts)
        at = self.actions.deployment
        simulator = Simulator(
            [at.rpc_url],
            chain_id=at.chain_id,
            oracle=at.aurum_oracle.lower(),
            token=at.aurum_token.lower(),
            signer=self.wallet.lower(),
        )
        self._users += 1
        asking, approving = (request_of(person("resolver", f"{name} {self._users}")) for name in ("ann", "bob"))
        wish = requests.ask(
            asking, question_id, kind, payouts, "as seen on television", simulator.run(question_id, data)
        )
        return requests.approve(approving, wish.pk, "so it is", simulator.run(question_id, data))

    def fund(self, stakes: int = 1) -> None:
        self.actions.mint_aurum(self.wallet, stakes * STAKE)

    def question(self, market: Market) -> dict[str, Any]:
        return Client().get(f"/api/oracle/questions/0x{market.question_id.hex()}").json()


def states() -> list[tuple[str, str]]:
    """Every action's kind and state, as they were queued."""
    return list(WalletAction.objects.order_by("id").values_list("kind", "state"))


MINED = ActionState.MINED.value


@contextmanager
def _signals_kept() -> Iterator[None]:
    """The command takes SIGTERM and SIGINT for itself."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
