"""The verb `ablate`: runs what is missing of an ablation study, prints its tables and writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison import rows_of
from datasets.errors import UsageError

from .console import Reporter
from .running import recorded, run_missing, tell_failures
from .tables import ablation_tables, write
from .tables.captions import tuning_text

if TYPE_CHECKING:
    from benchmarks.ablation_plans import Ablation

FOLDER = "ablations"


def read_retune(word: str | None) -> int:
    """The number in retune=N, 0 where it is not said. Raises UsageError for anything else."""
    if word is not None and (not word.isdecimal() or int(word) < 1):
        raise UsageError(f"retune={word}: say how many trials each row gets, such as retune=10.")
    return int(word or 0)


def carry_out_ablation(study: "Ablation", jobs: int | None, out: Path, formats: Sequence[str]) -> int:
    """The exit code of the first run that failed; 0 where none did. The tables go to OUT/ablations/NAME/."""
    failures = run_missing(study.plans, jobs)
    with Reporter() as reporter:
        if reporter.leads:
            rows = study.rows if study.trials else None
            tables = ablation_tables(
                rows_of(recorded(study.plans)), tuning=tuning_text(study.trials), rows_of_runs=rows
            )
            reporter.tables(tables)
            for table in tables:
                write([table], out / FOLDER / table.document, formats)
                reporter.say(table.caption)
                reporter.say(str(out / FOLDER / table.document))
    return tell_failures(failures, len(study.plans))
