"""audit_ledger on a real chain: what is wrong is named exactly, and --repair leaves what a fresh sync leaves."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from web3 import Web3

from aurum.database import connect
from indexer.audit import BALANCES, Audit, snapshot
from indexer.devchain.actions import Actions
from indexer.devchain.actions import Market as ChainMarket
from indexer.devchain.bots import play
from indexer.devchain.deploy import Deployment, artifact, deploy_contract
from indexer.leadership import Leadership
from indexer.ledger import Ledger
from indexer.models import IndexedEvent
from indexer.repair import Repairer
from indexer.rpc import Rpc
from markets.identity import event_row_id, row_id
from markets.models import Checkpoint, LiquidityShare, Market, OutcomeToken, Position
from operators.models import AuditEntry
from tests.indexer.test_chain_truth import unannounced_amm
from tests.indexing import assert_equals_fresh_sync, contracts, sync
from tests.processes import manage
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)


def run(chain: Deployment, *arguments: str) -> tuple[int, list[str]]:
    """audit_ledger's exit code and lines, as in a process of its own."""
    output = StringIO()
    with override_settings(
        RPC_URLS=[chain.rpc_url],
        CHAIN_ID=chain.chain_id,
        CONDITIONAL_TOKENS_ADDRESS=chain.conditional_tokens.lower(),
        MARKET_FACTORY_ADDRESS=chain.market_factory.lower(),
        AURUM_ORACLE_ADDRESS=chain.aurum_oracle.lower(),
        FEE_COLLECTOR_ADDRESS=chain.fee_collector.lower(),
    ):
        try:
            call_command("audit_ledger", *arguments, stdout=output)
        except CommandError as error:
            return error.returncode, [*output.getvalue().splitlines(), str(error)]
        except SystemExit as error:
            return int(str(error.code)), output.getvalue().splitlines()
    return 0, output.getvalue().splitlines()


