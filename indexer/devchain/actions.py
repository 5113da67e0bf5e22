"""Everything a user can do with the contracts, one method each: what bots and tests are composed of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from eth_abi import encode
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3RPCError
from web3.types import LogReceipt, TxReceipt

from indexer.devchain.deploy import GAS_PRICE, Deployment, artifact, created_address, deploy_contract

ONE = 10**18  # payouts and AMM fees are fractions of it
STAKE = 100 * ONE  # AURUM, 18 decimals
DAY = 86_400  # seconds
GAS = 4_000_000  # a transaction's limit, instead of an estimate each time; the most common ones use 0.1 to 0.6 million
GAS_PER_OUTCOME = 500_000  # on top, in calls whose work grows with the outcomes
ALLOWANCE = 2**256 - 1
POCKET_MONEY = 10**15  # smallest units of collateral that an account is given when it first pays
NO_PARENT = b"\0" * 32
CREATE_MARKET = "createMarket(address,string,string[],uint256)"

Address = ChecksumAddress
Decoder = Callable[[LogReceipt], tuple[str, dict[str, Any]]]
Amounts = Sequence[tuple[int, int]]


class TransactionReverted(Exception):
    """A transaction got into a block and failed; the text names the call and the contract's error."""


@dataclass(frozen=True, kw_only=True)
class Market:
    """What createMarket announced, and the AMM once there is one. `question` and `outcomes` are the raw bytes."""

    market_id: bytes
    question_id: bytes
    condition_id: bytes
    creator: Address
    collateral: Address
    question: bytes
    outcomes: tuple[bytes, ...]
    resolution_time: int
    amm: Address | None = None

    @property
    def full_partition(self) -> list[int]:
        """The index sets of the single outcomes."""
        return [1 << i for i in range(len(self.outcomes))]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that is not sent yet; `what` is for error messages."""

    to: Address
    data: bytes
    gas: int
    what: str


class Actions:
    """Sends transactions from anvil's unlocked accounts, and waits for each. Not thread-safe.

    Every method that sends returns the receipt, or None inside `several_in_one_block` and `through`, where it is not
    known yet. It raises TransactionReverted unless the status is 1. Amounts are in smallest units. A sender gets
    collateral and approvals, in transactions of their own, when it first needs them.
    """

    def __init__(self, w3: Web3, deployment: Deployment) -> None:
        self.w3 = w3
        self.deployment = deployment
        self.accounts: list[Address] = list(w3.eth.accounts)
        self.admin = self.accounts[0]
        self.conditional_tokens = self._at("ConditionalTokens", deployment.conditional_tokens)
        self.market_factory = self._at("MarketFactory", deployment.market_factory)
        self.aurum = self._at("AurumToken", deployment.aurum_token)
        self.oracle = self._at("AurumOracle", deployment.aurum_oracle)
        self.fee_collector = self._at("FeeCollector", deployment.fee_collector)
        self.collateral = self._at("DevCollateral", deployment.collateral)
        self.chain_id = deployment.chain_id
        self._fpmm = w3.eth.contract(abi=artifact("FixedProductMarketMaker")["abi"])
        self._wallet = w3.eth.contract(abi=artifact("SmartWallet")["abi"])
        self._emitter: Contract | None = None
        self._paid: set[tuple[Address, Address]] = set()
        self._approved: set[tuple[Address, Address, Address]] = set()
        self._positions: dict[tuple[bytes, Address], tuple[int, ...]] = {}
        self._block: list[tuple[HexBytes, Call]] | None = None
        self._batch: tuple[Address, list[Call]] | None = None
        self._wallet_owners: dict[Address, Address] = {}
        # Ids and addresses are computed, not read from receipts: these count what is sent but not mined.
        self._ahead: dict[Address, int] = {}

    # --- markets ------------------------------------------------------------------------------------------------------

    def create_market(
        self,
        question: str | bytes = "Will it rain tomorrow?",
        outcomes: Sequence[str | bytes] = ("Yes", "No"),
        *,
        resolves_in: int = 30 * DAY,
        resolution_time: int | None = None,
        collateral: Address | None = None,
        sender: Address | None = None,
    ) -> Market:
        """`resolves_in` counts seconds from the latest block. Bytes go out as they are, valid UTF-8 or not."""
        sender = sender or self.admin
        raw_question, raw_outcomes = _raw(question), tuple(_raw(outcome) for outcome in outcomes)
        market_id, question_id, condition_id = self.next_market_ids(len(outcomes), sender=sender)
        market = Market(
            market_id=market_id,
            question_id=question_id,
            condition_id=condition_id,
            creator=sender,
            collateral=collateral or self.deployment.collateral,
            question=raw_question,
            outcomes=raw_outcomes,
            resolution_time=resolution_time or self.now() + resolves_in,
        )
        # By hand, because web3 refuses a str that is not UTF-8; string and bytes are encoded alike.
        arguments = (market.collateral, raw_question, raw_outcomes, market.resolution_time)
        data = Web3.keccak(text=CREATE_MARKET)[:4] + encode(["address", "bytes", "bytes[]", "uint256"], arguments)
        gas = GAS + GAS_PER_OUTCOME * len(outcomes) + 100 * len(data)
        self._ahead[sender] = self._ahead.get(sender, 0) + 1
        self.send(Call(to=self.deployment.market_factory, data=data, gas=gas, what="createMarket"), sender)
        return market

    def next_market_ids(self, outcome_count: int, *, sender: Address | None = None) -> tuple[bytes, bytes, bytes]:
        """Market, question and condition id of the sender's next create_market; see MarketFactory.nextIds."""
        sender, factory = sender or self.admin, self.deployment.market_factory
        nonce = self.market_factory.functions.nonces(sender).call() + self._ahead.get(sender, 0)
        fields = ["uint256", "address", "address", "uint256"]
        question_id = bytes(Web3.keccak(encode(fields, [self.chain_id, factory, sender, nonce])))
        market_id = bytes(Web3.keccak(encode(["address", "bytes32"], [factory, question_id])))
        packed = bytes.fromhex(self.deployment.aurum_oracle[2:]) + question_id + outcome_count.to_bytes(32, "big")
        return market_id, question_id, bytes(Web3.keccak(packed))

    def prepare_condition(
        self, question_id: bytes, outcome_count: int, *, oracle: Address | None = None, sender: Address
    ) -> TxReceipt | None:
        """Straight with ConditionalTokens; anybody may. Default oracle: ours."""
        oracle = oracle or self.deployment.aurum_oracle
        return self._call(self.conditional_tokens, "prepareCondition", [oracle, question_id, outcome_count], sender)

    def deploy_amm(
        self, market: Market, *, liquidity: int = 10_000_000_000, fee: int = 0, sender: Address | None = None
    ) -> Market:
        """The market with its AMM. `fee` is a fraction of 10**18."""
        sender, factory = sender or self.admin, self.deployment.fpmm_factory
        self._approve(market.collateral, sender, self.deployment.market_factory)
        nonce = self.w3.eth.get_transaction_count(factory) + self._ahead.get(factory, 0)
        self._ahead[factory] = self._ahead.get(factory, 0) + 1
        gas = GAS + GAS_PER_OUTCOME * len(market.outcomes)
        self._call(self.market_factory, "deployAMM", [market.market_id, liquidity, fee], sender, gas)
        return replace(market, amm=created_address(factory, nonce))

    def resolve_market(self, market: Market, *, sender: Address | None = None) -> TxReceipt | None:
        """MarketResolved; the condition must be resolved."""
        return self._call(self.market_factory, "resolveMarket", [market.market_id], sender or self.admin)

    # --- trading ------------------------------------------------------------------------------------------------------

    def buy(self, market: Market, outcome: int, amount: int, *, sender: Address, minimum: int = 0) -> TxReceipt | None:
        """`amount` of collateral, fee included."""
        self._approve(market.collateral, sender, self._amm(market).address)
        return self._call(self._amm(market), "buy", [amount, outcome, minimum], sender)

    def sell(
        self, market: Market, outcome: int, return_amount: int, *, sender: Address, maximum: int = ALLOWANCE
    ) -> TxReceipt | None:
        """`return_amount` of collateral is what the seller gets, after the fee."""
        self._approve_tokens(sender, self._amm(market).address)
        return self._call(self._amm(market), "sell", [return_amount, outcome, maximum], sender)

    def add_funding(
        self, market: Market, amount: int, *, sender: Address, hint: Sequence[int] = ()
    ) -> TxReceipt | None:
        self._approve(market.collateral, sender, self._amm(market).address)
        return self._call(self._amm(market), "addFunding", [amount, list(hint)], sender)

    def remove_funding(self, market: Market, shares: int, *, sender: Address) -> TxReceipt | None:
        return self._call(self._amm(market), "removeFunding", [shares], sender)

    def transfer_shares(self, market: Market, shares: int, *, sender: Address, to: Address) -> TxReceipt | None:
        """LP shares, an ERC-20 transfer."""
        return self._call(self._amm(market), "transfer", [to, shares], sender)

    # --- outcome tokens -----------------------------------------------------------------------------------------------

    def split(
        self, market: Market, amount: int, *, sender: Address, partition: Sequence[int] | None = None
    ) -> TxReceipt | None:
        """`amount` of collateral into as much of each index set of the partition (default: every single outcome)."""
        self._approve(market.collateral, sender, self.deployment.conditional_tokens)
        sets = list(partition or market.full_partition)
        arguments = [market.collateral, NO_PARENT, market.condition_id, sets, amount]
        return self._call(self.conditional_tokens, "splitPosition", arguments, sender)

    def merge(
        self, market: Market, amount: int, *, sender: Address, partition: Sequence[int] | None = None
    ) -> TxReceipt | None:
        sets = list(partition or market.full_partition)
        arguments = [market.collateral, NO_PARENT, market.condition_id, sets, amount]
        return self._call(self.conditional_tokens, "mergePositions", arguments, sender)

    def redeem(self, market: Market, *, sender: Address, index_sets: Sequence[int] | None = None) -> TxReceipt | None:
        sets = list(market.full_partition if index_sets is None else index_sets)
        arguments = [market.collateral, NO_PARENT, market.condition_id, sets]
        return self._call(self.conditional_tokens, "redeemPositions", arguments, sender)

    def transfer(self, market: Market, outcome: int, amount: int, *, sender: Address, to: Address) -> TxReceipt | None:
        arguments = [sender, to, self.position_ids(market)[outcome], amount, b""]
        return self._call(self.conditional_tokens, "safeTransferFrom", arguments, sender)

    def transfer_batch(self, market: Market, amounts: Amounts, *, sender: Address, to: Address) -> TxReceipt | None:
        """`amounts` are (outcome, amount) pairs: an outcome may come twice, an amount be 0, the batch be empty."""
        ids = self.position_ids(market)
        arguments = [sender, to, [ids[outcome] for outcome, _ in amounts], [amount for _, amount in amounts], b""]
        return self._call(self.conditional_tokens, "safeBatchTransferFrom", arguments, sender)

    # --- oracle -------------------------------------------------------------------------------------------------------

    def propose(self, market: Market, payouts: Sequence[int], *, sender: Address) -> TxReceipt | None:
        self._stake_money(sender)
        return self._call(self.oracle, "proposeOutcome", [market.question_id, list(payouts)], sender)

    def dispute(self, market: Market, payouts: Sequence[int], *, sender: Address) -> TxReceipt | None:
        self._stake_money(sender)
        return self._call(self.oracle, "disputeProposal", [market.question_id, list(payouts)], sender)

    def commit(self, market: Market, payouts: Sequence[int], salt: bytes, *, sender: Address) -> TxReceipt | None:
        vote = encode(["bytes32", "uint256[]", "bytes32"], [market.question_id, list(payouts), salt])
        return self._call(self.oracle, "commitVote", [market.question_id, Web3.keccak(vote)], sender)

    def reveal(self, market: Market, payouts: Sequence[int], salt: bytes, *, sender: Address) -> TxReceipt | None:
        return self._call(self.oracle, "revealVote", [market.question_id, list(payouts), salt], sender)

    def finalize(self, market: Market, *, sender: Address | None = None) -> TxReceipt | None:
        return self._call(self.oracle, "finalizeProposal", [market.question_id], sender or self.admin)

    def void(self, market: Market, *, sender: Address | None = None) -> TxReceipt | None:
        return self._call(self.oracle, "voidQuestion", [market.question_id], sender or self.admin)

    # --- money --------------------------------------------------------------------------------------------------------

    def collect_fee(self, market: Market, amount: int, *, sender: Address) -> TxReceipt | None:
        self._approve(market.collateral, sender, self.deployment.fee_collector)
        return self._call(self.fee_collector, "collectFee", [market.collateral, market.market_id, amount], sender)

    def withdraw_fees(self, token: Address | None = None) -> TxReceipt | None:
        return self._call(self.fee_collector, "withdrawFees", [token or self.deployment.collateral], self.admin)

    def mint_collateral(self, to: Address, amount: int, *, token: Address | None = None) -> TxReceipt | None:
        contract = self._at("DevCollateral", token or self.deployment.collateral)
        return self._call(contract, "mint", [to, amount], self.admin)

    def mint_aurum(self, to: Address, amount: int) -> TxReceipt | None:
        """Voting weight, too."""
        return self._call(self.aurum, "mint", [to, amount], self.admin)

    # --- contract wallets and foreign logs ----------------------------------------------------------------------------

    def deploy_wallet(self, owner: Address) -> Address:
        """A SmartWallet; pass its address as `sender` inside `through`."""
        wallet = deploy_contract(self.w3, "SmartWallet", owner, sender=owner).address
        self._wallet_owners[wallet] = owner
        return wallet

    @contextmanager
    def through(self, wallet: Address) -> Iterator[None]:
        """Actions in the body with the wallet as sender become one transaction, sent by its owner at the end."""
        if self._batch:
            raise RuntimeError("through() does not nest")
        calls: list[Call] = []
        self._batch = (wallet, calls)
        try:
            yield
        finally:
            self._batch = None
        struct = [(call.to, 0, call.data) for call in calls]
        data = HexBytes(self._wallet.encode_abi("execute", [struct]))
        gas = sum(call.gas for call in calls)
        self.send(Call(to=wallet, data=data, gas=gas, what="execute"), self._wallet_owners[wallet])

    def emit_log(
        self, topics: Sequence[bytes], data: bytes = b"", *, sender: Address | None = None
    ) -> TxReceipt | None:
        """Any log, from an address that is none of the deployment's (`emitter`)."""
        return self._call(self.emitter, "emitLog", [list(topics), data], sender or self.admin)

    @property
    def emitter(self) -> Contract:
        if self._emitter is None:
            self._emitter = deploy_contract(self.w3, "LogEmitter")
        return self._emitter

    # --- reading ------------------------------------------------------------------------------------------------------

    def position_ids(self, market: Market) -> tuple[int, ...]:
        """Token id of each outcome, as the contract computes it."""
        key = (market.condition_id, market.collateral)
        if key not in self._positions:
            read = self.conditional_tokens.functions
            collections = [
                read.getCollectionId(NO_PARENT, market.condition_id, index_set).call()
                for index_set in market.full_partition
            ]
            ids = tuple(read.getPositionId(market.collateral, collection).call() for collection in collections)
            self._positions[key] = ids
        return self._positions[key]

    def balances(self, market: Market, holder: Address) -> list[int]:
        """Of each outcome."""
        ids = list(self.position_ids(market))
        return list(self.conditional_tokens.functions.balanceOfBatch([holder] * len(ids), ids).call())

    def shares(self, market: Market, holder: Address) -> int:
        return int(self._amm(market).functions.balanceOf(holder).call())

    def tokens_to_sell(self, market: Market, outcome: int, return_amount: int) -> int:
        """FPMM.calcSellAmount. Raises ContractLogicError when the pool cannot pay that."""
        return int(self._amm(market).functions.calcSellAmount(return_amount, outcome).call())

    def proposal(self, market: Market) -> dict[str, Any]:
        """AurumOracle.getProposal by field name."""
        function = self.oracle.functions.getProposal(market.question_id)
        names = [component["name"] for component in function.abi["outputs"][0]["components"]]
        return dict(zip(names, function.call(), strict=True))

    def events(self, logs: Sequence[LogReceipt]) -> list[tuple[str, dict[str, Any]]]:
        """(event name, arguments) of the logs that belong to one of the known ABIs, in their order."""
        found = []
        for log in logs:
            decoder = _decoders().get((bytes(log["topics"][0]), len(log["topics"]))) if log["topics"] else None
            if decoder:
                found.append(decoder(log))
        return found

    # --- time and blocks ----------------------------------------------------------------------------------------------

    def now(self) -> int:
        """Unix seconds of the latest block."""
        return int(self.w3.eth.get_block("latest")["timestamp"])

    def advance(self, seconds: int) -> None:
        """Mines one empty block that much later; the chain's clock goes on from there."""
        self.request("evm_setNextBlockTimestamp", self.now() + seconds)
        self.mine()

    def mine(self) -> None:
        self.request("evm_mine")

    def request(self, method: str, *params: Any) -> Any:
        """One of the node's own methods. Raises Web3RPCError."""
        answer = self.w3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        if "error" in answer:
            raise Web3RPCError(f"{method}: {answer['error']}")
        return answer["result"]

    @contextmanager
    def several_in_one_block(self) -> Iterator[None]:
        """The body's transactions share one block, in their order; mined, and their statuses checked, at the end."""
        if self._block is not None:
            raise RuntimeError("several_in_one_block() does not nest")
        sent: list[tuple[HexBytes, Call]] = []
        self._block = sent
        self.request("evm_setAutomine", False)
        try:
            yield
            self.mine()
        finally:
            self._block = None
            self._ahead.clear()
            self.request("evm_setAutomine", True)
        for transaction, call in sent:
            self._check(self.w3.eth.get_transaction_receipt(transaction), call)

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(self, call: Call, sender: Address) -> TxReceipt | None:
        """The receipt; None where it is not known yet. Raises TransactionReverted."""
        if self._batch and sender == self._batch[0]:
            self._batch[1].append(call)
            return None
        transaction = {
            "from": sender,
            "to": call.to,
            "data": "0x" + bytes(call.data).hex(),
            "gas": hex(call.gas),
            "gasPrice": hex(GAS_PRICE),
        }
        if self._block is not None:
            self._block.append((HexBytes(self.request("eth_sendTransaction", transaction)), call))
            return None
        self._ahead.clear()
        # Anvil mines asynchronously; this method (EIP-7966) answers when the receipt is there.
        mined = self.request("eth_sendTransactionSync", transaction)
        return self._check(self.w3.eth.get_transaction_receipt(mined["transactionHash"]), call)

    def transact(
        self, contract: Contract, function: str, arguments: Sequence[Any], *, sender: Address, gas: int = GAS
    ) -> TxReceipt | None:
        """Any function of any contract, where no method above fits."""
        return self._call(contract, function, list(arguments), sender, gas)

    def _call(
        self, contract: Contract, function: str, arguments: list[Any], sender: Address, gas: int = GAS
    ) -> TxReceipt | None:
        data = HexBytes(contract.encode_abi(function, arguments))
        return self.send(Call(to=contract.address, data=data, gas=gas, what=function), sender)

    def _check(self, receipt: TxReceipt, call: Call) -> TxReceipt:
        if receipt["status"] == 1:
            return receipt
        raise TransactionReverted(f"{call.what} was reverted: {self._reason(receipt, call)}")

    def _reason(self, receipt: TxReceipt, call: Call) -> str:
        """What the contract says when it is asked again on the block before: an error's name, where it still fails."""
        transaction = {"from": receipt["from"], "to": call.to, "data": "0x" + bytes(call.data).hex()}
        answer = self.w3.provider.make_request(
            "eth_call",  # type: ignore[arg-type]
            [transaction, hex(receipt["blockNumber"] - 1)],
        )
        error: Any = answer.get("error", {})
        data = str(error.get("data") or "")
        return _error_names().get(data[:10]) or str(error.get("message", "unknown"))

    def _approve(self, token: Address, owner: Address, spender: Address) -> None:
        """Once per owner and spender; and the first time an owner pays in a token, it is given some."""
        contract = self._at("DevCollateral", token)
        if (token, owner) not in self._paid:
            self._paid.add((token, owner))
            self._call(contract, "mint", [owner, POCKET_MONEY], self.admin)
        if (token, owner, spender) not in self._approved:
            self._approved.add((token, owner, spender))
            self._call(contract, "approve", [spender, ALLOWANCE], owner)

    def _approve_tokens(self, owner: Address, operator: Address) -> None:
        key = (self.deployment.conditional_tokens, owner, operator)
        if key not in self._approved:
            self._approved.add(key)
            self._call(self.conditional_tokens, "setApprovalForAll", [operator, True], owner)

    def _stake_money(self, owner: Address) -> None:
        if self.aurum.functions.balanceOf(owner).call() < STAKE:
            self.mint_aurum(owner, STAKE)
        key = (self.aurum.address, owner, self.oracle.address)
        if key not in self._approved:
            self._approved.add(key)
            self._call(self.aurum, "approve", [self.oracle.address, ALLOWANCE], owner)

    def _amm(self, market: Market) -> Contract:
        if market.amm is None:
            raise ValueError("this market has no AMM")
        return self._fpmm(market.amm)

    def _at(self, name: str, address: Address) -> Contract:
        return self.w3.eth.contract(address=address, abi=artifact(name)["abi"])


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@cache
def _error_names() -> dict[str, str]:
    """Selector -> name of the custom errors of Aurum's own contracts."""
    names = {}
    for contract in ("MarketFactory", "AurumOracle", "FeeCollector", "AurumToken"):
        for item in artifact(contract)["abi"]:
            if item["type"] == "error":
                signature = f"{item['name']}({','.join(field['type'] for field in item['inputs'])})"
                names["0x" + Web3.keccak(text=signature)[:4].hex()] = item["name"]
    return names


@cache
def _decoders() -> dict[tuple[bytes, int], Decoder]:
    """By topic0 and number of topics; the first contract that has the event wins."""
    contracts = ("MarketFactory", "AurumOracle", "FeeCollector", "ConditionalTokens", "FixedProductMarketMaker")
    table: dict[tuple[bytes, int], Decoder] = {}
    for abi in (artifact(name)["abi"] for name in contracts):
        for item in abi:
            if item["type"] != "event":
                continue
            signature = f"{item['name']}({','.join(field['type'] for field in item['inputs'])})"
            topics = 1 + sum(field["indexed"] for field in item["inputs"])
            event = Web3().eth.contract(abi=[item]).events[item["name"]]()

            def decode(log: LogReceipt, event: Any = event) -> tuple[str, dict[str, Any]]:
                found = event.process_log(log)
                return found["event"], dict(found["args"])

            table.setdefault((bytes(Web3.keccak(text=signature)), topics), decode)
    return table
