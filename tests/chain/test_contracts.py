# ruff: noqa: F811 - pytest's fixtures are imported, and then named as arguments
"""The contracts on a real chain: what a call emits, in which order; and the oracle's life."""

import pytest
from web3 import Web3
from web3.types import LogReceipt, TxReceipt

from indexer.devchain.actions import ONE, STAKE, Actions, Market, TransactionReverted
from indexer.devchain.deploy import deploy_contract
from indexer.devchain.node import Anvil, PortBusyError
from tests.chain.fixtures import chain, deployed, node  # noqa: F401

ZERO = "0x" + "00" * 20
HOUR, DAY = 3_600, 86_400  # seconds
YES, NO = [ONE, 0], [0, ONE]
SALT = b"\x01" * 32
USDC = 10**6


@pytest.fixture
def market(chain: Actions) -> Market:
    return chain.deploy_amm(chain.create_market(), liquidity=1_000 * USDC, fee=ONE // 100)


def _names(chain: Actions, receipt: TxReceipt | None) -> list[str]:
    """Event names in log order, those of collateral and AURUM (foreign to the indexer) left out."""
    assert receipt is not None
    foreign = {chain.deployment.collateral, chain.deployment.aurum_token, chain.deployment.fpmm_factory}
    return [name for name, _ in chain.events([log for log in receipt["logs"] if log["address"] not in foreign])]


def _last_logs(chain: Actions) -> list[LogReceipt]:
    return chain.w3.eth.get_logs({"fromBlock": "latest"})


def _last_names(chain: Actions) -> list[str]:
    foreign = {chain.deployment.collateral, chain.deployment.aurum_token, chain.deployment.fpmm_factory}
    return [name for name, _ in chain.events([log for log in _last_logs(chain) if log["address"] not in foreign])]


# --- what one call emits ----------------------------------------------------------------------------------------------


def test_create_market(chain: Actions) -> None:
    market = chain.create_market("Will it?", ("Yes", "No"))
    assert _last_names(chain) == ["QuestionRegistered", "ConditionPreparation", "MarketCreated"]
    _, arguments = chain.events(_last_logs(chain))[-1]
    assert arguments == {
        "marketId": market.market_id,
        "questionId": market.question_id,
        "conditionId": market.condition_id,
        "creator": chain.admin,
        "collateralToken": chain.deployment.collateral,
        "question": "Will it?",
        "outcomes": ["Yes", "No"],
        "resolutionTime": market.resolution_time,
    }


def test_create_market_whose_condition_somebody_prepared(chain: Actions) -> None:
    _, question_id, condition_id = chain.next_market_ids(3)
    receipt = chain.prepare_condition(question_id, 3, sender=chain.accounts[5])
    assert _names(chain, receipt) == ["ConditionPreparation"]
    market = chain.create_market("Which?", ("a", "b", "c"))
    assert market.condition_id == condition_id
    assert _last_names(chain) == ["QuestionRegistered", "MarketCreated"]


def test_ids_are_unique_and_as_the_factory_foretells(chain: Actions) -> None:
    foretold = chain.market_factory.functions.nextIds(chain.admin).call()
    first, second = chain.create_market(), chain.create_market()
    assert [first.market_id, first.question_id] == foretold
    assert len({first.market_id, second.market_id, first.question_id, second.question_id}) == 4


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe\x00 not UTF-8 \xc3", "<script>alert(1)</script>", "\U0001f600\u202e", "x" * 10_000, "a\0b", ""],
    ids=["invalid", "html", "emoji", "long", "nul", "empty"],
)
def test_hostile_texts_arrive_as_they_are(chain: Actions, text: str | bytes) -> None:
    market = chain.create_market(text, (text, "other"))
    raw = bytes(_last_logs(chain)[-1]["data"])
    assert market.question == (text.encode() if isinstance(text, str) else text)
    assert raw.count(market.question.ljust(-len(market.question) % 32 + len(market.question), b"\0")) >= 2


