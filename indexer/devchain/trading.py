"""Brings the bots to a running development chain."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests
from web3 import HTTPProvider, Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import ENDING_SPAN, TRADING_SPAN, Bots, play
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import NodeError

WAIT_INTERVAL = 0.2  # seconds between two looks for the chain
LEFT_FOR_FOLLOWING = 3_600 * 30  # seconds of the past that `play` leaves: proposals of then are due in the present


def trade(
    *,
    env_file: Path,
    seed: int,
    markets: int,
    steps: int,
    follow: bool,
    pace: float,
    wait: float,
    stopping: threading.Event,
    say: Callable[[str], object],
) -> None:
    """Plays once and returns; with `follow`, goes on with the chain's markets until `stopping` is set.

    A chain that has markets is not played on again when following. `wait` bounds, in seconds, the time until the chain
    is there. Raises NodeError when it is not, or goes away.
    """
    w3, deployment = connect(env_file, wait, stopping)
    try:
        bots = _continue(w3, deployment, seed) if follow else None
        if bots is None:
            bots = play(
                w3, deployment, seed=seed, markets=markets, steps=steps, span=_span(w3, follow), stopping=stopping
            )
            say(f"Played {steps} steps on {markets} markets, up to block {w3.eth.block_number}")
        if not stopping.is_set():
            bots.catch_up(time.time())
        if follow:
            say(f"Following {len(bots.lives)} markets, a step every {pace:g} s")
            bots.follow(stopping, pace=pace)
    except requests.RequestException as error:
        raise NodeError(f"the node at {deployment.rpc_url} is gone") from error


def connect(env_file: Path, wait: float, stopping: threading.Event) -> tuple[Web3, Deployment]:
    """The chain that `env_file` names, once it answers. Raises NodeError after `wait` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            deployment = Deployment.from_env_file(env_file)
            w3 = Web3(HTTPProvider(deployment.rpc_url))
            if w3.eth.chain_id == deployment.chain_id and w3.eth.get_code(deployment.market_factory):
                return w3, deployment
            problem = f"the node at {deployment.rpc_url} has another chain than {env_file} says"
        except (OSError, KeyError) as error:  # no file yet, no node yet (requests' errors are OSErrors)
            problem = f"no development chain: {type(error).__name__}: {error}"
        if time.monotonic() >= deadline or stopping.wait(WAIT_INTERVAL):
            raise NodeError(problem)


def _continue(w3: Web3, deployment: Deployment, seed: int) -> Bots | None:
    """Bots for the markets that are there; None on a chain without any."""
    bots = Bots(Actions(w3, deployment), seed=seed)
    bots.adopt_markets()
    if not bots.lives:
        return None
    bots.settle_in()
    return bots


def _span(w3: Web3, follow: bool) -> int:
    """Seconds of trading that end about now, where the chain's past has room for them."""
    past = int(time.time()) - int(w3.eth.get_block("latest")["timestamp"])
    room = past - ENDING_SPAN - (LEFT_FOR_FOLLOWING if follow else 0)
    return room if room > 0 else TRADING_SPAN
