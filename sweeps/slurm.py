"""Workers of a sweep as a job array of a Slurm cluster, submitted through submitit; slurm_task.py is what each does."""

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from benchmarks.child import PROGRAM, Outcome, folder_of, is_finished
from benchmarks.plugins import loaded_files
from benchmarks.resolve import Resolved
from benchmarks.words import read_value
from datasets.config import Strict
from datasets.errors import DataError, UsageError, did_you_mean
from datasets.files import write_json

from .journal import held
from .slurm_task import Task
from .storage import without_password

PREFIX = "slurm."
NOT_PASSED_ON = ("launcher", "wait", "workers", "join", "storage")
"""Words that a task gets in another way, or not at all."""


class SlurmOptions(Strict):
    """What a sweep's tasks ask a Slurm cluster for. One that is not given is left to the cluster."""

    partition: str | None = None
    """Where to queue; several with commas."""
    account: str | None = None
    """Whose share it is."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that a node must have."""
    exclude: str | None = None
    """Nodes not to use."""
    time: int = Field(default=240, ge=2)
    """Minutes of one task; when they are over it goes on in another one, so that a sweep may take longer."""
    gpus: int | None = Field(default=None, ge=0)
    """Of each task; one when not given, none with device=cpu."""
    cpus: int = Field(default=4, ge=1)
    """Cores of each task."""
    mem: float | None = Field(default=None, gt=0)
    """GB of each task."""
    parallel: int | None = Field(default=None, ge=1)
    """Most tasks that run at once; all when not given."""
    requeues: int = Field(default=100, ge=0)
    """How often a task may go back into the queue because its time is over."""
    signal: int = Field(default=120, ge=20)
    """Seconds before the end of its time at which a task stops with a checkpoint."""
    setup: str | None = None
    """A line of shell before the task, such as «module load cuda»."""


def read_slurm(values: Mapping[str, str], launcher: str) -> SlurmOptions | None:
    """launcher=slurm slurm.KEY=VALUE …; None without a launcher. Raises UsageError for other words."""
    given = {key.removeprefix(PREFIX): word for key, word in values.items() if key.startswith(PREFIX)}
    if launcher not in ("", "slurm"):
        raise UsageError(f"Unknown launcher={launcher}. Available: slurm, or leave it out for workers on this machine.")
    if not launcher:
        if given:
            raise UsageError(f"{PREFIX}{next(iter(given))} is for a cluster: say launcher=slurm, too.")
        return None
    fields = SlurmOptions.model_fields
    for key in given:
        if key not in fields:
            raise UsageError(f"Unknown key {PREFIX}{key}.{did_you_mean(key, fields)} There: {', '.join(fields)}.")
    try:
        options = SlurmOptions.model_validate({key: read_value(key, word) for key, word in given.items()})
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        key = str(error["loc"][0])
        raise UsageError(f"{PREFIX}{key}={error['input']}: {error['msg']}. It is: {fields[key].description}") from None
    if options.signal > 60 * options.time / 2:
        raise UsageError(
            f"slurm.signal={options.signal}: a task of slurm.time={options.time} minutes would stop before the half."
        )
    return options


