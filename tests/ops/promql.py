"""As much of PromQL as the alert rules of the indexer use, over two scrapes: what an alert would see now.

A scrape is what /metrics said, by name and labels. Rates and increases are of the time between the two.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Scrape = Mapping[str, Vector]

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {"-": operator.sub, "+": operator.add, "/": operator.truediv}
AGGREGATES: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}
MATCHES: dict[str, Callable[[str, str], bool]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Re": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    "NotRe": lambda value, pattern: re.fullmatch(pattern, value) is None,
}


def read_scrape(text: str) -> Scrape:
    scrape: dict[str, Vector] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            scrape.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return scrape


def fires(expression: str, before: Scrape, now: Scrape) -> bool:
    """Whether the expression has a result, whatever the rule's `for`."""
    return bool(_value(promql_parser.parse(expression), before, now))


def total(selector: str, scrape: Scrape) -> float:
    """Of all series that the selector names; 0 without any."""
    return sum(_selected(promql_parser.parse(selector), scrape).values())


def _value(node: Any, before: Scrape, now: Scrape) -> Any:
    """A Vector, or a number. Raises KeyError for what is not known here."""
    kind = type(node).__name__
    if kind == "NumberLiteral":
        return node.val
    if kind == "ParenExpr":
        return _value(node.expr, before, now)
    if kind == "VectorSelector":
        return _selected(node, now)
    if kind == "AggregateExpr":
        return _aggregated(node, _value(node.expr, before, now))
    if kind == "BinaryExpr":
        return _combined(str(node.op), _value(node.lhs, before, now), _value(node.rhs, before, now))
    return _called(node, before, now)


def _selected(selector: Any, scrape: Scrape) -> Vector:
    wanted = [(each.name, MATCHES[str(each.op).rpartition(".")[2]], each.value) for each in selector.matchers.matchers]
    return {
        labels: value
        for labels, value in scrape.get(selector.name, {}).items()
        if all(matches(dict(labels).get(name, ""), to) for name, matches, to in wanted)
    }


def _called(node: Any, before: Scrape, now: Scrape) -> Vector:
    [argument] = node.args
    if node.func.name == "absent":
        return {} if _value(argument, before, now) else {frozenset(): 1.0}
    first, last = (_selected(argument.vector_selector, scrape) for scrape in (before, now))
    change = {labels: value - first[labels] for labels, value in last.items() if labels in first}
    if node.func.name == "changes":
        return {labels: float(value != 0) for labels, value in change.items()}
    assert node.func.name in ("rate", "increase"), node.func.name
    return change


def _aggregated(node: Any, vector: Vector) -> Vector:
    kept = set(node.modifier.labels) if node.modifier else set()
    groups: dict[Labels, list[float]] = {}
    for labels, value in vector.items():
        groups.setdefault(frozenset(pair for pair in labels if pair[0] in kept), []).append(value)
    return {labels: AGGREGATES[str(node.op)](values) for labels, values in groups.items()}


def _combined(sign: str, left: Any, right: Any) -> Vector:
    """Of one series and a number, or of series with the same labels."""
    if sign in ("and", "unless"):
        return {labels: value for labels, value in left.items() if (labels in right) == (sign == "and")}
    others = dict.fromkeys(left, right) if isinstance(right, float) else right
    pairs = {labels: (value, others[labels]) for labels, value in left.items() if labels in others}
    if sign in COMPARISONS:
        return {labels: pair[0] for labels, pair in pairs.items() if COMPARISONS[sign](*pair)}
    return {labels: ARITHMETIC[sign](*pair) for labels, pair in pairs.items() if sign != "/" or pair[1]}
