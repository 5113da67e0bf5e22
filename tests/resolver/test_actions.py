"""Calldata, there and back; what is not exactly ours is not decoded."""

from typing import Any

import pytest
from web3 import Web3

from indexer.devchain.deploy import artifact
from resolver.actions import FUNCTIONS, NotOurs, calldata, decoded
from resolver.reverts import explained

QUESTION = "0x" + "c0ffee" + "00" * 28 + "01"
CALLS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("finalize", "AurumOracle", (QUESTION,)),
    ("resolve", "MarketFactory", (QUESTION,)),
    ("approve_stake", "AurumToken", ("0x" + "0a" * 20, 100 * 10**18)),
    ("propose", "AurumOracle", (QUESTION, [10**18, 0])),
    ("propose", "AurumOracle", (QUESTION, [2**256 - 1] * 256)),
    ("propose", "AurumOracle", (QUESTION, [])),
    ("void", "AurumOracle", (QUESTION,)),
]


@pytest.mark.parametrize(("kind", "contract", "arguments"), CALLS)
def test_it_is_what_web3_makes_of_the_contracts_abi(kind: str, contract: str, arguments: tuple[Any, ...]) -> None:
    function = FUNCTIONS[kind][0]
    theirs = [
        Web3.to_checksum_address(each) if isinstance(each, str) and len(each) == 42 else each for each in arguments
    ]
    expected = Web3().eth.contract(abi=artifact(contract)["abi"]).encode_abi(function, theirs)
    assert calldata(kind, *arguments) == expected
    said = decoded(expected)
    assert (said["kind"], list(said["arguments"].values())) == (kind, list(arguments))


def test_every_function_is_tried() -> None:
    assert {kind for kind, _, _ in CALLS} == set(FUNCTIONS)


PROPOSE = calldata("propose", QUESTION, [10**18, 0])


@pytest.mark.parametrize(
    "data",
    [
        "0x",
        "0xdeadbeef",
        PROPOSE[:-1],
        PROPOSE[:-64],
        PROPOSE + "00" * 32,
        PROPOSE.upper(),
        PROPOSE.replace("0" * 62 + "40", "0" * 62 + "60"),
        PROPOSE.replace("0" * 62 + "40", "f" * 64),
        calldata("void", QUESTION) + "00",
        calldata("approve_stake", "0x" + "0a" * 20, 1).replace("0" * 24 + "0a", "1" * 24 + "0a"),
    ],
)
def test_what_is_not_exactly_ours_is_not_decoded(data: str) -> None:
    with pytest.raises(NotOurs):
        decoded(data)


@pytest.mark.parametrize("arguments", [(QUESTION, [-1, 0]), (QUESTION, [2**256]), (QUESTION,)])
def test_what_no_contract_takes_is_not_encoded(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"256 bits|shorter"):
        calldata("propose", *arguments)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("execution reverted 0x1da7a5e6", "execution reverted 0x1da7a5e6"),
        ("nothing that is known", "nothing that is known"),
        ("", ""),
    ],
)
def test_words_of_a_node_stay_where_no_error_of_ours_is_named(said: str, meaning: str) -> None:
    assert explained(said) == meaning


def test_errors_are_named_with_their_arguments() -> None:
    word = f"{1_700_000_000:064x}"
    selector = "0x" + Web3.keccak(text="ChallengePeriodOpen(uint256)")[:4].hex()
    assert explained(f"execution reverted {selector}{word}") == "ChallengePeriodOpen(1700000000)"
    # Cut on its way: what is whole is shown.
    assert explained(f"custom error {selector}: 17.. {selector}{word[:20]}") == "ChallengePeriodOpen()"
