"""The runs of an ablation study: the full model and its rows, once for each seed."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.errors import UsageError

from .ablations import FULL, WEIGHTS, Changes, ablation_rows, changes_of, grid_rows, loss_terms
from .resolve import Layer, Resolved, resolve
from .words import product

Combination = dict[str, Any]


@dataclass(frozen=True)
class Ablation:
    """What is run for one method on one dataset, or for several of them."""

    plans: tuple[Resolved, ...]
    """Every configuration once for each seed; the seeds of one stand together."""
    rows: dict[str, str]
    """Run id → its row."""
    remarks: tuple[str, ...]
    """Sentences about the size of a grid, rows that are one configuration, and rows that the method cannot be."""
    trials: int = 0
    """How many configurations of each row were tried for its tunables; 0: no row was tuned anew."""


def plan_ablation(
    values: Mapping[str, str], config_file: Path | None = None, rows: Sequence[str] = (), *, grid: bool = False
) -> Ablation:
    """One plan for each row and each combination of the comma lists in `values`.

    `rows`: these beside the full model, by default all of the method; `grid`: every combination of the loss terms that
    are on. Raises UsageError where a row is unknown, or nothing is left to be compared.
    """
    if grid and rows:
        raise UsageError("grid=true takes every combination of the loss terms: leave out one of grid=true and rows=.")
    seeds = list(product({"seed": values.get("seed", "0")}))
    models = product({key: value for key, value in values.items() if key != "seed"})
    studies = [_of_one_model(words, seeds, config_file, rows, grid=grid) for words in models]
    plans = {plan.run_id: plan for study in studies for plan in study.plans}
    return Ablation(
        tuple(plans.values()),
        {run_id: row for study in studies for run_id, row in study.rows.items()},
        tuple(itertools.chain.from_iterable(study.remarks for study in studies)),
    )


def _of_one_model(
    words: Mapping[str, Any],
    seeds: Sequence[Mapping[str, Any]],
    config_file: Path | None,
    wanted: Sequence[str],
    *,
    grid: bool,
) -> Ablation:
    full = resolve({**words, **seeds[0]}, config_file)
    where = f"{full.spec.method.name} on {full.spec.dataset.name}"
    rows = _rows(full, wanted, grid=grid)
    plans: dict[str, Resolved] = {}
    row_of: dict[str, str] = {}
    said: list[str] = []
    refused: dict[str, list[str]] = {}
    for row, changes in rows.items():
        layer = Layer(f"ablation {row}", changes)
        try:
            of_row = [resolve({**words, **seed}, config_file, row=layer) for seed in seeds]
        except UsageError as error:  # the full model is fine: the row asks for what the method cannot do
            if wanted:
                raise
            refused.setdefault(str(error), []).append(row)
            continue
        same = row_of.get(of_row[0].run_id, row)
        if same != row:
            said.append(f"{where}: {row} is the same configuration as {same}, and runs once.")
        plans |= {plan.run_id: plan for plan in of_row}
        row_of |= {plan.run_id: same for plan in of_row}
    said += [f"{where}: left out {', '.join(names)}. {reason}" for reason, names in refused.items()]
    configurations = len(set(row_of.values()))
    if configurations == 1:
        raise UsageError(f"{where}: nothing is left to compare the full model with. {' '.join(said)}".rstrip())
    if grid:
        terms = ", ".join(_terms_on(full))
        trained = f"{configurations} of {len(rows)} combinations of {terms} can be trained, {len(plans)} runs"
        said.insert(0, f"{where}: {trained}.")
    return Ablation(tuple(plans.values()), row_of, tuple(said))


def _rows(full: Resolved, wanted: Sequence[str], *, grid: bool) -> dict[str, Changes]:
    """The full model first, so that a row with the same effect is the one that is said to be the same."""
    method, on = full.spec.method.name, _terms_on(full)
    if wanted:
        found: dict[str, Changes] = {row: changes_of(method, row) for row in wanted}
    elif grid and len(on) < 2:
        off = [f"{WEIGHTS}.{term}" for term in loss_terms(method) if term not in on]
        mend = f"switch on {' or '.join(off)}, or leave out grid=true" if off else "leave out grid=true"
        raise UsageError(f"grid=true: {method} has {len(on) or 'no'} loss term{'s' * (not on)} to combine; {mend}.")
    else:
        found = grid_rows(method, on) if grid else ablation_rows(method, on)
    name = next((row for row, changes in ablation_rows(method).items() if not changes), FULL)
    rows: dict[str, Changes] = {name: {}} | {row: changes for row, changes in found.items() if changes}
    if len(rows) == 1 and wanted:
        others = ", ".join(row for row, changes in ablation_rows(method, on).items() if changes)
        raise UsageError(f"rows={','.join(wanted)} is the full model alone: name a row to compare it with ({others}).")
    if len(rows) == 1:
        raise UsageError(
            f"{method} names no ablation rows, and fewer than two of its loss terms are on to be left out."
        )
    return rows


def _terms_on(plan: Resolved) -> list[str]:
    return [term for term, factor in dict(plan.spec.method.weights).items() if factor > 0]