@dataclass(frozen=True)
class Cluster:
    """The job arrays of one study."""

    options: SlurmOptions
    name: str
    folder: Path
    """Of scripts, logs and the numbers of jobs; every node must see it."""
    device: str
    storage: tuple[str, str] | None
    """Variable that names the database, and its value."""

    @property
    def logs(self) -> Path:
        return self.folder.absolute()

    def submitted(self, purpose: str, tasks: int, words: Sequence[str]) -> tuple[str, bool]:
        """Number of the job array for this purpose, and whether it is new: one that is still queued or runs is kept.

        Raises UsageError where there is no Slurm or it refuses the job.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / "submitting.lock"):
            job = self._known().get(purpose)
            if job and self.is_alive(job):
                return job, False
            job = self._submit(tasks, words)
            write_json(self.folder / "jobs.json", {**self._known(), purpose: job})
        return job, True

    def _known(self) -> dict[str, str]:
        try:
            return json.loads((self.folder / "jobs.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

    def _submit(self, tasks: int, words: Sequence[str]) -> str:
        for program in ("sbatch", "srun", "squeue", "scontrol"):
            if shutil.which(program) is None:
                raise UsageError(
                    f"launcher=slurm needs {program}, which is not here: type it where the cluster takes jobs."
                )
        try:
            from submitit import SlurmExecutor
            from submitit.core.utils import FailedJobError, FailedSubmissionError
        except ImportError:
            raise UsageError("launcher=slurm needs a package: pip install submitit.") from None
        executor = SlurmExecutor(folder=self.folder.absolute(), max_num_timeout=self.options.requeues)
        executor.update_parameters(**self._parameters())
        task = self._task(words)
        try:
            if self.storage is not None and task.needs:
                os.environ[self.storage[0]] = self.storage[1]  # which sbatch hands on
            with contextlib.redirect_stderr(io.StringIO()), executor.batch():  # submitit repeats sbatch's words there
                jobs = [executor.submit(task) for _ in range(tasks)]
            return str(jobs[0].job_id).partition("_")[0]
        except (FailedJobError, FailedSubmissionError) as error:
            said = (str(error).strip().splitlines() or ["no reason given"])[-1].removeprefix("sbatch: ")
            raise UsageError(f"Slurm refuses the job ({said}): change the slurm.… words.") from None

    def _task(self, words: Sequence[str]) -> Task:
        kept = [word for word in words if word.partition("=")[0] not in NOT_PASSED_ON and not word.startswith(PREFIX)]
        kept += [f"plugin={file}" for file in loaded_files()]
        needs = None
        if self.storage is not None:
            variable, url = self.storage
            if without_password(url) == url:
                kept.append(f"storage={url}")
            else:
                needs = variable
        return Task(
            (*kept, "workers=1"), str(Path.cwd()), self.options.cpus, max(self.options.signal - 10.0, 10.0), needs
        )

    def _parameters(self) -> dict[str, Any]:
        options = self.options
        gpus = options.gpus if options.gpus is not None else int(self.device != "cpu")
        path = f"export PYTHONPATH={shlex.quote(str(PROGRAM.parent))}${{PYTHONPATH:+:$PYTHONPATH}}"
        asked = {
            "partition": options.partition,
            "account": options.account,
            "qos": options.qos,
            "constraint": options.constraint,
            "exclude": options.exclude,
            "gpus_per_node": gpus or None,
            "mem": None if options.mem is None else f"{options.mem * 1024:.0f}M",
            "array_parallelism": options.parallel,
        }
        return {
            **{key: value for key, value in asked.items() if value is not None},
            "job_name": self.name,
            "time": options.time,
            "cpus_per_task": options.cpus,
            "signal_delay_s": options.signal,
            "stderr_to_stdout": True,
            "setup": [path, *([options.setup] if options.setup else [])],
            "additional_parameters": {"requeue": True},
        }

    def is_alive(self, job: str) -> bool:
        """Whether a task of it is queued or runs; True where the cluster does not answer."""
        asked = subprocess.run(  # noqa: S603
            ["squeue", "--noheader", "--format=%T", f"--jobs={job}"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode:
            return "invalid job id" not in asked.stderr.lower()
        return bool(asked.stdout.strip())


def ended(run: Resolved, logs: Path) -> Outcome:
    """How a run ended that a job carried out. Raises DataError where none did."""
    status = folder_of(run).status()
    if is_finished(run):
        return Outcome(run.run_id, status["state"], 0.0, 0)
    if status["state"] == "failed":
        return Outcome(run.run_id, "failed", 0.0, 1, status.get("reason", ""))
    raise DataError(f"The job has ended, but not {run.run_id}: see {logs}; the same command submits it again.")
