"""What is counted, on a clock of the tests' own."""

from indexer.counters import BatchRecord, Counters, Distribution, requests_by_outcome


class Clock:
    """Seconds, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def record(clock: Clock, *, events: int = 0, failed: int = 0, **seconds: float) -> BatchRecord:
    batch = BatchRecord(clock=clock)
    batch.events, batch.failed = events, failed
    for phase, duration in seconds.items():
        clock.now += duration
        batch.lap(phase)
    return batch


def test_laps_share_out_all_the_time_there_is() -> None:
    clock = Clock()
    batch = record(clock, fetch=3.0, decode=1.0, apply=0.5, write=0.25)
    clock.now += 2.0
    batch.lap("apply")
    assert batch.seconds == {"fetch": 3.0, "decode": 1.0, "apply": 2.5, "write": 0.25}


def test_batches_add_up() -> None:
    clock, counters = Clock(), Counters()
    counters.committed(10, record(clock, events=7, failed=2, fetch=1.0, write=0.5))
    counters.committed(1, record(clock, events=1, fetch=0.25, decode=0.125))
    totals = counters.totals()
    assert (totals.blocks, totals.events, totals.failed) == (11, 8, 2)
    assert totals.seconds == {"fetch": 1.25, "decode": 0.125, "apply": 0.0, "write": 0.5}


def test_a_copy_of_the_totals_stands_still() -> None:
    counters = Counters()
    before = counters.totals()
    counters.committed(1, record(Clock(), fetch=1.0))
    counters.requested("a", "eth_chainId", "ok", 0.1)
    counters.reorganised(2)
    assert (before.blocks, before.seconds["fetch"], before.requests, before.depths.sum) == (0, 0.0, {}, 0.0)


def test_a_distribution_counts_a_value_on_a_bound_below_it() -> None:
    distribution = Distribution((1.0, 2.0, 5.0))
    for value in (0.5, 1.0, 1.5, 2.0, 5.0, 5.1, 100.0):
        distribution.add(value)
    assert distribution.cumulative() == [("1.0", 2), ("2.0", 4), ("5.0", 5), ("+Inf", 7)]
    assert distribution.sum == 115.1


def test_requests_by_endpoint_method_and_outcome() -> None:
    counters = Counters()
    for endpoint, outcome in [("b", "ok"), ("a", "ok"), ("b", "RpcBusy"), ("b", "ok")]:
        counters.requested(endpoint, "eth_getLogs", outcome, 0.3)
    assert requests_by_outcome(counters.totals()) == [
        {"endpoint": "a", "method": "eth_getLogs", "outcome": "ok", "count": 1},
        {"endpoint": "b", "method": "eth_getLogs", "outcome": "RpcBusy", "count": 1},
        {"endpoint": "b", "method": "eth_getLogs", "outcome": "ok", "count": 2},
    ]
    assert counters.totals().request_seconds["b", "eth_getLogs"].cumulative()[-1] == ("+Inf", 3)


def test_lag_in_blocks() -> None:
    counters = Counters()
    assert counters.totals().lag_blocks is None
    counters.reached(head=1_006, indexed=1_000, lag_seconds=12)
    assert (counters.totals().lag_blocks, counters.totals().lag_seconds) == (6, 12)
    counters.reached(head=990, indexed=1_000, lag_seconds=0)
    assert counters.totals().lag_blocks == 0


def test_rates_are_of_the_last_minute() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    assert counters.rates() == (0.0, 0.0)
    counters.committed(100, record(Clock(), events=50))
    clock.now += 10
    assert counters.rates() == (10.0, 5.0)
    counters.committed(20, record(Clock(), events=40))
    clock.now += 50
    assert counters.rates() == (2.0, 1.5)  # 120 blocks and 90 events in 60 s
    clock.now += 10
    assert counters.rates() == (20 / 60, 40 / 60)  # since 60 s ago, when 100 and 50 were done
    for _ in range(100):
        clock.now += 1
        counters.rates()
    assert counters.rates() == (0.0, 0.0)
    assert len(counters._samples) <= 63
