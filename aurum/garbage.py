"""Python's search for cycles in memory, for processes that make many objects and few cycles."""

import gc


def spare_the_collector(young: int) -> None:
    """Lets Python look for cycles once so many objects are new, and never among those that are there already."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, 20, 20)