def execute(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        assert cursor.rowcount == 1


@pytest.fixture
def traded(chain: tuple[Web3, Deployment], actions: Actions) -> ChainMarket:
    """A market with an AMM, a trade and a split, indexed."""
    market = actions.deploy_amm(actions.create_market("Rain?"))
    actions.buy(market, 0, 1_000_000, sender=actions.accounts[1])
    actions.split(market, 5_000, sender=actions.accounts[2])
    sync(chain[1])
    return market


def test_nothing_differs_after_the_bots(chain: tuple[Web3, Deployment]) -> None:
    play(*chain, seed=21, markets=5, steps=80)
    sync(chain[1])
    code, lines = run(chain[1])
    assert code == 0
    markets, tokens, balances = Market.objects.count(), OutcomeToken.objects.count(), Position.objects.count()
    assert len(lines) == 1
    assert lines[0].startswith(f"block {chain[0].eth.block_number}: 0 differences; compared {markets} markets, ")
    assert f"{tokens} outcome tokens, {markets} payouts" in lines[0]
    assert balances > 20


def test_markets_with_no_one_and_several_amms(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.split(actions.create_market("None?"), 100, sender=actions.accounts[1])
    actions.buy(actions.deploy_amm(actions.create_market("One?")), 0, 500, sender=actions.accounts[1])
    several = actions.deploy_amm(actions.create_market("Several?", ("a", "b", "c")))
    # Our factory deploys one; another deployment's may announce more.
    another = unannounced_amm(actions, several)
    provider = actions.accounts[2]
    actions.add_funding(another, 70_000, sender=provider)
    sync(chain[1])
    amm = Market.objects.get(question="Several?").amms.get()
    amm.id, amm.address, amm.total_shares = row_id("amm", str(another.amm).lower()), str(another.amm).lower(), 70_000
    amm.block_number += 1
    amm.save(force_insert=True)
    LiquidityShare.objects.create(id=uuid4(), amm=amm, holder=provider.lower(), amount=70_000)
    code, lines = run(chain[1], "--block", str(chain[0].eth.block_number))
    assert (code, len(lines)) == (0, 1)
    assert "3 markets, 7 outcome tokens, 3 payouts" in lines[0]
    assert "2 reserves" in lines[0]
    assert "3 AMMs" in lines[0]

    first, second = Market.objects.get(question="Several?").amms.order_by("block_number")
    execute("UPDATE amms SET total_shares = total_shares + 1 WHERE address = %s", second.address)
    code, lines = run(chain[1])
    assert (code, len(lines)) == (1, 2)
    stored = second.total_shares + 1
    expected = f"{second.market_id}: shares of {second.address}: {stored} stored, {second.total_shares} on chain"
    assert lines[0] == expected
    assert first.address not in lines[0]


def test_each_figure_is_named_and_repaired(chain: tuple[Web3, Deployment], actions: Actions, traded) -> None:
    actions.void(traded)
    sync(chain[1])
    market = Market.objects.get()
    holder = actions.accounts[2].lower()
    reserves, payouts = market.reserves, market.payouts
    provider = actions.admin.lower()
    shares = market.amms.get().total_shares
    execute("UPDATE positions SET amount = 6000 WHERE user_address = %s AND outcome_index = 1", holder)
    execute("UPDATE outcome_tokens SET supply = supply - 1 WHERE outcome_index = 0")
    Market.objects.update(reserves=[17, reserves[1]], payouts=[payouts[0], 3])
    execute("UPDATE liquidity_shares SET amount = 2 WHERE holder = %s", provider)

    code, lines = run(chain[1])

    assert code == 1
    named = [line.removeprefix(f"{market.market_id}: ") for line in lines[:-1]]
    supply = OutcomeToken.objects.get(outcome_index=0).supply
    amm = market.amm_address
    assert named == [
        f"payouts: {[payouts[0], 3]} stored, {payouts} on chain",
        f"reserves: {[17, reserves[1]]} stored, {reserves} on chain",
        f"balance of {holder} in outcome 1: 6000 stored, 5000 on chain",
        f"supply of outcome 0: {supply} stored, {supply + 1} on chain",
        f"shares of {provider} in {amm}: 2 stored, {shares} on chain",
    ]
    assert lines[-1].startswith(f"block {chain[0].eth.block_number}: 5 differences; compared 1 markets")

    code, lines = run(chain[1], "--repair")
    assert code == 0
    assert lines[-2].startswith("0 logs stored, 0 removed")
    assert ": 0 differences" in lines[-1]
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject) == ("command", "indexer.repair", "command:audit_ledger")
    assert entry.after["markets"] == [market.market_id]
    assert (entry.after["stored"], entry.after["removed"], entry.after["toBlock"]) == (0, 0, chain[0].eth.block_number)
    assert Truth(*chain).differences() == []
    assert_equals_fresh_sync(chain[1])


def test_a_missing_balance_row_is_named(chain: tuple[Web3, Deployment], actions: Actions, traded) -> None:
    holder = actions.accounts[2].lower()
    execute("DELETE FROM positions WHERE user_address = %s AND outcome_index = 0", holder)
    code, lines = run(chain[1])
    assert code == 1
    market_id = Market.objects.get().market_id
    assert lines[0] == f"{market_id}: balance of {holder} in outcome 0: 0 stored, 5000 on chain"
    assert len(lines) == 2


def test_a_deleted_event_with_its_effects(chain: tuple[Web3, Deployment], traded, actions: Actions) -> None:
    event = IndexedEvent.objects.get(event_name="TransferSingle")
    bought = int(event.event_data["value"])
    event.delete()
    replay(chain[1])

    code, lines = run(chain[1])

    assert code == 1
    amm, buyer = Market.objects.get().amm_address, actions.accounts[1].lower()
    held = actions.balances(traded, traded.amm)[0]
    assert sum(
        line.endswith(f"balance of {amm} in outcome 0: {held + bought} stored, {held} on chain") for line in lines
    )
    # Their trade is stored, so that they are asked about.
    assert sum(line.endswith(f"balance of {buyer} in outcome 0: 0 stored, {bought} on chain") for line in lines) == 1
    assert any("suspect" in line for line in lines)

    code, lines = run(chain[1], "--repair")
    assert (code, lines[-2].split(";")[0]) == (0, "1 logs stored, 0 removed")
    assert_equals_fresh_sync(chain[1])


def test_a_foreign_event(chain: tuple[Web3, Deployment], traded, actions: Actions) -> None:
    event = IndexedEvent.objects.get(event_name="TransferSingle")
    value = int(event.event_data["value"])
    event.id, event.log_index = event_row_id("event", event.block_number, 900, event.transaction_hash), 900
    IndexedEvent.objects.create(
        **{field.name: getattr(event, field.name) for field in IndexedEvent._meta.concrete_fields}
    )
    replay(chain[1])

    code, lines = run(chain[1])

    assert code == 1
    buyer = actions.accounts[1].lower()
    market_id = Market.objects.get().market_id
    assert f"{market_id}: balance of {buyer} in outcome 0: {2 * value} stored, {value} on chain" in lines
    code, lines = run(chain[1], "--repair")
    assert (code, lines[-2].split(";")[0]) == (0, "0 logs stored, 1 removed")
    assert_equals_fresh_sync(chain[1])


def test_a_log_that_is_stored_as_another_blocks(chain: tuple[Web3, Deployment], traded) -> None:
    event = IndexedEvent.objects.get(event_name="TransferSingle")
    elsewhere = event_row_id("event", event.block_number - 1, event.log_index, event.transaction_hash)
    IndexedEvent.objects.filter(id=event.id).update(id=elsewhere, block_number=event.block_number - 1)
    ledger = Ledger(contracts=contracts(chain[1]), may_write=lambda: None)

    done = Repairer(Rpc([chain[1].rpc_url]), ledger, batch_size=1).repair(event.block_number, tell=lambda _: None)

    assert ([row.id for row in done.missing], done.foreign) == ([str(event.id)], [elsewhere])
    assert_equals_fresh_sync(chain[1])


def replay(chain: Deployment) -> None:
    Checkpoint.objects.update(event_count=IndexedEvent.objects.count())
    Ledger(contracts=contracts(chain), may_write=lambda: None).replay()


def test_more_holders_than_one_call_asks_for(chain: tuple[Web3, Deployment], actions: Actions, traded) -> None:
    receivers = [Web3.to_checksum_address(f"0x{number:040x}") for number in range(0xA0000, 0xA0000 + BALANCES // 2 + 7)]
    wallet = actions.deploy_wallet(actions.accounts[2])
    actions.transfer(traded, 0, 4_000, sender=actions.accounts[2], to=wallet)
    with actions.through(wallet):
        for receiver in receivers:
            actions.transfer(traded, 0, 1, sender=wallet, to=receiver)
    sync(chain[1])
    asked: list[str] = []

    class Counting(Rpc):
        def eth_call(self, to: str, data: str, block: str = "latest") -> bytes | None:
            asked.append(data[:10])
            return super().eth_call(to, data, block)

    with snapshot() as checkpoint:
        audit = Audit(Counting([chain[1].rpc_url]), checkpoint)
        assert list(audit.differences()) == []
    holders = Position.objects.values("user_address").distinct().count()
    assert audit.compared["balances"] == 2 * holders
    batches = asked.count("0x4e1273f4")  # balanceOfBatch
    assert batches == 1 + -(-holders // (BALANCES // 2))  # the reserves, and the holders in portions
    execute("UPDATE positions SET amount = 9 WHERE user_address = %s", receivers[-1].lower())
    assert len(run(chain[1])[1]) == 2


def test_an_erc6909_deployment(chain: tuple[Web3, Deployment]) -> None:
    deployment, user = erc6909(*chain)
    sync(deployment)
    code, lines = run(deployment)
    assert code == 0
    assert "1 markets, 3 outcome tokens" in lines[0]
    execute("UPDATE positions SET amount = 1 WHERE user_address = %s AND outcome_index = 2", user.lower())
    code, lines = run(deployment)
    assert code == 1
    assert lines[0].endswith(f"balance of {user.lower()} in outcome 2: 1 stored, 900 on chain")
    assert run(deployment, "--repair")[0] == 0


def erc6909(w3: Web3, gnosis: Deployment) -> tuple[Deployment, str]:
    """A deployment over ERC-6909 in which one user holds 900 of each outcome of one market."""
    admin, user = w3.eth.accounts[:2]
    tokens = deploy_contract(w3, "PlainConditionalTokens")
    oracle = deploy_contract(w3, "AurumOracle", tokens.address, gnosis.aurum_token, admin)
    factory = deploy_contract(w3, "MarketFactory", tokens.address, gnosis.fpmm_factory, oracle.address, admin)
    collateral = w3.eth.contract(address=gnosis.collateral, abi=artifact("DevCollateral")["abi"])
    for call, sender in [
        (oracle.functions.grantRole(oracle.functions.REGISTRAR_ROLE().call(), factory.address), admin),
        (factory.functions.grantMarketCreator(admin), admin),
        (factory.functions.addCollateral(collateral.address), admin),
        (factory.functions.createMarket(collateral.address, "Plain?", ["a", "b", "c"], 2**40), admin),
        (collateral.functions.mint(user, 1_000), admin),
        (collateral.functions.approve(tokens.address, 1_000), user),
    ]:
        assert w3.eth.wait_for_transaction_receipt(call.transact({"from": sender}))["status"] == 1
    condition = factory.events.MarketCreated.get_logs(from_block=0)[0]["args"]["conditionId"]
    split = tokens.functions.splitPosition(collateral.address, bytes(32), condition, [1, 2, 4], 900)
    assert w3.eth.wait_for_transaction_receipt(split.transact({"from": user}))["status"] == 1
    moved = {
        "conditional_tokens": tokens.address,
        "aurum_oracle": oracle.address,
        "market_factory": factory.address,
    }
    return replace(gnosis, **moved), user


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "line"),
    [
        (
            lambda actions: actions.request("anvil_reorg", 2, []),
            [],
            1,
            "the chain moved: its block {block} is not the one that is stored; let the indexer follow, and try again",
        ),
        (lambda actions: None, ["--block", "1"], 2, "the tables are of block {block}, not of 1"),
        (lambda actions: Checkpoint.objects.all().delete(), [], 2, "nothing is indexed yet"),
        (
            lambda actions: Checkpoint.objects.update(contracts={"ConditionalTokens": "0x" + "11" * 20}),
            [],
            2,
            "0x" + "11" * 20 + " does not answer payoutDenominator(bytes32) at block {block}",
        ),
    ],
    ids=["reorganised", "another block", "empty", "no contract"],
)
def test_what_cannot_be_compared(
    chain: tuple[Web3, Deployment],
    actions: Actions,
    traded: ChainMarket,
    prepare: Callable[[Actions], object],
    arguments: list[str],
    code: int,
    line: str,
) -> None:
    prepare(actions)
    block = chain[0].eth.block_number
    assert run(chain[1], *arguments) == (code, [line.format(block=block)])


def test_it_repairs_nothing_beside_a_running_indexer(chain: tuple[Web3, Deployment], traded: ChainMarket) -> None:
    execute("UPDATE outcome_tokens SET supply = 1 WHERE outcome_index = 0")
    other = Leadership(connect, name="another")
    assert other.try_acquire()
    try:
        assert run(chain[1], "--repair") == (2, ["an indexer is running; stop it first"])
        assert run(chain[1])[0] == 1
    finally:
        other.release()
    assert OutcomeToken.objects.get(outcome_index=0).supply == 1


def test_the_key_in_the_rpc_url_never_reaches_the_output(chain: tuple[Web3, Deployment], traded: ChainMarket) -> None:
    url = "http://user:canary-password@127.0.0.1:9/canary-path?key=canary-key"
    process = manage("audit_ledger", deployment=chain[1], RPC_URL=url, LOG_LEVEL="debug")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "127.0.0.1:9" in output
    assert "canary" not in output
