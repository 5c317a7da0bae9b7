"""What captions, axes and tables say of a study: its keys and values, its objectives, and what must be known of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.studies import Dimension, Shrinkage, Study, Trial, Value

from ..wording import counted

MISSING = "–"
STATES = ("complete", "pruned", "failed", "lost", "running", "waiting")
SELECTIONS = {"validation": "validation (each run's best epoch on held-out training identities)"}


# --- keys and values ---


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key → its last parts, as few as tell the keys apart: «triplet» of method.weights.triplet."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            names[key] = ".".join(parts[-length:])
            if sum(f".{other}".endswith(f".{names[key]}") for other in keys) == 1:
                break
    return names


def value_text(value: Value, *, exact: bool = False) -> str:
    """A value as the command line takes it; a number to three digits unless it is to be `exact`."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, float):
        return repr(value) if exact else _number(value)
    return str(value)


def _number(value: float) -> str:
    """«0.05», «300», «3e-4», «2.5e6»: three digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.3g}'):g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}" if exponent else digits


def as_words(params: Mapping[str, Value], space: Sequence[Dimension]) -> list[str]:
    """Parameters as words of the command line, in the order of the space."""
    return [f"{one.key}={value_text(params[one.key], exact=True)}" for one in space if one.key in params]


def range_text(dimension: Dimension) -> str:
    """«0.05 … 5, log scale», or the choices."""
    if dimension.choices:
        return ", ".join(map(value_text, dimension.choices))
    more = [f"steps of {value_text(dimension.step)}"] * (dimension.step is not None)
    more += ["log scale"] * dimension.log + ["whole numbers"] * (dimension.whole and dimension.step is None)
    return ", ".join([f"{value_text(dimension.low)} … {value_text(dimension.high)}", *more])


# --- objectives ---


@dataclass(frozen=True)
class Objective:
    """One of a study's objectives: a score, shown in percent, is maximised; a cost, shown as it is, is minimised."""

    name: str
    minimised: bool
    place: int = 0

    def shown(self, value: float) -> float:
        return value if self.minimised else 100 * value

    def text(self, value: float | None) -> str:
        if value is None:
            return MISSING
        return (f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}") if self.minimised else f"{100 * value:.1f}"

    @property
    def label(self) -> str:
        return self.name if self.minimised else f"{self.name} (%)"

    def better(self, one: float, other: float) -> bool:
        return one < other if self.minimised else one > other

    def of(self, trial: Trial) -> float | None:
        """What the trial reached; of a pruned one, the last estimate before it was cut, of the first objective only."""
        if trial.state == "complete":
            return trial.values[self.place]
        return last_estimate(trial) if trial.state == "pruned" and self.place == 0 else None


def signed(goal: Objective, difference: float) -> str:
    """With its sign, a true minus; of a score in points of percent."""
    shown = goal.shown(difference)
    return (f"{shown:+,.0f}" if abs(shown) >= 100 else f"{shown:+.1f}").replace("-", "−")


def interval_of(goal: Objective, shrinkage: Shrinkage) -> str:
    """«−1.2 … +4.4», or a dash where nothing is known of the seeds' scatter."""
    if shrinkage.low is None or shrinkage.high is None:
        return MISSING
    return f"{signed(goal, shrinkage.low)} … {signed(goal, shrinkage.high)}"


def objectives(study: Study) -> list[Objective]:
    pairs = zip(study.objectives, study.minimised, strict=True)
    return [Objective(name, minimised, place) for place, (name, minimised) in enumerate(pairs)]


def last_estimate(trial: Trial) -> float | None:
    return trial.course[max(trial.course)] if trial.course else None


# --- trials ---


def complete(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.state == "complete"]


def default_of(study: Study) -> Trial | None:
    """The complete trial of the configuration without a sweep."""
    return next((trial for trial in complete(study) if trial.is_default), None)


def best_first(study: Study) -> list[Trial]:
    """Complete trials by the first objective, pruned ones by how far they came; then the others by number."""
    sign = 1 if study.minimised[0] else -1

    def place(trial: Trial) -> tuple[int, float, int]:
        if trial.state == "complete":
            return 0, sign * trial.values[0], trial.number
        reached = -float(max(trial.course, default=0)) if trial.state == "pruned" else 0.0
        return 1 + STATES.index(trial.state), reached, trial.number

    return sorted(study.trials, key=place)


def by_importance(study: Study) -> list[Dimension]:
    """The searched keys, the most important first; in the study's order where nothing is known of that."""
    return sorted(study.space, key=lambda dimension: -study.importance.get(dimension.key, 0.0))


# --- sentences ---


def states_text(study: Study) -> str:
    """«33 complete, 4 pruned, 2 failed, 1 lost of 40 trials asked for.»: nothing is left out."""
    counts = Counter(trial.state for trial in study.trials)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "none begun"
    return f"{said} of {counted(study.budget, 'trial')} asked for."


def selection_text(study: Study) -> str:
    from benchmarks.selection import marked  # brings torch, which a list of studies does without

    return f"selection {SELECTIONS.get(study.selection, marked(study.selection))}"


def study_text(study: Study) -> str:
    """Of which study something is shown, and under which conditions; the end of every caption."""
    each = "one seed" if len(study.seeds) == 1 else "mean over seeds"
    return (
        f"Study {study.name}: {study.method} on {study.dataset}; {' and '.join(study.objectives)}, {each} "
        f"({', '.join(map(str, study.seeds))}), on identities held out of the training split, none of the test split; "
        f"protocol {study.protocol}; {selection_text(study)}. Sampler {study.sampler}, pruner {study.pruner}; "
        f"{states_text(study)}"
    )
