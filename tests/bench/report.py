"""The benchmark's findings as tables, and the goals that they are held against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from tests.bench.measure import Cost

SYNC_TO_FLOOR = 2.5  # at most, in CPU of both processes
REPLAY_TO_FLOOR = 1.5
SYNC_LOGS_PER_SECOND = 12_000  # at least, in a CPU second of both processes
LONG_TO_SHORT = 1.2  # at most, a log of the longest chain to one of the shortest
PEAK = 300.0  # MB at most
LATENCY = 100.0  # ms at most, of 95 blocks in 100

# `ours` and `PostgreSQL` are the parts of the column before them.
HEAD = (
    *("logs", "what", "wall s", "CPU s", "ours", "PostgreSQL", "µs a log", "ours", "PostgreSQL"),
    *("logs a CPU s", "to floor", "peak MB"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The costs of one chain. `web3_logs_per_second` is of a CPU second of that loop."""

    log_count: int
    floor: Cost
    sync: Cost
    replay: Cost
    web3_logs_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A number and the bound that it must keep."""

    name: str
    value: float
    bound: float
    at_least: bool = False

    def __str__(self) -> str:
        met = self.value >= self.bound if self.at_least else self.value <= self.bound
        verdict = "met" if met else "MISSED"
        return f"{verdict:6}  {self.name}: {self.value:,.2f}, goal {'>=' if self.at_least else '<='} {self.bound:,}"


def table(runs: Sequence[Run]) -> str:
    """A Markdown table, a row for each cost."""
    rows = [HEAD, *(_row(run, cost) for run in runs for cost in (run.floor, run.sync, run.replay))]
    rows += [_web3_row(run) for run in runs]
    return markdown(rows, left=1)


def markdown(rows: Sequence[Sequence[str]], *, left: int | None = None) -> str:
    """The first row is the head. The column `left` is text, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column == left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rule = "|".join("-" * (width + 1) + ("-" if column == left else ":") for column, width in enumerate(widths))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _row(run: Run, cost: Cost) -> tuple[str, ...]:
    seconds = (cost.cpu, cost.own_cpu, cost.database_cpu)
    return (
        f"{run.log_count:,}",
        cost.name,
        f"{cost.wall:.1f}",
        *(f"{value:.1f}" for value in seconds),
        *(f"{cost.per_log(value):.1f}" for value in seconds),
        f"{cost.logs_per_second:,.0f}",
        f"{cost.cpu / run.floor.cpu:.2f}",
        f"{cost.peak:.0f}",
    )


def _web3_row(run: Run) -> tuple[str, ...]:
    speed = run.web3_logs_per_second
    own = f"{1e6 / speed:.1f}"
    return (f"{run.log_count:,}", "web3.py process_log", "", "", "", "", own, own, "", f"{speed:,.0f}", "", "")


def goals(runs: Sequence[Run]) -> Iterator[Goal]:
    """The goals of each chain, and between the shortest and the longest."""
    for run in runs:
        of = f"of {run.log_count:,} logs"
        yield Goal(name=f"sync {of}, CPU to the floor's", value=run.sync.cpu / run.floor.cpu, bound=SYNC_TO_FLOOR)
        yield Goal(name=f"replay {of}, CPU to the floor's", value=run.replay.cpu / run.floor.cpu, bound=REPLAY_TO_FLOOR)
        speed = run.sync.logs_per_second
        yield Goal(name=f"sync {of}, logs a CPU second", value=speed, bound=SYNC_LOGS_PER_SECOND, at_least=True)
        yield Goal(name=f"sync {of}, peak MB", value=run.sync.peak, bound=PEAK)
        yield Goal(name=f"replay {of}, peak MB", value=run.replay.peak, bound=PEAK)
    short, long = min(runs, key=lambda run: run.log_count), max(runs, key=lambda run: run.log_count)
    if short is not long:
        ratio = short.sync.logs_per_second / long.sync.logs_per_second
        name = f"sync, a log of {long.log_count:,} to one of {short.log_count:,}"
        yield Goal(name=name, value=ratio, bound=LONG_TO_SHORT)


def latency_table(milliseconds: Sequence[float], events: int) -> str:
    """From a block's announcement to its commit; `events` are those of all the blocks."""
    head = ("blocks", "events a block", "p50 ms", "p95 ms", "p99 ms", "max ms")
    found = [percentile(milliseconds, share) for share in (50, 95, 99, 100)]
    row = (f"{len(milliseconds)}", f"{events / len(milliseconds):.1f}", *(f"{value:.1f}" for value in found))
    return markdown([head, row])


def latency_goal(milliseconds: Sequence[float]) -> Goal:
    return Goal(name="a block from announcement to commit, p95 ms", value=percentile(milliseconds, 95), bound=LATENCY)


def percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that `share` in a hundred of them do not exceed."""
    return sorted(values)[ceil(len(values) * share / 100) - 1]
