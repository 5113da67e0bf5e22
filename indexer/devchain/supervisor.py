"""Keeps one development chain running: node, contracts, and the file that tells others where they are."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from web3 import HTTPProvider, Web3

from indexer.devchain.deploy import Deployment, deploy, existing, provide_wallet
from indexer.devchain.node import Anvil

CHECK_INTERVAL = 0.5  # seconds between two looks at the node
DAY = 86_400  # seconds


def run(
    *,
    host: str,
    port: int,
    state: Path,
    env_file: Path,
    history_days: int,
    stopping: threading.Event,
    say: Callable[[str], object],
) -> None:
    """Runs until `stopping` is set, then ends the node, its state saved. Raises NodeError if the node dies before.

    A new chain's first block is `history_days` old, so that bots can play that long before they reach the present.
    A chain whose `state` exists goes on, at the present.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    genesis_time = None if state.exists() else int(time.time()) - history_days * DAY
    node = Anvil(port=port, host=host, state=state, genesis_time=genesis_time, die_with_parent=True)
    with node:
        w3 = Web3(HTTPProvider(node.url))
        found = existing(w3)
        deployment = found or deploy(w3)
        provide_wallet(w3, deployment)
        write_env(replace(deployment, rpc_url=node.url), env_file)
        say(f"{'Continuing at' if found else 'New chain at'} block {w3.eth.block_number}; addresses in {env_file}")
        say(f"Listening on {node.url} and {node.ws_url}, chain id {node.chain_id}")
        while not stopping.wait(CHECK_INTERVAL):
            node.check()
    say("Stopped; the chain is saved")


def write_env(deployment: Deployment, path: Path) -> None:
    """Writes the `.env` fragment so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(deployment.to_env())
    part.replace(path)
