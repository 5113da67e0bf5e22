"""Python's search for cycles in memory, for processes that make many objects and few cycles."""

import gc


def spare_the_collector(young: int, middle: int, old: int) -> None:
    """Lets Python look for cycles once so many objects are new, and never among those that are there already.

    After `middle` looks come those that survived one, after `old` times that all the others.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, middle, old)
