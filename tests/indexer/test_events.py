"""The event classes against the contracts: topics as on chain, names as served, ABIs as deployed."""

import json
from pathlib import Path
from typing import Any

import pytest

from indexer import events
from indexer.events import EVENTS, ChainEvent, event_data
from tests.factories import MAX_UINT256

ABI = Path(events.__file__).parent / "abi"
# keccak of each signature, computed apart from this code.
TOPICS = {
    ("MarketFactory", "MarketCreated"): "0xe7fa33fa0dadb8213da786d1c593172bcecb27a769d132c460ab2784976c7bb0",
    ("MarketFactory", "AMMDeployed"): "0x0248eb7c75c9e36bd1bcb715ac470d5cc90855ff2930347703ee5d760e96250b",
    ("MarketFactory", "MarketResolved"): "0x1ff3036e1e86752f3884e9e2e2b023d2d9704536bb535f5d90f5c37db5f8abba",
    ("ConditionalTokens", "ConditionPreparation"): "0xab3760c3bd2bb38b5bcf54dc79802ed67338b4cf29f3054ded67ed24661e4177",
    ("ConditionalTokens", "ConditionResolution"): "0xb44d84d3289691f71497564b85d4233648d9dbae8cbdbb4329f301c3a0185894",
    ("ConditionalTokens", "PositionSplit"): "0x2e6bb91f8cbcda0c93623c54d0403a43514fabc40084ec96b6d5379a74786298",
    ("ConditionalTokens", "PositionMerge"): "0x6f13ca62553fcc2bcd2372180a43949c1e4cebba603901ede2f4e14f36b282ca",
    ("ConditionalTokens", "PayoutRedemption"): "0x2682012a4a4f1973119f1c9b90745d1bd91fa2bab387344f044cb3586864d18d",
    ("ConditionalTokens", "TransferSingle"): "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62",
    ("ConditionalTokens", "TransferBatch"): "0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb",
    ("ConditionalTokens", "OutcomeTransfer"): "0x1b3d7edb2e9c0b0e7c525b20aaaef0f5940d2ed71663c7d39266ecafac728859",
    ("FixedProductMarketMaker", "FPMMBuy"): "0x4f62630f51608fc8a7603a9391a5101e58bd7c276139366fc107dc3b67c3dcf8",
    ("FixedProductMarketMaker", "FPMMSell"): "0xadcf2a240ed9300d681d9a3f5382b6c1beed1b7e46643e0c7b42cbe6e2d766b4",
    ("FixedProductMarketMaker", "FPMMFundingAdded"): (
        "0xec2dc3e5a3bb9aa0a1deb905d2bd23640d07f107e6ceb484024501aad964a951"
    ),
    ("FixedProductMarketMaker", "FPMMFundingRemoved"): (
        "0x8b4b2c8ebd04c47fc8bce136a85df9b93fcb1f47c8aa296457d4391519d190e7"
    ),
    ("FixedProductMarketMaker", "ShareTransfer"): "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
    ("AurumOracle", "QuestionRegistered"): "0xae61f4871a914b1d39d23c49db1cd51e2bf864a3895fd132103a26f2bfaf6be8",
    ("AurumOracle", "OutcomeProposed"): "0xab37fcdb0d8348733b18ff2ad6a094e06f4a5a6afee1d0ad0fc6ce7ca5de5867",
    ("AurumOracle", "ProposalDisputed"): "0x5809c6f7d7b1368c5b4b8cadabe54671b15d5105abab69ba67811132d174ed5f",
    ("AurumOracle", "VoteCommitted"): "0xd9fd84967d0d7a1e30c4712a111e11619db9beec04a8c48f362b2c1724b6c58a",
    ("AurumOracle", "VoteRevealed"): "0xb9d482fe48ce68e0b9d0790f89f7918ce6c2e521ced2870a4c1c05a672f4e8b3",
    ("AurumOracle", "QuestionResolved"): "0x6489196594a2fbb1d78f3eec20018e9c866d89d53f4b853a15bc3106c3bdebd4",
    ("AurumOracle", "QuestionVoided"): "0x650896269865e5b007b0401ca8c7baca8a73601ea569eb623f8a9913ee60f595",
    ("FeeCollector", "FeeCollected"): "0xfc8cb571548e80959d712a83af355a6ee9c51128a0a10f18ec25aa1017e11771",
    ("FeeCollector", "FeesWithdrawn"): "0x5e110f8bc8a20b65dcc87f224bdf1cc039346e267118bae2739847f07321ffa8",
}
# Classes whose name in Python is not the event's on chain.
CHAIN_NAMES = {"PositionMerge": "PositionsMerge", "OutcomeTransfer": "Transfer", "ShareTransfer": "Transfer"}


