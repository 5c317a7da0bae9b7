"""What part a run has in sweeps, as W&B names it: the type of its job, its group, its tags."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.records import RunFolder
from benchmarks.studies import StudyFolder, studies
from datasets.errors import DataError

from ..choosing import is_tested
from .choosing import run_ids

TRAIN = "train"


class Role(NamedTuple):
    job_type: str
    group: str
    tags: tuple[str, ...]


def role_of(run: RunFolder) -> Role:
    """A run that scored the test split is an ordinary one, whatever sweep it also serves; the tags say so."""
    parts = [(name, jobs[run.run_id]) for name, jobs in _jobs(run.path.parent) if run.run_id in jobs]
    tags = tuple(tag_of(name) for name, _ in parts)
    if not parts or is_tested(run):
        return Role(TRAIN, run.run_id.rpartition("-s")[0], tags)
    name, job_type = parts[0]
    return Role(job_type, name, tags)


def tag_of(study: str) -> str:
    return f"sweep:{study}"


def _jobs(runs: Path) -> list[tuple[str, dict[str, str]]]:
    """Of each study that can be read: its name, and run id → type of job."""
    return [found for folder in studies(runs) if (found := _jobs_of(folder.path, folder.file.stat().st_mtime_ns))]


@lru_cache(maxsize=64)
def _jobs_of(folder: Path, changed: int) -> tuple[str, dict[str, str]] | None:
    """`changed`: when the file was written; kept, since every run of a store asks."""
    try:
        study = StudyFolder(folder.parent.parent, folder.name).load()
    except DataError:
        return None
    return study.name, run_ids(study)
