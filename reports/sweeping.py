"""What a sweep says while it goes on, and what it found."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import percent
from .running import Overview
from .studies.words import range_text, short_names, value_text
from .wording import counted

if TYPE_CHECKING:
    from benchmarks.studies import Study, Trial


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
        self._told = set(event["ended"])
        left = plan.trials - len(event["ended"])
        done = f"{len(event['ended'])} trials are done, {left} to do" if left > 0 else "all trials are done"
        self.reporter.say(f"study {plan.name}: {done}; files: {event['folder'].path}")
        for dimension in plan.space:
            said = f"{range_text(dimension)}; default {value_text(dimension.default)}"
            self.reporter.say(f"  {dimension.key:<34} {said}")

    def on_trial_start(self, event: Mapping[str, Any]) -> None:
        names = short_names(list(event["params"]))
        params = " ".join(f"{names[key]}={value_text(value)}" for key, value in event["params"].items())
        self.reporter.say(f"trial {event['number']}: {params}")

    def on_trial_end(self, event: Mapping[str, Any]) -> None:
        """The picture of the study that follows tells it."""

    def on_study(self, event: Mapping[str, Any]) -> None:
        study = event["study"]
        for trial in study.trials:
            if trial.state in ("complete", "pruned", "failed", "lost") and trial.number not in self._told:
                self._told.add(trial.number)
                self.reporter.say(_ended(study, trial))

    def on_confirming(self, event: Mapping[str, Any]) -> None:
        what = "tested: the chosen configuration and the defaults" if event["test"] else "trained on fresh seeds"
        self.reporter.say(f"{counted(event['runs'], 'run')} {'is' if event['runs'] == 1 else 'are'} {what}")

    def on_warning(self, event: Mapping[str, Any]) -> None:
        self.reporter.on_warning(event)

    def on_note(self, event: Mapping[str, Any]) -> None:
        self.reporter.on_note(event)

    def result(self, study: "Study", folder: Path) -> None:
        """The confirmation, the test of what was chosen against the defaults, and where everything is."""
        from .studies.tables import CONFIRMATION, TRIALS, study_tables, without_keys

        self.on_study({"study": study})
        tables = [table for table in study_tables(study) if table.kind != TRIALS]
        self.reporter.tables([without_keys(table) if table.kind == CONFIRMATION else table for table in tables])
        self.reporter.console.print("`python run.py report` makes figures, tables and a page of it.", markup=False)
        self.reporter.console.print(str(folder), markup=False)


def _ended(study: "Study", trial: "Trial") -> str:
    done = sum(one.state in ("complete", "pruned", "failed") for one in study.trials)
    head = f"[{done}/{study.budget}] trial {trial.number}"
    if trial.state == "complete":
        best = study.best
        said = f"{study.objectives[0]} {percent(trial.values[0])}" if trial.values else ""
        return f"{head}: {said}" + (f" (best {percent(best.values[0])}, trial {best.number})" if best else "")
    return f"{head}: {trial.state}" + (f", {trial.reason}" if trial.reason else "")