def test_deploy_amm(chain: Actions) -> None:
    market = chain.deploy_amm(chain.create_market(), liquidity=500, fee=0)
    assert _last_names(chain) == [
        "TransferBatch",
        "PositionSplit",
        "Transfer",
        "TransferBatch",
        "FPMMFundingAdded",
        "Transfer",
        "AMMDeployed",
    ]
    found = chain.events(_last_logs(chain))
    factory = chain.deployment.market_factory
    assert [(event["from"], event["to"]) for name, event in found if name == "TransferBatch"] == [
        (ZERO, market.amm),
        (market.amm, factory),
    ]
    assert next(event["stakeholder"] for name, event in found if name == "PositionSplit") == market.amm
    assert next(event["funder"] for name, event in found if name == "FPMMFundingAdded") == factory
    assert found[-1][1] == {"marketId": market.market_id, "amm": market.amm, "initialLiquidity": 500, "fee": 0}
    assert chain.shares(market, chain.admin) == 500
    assert chain.market_factory.functions.getMarket(market.market_id).call()[4] == market.amm


def test_buy_and_sell(chain: Actions, market: Market) -> None:
    trader = chain.accounts[1]
    bought = chain.buy(market, 0, 100 * USDC, sender=trader)
    assert _names(chain, bought)[-4:] == ["TransferBatch", "PositionSplit", "TransferSingle", "FPMMBuy"]
    sold = chain.sell(market, 0, 10 * USDC, sender=trader)
    assert _names(chain, sold) == ["TransferSingle", "TransferBatch", "PositionsMerge", "FPMMSell"]
    assert sold is not None
    _, arguments = chain.events(sold["logs"])[-1]
    # floor(10e6 * 1% / 99%)
    assert (arguments["seller"], arguments["returnAmount"], arguments["feeAmount"]) == (trader, 10_000_000, 101_010)


def test_funding(chain: Actions, market: Market) -> None:
    chain.buy(market, 0, 100 * USDC, sender=chain.accounts[1])
    added = chain.add_funding(market, 50 * USDC, sender=chain.accounts[2])
    assert _names(chain, added) == ["TransferBatch", "PositionSplit", "Transfer", "TransferBatch", "FPMMFundingAdded"]
    removed = chain.remove_funding(market, 10 * USDC, sender=chain.accounts[2])
    assert _names(chain, removed) == ["Transfer", "TransferBatch", "FPMMFundingRemoved"]


def test_split_merge_and_transfers(chain: Actions, market: Market) -> None:
    holder, other = chain.accounts[1:3]
    assert _names(chain, chain.split(market, 100, sender=holder)) == ["TransferBatch", "PositionSplit"]
    assert _names(chain, chain.merge(market, 40, sender=holder)) == ["TransferBatch", "PositionsMerge"]
    assert _names(chain, chain.transfer(market, 1, 10, sender=holder, to=other)) == ["TransferSingle"]
    for batch in ([(0, 5), (0, 6), (1, 0)], []):
        assert _names(chain, chain.transfer_batch(market, batch, sender=holder, to=other)) == ["TransferBatch"]
    assert chain.balances(market, holder) == [49, 50]
    assert chain.balances(market, other) == [11, 10]


