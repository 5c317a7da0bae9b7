"""What a sweep says while it goes on, and what it found."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .console import percent
from .running import Overview

if TYPE_CHECKING:
    from benchmarks.studies import Confirmed, Study, Trial
    from sweeps.command import SweepResult


class SweepReporter(Overview):
    """Hears a sweep's events and prints a line for each trial that ends."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[int] = set()

    def __enter__(self) -> "SweepReporter":
        super().__enter__()
        return self

    def on_study_start(self, event: Mapping[str, Any]) -> None:
        plan = event["plan"]
        self.reporter.say(
            f"study {plan.name}: {event['done']} of {plan.trials} trials are done; files: {event['folder'].path}"
        )
        for dimension in plan.space:
            self.reporter.say(f"  {dimension.key:<34} {_range(dimension)}, default {_number(dimension.default)}")

    def on_trial_start(self, event: Mapping[str, Any]) -> None:
        self.reporter.say(f"trial {event['number']}: " + _params(event["params"]))

    def on_trial_end(self, event: Mapping[str, Any]) -> None:
        """The picture of the study that follows tells it."""

    def on_study(self, event: Mapping[str, Any]) -> None:
        study = event["study"]
        for trial in study.trials:
            if trial.state in ("complete", "pruned", "failed", "lost") and trial.number not in self._told:
                self._told.add(trial.number)
                self.reporter.say(_ended(study, trial))

    def on_confirming(self, event: Mapping[str, Any]) -> None:
        self.reporter.say(f"{event['runs']} runs on fresh seeds")

    def on_warning(self, event: Mapping[str, Any]) -> None:
        self.reporter.on_warning(event)

    def on_note(self, event: Mapping[str, Any]) -> None:
        self.reporter.on_note(event)

    def result(self, result: "SweepResult") -> None:
        """The confirmation, the test of what was chosen against the defaults, and where everything is."""
        study = result.study
        self.on_study({"study": study})
        for line in confirmation_lines(study):
            self.reporter.console.print(line, markup=False)
        if result.tested:
            self.reporter.summary(result.tested)
        self.reporter.console.print(str(result.folder.path), markup=False)


def confirmation_lines(study: "Study") -> list[str]:
    confirmation = study.confirmation
    if confirmation is None:
        return []
    seeds = ", ".join(map(str, confirmation.seeds))
    lines = [f"confirmed on the fresh seeds {seeds} ({study.objectives[0]}, held-out training identities):"]
    for row in confirmation.rows:
        lines.append(
            f"  {row.name + (' (chosen)' if row.name == confirmation.chosen else ''):<20} " + _confirmed(study, row)
        )
    return lines


def _confirmed(study: "Study", row: "Confirmed") -> str:
    shrinkage = study.confirmation.shrinkage.get(row.name) if study.confirmation else None
    shrunk = ""
    if shrinkage is not None:
        shrunk = f", shrinkage {percent(shrinkage.mean)} ({percent(shrinkage.low)} … {percent(shrinkage.high)})"
    return f"tuned {percent(row.tuned)}, confirmed {percent(row.mean)}{shrunk}: {_params(row.params)}"


def _ended(study: "Study", trial: "Trial") -> str:
    done = sum(one.state in ("complete", "pruned", "failed") for one in study.trials)
    head = f"[{done}/{study.budget}] trial {trial.number}"
    if trial.state == "complete":
        best = study.best
        said = f"{study.objectives[0]} {percent(trial.values[0])}" if trial.values else ""
        return f"{head}: {said}" + (f" (best {percent(best.values[0])}, trial {best.number})" if best else "")
    return f"{head}: {trial.state}" + (f", {trial.reason}" if trial.reason else "")


def _params(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_number(value)}" for key, value in params.items())


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _range(dimension: Any) -> str:
    if dimension.choices:
        return " | ".join(map(str, dimension.choices))
    step = f" in steps of {_number(dimension.step)}" if dimension.step else ""
    return f"{_number(dimension.low)} … {_number(dimension.high)}{step}" + (" (log)" if dimension.log else "")
