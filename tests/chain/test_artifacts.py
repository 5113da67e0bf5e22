"""What is committed is what the sources and the npm packages give."""

import json
import subprocess
from pathlib import Path

import pytest
from web3 import Web3

from indexer.devchain.deploy import FOLDER

ABIS = FOLDER.parent / "abi"

# The events that the indexer reads, and their topic0, as the deployed contracts have them.
TOPICS = {
    ("MarketFactory", "MarketCreated"): "0xe7fa33fa0dadb8213da786d1c593172bcecb27a769d132c460ab2784976c7bb0",
    ("MarketFactory", "AMMDeployed"): "0x0248eb7c75c9e36bd1bcb715ac470d5cc90855ff2930347703ee5d760e96250b",
    ("MarketFactory", "MarketResolved"): "0x1ff3036e1e86752f3884e9e2e2b023d2d9704536bb535f5d90f5c37db5f8abba",
    ("ConditionalTokens", "ConditionPreparation"): "0xab3760c3bd2bb38b5bcf54dc79802ed67338b4cf29f3054ded67ed24661e4177",
    ("ConditionalTokens", "ConditionResolution"): "0xb44d84d3289691f71497564b85d4233648d9dbae8cbdbb4329f301c3a0185894",
    ("ConditionalTokens", "PositionSplit"): "0x2e6bb91f8cbcda0c93623c54d0403a43514fabc40084ec96b6d5379a74786298",
    ("ConditionalTokens", "PositionsMerge"): "0x6f13ca62553fcc2bcd2372180a43949c1e4cebba603901ede2f4e14f36b282ca",
    ("ConditionalTokens", "PayoutRedemption"): "0x2682012a4a4f1973119f1c9b90745d1bd91fa2bab387344f044cb3586864d18d",
    ("ConditionalTokens", "TransferSingle"): "0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62",
    ("ConditionalTokens", "TransferBatch"): "0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb",
    ("FixedProductMarketMaker", "FPMMBuy"): "0x4f62630f51608fc8a7603a9391a5101e58bd7c276139366fc107dc3b67c3dcf8",
    ("FixedProductMarketMaker", "FPMMSell"): "0xadcf2a240ed9300d681d9a3f5382b6c1beed1b7e46643e0c7b42cbe6e2d766b4",
    (
        "FixedProductMarketMaker",
        "FPMMFundingAdded",
    ): "0xec2dc3e5a3bb9aa0a1deb905d2bd23640d07f107e6ceb484024501aad964a951",
    (
        "FixedProductMarketMaker",
        "FPMMFundingRemoved",
    ): "0x8b4b2c8ebd04c47fc8bce136a85df9b93fcb1f47c8aa296457d4391519d190e7",
    ("FixedProductMarketMaker", "Transfer"): "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
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

# How the indexed arguments of Aurum's own events go into topics; topic0 does not tell.
INDEXED = {
    "MarketCreated": ["marketId", "questionId", "conditionId"],
    "AMMDeployed": ["marketId", "amm"],
    "MarketResolved": ["marketId", "conditionId"],
    "QuestionRegistered": ["questionId"],
    "OutcomeProposed": ["questionId", "proposer"],
    "ProposalDisputed": ["questionId", "disputer"],
    "VoteCommitted": ["questionId", "voter"],
    "VoteRevealed": ["questionId", "voter"],
    "QuestionResolved": ["questionId"],
    "QuestionVoided": ["questionId"],
    "FeeCollected": ["token", "marketId", "payer"],
    "FeesWithdrawn": ["token", "to"],
}


def _events(contract: str) -> dict[str, dict]:
    abi = json.loads((ABIS / f"{contract}.json").read_text())
    return {item["name"]: item for item in abi if item["type"] == "event"}


@pytest.mark.parametrize(("contract", "name"), TOPICS)
def test_event_has_the_topic_that_the_indexer_looks_for(contract: str, name: str) -> None:
    event = _events(contract)[name]
    signature = f"{name}({','.join(field['type'] for field in event['inputs'])})"
    assert Web3.to_hex(Web3.keccak(text=signature)) == TOPICS[contract, name]
    if name in INDEXED:
        assert [field["name"] for field in event["inputs"] if field["indexed"]] == INDEXED[name]


def test_committed_artifacts_and_abis_are_what_the_compiler_gives(tmp_path: Path) -> None:
    artifacts, abis = tmp_path / "artifacts", tmp_path / "abi"
    subprocess.run(["node", str(FOLDER / "compile.js"), str(artifacts), str(abis)], check=True, timeout=120)
    for made, committed in ((artifacts, FOLDER / "artifacts"), (abis, ABIS)):
        assert _texts(made) == _texts(committed)


def _texts(folder: Path) -> dict[str, str]:
    found = {path.name: path.read_text() for path in folder.glob("*.json")}
    assert found
    return found