def test_redeem(chain: Actions, market: Market) -> None:
    winner, nobody = chain.accounts[1:3]
    chain.split(market, 100, sender=winner)
    chain.propose(market, [7 * ONE // 10, 3 * ONE // 10], sender=chain.accounts[6])
    chain.advance(2 * HOUR)
    chain.finalize(market)
    redeemed = chain.redeem(market, sender=winner, index_sets=[1])
    assert _names(chain, redeemed) == ["TransferSingle", "PayoutRedemption"]
    assert redeemed is not None
    assert chain.events(redeemed["logs"])[-1][1]["payout"] == 70
    assert _names(chain, chain.redeem(market, sender=winner)) == ["TransferSingle", "PayoutRedemption"]
    assert _names(chain, chain.redeem(market, sender=nobody)) == ["PayoutRedemption"]


def test_fees(chain: Actions, market: Market) -> None:
    assert _names(chain, chain.collect_fee(market, 7, sender=chain.accounts[1])) == ["FeeCollected"]
    assert _names(chain, chain.withdraw_fees()) == ["FeesWithdrawn"]
    with pytest.raises(TransactionReverted, match="NothingToWithdraw"):
        chain.withdraw_fees()


def test_one_contract_wallet_trades_on_two_amms_in_one_transaction(
    chain: Actions,
    market: Market,
) -> None:
    other = chain.deploy_amm(chain.create_market())
    wallet = chain.deploy_wallet(chain.accounts[8])
    with chain.through(wallet):
        chain.buy(market, 0, USDC, sender=wallet)
        chain.buy(other, 1, USDC, sender=wallet)
    buys = [event["buyer"] for name, event in chain.events(_last_logs(chain)) if name == "FPMMBuy"]
    assert buys == [wallet, wallet]
    assert len(chain.w3.eth.get_block("latest")["transactions"]) == 1


def test_market_amm_and_trade_in_one_block(chain: Actions, market: Market) -> None:
    with chain.several_in_one_block():
        new = chain.deploy_amm(chain.create_market())
        chain.buy(new, 0, USDC, sender=chain.accounts[1])
    names = _last_names(chain)
    assert [name for name in names if name in ("MarketCreated", "AMMDeployed", "FPMMBuy")] == [
        "MarketCreated",
        "AMMDeployed",
        "FPMMBuy",
    ]
    chain.buy(new, 0, USDC, sender=chain.accounts[1])  # mined at once again


def test_emitter_emits_any_log(chain: Actions) -> None:
    for topics in ([], [b"\x01" * 32], [bytes([i]) * 32 for i in range(4)]):
        receipt = chain.emit_log(topics, b"\xffhostile")
        assert receipt is not None
        log = receipt["logs"][0]
        assert (log["address"], [bytes(topic) for topic in log["topics"]], bytes(log["data"])) == (
            chain.emitter.address,
            topics,
            b"\xffhostile",
        )


# --- the factory's rules ----------------------------------------------------------------------------------------------


def test_what_the_factory_refuses(chain: Actions, market: Market) -> None:
    stranger = chain.accounts[5]
    foreign = deploy_contract(chain.w3, "DevCollateral", "Foreign", "F", 18).address
    for call, error in (
        (lambda: chain.create_market(sender=stranger), "AccessControlUnauthorizedAccount"),
        (lambda: chain.create_market(collateral=foreign), "CollateralNotAllowed"),
        (lambda: chain.create_market(outcomes=("one",)), "InvalidOutcomeCount"),
        (lambda: chain.create_market(resolution_time=1), "ResolutionTimeNotInFuture"),
        (lambda: chain.deploy_amm(market), "AMMAlreadyDeployed"),
        (lambda: chain.deploy_amm(chain.create_market(), fee=ONE), "InvalidFee"),
        (lambda: chain.resolve_market(market), "ConditionNotResolved"),
        (lambda: chain.resolve_market(market, sender=stranger), "AccessControlUnauthorizedAccount"),
    ):
        with pytest.raises(TransactionReverted, match=error):
            call()


def test_resolve_market_once(chain: Actions, market: Market) -> None:
    chain.void(market)
    receipt = chain.resolve_market(market)
    assert receipt is not None
    assert chain.events(receipt["logs"]) == [
        (
            "MarketResolved",
            {"marketId": market.market_id, "conditionId": market.condition_id, "payouts": [ONE // 2, ONE // 2]},
        )
    ]
    with pytest.raises(TransactionReverted, match="MarketAlreadyResolved"):
        chain.resolve_market(market)


# --- the oracle's life ------------------------------------------------------------------------------------------------


def _aurum(chain: Actions, holder: str) -> int:
    return int(chain.aurum.functions.balanceOf(Web3.to_checksum_address(holder)).call())


def _payouts(chain: Actions, receipt: TxReceipt | None) -> list[int]:
    """Of the QuestionResolved that the receipt ends with, before the stakes move."""
    assert receipt is not None
    names = dict(chain.events(receipt["logs"]))
    assert names["ConditionResolution"]["payoutNumerators"] == names["QuestionResolved"]["payouts"]
    return list(names["QuestionResolved"]["payouts"])


@pytest.mark.parametrize(("outcomes", "period"), [(2, 2 * HOUR), (3, 24 * HOUR)])
def test_undisputed(chain: Actions, outcomes: int, period: int) -> None:
    market = chain.create_market(outcomes=[str(i) for i in range(outcomes)])
    proposer, payouts = chain.accounts[6], [ONE] + [0] * (outcomes - 1)
    receipt = chain.propose(market, payouts, sender=proposer)
    assert _names(chain, receipt) == ["OutcomeProposed"]
    proposal = chain.proposal(market)
    assert (proposal["proposer"], proposal["payouts"], proposal["stake"]) == (proposer, payouts, STAKE)
    assert proposal["expiresAt"] - proposal["proposedAt"] == period
    assert _aurum(chain, proposer) == 0
    with pytest.raises(TransactionReverted, match="ProposalPending"):
        chain.propose(market, payouts, sender=chain.accounts[5])
    chain.advance(period - 10)
    with pytest.raises(TransactionReverted, match="ChallengePeriodOpen"):
        chain.finalize(market)
    chain.advance(10)
    with pytest.raises(TransactionReverted, match="ChallengePeriodOver"):
        chain.dispute(market, payouts[::-1], sender=chain.accounts[7])
    finalized = chain.finalize(market)
    assert _names(chain, finalized) == ["ConditionResolution", "QuestionResolved"]
    assert _payouts(chain, finalized) == payouts
    assert _aurum(chain, proposer) == STAKE
    with pytest.raises(TransactionReverted, match="AlreadyResolved"):
        chain.finalize(market)


# Votes are (AURUM of the voter, payouts it votes for).
@pytest.mark.parametrize(
    ("votes", "result", "winner"),
    [
        ([(50, NO), (20, YES)], NO, "disputer"),
        ([(20, NO), (50, YES)], YES, "proposer"),
        ([(50, NO), (20, YES), (30, YES)], YES, "proposer"),  # a tie
        ([], YES, "proposer"),  # nobody voted: a tie
    ],
    ids=["dispute", "proposal", "tie", "no votes"],
)
def test_disputed(chain: Actions, votes: list, result: list[int], winner: str) -> None:
    market = chain.create_market()
    who = {"proposer": chain.accounts[6], "disputer": chain.accounts[7]}
    chain.propose(market, YES, sender=who["proposer"])
    assert _names(chain, chain.dispute(market, NO, sender=who["disputer"])) == ["ProposalDisputed"]
    for voter, (weight, payouts) in zip(chain.accounts, votes, strict=False):
        chain.mint_aurum(voter, weight)
        assert _names(chain, chain.commit(market, payouts, SALT, sender=voter)) == ["VoteCommitted"]
    chain.advance(24 * HOUR)
    for voter, (weight, payouts) in zip(chain.accounts, votes, strict=False):
        receipt = chain.reveal(market, payouts, SALT, sender=voter)
        assert _names(chain, receipt) == ["VoteRevealed"]
        assert receipt is not None
        assert chain.events(receipt["logs"])[0][1]["weight"] == weight
    with pytest.raises(TransactionReverted, match="VotingOpen"):
        chain.finalize(market)
    chain.advance(24 * HOUR)
    assert _payouts(chain, chain.finalize(market)) == result
    assert [_aurum(chain, address) for address in who.values()] == [2 * STAKE if name == winner else 0 for name in who]


def test_what_a_vote_refuses(chain: Actions) -> None:
    market = chain.create_market()
    proposer, disputer, voter = chain.accounts[6:9]
    chain.propose(market, YES, sender=proposer)
    with pytest.raises(TransactionReverted, match="NotDisputed"):
        chain.commit(market, NO, SALT, sender=voter)
    with pytest.raises(TransactionReverted, match="ProposerCannotDispute"):
        chain.dispute(market, NO, sender=proposer)
    with pytest.raises(TransactionReverted, match="InvalidPayouts"):
        chain.dispute(market, YES, sender=disputer)
    chain.dispute(market, NO, sender=disputer)
    with pytest.raises(TransactionReverted, match="AlreadyDisputed"):
        chain.dispute(market, NO, sender=voter)
    third = [ONE // 2, ONE // 2]
    chain.commit(market, third, SALT, sender=voter)
    chain.commit(market, NO, SALT, sender=disputer)
    for call, error in (
        (lambda: chain.commit(market, NO, SALT, sender=voter), "AlreadyCommitted"),
        (lambda: chain.reveal(market, NO, SALT, sender=disputer), "NotInRevealPeriod"),
    ):
        with pytest.raises(TransactionReverted, match=error):
            call()
    chain.advance(24 * HOUR)
    for call, error in (
        (lambda: chain.commit(market, NO, SALT, sender=proposer), "NotInCommitPeriod"),
        (lambda: chain.reveal(market, YES, SALT, sender=disputer), "RevealMismatch"),
        (lambda: chain.reveal(market, NO, b"\2" * 32, sender=disputer), "RevealMismatch"),
        (lambda: chain.reveal(market, third, SALT, sender=voter), "InvalidPayouts"),
    ):
        with pytest.raises(TransactionReverted, match=error):
            call()
    chain.reveal(market, NO, SALT, sender=disputer)
    with pytest.raises(TransactionReverted, match="RevealMismatch"):
        chain.reveal(market, NO, SALT, sender=disputer)


@pytest.mark.parametrize("payouts", [[0, 0], [ONE, 1], [ONE], [ONE, 0, 0], [2**255, 2**255]])
def test_payouts_that_a_proposal_cannot_have(chain: Actions, payouts: list[int]) -> None:
    market = chain.create_market()
    with pytest.raises(TransactionReverted, match="InvalidPayouts"):
        chain.propose(market, payouts, sender=chain.accounts[6])


def test_void_gives_equal_payouts_and_the_stakes_back(chain: Actions) -> None:
    market = chain.create_market(outcomes=("a", "b", "c"))
    proposer, disputer = chain.accounts[6:8]
    chain.propose(market, [ONE, 0, 0], sender=proposer)
    chain.dispute(market, [0, ONE, 0], sender=disputer)
    with pytest.raises(TransactionReverted, match="AccessControlUnauthorizedAccount"):
        chain.void(market, sender=proposer)
    receipt = chain.void(market)
    assert _names(chain, receipt) == ["ConditionResolution", "QuestionVoided"]
    assert receipt is not None
    assert chain.events(receipt["logs"])[0][1]["payoutNumerators"] == [ONE // 3] * 3
    assert (_aurum(chain, proposer), _aurum(chain, disputer)) == (STAKE, STAKE)
    assert (chain.proposal(market)["resolved"], chain.proposal(market)["voided"]) == (True, True)


def test_a_stale_proposal_is_replaced_never_finalised(chain: Actions) -> None:
    market = chain.create_market()
    proposer, disputer = chain.accounts[6:8]
    chain.propose(market, YES, sender=proposer)
    chain.dispute(market, NO, sender=disputer)
    stale = chain.oracle.functions.isProposalStale(market.question_id)
    chain.advance(7 * DAY - 60)
    assert not stale.call()
    chain.advance(120)
    assert stale.call()
    with pytest.raises(TransactionReverted, match="ProposalStale"):
        chain.finalize(market)
    chain.propose(market, NO, sender=chain.accounts[5])
    assert not stale.call()
    assert (_aurum(chain, proposer), _aurum(chain, disputer)) == (STAKE, STAKE)
    assert chain.proposal(market)["disputer"] == ZERO
    chain.advance(2 * HOUR)
    assert _payouts(chain, chain.finalize(market)) == NO


def test_only_the_registrar_registers_and_only_once(chain: Actions) -> None:
    question_id = b"\7" * 32
    chain.transact(chain.oracle, "registerQuestion", [question_id, 2, True], sender=chain.admin)
    for arguments, sender, error in (
        ([b"\x08" * 32, 2, True], chain.accounts[5], "NotRegistrar"),
        ([question_id, 2, True], chain.admin, "AlreadyRegistered"),
        ([b"\x08" * 32, 1, True], chain.admin, "InvalidOutcomeCount"),
    ):
        with pytest.raises(TransactionReverted, match=error):
            chain.transact(chain.oracle, "registerQuestion", arguments, sender=sender)


# --- the node ---------------------------------------------------------------------------------------------------------


def test_a_busy_port_is_one_clear_error(node: Anvil) -> None:
    with pytest.raises(PortBusyError, match=f"127.0.0.1:{node.port} is not free"):
        Anvil(port=node.port).start()
    node.check()  # still up
