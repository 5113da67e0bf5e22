"""Position ids against answers of the real ConditionalTokens contract."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.ctf import (
    CURVE_B,
    FIELD,
    collection_id,
    index_set,
    is_full_partition,
    outcome_position_ids,
    position_id,
    single_outcome,
)
from tests.factories import COLLATERAL

# condition, outcome, getCollectionId(0, condition, 1 << outcome), getPositionId(COLLATERAL, collection): read from the
# deployed bytecode of @gnosis.pm/conditional-tokens-contracts 1.0.3.
VECTORS = [
    (
        "0x" + "00" * 32,
        0,
        "0x55c20c8ab7298fa949a56ff0faf50c3e75fa580045a4f4c7ab0c8deb9cc4d375",
        69542488703198191466341198761427047504826633229757196986557015884342245481038,
    ),
    (
        "0x" + "00" * 32,
        1,
        "0x5b07141d1e0990815a5fac8d51fff41b9f4556a5547412c0d7192a22e3120fa7",
        40708345092119685974138064076625747346425801715775346073488204673586057740628,
    ),
    (
        "0x" + "00" * 32,
        7,
        "0x5cdf54279093fcd2f03921527b9642470b4e22e4e2663941c6e9d94d00e3ff09",
        44281719668289479612656984873956795926774919550541770217726257084199213994518,
    ),
    (
        "0x" + "00" * 32,
        255,
        "0x1dd2b5ff64282038d0a407d8601e34ac3ff0498f10b351c43dc5635004fba67e",
        58226878676513170315841465737208889502947048556472750909904919702181441394505,
    ),
    (
        "0x" + "11" * 32,
        0,
        "0x1d229e7b29abdba1fd1d4592eab82a42afa73371a7a169f4a91bd11130886675",
        57814991072588376212645814699644208871764703446247064413510651435792527330101,
    ),
    (
        "0x" + "11" * 32,
        1,
        "0x4da8ec062e3574cfb8ee71b7c356643d274fad3908486ffee21d66fdd73c0a21",
        30775895728889368554999053359993667114840790371752432266786451281036492034537,
    ),
    (
        "0x" + "11" * 32,
        7,
        "0x5abb81ee896aa528af5cb4ad7d8a69d7bebca729a94866b38ec486bb91b8fdbd",
        11668701609911141687761903925478647785123952947490735333138723977000133815826,
    ),
    (
        "0x" + "11" * 32,
        255,
        "0x01d02a003941fa8e5502d44c07e611e83d85f21abd97bcb536f159b557e88354",
        47012529710771489100482102006182228153472671285333864929272210586236383124327,
    ),
    (
        "0x" + "ab" * 32,
        0,
        "0x55a80787f10ed6e478ba4d36dc16ee0d8794d3d9db80906b5656eb61811672d7",
        13030280040228642883703231587412015123181392880050467660354804016423607541897,
    ),
    (
        "0x" + "ab" * 32,
        1,
        "0x281feef23679ab8b71bb620f89246a9114af02ee96b12c38b2032a61bb480c95",
        112575902323493678575548577443282847443770633719168022081577431278900599805253,
    ),
    (
        "0x" + "ab" * 32,
        7,
        "0x081910f976c937530e1ba217ef2f0eaae7bf660b4fb1aaa88cf12b2830243168",
        62669135727261409954336908348351544381584489164778367244208311331950657445192,
    ),
    (
        "0x" + "ab" * 32,
        255,
        "0x02c2ea21a2abd2e6be183e9483b793086f2adde7ed46e2d21064e35409be4477",
        12729065691059563979086367102811538394455147764691964805470195860156052380740,
    ),
    (
        "0x" + "ff" * 32,
        0,
        "0x420c3d83934adaded6d37dfc585329dfff6e0183c76c12e8b72e708fa535b7b4",
        14890313093522877553501859866520183540107768356527285520059913984310153902276,
    ),
    (
        "0x" + "ff" * 32,
        1,
        "0x0851645bcb4496e974d70b997b72e8596da70ba39ee92d2b813a509391cfc875",
        58057295734786155765798458134660364709072925206585203322067469937478081505097,
    ),
    (
        "0x" + "ff" * 32,
        7,
        "0x26ec5081f145c86809f9d817f32db40325c2bc6379510ee75bb6fb9583b32f97",
        52337002789490405147447361885904992835413720782802829953238318357429600926538,
    ),
    (
        "0x" + "ff" * 32,
        255,
        "0x586576c03a8e9adf3c7d7391a85990b0d35c0e1e69769c8c5dee3a9dd4a05d49",
        4031629532821911590824424524150458030672191220498510779867916687620316976955,
    ),
]


@pytest.mark.parametrize(("condition", "outcome", "collection", "position"), VECTORS)
def test_ids_as_the_contract_gives_them(condition: str, outcome: int, collection: str, position: int) -> None:
    assert collection_id(condition, index_set(outcome)) == int(collection, 16)
    assert position_id(COLLATERAL, int(collection, 16)) == position


def test_both_signs_of_the_point_occur_in_the_vectors() -> None:
    """Bit 254 says which root was taken."""
    assert {int(collection, 16) >> 254 for _, _, collection, _ in VECTORS} == {0, 1}


def test_position_ids_by_outcome() -> None:
    condition = "0x" + "ab" * 32
    assert outcome_position_ids(COLLATERAL, condition, 2) == tuple(
        position for at, outcome, _, position in VECTORS if at == condition and outcome in (0, 1)
    )
    assert outcome_position_ids(COLLATERAL, condition, 0) == ()


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 255))
def test_a_collection_is_a_point_of_the_curve(condition: bytes, outcome: int) -> None:
    collection = collection_id("0x" + condition.hex(), index_set(outcome))
    x = collection & ~(1 << 254)
    square = (x**3 + CURVE_B) % FIELD
    assert x < FIELD
    # Euler's criterion: x is the abscissa of a point.
    assert square == 0 or pow(square, (FIELD - 1) // 2, FIELD) == 1


@pytest.mark.parametrize(
    ("index_set", "outcome"), [(0, None), (1, 0), (2, 1), (3, None), (4, 2), (1 << 255, 255), ((1 << 256) - 1, None)]
)
def test_single_outcome(index_set: int, outcome: int | None) -> None:
    assert single_outcome(index_set) == outcome


@pytest.mark.parametrize(
    ("partition", "outcome_count", "full"),
    [
        ((1, 2), 2, True),
        ((2, 1), 2, True),
        ((1, 2, 4), 3, True),
        ((1, 6), 3, False),  # {0}, {1, 2}: no set of ours
        ((1, 2), 3, False),
        ((1, 2, 4), 2, False),
        ((1, 1), 2, False),
        ((), 2, False),
        ((3,), 2, False),
        ((0, 1, 2), 2, False),
    ],
)
def test_is_full_partition(partition: tuple[int, ...], outcome_count: int, full: bool) -> None:
    assert is_full_partition(partition, outcome_count) is full
