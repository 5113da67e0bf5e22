"""A second reading of the chain, by web3's decoder and the contracts' own answers, to hold the database against.

It shares no code with the indexer. `differences()` is empty when the tables say what the chain says.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any

from django.test import Client
from eth_abi import decode as abi_decode
from web3 import Web3
from web3.contract import Contract
from web3.types import LogReceipt

from indexer.devchain.deploy import Deployment, artifact
from indexer.models import IndexedEvent
from markets.models import LiquidityShare, Market, OutcomeToken, Position, Trade

ZERO = "0x" + "00" * 20
NO_PARENT = bytes(32)
RENAMED = {"PositionsMerge": "PositionMerge"}
# The events of the contracts' description; ownership, roles and approvals are not the indexer's business.
EVENTS = {
    "MarketCreated", "AMMDeployed", "MarketResolved", "ConditionPreparation", "ConditionResolution", "PositionSplit",
    "PositionsMerge", "PayoutRedemption", "TransferSingle", "TransferBatch", "FPMMBuy", "FPMMSell", "FPMMFundingAdded",
    "FPMMFundingRemoved", "QuestionRegistered", "OutcomeProposed", "ProposalDisputed", "VoteCommitted", "VoteRevealed",
    "QuestionResolved", "QuestionVoided", "FeeCollected", "FeesWithdrawn", "Transfer",
}  # fmt: skip


class Truth:
    """The chain at its latest block."""

    def __init__(self, w3: Web3, deployment: Deployment) -> None:
        self.w3 = w3
        self.block = w3.eth.block_number
        self.tokens = self._contract("ConditionalTokens", deployment.conditional_tokens)
        self.factory = self._contract("MarketFactory", deployment.market_factory)
        self.oracle = self._contract("AurumOracle", deployment.aurum_oracle)
        self.collector = self._contract("FeeCollector", deployment.fee_collector)

    def differences(self) -> list[str]:
        """Every place where the database, or what the API makes of it, is not what the chain says."""
        checks = (self._events, self._balances, self._shares, self._trades, self._markets, self._served_prices)
        return [difference for check in checks for difference in check()]

    # --- the chain -------------------------------------------------------------------------------------------------

    def _contract(self, name: str, address: str) -> Contract:
        return self.w3.eth.contract(address=Web3.to_checksum_address(address), abi=artifact(name)["abi"])

    def _logs(self, contract: Contract) -> list[LogReceipt]:
        return self.w3.eth.get_logs({"address": contract.address, "fromBlock": 0, "toBlock": self.block})

    @cached_property
    def amms(self) -> dict[str, tuple[str, int]]:
        """Announced AMM -> (market id, block of its announcement)."""
        return {
            log["args"]["amm"]: (_hex(log["args"]["marketId"]), log["blockNumber"])
            for log in self.factory.events.AMMDeployed.get_logs(from_block=0)
        }

    @cached_property
    def watched_logs(self) -> list[tuple[Contract, LogReceipt]]:
        """Every log that counts: of the four contracts, and of announced AMMs from their announcement's block on."""
        found = [(c, log) for c in (self.tokens, self.factory, self.oracle, self.collector) for log in self._logs(c)]
        for address, (_, since) in self.amms.items():
            amm = self._contract("FixedProductMarketMaker", address)
            found += [(amm, log) for log in self._logs(amm) if log["blockNumber"] >= since]
        return sorted(found, key=lambda item: (item[1]["blockNumber"], item[1]["logIndex"]))

    @cached_property
    def decoded(self) -> dict[tuple[str, int], tuple[str, dict[str, Any]]]:
        """(transaction, log index) -> name and arguments, of the events that contracts.md lists."""
        found = {}
        for contract, log in self.watched_logs:
            abi = next(item for item in contract.abi if item["type"] == "event" and _topic0(item) == log["topics"][0])
            if abi["name"] in EVENTS:
                found[_hex(log["transactionHash"]), log["logIndex"]] = (abi["name"], _arguments(abi, log))
        return found

    def _named(self, *names: str) -> Iterator[dict[str, Any]]:
        return (arguments for name, arguments in self.decoded.values() if name in names)

    # --- comparisons -----------------------------------------------------------------------------------------------

    def _events(self) -> Iterator[str]:
        stored = {(row.transaction_hash, row.log_index): row for row in IndexedEvent.objects.all()}
        if stored.keys() != self.decoded.keys():
            missing = [(place, self.decoded.get(place)) for place in stored.keys() ^ self.decoded.keys()]
            yield f"events: {len(stored)} stored, {len(self.decoded)} on chain: {missing}"
            return
        for place, (name, arguments) in self.decoded.items():
            row = stored[place]
            if not row.processed:
                yield f"event {place} was not applied: {row.error}"
            if (row.event_name, row.event_data) != (RENAMED.get(name, name), arguments):
                yield f"event {place}: {row.event_name} {row.event_data}, on chain {name} {arguments}"

    @cached_property
    def holders(self) -> set[str]:
        transfers = list(self._named("TransferSingle", "TransferBatch"))
        return {transfer[end] for transfer in transfers for end in ("from", "to")} - {ZERO}

    def position_id(self, market: dict[str, Any], outcome: int) -> int:
        collection = self.tokens.functions.getCollectionId(
            NO_PARENT, bytes.fromhex(market["conditionId"][2:]), 1 << outcome
        ).call()
        token = Web3.to_checksum_address(market["collateralToken"])
        return self.tokens.functions.getPositionId(token, collection).call()

    def _balances(self) -> Iterator[str]:
        stored = {
            (row.user_address, row.market_id, row.outcome_index): row.amount
            for row in Position.objects.filter(amount__gt=0)
        }
        supplies = {(row.market_id, row.outcome_index): row for row in OutcomeToken.objects.all()}
        for market in self._named("MarketCreated"):
            for outcome in range(len(market["outcomes"])):
                position_id = self.position_id(market, outcome)
                holders = sorted(self.holders)
                owners = [Web3.to_checksum_address(holder) for holder in holders]
                balances = self.tokens.functions.balanceOfBatch(owners, [position_id] * len(owners)).call()
                for holder, balance in zip(holders, balances, strict=True):
                    held = stored.pop((holder, market["marketId"], outcome), 0)
                    if held != balance:
                        yield f"balance of {holder} in {market['marketId']}[{outcome}]: {held}, on chain {balance}"
                token = supplies[market["marketId"], outcome]
                ours, truth = (token.position_id, token.supply), (position_id, sum(balances))
                if ours != truth:
                    yield f"outcome token {token}: id and supply {ours}, on chain {truth}"
        if stored:
            yield f"positions that nobody has on chain: {stored}"

    def _shares(self) -> Iterator[str]:
        stored = {(row.amm_id, row.holder): row.amount for row in LiquidityShare.objects.filter(amount__gt=0)}
        for address in self.amms:
            amm = self._contract("FixedProductMarketMaker", address)
            moves = amm.events.Transfer.get_logs(from_block=0)
            holders = {move["args"][end] for move in moves for end in ("from", "to")} - {ZERO}
            for holder in holders:
                balance = amm.functions.balanceOf(holder).call()
                held = stored.pop((address.lower(), holder.lower()), 0)
                if held != balance:
                    yield f"shares of {holder} in {address}: {held}, on chain {balance}"
        if stored:
            yield f"shares that nobody has on chain: {stored}"

    def _trades(self) -> Iterator[str]:
        """Each trade against the receipt of its transaction."""
        stored = {(row.transaction_hash, row.log_index): row for row in Trade.objects.all()}
        places = [place for place, (name, _) in self.decoded.items() if name in ("FPMMBuy", "FPMMSell")]
        if sorted(stored) != sorted(places):
            yield f"trades: {sorted(stored)}, on chain {sorted(places)}"
            return
        for (transaction, log_index), row in stored.items():
            receipt = self.w3.eth.get_transaction_receipt(transaction)
            log = next(log for log in receipt["logs"] if log["logIndex"] == log_index)
            amm = self._contract("FixedProductMarketMaker", log["address"])
            if row.side == "buy":
                args = amm.events.FPMMBuy().process_log(log)["args"]
                expected = (args["buyer"], args["outcomeTokensBought"], args["investmentAmount"])
            else:
                args = amm.events.FPMMSell().process_log(log)["args"]
                expected = (args["seller"], args["outcomeTokensSold"], args["returnAmount"])
            trader, amount, collateral = expected
            block = self.w3.eth.get_block(receipt["blockNumber"])
            truth = (
                trader.lower(), args["outcomeIndex"], amount, collateral, args["feeAmount"], log["address"].lower(),
                self.amms[log["address"]][0], receipt["blockNumber"], _hex(block["hash"]), block["timestamp"],
            )  # fmt: skip
            ours = (
                row.trader, row.outcome, row.amount, row.collateral_amount, row.fee_amount, row.amm_address,
                row.market_id, row.block_number, row.block_hash, int(row.timestamp.timestamp()),
            )  # fmt: skip
            if ours != truth:
                yield f"trade {transaction}/{log_index}: {ours}, on chain {truth}"

    def _markets(self) -> Iterator[str]:
        markets = {market.market_id: market for market in Market.objects.all()}
        created = {market["marketId"]: market for market in self._named("MarketCreated")}
        if markets.keys() != created.keys():
            yield f"markets: {markets.keys() ^ created.keys()}"
            return
        for market_id, event in created.items():
            market = markets[market_id]
            outcomes = range(len(event["outcomes"]))
            condition = bytes.fromhex(event["conditionId"][2:])
            denominator = self.tokens.functions.payoutDenominator(condition).call()
            payouts = [self.tokens.functions.payoutNumerators(condition, i).call() for i in outcomes]
            if (market.resolved, market.payouts) != (bool(denominator), payouts if denominator else None):
                yield f"market {market_id}: payouts {market.payouts}, on chain {payouts} of {denominator}"
            amm = next((address for address, (of, _) in self.amms.items() if of == market_id), None)
            if market.amm_address != (amm and amm.lower()):
                yield f"market {market_id}: AMM {market.amm_address}, on chain {amm}"
            reserves = self._reserves(event, amm)
            if market.reserves != reserves:
                yield f"market {market_id}: reserves {market.reserves}, on chain {reserves}"
            if (market.question, market.outcomes) != (event["question"], event["outcomes"]):
                yield f"market {market_id}: {market.question!r}, on chain {event['question']!r}"

    def _reserves(self, event: dict[str, Any], amm: str | None) -> list[int] | None:
        if amm is None:
            return None
        ids = [self.position_id(event, outcome) for outcome in range(len(event["outcomes"]))]
        return self.tokens.functions.balanceOfBatch([amm] * len(ids), ids).call()

    def _served_prices(self) -> Iterator[str]:
        """What REST serves against the formula on the chain's own reserves."""
        for event in self._named("MarketCreated"):
            amm = next((address for address, (of, _) in self.amms.items() if of == event["marketId"]), None)
            reserves = self._reserves(event, amm)
            served = Client().get(f"/api/markets/{event['marketId']}/prices").json()
            weights = (
                [prod(r for j, r in enumerate(reserves) if j != i) for i in range(len(reserves))] if reserves else []
            )
            expected = [float(Fraction(weight, sum(weights))) for weight in weights] if any(weights) else None
            if served["prices"] != expected:
                yield f"prices of {event['marketId']}: {served['prices']}, by the formula {expected}"

    # --- what users have paid and got ------------------------------------------------------------------------------

    def differences_of_portfolios(self, collateral: str) -> list[str]:
        """Each user's cash, as the collateral's own Transfer logs say; the identity of docs/pnl.md from what is served;
        and that all together have paid in what the contracts hold. For chains on which no other contract trades."""
        token = self._contract("DevCollateral", collateral)
        pools = {address.lower() for address in self.amms}
        ours = pools | {self.tokens.address.lower(), self.factory.address.lower()}
        paid: Counter[str] = Counter()
        received: Counter[str] = Counter()
        for move in token.events.Transfer.get_logs(from_block=0):
            sender, receiver, amount = (str(move["args"][name]).lower() for name in ("from", "to", "value"))
            if receiver in ours:
                paid[sender] += int(amount)
            if sender in ours:
                received[receiver] += int(amount)
        users = sorted((self.holders | set(paid)) - ours - {ZERO})
        found = [difference for user in users for difference in _differences_of_user(user, paid[user], received[user])]
        inside = sum(
            token.functions.balanceOf(Web3.to_checksum_address(holder)).call()
            for holder in ours - {self.factory.address.lower()}
        )
        if sum(paid[user] - received[user] for user in users) != inside:
            found.append(f"{users} have not paid in the {inside} that the contracts hold")
        return found


