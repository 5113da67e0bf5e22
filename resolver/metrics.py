"""The wallet's metrics for Prometheus (docs/metrics.md), made from its counts when they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


@dataclass(slots=True)
class WalletCounts:
    """Since the process started; the last four as its last step saw them."""

    signed: int = 0  # transactions, replacements too
    sent: int = 0  # actions that a node has taken
    mined: int = 0
    failed: int = 0
    done: int = 0
    pending: int = 0
    oldest_seconds: float = 0.0
    balance: int | None = None  # wei

    def moved(self, state: str) -> None:
        """An action is in this state now."""
        if state in COUNTED:
            setattr(self, state, getattr(self, state) + 1)


COUNTED = ("sent", "mined", "failed", "done")


class WalletCollector(Collector):
    """Shows the counts."""

    def __init__(self, counts: WalletCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield CounterMetricFamily("wallet_transactions_signed", "Signed, replacements too.", value=counts.signed)
        actions = CounterMetricFamily("wallet_actions", "Actions that came into a state.", labels=["state"])
        for state in COUNTED:
            actions.add_metric([state], getattr(counts, state))
        yield actions
        yield GaugeMetricFamily("wallet_actions_pending", "Actions that are not over.", value=counts.pending)
        yield GaugeMetricFamily(
            "wallet_oldest_pending_seconds", "Since the oldest of them was queued.", value=counts.oldest_seconds
        )
        if counts.balance is not None:
            yield GaugeMetricFamily("wallet_balance_wei", "What the signer has for gas.", value=counts.balance)
