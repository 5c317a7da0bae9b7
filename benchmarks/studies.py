"""What a sweep found, as data: `runs/.studies/NAME/study.json`, written by `sweeps`, read by whoever shows it.

The file is a picture of the storage (a journal, or PostgreSQL), taken whenever a sweep goes on or ends. A score is
a fraction between 0 and 1 on identities held out of the training split; no trial has seen the test split.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from datasets.config import Strict
from datasets.errors import DataError, UsageError, did_you_mean
from datasets.files import write_json

FOLDER = ".studies"
Value = float | int | bool | str | None
"""Of a searched key, or of a choice among several."""


class Dimension(Strict):
    """One searched key, and what may be chosen for it: a range of numbers or some values."""

    key: str
    """Of the Spec, such as method.weights.triplet."""
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    whole: bool = False
    """Whole numbers only."""
    choices: tuple[Value, ...] = ()
    """Instead of a range."""
    default: Value = None
    """What the method's recipe, or the command line, says without a sweep."""


class Trial(Strict):
    """One tried configuration."""

    number: int
    state: Literal["waiting", "running", "complete", "pruned", "failed", "lost"]
    """lost: its worker died; another trial, with the same parameters, took its place."""
    params: dict[str, Value] = {}
    values: tuple[float, ...] = ()
    """One for each objective: the mean over the seeds; empty unless complete."""
    by_seed: dict[int, tuple[float, ...]] = {}
    """Seed → what each objective was, of the seeds that were trained to the end."""
    course: dict[int, float] = {}
    """Step → what the first objective was estimated at by then. Step = number of finished seeds × epochs + epoch."""
    is_default: bool = False
    """The configuration without a sweep: the paper's, unless the command line changed it."""
    replaces: int | None = None
    """Number of the lost trial that this one repeats."""
    runs: tuple[str, ...] = ()
    """Ids of its runs."""
    reason: str = ""
    """Why it failed, or was pruned."""
    seconds: float | None = None


class Confirmed(Strict):
    """A configuration run again on seeds that the sweep had not used."""

    name: str
    """«defaults», or «trial 7»."""
    trial: int | None
    params: dict[str, Value]
    """Values of the searched keys."""
    tuned: float | None
    """Mean of the first objective that the sweep saw; None where the sweep did not try this configuration."""
    by_seed: dict[int, float]
    """Fresh seed → the same objective, on the same held-out identities."""
    runs: tuple[str, ...]
    failures: tuple[str, ...] = ()
    """Seeds that gave no score, and why."""

    @property
    def mean(self) -> float | None:
        return sum(self.by_seed.values()) / len(self.by_seed) if self.by_seed else None


class Shrinkage(Strict):
    """How much of a tuned value was luck: tuned minus confirmed."""

    mean: float
    low: float | None
    high: float | None
    """95 % interval, Student's t with the scatter of the fresh seeds pooled over all confirmed configurations; None
    where no configuration has two seeds to estimate it from."""


class Tested(Strict):
    """The chosen configuration against the defaults on the test split, after the choice: both on the fresh seeds."""

    protocol: str
    metric: str
    chosen: float
    """Mean over the seeds."""
    defaults: float
    difference: float
    low: float
    high: float
    """95 % interval over people, who are paired, and seeds (`benchmarks.statistics`)."""
    p: float
    p_holm: float
    """Corrected for the number of rows."""
    detectable: float
    """Smallest difference that would have been found four times in five."""


class Confirmation(Strict):
    seeds: tuple[int, ...]
    rows: tuple[Confirmed, ...]
    """The best trials, the highest tuned value first, and the defaults."""
    chosen: str
    """Name of the row with the highest mean over the fresh seeds."""
    shrinkage: dict[str, Shrinkage]
    """Name of a row → its shrinkage, where it has a tuned value and scores of fresh seeds."""
    tested: tuple[Tested, ...] = ()
    """Under each protocol; empty where the defaults were chosen, or the test is still to be done."""

    def row(self, name: str) -> Confirmed:
        return next(row for row in self.rows if row.name == name)


class Study(Strict):
    name: str
    method: str
    dataset: str
    base: str
    """Words of the command line that make the configuration that the sweep departs from."""
    command: str = ""
    """Words after `sweep` that go on with the study, without those that say where things are; empty where unknown."""
    objectives: tuple[str, ...]
    """What is maximised, such as «cloth-changing mAP»; «seconds» and other costs are minimised."""
    minimised: tuple[bool, ...]
    protocol: str
    """Under which convention the held-out identities are ranked, in words."""
    selection: str = "validation"
    seeds: tuple[int, ...]
    """Of every trial."""
    epochs: int
    sampler: str
    pruner: str
    first_pruned_epoch: int
    """Before it no trial is pruned: some loss term is not yet switched on."""
    budget: int
    """Trials that were asked for."""
    space: tuple[Dimension, ...]
    trials: tuple[Trial, ...]
    importance: dict[str, float] = {}
    """Key → share of the variation of the first objective (PED-ANOVA, Watanabe et al., IJCAI 2023); empty where too few
    trials are complete."""
    pareto: tuple[int, ...] = ()
    """Numbers of the trials that no other one beats in every objective; of a study with several."""
    confirmation: Confirmation | None = None

    @property
    def best(self) -> Trial | None:
        """The complete trial with the best first objective; the earlier one where two are equal."""
        sign = -1 if self.minimised[0] else 1
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return max(complete, key=lambda trial: sign * trial.values[0]) if complete else None


class StudyFolder:
    """Where a study's files are."""

    def __init__(self, runs: Path, name: str):
        self.path = runs / FOLDER / name
        self.name = name

    @property
    def journal(self) -> Path:
        return self.path / "journal.log"

    @property
    def file(self) -> Path:
        return self.path / "study.json"

    def save(self, study: Study) -> None:
        write_json(self.file, study.model_dump(mode="json"))

    def load(self) -> Study:
        """Raises DataError where the file is missing or damaged."""
        mend = "repeat the `sweep` command, which writes it anew from the study's storage"
        try:
            content: Mapping[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            return Study.model_validate_json(json.dumps(content))
        except FileNotFoundError:
            raise DataError(f"{self.file} is missing: {mend}.") from None
        except (OSError, ValueError, ValidationError):
            raise DataError(f"{self.file} is damaged: {mend}.") from None


def studies(runs: Path) -> Iterator[StudyFolder]:
    """The studies below a folder of runs, by name."""
    for file in sorted((runs / FOLDER).glob("*/study.json")):
        yield StudyFolder(runs, file.parent.name)


def get_study(runs: Path, name: str) -> StudyFolder:
    """Raises UsageError where there is no such study."""
    known = [folder.name for folder in studies(runs)]
    if name not in known:
        raise UsageError(f"No study {name} in {runs / FOLDER}.{did_you_mean(name, known)} There: {', '.join(known)}.")
    return StudyFolder(runs, name)
