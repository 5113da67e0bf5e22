"""PURE. Which facts of a market people may correct, how these are written in a form, and which take two people.

Never the ledger: balances, trades, prices and fees are the chain's. A value is JSON, as the API shows it.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

LONGEST_QUESTION = 1_000  # characters
LONGEST_OUTCOME = 200
LONGEST_SYMBOL = 64
MOST_DECIMALS = 77  # 10^77 is the last power of ten below 2^256
MAX_PAYOUT = 2**256 - 1
UNRESOLVED = "none"  # how a form says that there are no payouts
# Marks that reorder the text around them or end a line: none of a question's.
REORDERING = {chr(code) for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF)}


class BadValue(ValueError):
    """What was written is no value of the field; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Correctable:
    """A fact that can be corrected.

    `read` makes the value of a form's text and the market's number of outcomes, or raises BadValue; `write` is its
    inverse. A guarded one touches what people are paid or how amounts look: it waits for a second person.
    """

    title: str
    help: str
    is_guarded: bool
    read: Callable[[str, int], Any]
    write: Callable[[Any], str]


def plain(text: str, longest: int, what: str) -> str:
    """One line of text without marks that hide or reorder. Raises BadValue."""
    text = text.strip()
    if not text:
        raise BadValue(f"{what} must not be empty.")
    if len(text) > longest:
        raise BadValue(f"{what} must have at most {longest:,} characters; it has {len(text):,}.")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") or character in REORDERING:
            raise BadValue(f"{what} must not contain U+{ord(character):04X}.")
    return text


def _question(text: str, outcome_count: int) -> str:
    return plain(text, LONGEST_QUESTION, "The question")


def _outcomes(text: str, outcome_count: int) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != outcome_count:
        raise BadValue(f"The market has {outcome_count} outcomes; {len(lines)} lines are written.")
    names = [plain(line, LONGEST_OUTCOME, "An outcome") for line in lines]
    if len(set(names)) < len(names):
        raise BadValue("Two outcomes must not have one name.")
    return names


def _moment(text: str, outcome_count: int) -> str:
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            raise BadValue("The time must say its zone: end it with Z for UTC.")
        moment = moment.astimezone(UTC).replace(microsecond=0, tzinfo=None)
    except BadValue:
        raise
    except (ValueError, OverflowError):
        raise BadValue("The time must be like 2026-03-01T00:00:00Z.") from None
    if moment.year < 1970:
        raise BadValue("The time must not be before 1970.")
    return f"{moment.isoformat()}Z"


def _payouts(text: str, outcome_count: int) -> list[str] | None:
    if text.strip().lower() == UNRESOLVED:
        return None
    parts = text.replace(",", " ").split()
    if len(parts) != outcome_count:
        raise BadValue(f"The market has {outcome_count} outcomes; {len(parts)} numerators are written.")
    if not all(part.isascii() and part.isdigit() and len(part) <= 78 and int(part) <= MAX_PAYOUT for part in parts):
        raise BadValue("Numerators must be whole numbers from 0 to 2^256-1.")
    if not any(map(int, parts)):
        raise BadValue("One numerator at least must be above zero.")
    return [str(int(part)) for part in parts]


def _collateral(text: str, outcome_count: int) -> dict[str, Any]:
    symbol, _, decimals = text.strip().rpartition(" ")
    if not (decimals.isascii() and decimals.isdigit() and len(decimals) <= 2 and int(decimals) <= MOST_DECIMALS):
        raise BadValue(f"Write the symbol, a space, and the decimals (0 to {MOST_DECIMALS}), such as: USDC 6")
    return {"symbol": plain(symbol, LONGEST_SYMBOL, "The symbol"), "decimals": int(decimals)}


# By the name in the API.
CORRECTABLE: dict[str, Correctable] = {
    "question": Correctable(
        title="question",
        help="The text of the question, on one line.",
        is_guarded=False,
        read=_question,
        write=str,
    ),
    "outcomes": Correctable(
        title="names of the outcomes",
        help="One on each line, in the order of the chain's.",
        is_guarded=True,
        read=_outcomes,
        write="\n".join,
    ),
    "resolutionTime": Correctable(
        title="resolution time",
        help="Such as 2026-03-01T00:00:00Z. The status follows from it; resolutionTimestamp stays the contract's.",
        is_guarded=True,
        read=_moment,
        write=str,
    ),
    "payouts": Correctable(
        title="payouts, resolved and status",
        help=f"Numerators by outcome, such as: 1 0. Write {UNRESOLVED} to show the market as not resolved.",
        is_guarded=True,
        read=_payouts,
        write=lambda value: UNRESOLVED if value is None else " ".join(value),
    ),
    "collateral": Correctable(
        title="symbol and decimals of the collateral",
        help="The symbol, a space, and the decimals, such as: USDC 6",
        is_guarded=True,
        read=_collateral,
        write=lambda value: "" if value is None else f"{value['symbol']} {value['decimals']}",
    ),
}
GUARDED = tuple(name for name, field in CORRECTABLE.items() if field.is_guarded)
