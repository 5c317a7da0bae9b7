"""The tables of a store, as they are printed elsewhere, on a W&B run of their own for each dataset.

W&B's own table of runs folds the seeds together without their spread; ours says what a paper would.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence

from benchmarks.records import RunFolder, RunStore
from datasets.errors import CCReIDError
from datasets.files import write_json

from .choosing import is_tested
from .run_scalars import state_of
from .wandb_client import Client, one_line, read_memory
from .wording import counted

TABLES = "tables"
"""What they are logged as; also the group of these runs, and the end of their ids."""


def mirror_tables(runs: Sequence[RunFolder], client: Client, *, again: bool = False) -> None:
    """Log all tables of each dataset that `runs` name, over all runs of their store; again only where those changed."""
    if not runs:
        return
    store = [run for run in RunStore(runs[0].path.parent) if is_tested(run)]
    for dataset in datasets_of(runs):
        try:
            _mirror_tables_of(dataset, [run for run in store if dataset_of(run) == dataset], client, again)
        except Exception as error:  # of W&B, or of a damaged run, which `report` names
            client.say(f"{dataset}: the tables are not mirrored: {one_line(error)}")


def _mirror_tables_of(dataset: str, runs: Sequence[RunFolder], client: Client, again: bool) -> None:
    if not any(state_of(run) == "done" for run in runs):
        return
    content = hashlib.sha256(json.dumps([[run.run_id, state_of(run), run.events("scores")] for run in runs]).encode())
    target, run_id = client.target, f"{dataset}-{TABLES}"
    known = read_memory(client, "tables.json")
    key = f"{target.entity or ''}/{target.project}/{dataset}/{target.mode}"
    there = target.mode == "online" or target.offline_folders(run_id)
    if not again and known.get(key) == content.hexdigest() and there:
        return
    import wandb

    from benchmarks.comparison import rows_of

    from .tables import ablation_tables, result_tables
    from .tables.as_html import to_document

    rows = rows_of(runs)
    document = to_document(dataset, [*result_tables(rows), *ablation_tables(rows)])
    tracker = client.open(run_id, name=f"{dataset}: tables", group=TABLES, job_type="report", tags=[dataset])
    tracker.log({TABLES: wandb.Html(document, inject=False)})
    tracker.finish(exit_code=0)
    key = f"{target.entity or ''}/{target.project}/{dataset}/{client.target.mode}"
    write_json(client.target.root / "tables.json", known | {key: content.hexdigest()})
    client.say(f"{run_id}: tables of {counted(len(rows), 'configuration')}.")


def dataset_of(run: RunFolder) -> str | None:
    """None where the run's folder is damaged."""
    try:
        return run.spec()["dataset"]["name"]
    except (CCReIDError, KeyError, TypeError):
        return None


def datasets_of(runs: Iterable[RunFolder]) -> list[str]:
    return sorted({dataset for run in runs if (dataset := dataset_of(run)) is not None})