def test_every_event_has_its_topic_and_no_other_exists() -> None:
    declared = {
        (event_class.contract, event_class.__name__): event_class.signature.topic0 for event_class in EVENTS.values()
    }
    assert declared == TOPICS
    assert set(EVENTS) == {(contract, topic0) for (contract, _), topic0 in TOPICS.items()}


@pytest.mark.parametrize("event_class", EVENTS.values(), ids=lambda event_class: event_class.__name__)
def test_stored_name(event_class: type[ChainEvent]) -> None:
    """The chain's name, but the singular that the API promises for merges."""
    chain_name = CHAIN_NAMES.get(event_class.__name__, event_class.__name__)
    assert event_class.signature.name == chain_name
    assert event_class.stored_name == ("PositionMerge" if chain_name == "PositionsMerge" else chain_name)


@pytest.mark.parametrize("event_class", EVENTS.values(), ids=lambda event_class: event_class.__name__)
def test_fields_are_the_parameters_in_order(event_class: Any) -> None:
    assert list(event_class.__struct_fields__) == [parameter.field for parameter in event_class.signature.parameters]


@pytest.mark.parametrize("contract", sorted({contract for contract, _ in TOPICS}))
def test_the_deployed_abi_agrees(contract: str) -> None:
    """Every event of ours is in the contract's ABI, with the same types, names and topics."""
    answer = json.loads((ABI / f"{contract}.json").read_text())
    abi = answer["abi"] if isinstance(answer, dict) else answer
    deployed = {
        entry["name"]: [(item["type"], item["name"], item["indexed"]) for item in entry["inputs"]]
        for entry in abi
        if entry["type"] == "event"
    }
    ours = {
        event_class.signature.name: [
            (parameter.type, parameter.name, parameter.indexed) for parameter in event_class.signature.parameters
        ]
        for event_class in EVENTS.values()
        if event_class.contract == contract and event_class is not events.OutcomeTransfer  # of ERC-6909 deployments
    }
    assert {name: deployed.get(name) for name in ours} == ours


def test_event_data_keeps_every_digit_and_the_chains_names() -> None:
    event = events.MarketCreated(
        market_id="0x" + "01" * 32,
        question_id="0x" + "02" * 32,
        condition_id="0x" + "03" * 32,
        creator="0x" + "04" * 20,
        collateral_token="0x" + "05" * 20,
        question="Will <b>it</b>?",
        outcomes=("Yes", "No"),
        resolution_time=MAX_UINT256,
    )
    assert json.loads(json.dumps(event_data(event))) == {
        "marketId": "0x" + "01" * 32,
        "questionId": "0x" + "02" * 32,
        "conditionId": "0x" + "03" * 32,
        "creator": "0x" + "04" * 20,
        "collateralToken": "0x" + "05" * 20,
        "question": "Will <b>it</b>?",
        "outcomes": ["Yes", "No"],
        "resolutionTime": "115792089237316195423570985008687907853269984665640564039457584007913129639935",
    }


def test_event_data_calls_sender_and_receiver_what_the_chain_does() -> None:
    event = events.TransferBatch(operator="0x01", sender="0x02", receiver="0x03", ids=(1, MAX_UINT256), values=(0, 5))
    assert event_data(event) == {
        "operator": "0x01",
        "from": "0x02",
        "to": "0x03",
        "ids": ["1", str(MAX_UINT256)],
        "values": ["0", "5"],
    }


def test_event_data_leaves_booleans_alone() -> None:
    event = events.QuestionRegistered(question_id="0x01", outcome_slot_count=2, is_binary=True)
    assert event_data(event) == {"questionId": "0x01", "outcomeSlotCount": "2", "isBinary": True}
