"""PURE. Stored blocks and the chain's blocks -> where the two part."""

from collections.abc import Mapping


class BelowFinality(Exception):
    """The chain changed blocks that were final: nothing was written. The node, or the chain, is not what it was."""


def find_fork(stored: Mapping[int, str], chain: Mapping[int, str], *, floor: int) -> int:
    """The last block up to which nothing of ours changed.

    `stored` and `chain` are hashes by height, of what is known (ledger.known_blocks): the highest that both have in
    common, since a hash commits to all blocks before it. `floor` is the height that can't change, the answer where none
    of the stored blocks is left. Raises BelowFinality where a block up to `floor` changed.
    """
    changed = [number for number, hash_ in stored.items() if chain.get(number) != hash_]
    if changed and min(changed) <= floor:
        raise BelowFinality(f"block {min(changed)} changed, and blocks up to {floor} are final")
    first_changed = min(changed, default=None)
    unchanged = [number for number in stored if first_changed is None or number < first_changed]
    return max([floor, *unchanged])
