"""PURE. Log -> event. Only a log of the right contract counts; a topic that is none of ours is not decoded."""

from dataclasses import dataclass

from indexer.abi_types import DecodeError
from indexer.chain import Log
from indexer.events import AMM, EVENTS, ChainEvent

__all__ = ["Contracts", "DecodeError", "decode", "event_class_of"]

TOPICS = sorted({topic0 for _, topic0 in EVENTS})


@dataclass(frozen=True, slots=True)
class Contracts:
    """Which contract stands at an address: the deployment's own, and the AMMs that its factory announced."""

    fixed: dict[str, str]
    amms: frozenset[str] = frozenset()

    def at(self, address: str) -> str | None:
        """The contract's name, or None for a foreign address."""
        return self.fixed.get(address) or (AMM if address in self.amms else None)

    def with_amms(self, addresses: frozenset[str]) -> "Contracts":
        """The same deployment, with more AMMs."""
        return Contracts(self.fixed, self.amms | addresses)


def event_class_of(log: Log, contracts: Contracts) -> type[ChainEvent] | None:
    """The class of a log that is ours; None for a foreign contract or an event that we do not read."""
    contract = contracts.at(log.address)
    return EVENTS.get((contract, log.topics[0])) if contract and log.topics else None


def decode(log: Log, event_class: type[ChainEvent]) -> ChainEvent:
    """Reads `log` as `event_class`. Raises DecodeError when topics or data do not fit its signature."""
    return event_class(*event_class.read(log.topics, log.data))
