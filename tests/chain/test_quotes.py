# ruff: noqa: F811 - pytest's fixtures are imported, and then named as arguments
"""Quotes against the contract itself, in pools that its storage is told to have."""

import json
import random
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
from eth_abi import encode
from web3 import Web3

from indexer.devchain.actions import ONE, Actions
from indexer.devchain.node import Anvil
from markets import amm
from markets.feeds import wire_prices
from markets.quotes import quote_buy, quote_sell
from tests.chain.fixtures import chain, deployed, node  # noqa: F401

POOLS = 3_000
BATCH = 250  # calls of one HTTP request
AMOUNT_BITS = 96
FEES = (0, 1, ONE // 100, ONE // 50, ONE - 1, ONE, ONE + 1)  # of 1e18; the last two cannot be announced sensibly
# Where the contracts keep a balance (ERC1155's _balances) and the fee (FixedProductMarketMakerData).
BALANCES_SLOT, FEE_SLOT = 1, 7
# What stands for Solidity's own check, which gives no reason.
ASSERTED = "division by zero"


def word(number: int) -> str:
    return "0x" + number.to_bytes(32, "big").hex()


def some_amount(dice: random.Random, bits: int) -> int:
    """From 1 to 2**bits, every magnitude alike, now and then at an edge of one."""
    low = 1 << dice.randrange(bits)
    return dice.choice([low, 2 * low - 1, 2 * low, dice.randint(low, 2 * low), dice.randint(low, 2 * low)])


class Pool:
    """A pool with its trade: reserves, fee, amount and outcome, each made to meet the contract's edges too."""

    def __init__(self, dice: random.Random, outcomes: int) -> None:
        # Mostly of sizes that occur, where neighbours are alike; some up to the last bit, some with nothing of one.
        bits = dice.choice([40, 64, 90, 96, 96, 110, 256])
        scale = dice.randint(max(1, bits - 12), bits)
        alike = dice.random() < 0.7
        sizes = [some_amount(dice, bits) if not alike else dice.randint(1, 2**scale) for _ in range(outcomes)]
        self.reserves = [min(size, amm.MAX_UINT256) for size in sizes]
        if dice.random() < 0.1:
            self.reserves[dice.randrange(outcomes)] = dice.choice([0, amm.MAX_UINT256])
        self.outcome = dice.randrange(outcomes) if dice.random() < 0.98 else outcomes
        self.fee = dice.choice(FEES)
        near = min(self.reserves) + dice.randint(-2, 1)  # about what a pool can pay at all
        amounts = [some_amount(dice, AMOUNT_BITS), dice.randint(0, max(near, 0)), max(near, 0)]
        self.amount = min(dice.choice(amounts), 2**AMOUNT_BITS)

    def ours(self, formula: Any) -> int | str:
        try:
            return int(formula(self.reserves, self.fee, self.amount, self.outcome))
        except amm.Reverted as reverted:
            return str(reverted)


class Amm:
    """An AMM of so many outcomes, whose pool each call may replace."""

    def __init__(self, actions: Actions, outcomes: int) -> None:
        market = actions.create_market("Which?", [f"outcome {i}" for i in range(outcomes)])
        self.market = actions.deploy_amm(market, fee=7)
        self.address = str(self.market.amm)
        self.tokens = actions.deployment.conditional_tokens
        self.slots = [balance_slot(self.address, position_id) for position_id in actions.position_ids(market)]
        contract = actions._amm(self.market)
        self.selectors = {name: contract.encode_abi(name, [0, 0])[:10] for name in ("calcBuyAmount", "calcSellAmount")}

    def request(self, name: str, pool: Pool) -> list[Any]:
        """The parameters of an eth_call with this pool's balances and fee in the contracts' storage."""
        data = self.selectors[name] + word(pool.amount)[2:] + word(pool.outcome)[2:]
        balances = dict(zip(self.slots, map(word, pool.reserves), strict=True))
        override = {
            self.tokens: {"stateDiff": balances},
            self.address: {"stateDiff": {word(FEE_SLOT): word(pool.fee)}},
        }
        return [{"to": self.address, "data": data}, "latest", override]


def balance_slot(holder: str, position_id: int) -> str:
    of_id = Web3.keccak(encode(["uint256", "uint256"], [position_id, BALANCES_SLOT]))
    return Web3.keccak(encode(["address", "bytes32"], [holder, of_id])).to_0x_hex()


@pytest.fixture(scope="module")
def amms(deployed: Actions) -> dict[int, Amm]:
    return {outcomes: Amm(deployed, outcomes) for outcomes in range(2, 9)}


def call(node: Anvil, requests: Sequence[list[Any]]) -> Iterator[int | str]:
    """What each eth_call answers: a number, or why it reverts."""
    for start in range(0, len(requests), BATCH):
        body = [
            {"jsonrpc": "2.0", "id": index, "method": "eth_call", "params": parameters}
            for index, parameters in enumerate(requests[start : start + BATCH])
        ]
        post = urllib.request.Request(node.url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(post, timeout=30) as response:  # noqa: S310
            answers = sorted(json.load(response), key=lambda answer: answer["id"])
        assert len(answers) == len(body)
        yield from map(meaning, answers)


def meaning(answer: dict[str, Any]) -> int | str:
    if "result" in answer:
        return int(answer["result"], 16)
    message = answer["error"]["message"]
    return ASSERTED if message == "execution reverted" else message.removeprefix("execution reverted: ")


def test_the_slots_are_where_the_contracts_keep_them(deployed: Actions, amms: dict[int, Amm]) -> None:
    def stored(contract: str, slot: int) -> int:
        return int.from_bytes(deployed.w3.eth.get_storage_at(Web3.to_checksum_address(contract), slot), "big")

    for one in amms.values():
        assert stored(one.address, FEE_SLOT) == 7
        balances = [stored(one.tokens, int(slot, 16)) for slot in one.slots]
        assert balances == deployed.balances(one.market, one.market.amm) == [10**10] * len(one.slots)


def test_quotes_are_the_contracts_own(node: Anvil, amms: dict[int, Amm]) -> None:
    """To the wei, and where the contract reverts, for its reason."""
    dice = random.Random(4)
    pools = [Pool(dice, 2 + number % 7) for number in range(POOLS)]
    formulas = {"calcBuyAmount": amm.calc_buy_amount, "calcSellAmount": amm.calc_sell_amount}
    requests = [amms[len(pool.reserves)].request(name, pool) for pool in pools for name in formulas]
    expected = [pool.ours(formula) for pool in pools for formula in formulas.values()]

    answers = list(call(node, requests))

    assert answers == expected
    # Amounts are no rarity, and every way to fail was met.
    kinds = Counter(answer if isinstance(answer, str) else "amount" if answer else "nothing" for answer in answers)
    assert kinds["amount"] > 2_000, kinds
    assert set(kinds) == {
        "amount",
        "nothing",
        "invalid outcome index",
        "must have non-zero balances",
        "SafeMath: addition overflow",
        "SafeMath: subtraction overflow",
        "SafeMath: multiplication overflow",
        ASSERTED,
    }
    check_prices(pools, answers)


def check_prices(pools: Sequence[Pool], answers: Sequence[int | str]) -> None:
    """A price is what the contract's next token costs: it buys nothing cheaper and pays nothing dearer than that.

    Served prices are the exact ones rounded once.
    """
    for pool, bought, sold in zip(pools, answers[::2], answers[1::2], strict=True):
        exact = amm.prices(pool.reserves)
        assert wire_prices(pool.reserves) == (None if exact is None else [float(price) for price in exact])
        if isinstance(bought, int) and bought:
            assert exact is not None
            without_fee = pool.amount - pool.amount * pool.fee // ONE
            assert Fraction(without_fee, bought) >= exact[pool.outcome]
        if isinstance(sold, int) and sold:
            assert exact is not None
            with_fee = pool.amount * ONE // (ONE - pool.fee)
            assert Fraction(with_fee, sold) <= exact[pool.outcome]


@pytest.mark.parametrize("outcomes", [2, 5])
def test_a_quoted_trade_moves_what_it_says(chain: Actions, outcomes: int) -> None:
    """The calldata, signed and sent: the trader gets the quoted amount, the pool has the quoted price, or it fails."""
    market = chain.deploy_amm(
        chain.create_market("Which?", [str(i) for i in range(outcomes)]), liquidity=10**9, fee=ONE // 50
    )
    trader = chain.accounts[1]
    chain.buy(market, 1, 10**8, sender=trader)  # gives it the approvals that a wallet would ask for
    chain._approve_tokens(trader, market.amm)

    def send(data: str) -> int:
        sent = chain.w3.eth.send_transaction({"from": trader, "to": market.amm, "data": data, "gas": 10**7})
        return chain.w3.eth.wait_for_transaction_receipt(sent)["status"]

    def price() -> Fraction:
        return amm.prices(chain.balances(market, market.amm))[0]

    reserves = chain.balances(market, market.amm)
    buy = quote_buy(reserves, ONE // 50, 5 * 10**7, 0, Fraction(0))
    assert buy.calldata == chain._amm(market).encode_abi("buy", [5 * 10**7, 0, buy.tokens])
    assert buy.price_before == price()
    assert send(buy.calldata) == 1
    assert chain.balances(market, trader)[0] == buy.tokens
    assert buy.price_after == price()
    assert send(buy.calldata) == 0  # the price has moved, and not a token less is accepted

    reserves = chain.balances(market, market.amm)
    sell = quote_sell(reserves, ONE // 50, 10**7, 0, Fraction(0))
    assert sell.calldata == chain._amm(market).encode_abi("sell", [10**7, 0, sell.tokens])
    money = chain.collateral.functions.balanceOf(trader).call()
    assert send(sell.calldata) == 1
    assert chain.collateral.functions.balanceOf(trader).call() == money + 10**7
    assert chain.balances(market, trader)[0] == buy.tokens - sell.tokens
    assert sell.price_after == price()
    assert send(sell.calldata) == 0
