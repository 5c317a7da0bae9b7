"""What to type to go on with a study, and to train what it found."""

import shlex
from pathlib import Path

from benchmarks.studies import Study, Value

from ..reproduction import needs_files
from .words import as_words


def chosen_params(study: Study) -> tuple[str, dict[str, Value]] | None:
    """Name and parameters of what was found: the confirmed choice, else the best trial; None where there is none."""
    found, best = study.confirmation, study.best
    if found is not None and any(row.by_seed for row in found.rows):
        row = found.row(found.chosen)
        return row.name, dict(row.params)
    return None if best is None else (f"trial {best.number}", dict(best.params))


def go_on(study: Study, runs: Path | None = None) -> str:
    """The `sweep` command; one that asks for more trials= makes more. `runs`: where they are, when that may be told."""
    seeds = ",".join(map(str, study.seeds))
    usual = f"{study.base} study={study.name} seed={seeds} trials={study.budget}"
    return _joined("sweep", study, study.command or usual, runs)


def train_chosen(study: Study, runs: Path | None = None) -> str:
    """The `train` command of what was found, on the seeds that confirmed it, or the sweep's; scores the test split."""
    found = study.confirmation
    seeds = found.seeds if found is not None and found.seeds else study.seeds
    _, params = chosen_params(study) or ("", {})
    words = [study.base, *as_words(params, study.space), f"seed={','.join(map(str, seeds))}"]
    return _joined("", study, " ".join(words), runs)


def _joined(verb: str, study: Study, words: str, runs: Path | None) -> str:
    folder = "data=DIR" if needs_files(study.dataset) else ""
    place = "" if runs is None or runs == Path("runs") else shlex.quote(f"runs={runs}")
    return " ".join(filter(None, ("python run.py", verb, words, folder, place)))
