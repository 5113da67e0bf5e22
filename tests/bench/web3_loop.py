"""For comparison: web3.py's own `process_log`, log by log, over a sample of the chain.

`python -m tests.bench.web3_loop RPC_URL FOLDER` prints logs and CPU seconds of the loop alone, fetching aside.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

from web3 import Web3

from tests.bench import logs
from tests.bench.chain import About

SAMPLE = 5000  # logs
ABI_FOLDER = Path(__file__).resolve().parents[2] / "indexer" / "abi"
FIXED = {
    logs.CONDITIONAL_TOKENS: "ConditionalTokens",
    logs.MARKET_FACTORY: "MarketFactory",
    logs.AURUM_ORACLE: "AurumOracle",
    logs.FEE_COLLECTOR: "FeeCollector",
}


def process_logs(w3: Web3) -> dict[tuple[str, bytes], Callable[[Any], Any]]:
    """`process_log` of each event, by contract and topic0."""
    found: dict[tuple[str, bytes], Callable[[Any], Any]] = {}
    for path in ABI_FOLDER.glob("*.json"):
        contract = w3.eth.contract(abi=json.loads(path.read_text()))
        for event in contract.events:
            found[path.stem, bytes.fromhex(event().topic[2:])] = event().process_log
    return found


def main(rpc_url: str, folder: Path) -> None:
    w3 = Web3(Web3.HTTPProvider(rpc_url))
    head, sample = About.read(folder).head, []
    for first in range(head // 2, head, 100):
        sample += w3.eth.get_logs({"fromBlock": first, "toBlock": min(first + 99, head)})
        if len(sample) >= SAMPLE:
            break
    by_event = process_logs(w3)
    started = process_time()
    for log in sample[:SAMPLE]:
        contract = FIXED.get(log["address"].lower(), "FixedProductMarketMaker")
        by_event[contract, bytes(log["topics"][0])](log)
    print(len(sample[:SAMPLE]), process_time() - started)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
