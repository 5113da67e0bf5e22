"""How long it takes from a trade's block to its frames: a real node, real contracts, indexer, server, subscribers."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from random import Random
from threading import Event
from time import monotonic

from web3 import Web3

from indexer.devchain.actions import DAY, Market
from indexer.devchain.deploy import deploy
from indexer.devchain.node import Anvil
from tests.bench.latency import INTERVAL, SEED, USDC, WARM_UP, Announcements, Commits, Miner
from tests.bench.measure import Database, run, running
from tests.bench.report import Goal, markdown, percentile
from tests.bench.ws.servers import clients, ours

SUBSCRIBERS = 1_000
BLOCKS = 100  # that are measured, of one trade each
GOAL = 150.0  # milliseconds, of 99 frames in 100


def trade_to_frame(database: Database, environment: Mapping[str, str]) -> Iterator[Goal]:
    """Works on an empty database. Times begin when a subscriber of its own hears the node announce the block."""
    with ExitStack() as stack:
        node = stack.enter_context(Anvil(die_with_parent=True))
        w3 = Web3(Web3.HTTPProvider(node.url))
        deployment = deploy(w3)
        miner = Miner(w3, deployment)
        market = _market(miner)
        market_id = f"0x{market.market_id.hex()}"
        contracts = dict(line.split("=", 1) for line in deployment.to_env().splitlines())
        environment = {**environment, **contracts, "RPC_WS_URL": node.ws_url}
        run(["manage.py", "migrate", "--verbosity", "0"], environment=environment)
        stack.enter_context(running(["manage.py", "run_indexer"], environment=environment))
        Commits(database.url).wait(w3.eth.block_number)
        server = stack.enter_context(ours(environment))
        subscribers = stack.enter_context(clients(server.port, SUBSCRIBERS, market_id))
        announced = _trade(miner, market, Announcements(node.ws_url))
        Commits(database.url).wait(w3.eth.block_number)
        report = subscribers.until(_seq(database, market_id))
    milliseconds = [
        arrival / 1e6 - announced[message["block_number"]] * 1000
        for message in report["messages"]
        for arrival in message["arrivals"]
        if message["block_number"] in announced
    ]
    found = [percentile(milliseconds, share) for share in (50, 95, 99, 100)]
    rows = [
        ("trades", "subscribers", "p50 ms", "p95 ms", "p99 ms", "max ms", "lost"),
        (f"{BLOCKS}", f"{SUBSCRIBERS:,}", *(f"{each:.1f}" for each in found), f"{report['missing']}"),
    ]
    print()
    print(markdown(rows), flush=True)
    yield Goal(name="a trade from its block's announcement to its frames, p99 ms", value=found[2], bound=GOAL)


def _market(miner: Miner) -> Market:
    made = miner.create_market("Will it be quick?", ("Yes", "No"), resolves_in=30 * DAY)
    market = miner.deploy_amm(made, liquidity=50_000 * USDC, fee=10**16)
    for trader in miner.accounts[1:9]:
        miner.buy(market, 0, USDC, sender=trader)  # also what gives the approval
    return market


def _trade(miner: Miner, market: Market, announcements: Announcements) -> dict[int, float]:
    """Mines blocks of a trade each; returns when those that count were announced, by `monotonic`."""
    announced: dict[int, float] = {}
    random = Random(SEED)

    def note() -> None:
        number, at = announcements.next()
        announced[number] = at

    for block in range(WARM_UP + BLOCKS):
        due = monotonic() + INTERVAL
        if block == WARM_UP:
            miner.on_mining = note
        announcements.forget()
        with miner.several_in_one_block():
            trader, amount = random.choice(miner.accounts[1:9]), random.randint(USDC, 50 * USDC)
            miner.buy(market, random.randrange(2), amount, sender=trader)
        Event().wait(max(0.0, due - monotonic()))
    return announced


def _seq(database: Database, market_id: str) -> int:
    [[seq]] = database.execute(f"SELECT seq FROM channels WHERE name = 'prices:{market_id}'")  # noqa: S608
    return int(seq)