def _differences_of_user(user: str, paid: int, received: int) -> Iterator[str]:
    portfolio = Client().get(f"/api/users/{user}/portfolio").json()
    amounts = {name: int(value) for name, value in portfolio.items() if isinstance(value, str) and value.isdigit()}
    amounts |= {name: int(portfolio[name]) for name in ("realizedPnl", "unrealizedPnl")}
    if (amounts["cashIn"], amounts["cashOut"]) != (paid, received):
        yield f"{user}: cash {amounts['cashIn']} in and {amounts['cashOut']} out, on chain {paid} and {received}"
    carried = amounts["costTransferredOut"] - amounts["costTransferredIn"]
    earned = received - paid + amounts["value"] + carried
    if amounts["realizedPnl"] + amounts["unrealizedPnl"] != earned:
        yield f"{user}: {portfolio} does not add up to {earned}"
    if amounts["value"] - amounts["cost"] != amounts["unrealizedPnl"]:
        yield f"{user}: {portfolio}"
    positions = Client().get(f"/api/users/{user}/positions?limit=200").json()["results"]
    value = sum(int(row["cost"] if row["value"] is None else row["value"]) for row in positions)
    if value + amounts["liquidityValue"] != amounts["value"]:
        yield f"{user}: positions of {value}, and {portfolio}"
    last = portfolio["series"][-1]
    if (last["value"], int(last["pnl"])) != (portfolio["value"], earned):
        yield f"{user}: the series ends with {last}, and {portfolio}"


def _hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def _topic0(abi: Any) -> bytes:
    return Web3.keccak(text=f"{abi['name']}({','.join(item['type'] for item in abi['inputs'])})")


def _arguments(abi: Any, log: LogReceipt) -> dict[str, Any]:
    """Arguments by their names on chain, as JSON holds them. Strings are read as bytes: not all are UTF-8."""
    indexed = [item for item in abi["inputs"] if item["indexed"]]
    plain = [item for item in abi["inputs"] if not item["indexed"]]
    values = {
        item["name"]: abi_decode([item["type"]], topic)[0]
        for item, topic in zip(indexed, log["topics"][1:], strict=True)
    }
    types = [item["type"].replace("string", "bytes") for item in plain]
    values |= zip((item["name"] for item in plain), abi_decode(types, log["data"]), strict=True)
    return {item["name"]: _as_json(item["type"], values[item["name"]]) for item in abi["inputs"]}


def _as_json(type_: str, value: Any) -> Any:
    if type_.endswith("[]"):
        return [_as_json(type_[:-2], item) for item in value]
    if type_ == "string":
        return bytes(value).decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    if type_ == "uint256":
        return str(value)
    return _hex(value) if type_ == "bytes32" else value
