"""The tables and figures of each study, as a report shows them, on a W&B run of their own in the study's group."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.studies import Study
from datasets.files import write_json

from .figures.style import Picture
from .studies.everything import figures_of_study
from .studies.listing import line_of
from .studies.roles import tag_of
from .studies.tables import study_tables
from .tables.as_html import to_document
from .wandb_client import Client, one_line, read_memory

MEMORY = "studies.json"
TABLES = "sweep/tables"
FIGURE = "sweep/{}"


def mirror_studies(studies: Sequence[Study], client: Client, *, again: bool = False) -> None:
    """Log what each study shows; again only where it changed."""
    for study in studies:
        try:
            _mirror(study, client, again)
        except Exception as error:  # of W&B, whose types are many
            client.say(f"{study.name}: the study is not mirrored: {one_line(error)}")


def study_run_id(study: Study) -> str:
    return f"{study.name}-sweep"


def _mirror(study: Study, client: Client, again: bool) -> None:
    content = hashlib.sha256(study.model_dump_json().encode()).hexdigest()
    target, run_id = client.target, study_run_id(study)
    there = target.mode == "online" or target.offline_folders(run_id)
    if not again and read_memory(client, MEMORY).get(_key(study, client)) == content and there:
        return
    tracker = client.open(
        run_id,
        name=f"{study.name}: sweep",
        group=study.name,
        job_type="report",
        tags=[tag_of(study.name), study.method, study.dataset],
        config=study.model_dump(mode="json", exclude={"trials", "importance", "pareto", "confirmation"}),
    )
    with TemporaryDirectory() as folder:
        shown = _shown(study, Path(folder))
        tracker.log(shown, commit=True)
        tracker.summary.update(_summary(study))
        tracker.finish(exit_code=0)
    write_json(client.target.root / MEMORY, read_memory(client, MEMORY) | {_key(study, client): content})
    client.say(f"{run_id}: {len(study.trials)} trials, {len(shown) - 1} figures.")


def _key(study: Study, client: Client) -> str:
    target = client.target
    return f"{target.entity or ''}/{target.project}/{study.name}/{target.mode}"


def _shown(study: Study, folder: Path) -> dict[str, Any]:
    import wandb

    document = to_document(study.name, study_tables(study))
    values: dict[str, Any] = {TABLES: wandb.Html(document, inject=False)}
    for picture in figures_of_study(study, folder):
        if isinstance(picture, Picture):
            values[FIGURE.format(picture.name)] = wandb.Image(str(picture.png), caption=picture.caption)
    return values


def _summary(study: Study) -> dict[str, Any]:
    """What one line of a table of runs shows."""
    line, best, found = line_of(study), study.best, study.confirmation
    values: dict[str, Any] = {"trials": line.trials}
    if best is not None:
        values |= {"best_trial": best.number, "tuned": best.values[0]}
    if found is not None and (mean := found.row(found.chosen).mean) is not None:
        values |= {"chosen": found.chosen, "confirmed": mean}
    return values | {f"importance/{key}": share for key, share in study.importance.items()}
