"""From a suite to runs: one plan for each row that is run, each dataset of its columns, and each seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.errors import UsageError

from .resolve import Layer, Resolved, resolve
from .suite import Row, Suite, load_suite
from .words import product, read_names, read_switch

Cell = tuple[str, str]
"""Name of a row, name of a dataset."""
FILTERS = ("dataset.name", "method.name")
"""Words that choose a part of the suite."""


@dataclass(frozen=True)
class SuitePlan:
    suite: Suite
    """The part of it that was asked for."""
    plans: dict[Cell, tuple[Resolved, ...]]
    """One for each seed."""

    @property
    def all(self) -> list[Resolved]:
        """Each once, though two rows may be one configuration."""
        return list({plan.run_id: plan for plans in self.plans.values() for plan in plans}.values())

    @property
    def rows(self) -> dict[str, str]:
        """Run id → its row."""
        return {plan.run_id: row for (row, _), plans in self.plans.items() for plan in plans}


def plan_suite(words: Mapping[str, str], config_file: Path | None = None) -> SuitePlan:
    """What `suite=NAME` and the other words of a command line ask for; dataset= and method= choose parts of it.

    Raises UsageError for an unknown suite or part of it, and where a row would become several configurations.
    """
    values = dict(words)
    suite = load_suite(values.pop("suite"))
    if read_switch("reduced", values.pop("reduced", None)):
        suite = suite.at_reduced_size()
    suite = suite.only(*(read_names(values.pop(key, None)) for key in FILTERS))
    seeds = [one["seed"] for one in product({"seed": values.pop("seed", ",".join(map(str, suite.seeds)))})]
    combinations = list(product(values))
    if len(combinations) > 1:
        several = next(key for key in values if len(list(product({key: values[key]}))) > 1)
        raise UsageError(
            f"suite={suite.name} has one configuration a row: choose one of {several}={values[several]}, or put rows "
            "for them into a suite of your own."
        )
    plans = {
        (row.name, dataset): tuple(
            _plan(suite, row, dataset, {**combinations[0], "seed": seed}, config_file) for seed in dict.fromkeys(seeds)
        )
        for row in suite.rows
        if row.method
        for dataset in suite.datasets
    }
    return SuitePlan(suite, plans)


def _plan(suite: Suite, row: Row, dataset: str, words: Mapping[str, Any], config_file: Path | None) -> Resolved:
    layer = Layer(f"suite {suite.name}", {**suite.set, **row.set})
    named = {**words, "method.name": row.method, "dataset.name": dataset}
    try:
        return resolve(named, config_file, row.ablation, suite=layer)
    except UsageError as error:
        raise UsageError(f"{row.name} on {dataset}: {error}") from None
