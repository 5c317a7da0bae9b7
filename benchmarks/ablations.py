"""The rows of a method's ablation table: the method's own, and loss terms switched off one by one or in combination.

A row is a name and what it changes of the full model: dotted keys of the Spec → values. A row that leaves out terms and
is not one of the method's own is called by them: `without_triplet`, `without_triplet+centre`.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from datasets.errors import UsageError, did_you_mean
from methods import METHODS

FULL = "full"
WEIGHTS = "method.weights"
LEFT_OUT, AND = "without_", "+"

Changes = Mapping[str, Any]


def loss_terms(method: str) -> list[str]:
    """Names of the terms that have a factor in the method's loss, in its order."""
    return list(METHODS.get(method).Config.model_fields["weights"].annotation.model_fields)


def ablation_rows(method: str, terms: Iterable[str] = ()) -> dict[str, Changes]:
    """The method's own rows; where it names none, the full model and each of `terms`, if several, left out."""
    own = METHODS.get(method).ablations
    if own:
        return dict(own) if any(not changes for changes in own.values()) else {FULL: {}, **own}
    rows: dict[str, Changes] = {FULL: {}}
    names = list(terms)
    return rows | {row_without([name]): without([name]) for name in names if len(names) > 1}


def grid_rows(method: str, terms: Iterable[str]) -> dict[str, Changes]:
    """Every combination of `terms` in which one at least is on, the full model first. 2^terms - 1 rows."""
    names = list(terms)
    own = {frozenset(changes.items()): row for row, changes in ablation_rows(method).items()}
    every = [list(off) for number in range(len(names)) for off in combinations(names, number)]
    return {own.get(frozenset(without(off).items()), row_without(off)): without(off) for off in every}


def changes_of(method: str, row: str) -> Changes:
    """What a row changes, one of the method's own or not. Raises UsageError where there is no such row."""
    own = ablation_rows(method)
    if row in own:
        return own[row]
    terms, off = loss_terms(method), row.removeprefix(LEFT_OUT).split(AND)
    if row.startswith(LEFT_OUT) and set(off) <= set(terms):
        return without(off)
    if row.startswith(LEFT_OUT) and set(off) & set(terms):
        term = next(term for term in off if term not in terms)
        hint = did_you_mean(term, terms)
        raise UsageError(f"{row}: {method} has no loss term {term}.{hint} Its terms: {', '.join(terms)}.")
    known = [*own, *(row_without([term]) for term in terms)]
    raise UsageError(f"{method} has no ablation row {row}.{did_you_mean(row, known)} Available: {', '.join(known)}.")


def without(terms: Iterable[str]) -> Changes:
    """What a row changes that leaves out `terms`."""
    return {f"{WEIGHTS}.{term}": 0.0 for term in terms}


def row_without(terms: Iterable[str]) -> str:
    """Name of the row; of the full model where no term is left out."""
    names = list(terms)
    return LEFT_OUT + AND.join(names) if names else FULL
