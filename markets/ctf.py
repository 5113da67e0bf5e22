"""PURE. Condition, collection and position ids, as Gnosis' ConditionalTokens computes them.

Source: CTHelpers.sol of @gnosis.pm/conditional-tokens-contracts 1.0.3.
"""

from eth_hash.auto import keccak

# The field and curve constant of alt_bn128 (CTHelpers.sol: P, B): y^2 = x^3 + 3.
FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583
CURVE_B = 3


def index_set(outcome_index: int) -> int:
    """The index set that holds one outcome slot alone."""
    return 1 << outcome_index


def single_outcome(index_set: int) -> int | None:
    """The outcome of an index set with exactly one member, else None."""
    return index_set.bit_length() - 1 if index_set and index_set & (index_set - 1) == 0 else None


def is_full_partition(partition: tuple[int, ...], outcome_count: int) -> bool:
    """Whether `partition` splits all outcomes, each on its own: the only split that makes complete sets of ours."""
    return sorted(partition) == [index_set(outcome) for outcome in range(outcome_count)]


def collection_id(condition_id: str, index_set: int) -> int:
    """The collection id under the null parent (CTHelpers.sol, getCollectionId)."""
    seed = int.from_bytes(keccak(bytes.fromhex(condition_id[2:]) + index_set.to_bytes(32, "big")), "big")
    odd = seed >> 255
    x = seed % FIELD
    while True:
        x = (x + 1) % FIELD
        square = (pow(x, 3, FIELD) + CURVE_B) % FIELD
        # FIELD is 3 mod 4, so this power is the square root where there is one.
        y = pow(square, (FIELD + 1) // 4, FIELD)
        if y * y % FIELD == square:
            break
    if y % 2 != odd:
        y = FIELD - y
    return x ^ (1 << 254) if y % 2 else x


def position_id(collateral_token: str, collection: int) -> int:
    """The ERC-1155 id of a collection backed by a collateral token (CTHelpers.sol, getPositionId)."""
    packed = bytes.fromhex(collateral_token[2:]) + collection.to_bytes(32, "big")
    return int.from_bytes(keccak(packed), "big")


def outcome_position_ids(collateral_token: str, condition_id: str, outcome_count: int) -> tuple[int, ...]:
    """The position id of each outcome of a market, by outcome index."""
    return tuple(
        position_id(collateral_token, collection_id(condition_id, index_set(outcome)))
        for outcome in range(outcome_count)
    )
