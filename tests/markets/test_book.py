"""Events are all or nothing: where a projection raises, rows, messages and scratch are what they were before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from markets.book import ApplyError, Book, LogPosition
from markets.identity import row_id
from markets.pnl import Gone
from markets.rows import Channel, Market, MarketTrader, Message, PricePoint
from tests.batches import taken_back
from tests.contract import MADE_UP

pytestmark = pytest.mark.django_db

WORD, ADDRESS = "0x" + "11" * 32, "0x" + "22" * 20
AT = LogPosition(7, WORD, 1_700_000_000, WORD, 3, ADDRESS)
ORDER = (PricePoint, MarketTrader, Channel)


class Refused(Exception):
    """What a projection raises."""


def new_book() -> Book:
    return Book(lambda number: "final", lambda *_: (), amms=())


# --- what projections do ----------------------------------------------------------------------------------------------


def add(book: Book, number: int) -> None:
    book.add(MarketTrader(id=row_id("market_trader", number), market_id=WORD, address=ADDRESS))


def change(book: Book, number: int) -> None:
    row = book.get(MarketTrader, row_id("market_trader", number))
    if row is not None:
        book.change(row).volume += 2**256 + number


def append(book: Book, number: int) -> None:
    """One log's row, which is in the table already where the log waited: `only` is set then."""
    point = PricePoint(id=row_id("price_point", number), market_id=WORD, reserves=[number], **AT.emitted())
    if book.only is not None or book.get(PricePoint, point.id) is None:
        book.append(point)


def change_list(book: Book, number: int) -> None:
    row = book.get(PricePoint, row_id("price_point", number))
    if row is not None:
        book.change(row).reserves = [*row.reserves, number][-3:]


def publish(book: Book, number: int) -> None:
    book.publish(f"channel:{number}", lambda: {"type": MADE_UP, "number": number}, AT)


def scribble(book: Book, number: int) -> None:
    scratch = book.scratch
    scratch.arrive((ADDRESS, WORD, number), 1, ADDRESS, AT, 0)
    scratch.pass_on((WORD, number), ADDRESS, ADDRESS, 1, 1, "", "")
    scratch.release((ADDRESS, WORD, number), Gone(2, 1, 1), ADDRESS, AT)
    scratch.funded[ADDRESS] = f"{number}"
    scratch.moved_amms[f"{number}"] = AT, 0


def explain(book: Book, number: int) -> None:
    book.scratch.explain((ADDRESS, WORD, number), 1)
    book.scratch.take_released((ADDRESS, WORD, number), ADDRESS, 1)
    book.scratch.funded.clear()
    book.scratch.moved_amms.pop(f"{number}", None)


def want(book: Book, number: int) -> None:
    book.waits.add(f"condition:{number}")
    book.claims = [f"market:{number}"]


@dataclass(frozen=True)
class Event:
    """Steps of a projection, and whether it raises behind them. `waited`: it is applied for the second time."""

    steps: list[tuple[Callable[[Book, int], None], int]]
    fails: bool
    waited: bool

    def apply(self, book: Book) -> bool:
        """As apply_event does it."""
        book.only = frozenset({"position:1"}) if self.waited else None
        book.begin()
        try:
            for step, number in self.steps:
                step(book, number)
            if self.fails:
                raise Refused
        except (Refused, ApplyError):
            book.undo()
            return False
        return True


STEPS = st.sampled_from([add, change, append, change_list, publish, scribble, explain, want])
EVENTS = st.lists(
    st.builds(Event, st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=7), st.booleans(), st.booleans()),
    max_size=10,
)
thoroughly = settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def state(book: Book) -> tuple[Any, ...]:
    """Everything that a later event can see."""
    rows = {
        (kind, key): deepcopy(book.get(kind, key))
        for kind, name in ((PricePoint, "price_point"), (MarketTrader, "market_trader"))
        for key in (row_id(name, number) for number in range(3))
    }
    channels = [deepcopy(book.get(Channel, row_id("channel", f"channel:{number}"))) for number in range(3)]
    return rows, channels, deepcopy(book.messages), deepcopy(book.scratch)


@contextmanager
def stored_rows() -> Iterator[None]:
    """A table that has some of the rows already, for as long as the body runs."""
    with taken_back():
        before = new_book()
        Event([(add, 0), (append, 0), (publish, 0)], fails=False, waited=False).apply(before)
        before.write(ORDER)
        yield


def stored() -> list[Any]:
    """All rows, as they are written."""
    return [row for kind in ORDER for row in kind.table.load("true ORDER BY id")] + Message.table.load(
        "true ORDER BY id"
    )


@thoroughly
@given(EVENTS)
def test_an_event_that_fails_leaves_nothing_behind(events: list[Event]) -> None:
    with stored_rows():
        book = new_book()
        for event in events:
            before = state(book)
            if not event.apply(book):
                assert state(book) == before


@thoroughly
@given(EVENTS)
def test_what_is_written_is_what_the_events_did_that_succeeded(events: list[Event]) -> None:
    with stored_rows():
        with taken_back():
            book = new_book()
            succeeded = [event for event in events if event.apply(book)]
            book.write(ORDER)
            written = stored()
        with taken_back():
            book = new_book()
            assert all(event.apply(book) for event in succeeded)
            book.write(ORDER)
            assert stored() == written


@thoroughly
@given(EVENTS)
def test_one_book_writes_what_a_book_for_each_event_writes(events: list[Event]) -> None:
    with stored_rows():
        with taken_back():
            book = new_book()
            for event in events:
                event.apply(book)
            book.write(ORDER)
            written = stored()
        with taken_back():
            for event in events:
                book = new_book()
                event.apply(book)
                book.write(ORDER)
            assert stored() == written


def test_markets_of_a_condition_are_in_the_order_of_the_chain() -> None:
    """The first one counts, whether it was in hand or in the table, wherever that has it."""
    made = {
        number: Market(
            id=row_id("market", number),
            market_id=f"0x{number:064x}",
            question_id=WORD,
            condition_id=WORD,
            creator=ADDRESS,
            collateral_token=ADDRESS,
            question="",
            outcomes=[],
            resolution_time=0,
            resolution_timestamp=0,
            created_at=0,
            updated_at=0,
            **{name: value for name, value in AT.emitted().items() if name != "timestamp"} | {"block_number": number},
        )
        for number in (3, 1, 2)
    }
    Market.table.insert(list(made.values()))
    assert new_book().markets_of_condition(WORD) == [made[1], made[2], made[3]]
