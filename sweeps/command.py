"""The verb `sweep`: begin a study or go on with it, confirm what it found, and leave a picture of it for reports."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from benchmarks.child import Outcome, Place, folder_of, follow_the_parent, is_finished, places
from benchmarks.data import ExperimentData, open_dataset
from benchmarks.interruption import Interruption
from benchmarks.launch import launch
from benchmarks.resolve import Resolved
from benchmarks.selection import VALIDATION
from benchmarks.studies import Confirmation, Confirmed, Study, StudyFolder, Value
from datasets.errors import CCReIDError, DataError, UsageError

from .confirmation import DEFAULTS, Score, confirm, on_the_test_split
from .crew import FOLLOWS, Crew
from .measuring import RunMeasure
from .plan import SweepPlan, read_plan
from .slurm import Cluster, ended
from .snapshot import snapshot
from .space import defaults_in
from .storage import STORAGE_VARIABLE, Storage, open_storage
from .study import REASON, counted, open_study, replace_lost
from .worker import Listener, work

PICTURE_SECONDS = 2.0
"""Between two pictures of a study that goes on."""
WAITING_SECONDS = 1.0
OUTSIDE = (
    "The configuration without a sweep lies outside of the space, so that it is no trial; it is confirmed all the same."
)
CLUSTER_SECONDS = 15.0
"""Between two questions to a cluster, which serves others, too."""


@dataclass(frozen=True)
class SweepResult:
    study: Study
    folder: StudyFolder


def sweep(values: Mapping[str, str], words: Sequence[str], listen: Listener) -> SweepResult:
    """Carry out what is left of the sweep that the words ask for. `words`: as typed, for workers in other processes.

    `listen` hears study-start, trial-start, trial-end, study, note, and what `launch` says. Raises UsageError,
    DataError, and StoppedError after a signal; the same words go on.
    """
    if os.environ.get(FOLLOWS):
        follow_the_parent()
    plan = read_plan(values)
    folder = StudyFolder(plan.base.session.runs, plan.name)
    require_validation(plan.base)
    if plan.storage is None:
        require_journal(folder)
    storage = open_storage(
        folder, plan.storage, plan.grace, lambda message: listen({"event": "warning", "message": message})
    )
    return Sweep(plan, folder, storage, open_study(plan, storage), words, listen).carry_out()


def require_journal(folder: StudyFolder) -> None:
    """Raise DataError where a study was begun here and its journal is gone: it would silently begin anew."""
    if folder.file.exists() and not folder.journal.exists():
        raise DataError(
            f"{folder.journal} is missing, though {folder.file} tells of its trials: restore it, choose another "
            f"study=NAME, or delete {folder.path} to begin anew."
        )


def _is_of(confirmation: Confirmation, study: Study) -> bool:
    """Whether what was confirmed are trials of this study."""
    params = {trial.number: trial.params for trial in study.trials}
    return all(row.trial is None or params.get(row.trial) == row.params for row in confirmation.rows)


def require_validation(base: Resolved) -> None:
    """Raise UsageError where no identities can be held out; DataError where the dataset cannot be read."""
    data = ExperimentData(open_dataset(base.spec.dataset, base.session), base.spec, base.session, lambda event: None)
    if data.rule != VALIDATION:
        raise UsageError(
            f"{base.spec.dataset.name} has too few training identities to hold out {base.spec.select.holdout:.0%} of "
            "them, and a sweep never chooses on the test split: say a larger select.holdout."
        )


@dataclass
class Sweep:
    """One command's share of a study."""

    plan: SweepPlan
    folder: StudyFolder
    storage: Storage
    study: optuna.Study
    words: Sequence[str]
    listen: Listener
    _pictured: float = 0.0
    _seen: int = 0

    def carry_out(self) -> SweepResult:
        plan = self.plan
        before = [trial.number for trial in counted(self._trials())]
        self.listen({"event": "study-start", "plan": plan, "ended": before, "folder": self.folder})
        if defaults_in(plan.space) is None:
            self.listen({"event": "note", "message": OUTSIDE})
        try:
            self._carry_out_trials()
        except CCReIDError:
            with contextlib.suppress(CCReIDError):  # the first error says it all
                self._picture()
            raise
        if plan.join or self._left():
            return SweepResult(self._picture(), self.folder)
        self._require_some_value()
        confirmation = self._confirm()
        if confirmation is not None:
            self._picture(confirmation)
            confirmation = self._test(confirmation)
        return SweepResult(self._picture(confirmation), self.folder)

    def _require_some_value(self) -> None:
        """Raise DataError where no trial came to an end, so that there is nothing to confirm."""
        ended = counted(self._trials())
        if all(trial.state == TrialState.FAIL for trial in ended):
            self._picture()
            reason = ended[-1].user_attrs[REASON].rstrip(".") if ended else "there was none"
            raise DataError(
                f"No trial of {self.plan.name} came to an end ({reason}): mend that, and say another study=NAME or "
                "more trials=."
            )

    def _carry_out_trials(self) -> None:
        while self._left():
            self._work()
            if self.plan.join or not self.plan.wait:
                break
            self._wait_for_others()

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.storage.patiently(lambda: self.study.get_trials(deepcopy=False))

    def _left(self) -> bool:
        return len(counted(self._trials())) < self.plan.trials

    # --- trials ---

    def _work(self) -> None:
        device = self.plan.base.session.device
        if self.plan.slurm is not None:
            self._on_the_cluster("trials", self.plan.workers, "join=true")
        elif self.plan.workers > 1:
            crew = Crew(self.words, places(self.plan.workers, device), self.folder.path / "workers")
            crew.watch(self._look, lambda message: self.listen({"event": "warning", "message": message}))
        else:
            (place,) = places(1, device)
            place = Place(place.device, int(os.environ.get("OMP_NUM_THREADS", place.threads)))
            work(self.plan, self.study, self.storage, RunMeasure(self.plan, place), self._heard)

    def _on_the_cluster(self, purpose: str, tasks: int, *words: str) -> Path:
        """Until the jobs have ended, or there are no trials left for them; where their logs are."""
        if self.plan.slurm is None:
            raise RuntimeError("no cluster was asked for")
        url = self.plan.storage
        place = self.folder.path / "slurm"
        cluster = Cluster(
            self.plan.slurm,
            self.plan.name,
            place,
            self.plan.base.session.device,
            None if url is None else (STORAGE_VARIABLE, url),
        )
        before = len(counted(self._trials()))
        job, new = cluster.submitted(purpose, tasks, [*self.words, *words])
        said = f"submitted to Slurm with {tasks} tasks" if new else "is still queued or runs"
        self.listen({"event": "note", "message": f"job {job} {said}: logs in {place}, `scancel {job}` ends it"})
        if not self.plan.wait and purpose == "trials":
            return place
        with Interruption().listening():
            while cluster.is_alive(job) and (purpose != "trials" or self._left()):
                self._look()
                time.sleep(CLUSTER_SECONDS)
        if purpose == "trials" and self._left() and len(counted(self._trials())) == before:
            raise DataError(
                f"Slurm job {job} has ended without a trial: see {place}; the same command submits it again."
            )
        return place

    def _heard(self, event: dict) -> None:
        self.listen(event)
        if event["event"] == "trial-end":
            self._look()

    def _look(self) -> None:
        """Tell of trials that ended in other processes, and leave a picture from time to time."""
        if time.monotonic() - self._pictured < PICTURE_SECONDS:
            return
        self._pictured = time.monotonic()
        study = self._picture()
        ended = sum(trial.state in ("complete", "pruned", "failed") for trial in study.trials)
        if ended != self._seen:
            self._seen = ended
            self.listen({"event": "study", "study": study})

    def _wait_for_others(self) -> None:
        """Until trials that workers of other commands run have ended, or were lost."""
        told = False
        while self._left() and (running := [one for one in self._trials() if one.state == TrialState.RUNNING]):
            if not told:
                told = True
                self.listen({"event": "note", "message": f"waiting for {len(running)} trials of other workers"})
            time.sleep(WAITING_SECONDS)
            self.storage.patiently(self._expire)
            if any(one.state == TrialState.WAITING for one in self._trials()):
                return

    def _expire(self) -> None:
        with self.storage.exclusive():
            self.storage.fail_stale(self.study)
            replace_lost(self.study)

    # --- what was found ---

    def _picture(self, confirmation: Confirmation | None = None) -> Study:
        found = self.storage.patiently(lambda: snapshot(self.plan, self.study, confirmation))
        if confirmation is None and self.folder.file.exists():
            try:  # what an earlier command confirmed stays until it is confirmed anew
                earlier = self.folder.load().confirmation
            except DataError:
                earlier = None
            if earlier is not None and _is_of(earlier, found):
                found = found.model_copy(update={"confirmation": earlier})
        self.folder.save(found)
        return found

    def _confirm(self) -> Confirmation | None:
        """Run the best trials again; the runs are ordinary ones, so that saying it twice trains nothing twice."""
        return confirm(self.plan, self.study, self._measured)

    def _measured(self, asked: Sequence[tuple[Mapping[str, Value], int]]) -> list[Score]:
        runs: list[Resolved | str] = []
        for params, seed in asked:
            try:
                runs.append(self.plan.configuration(params, seed))
            except UsageError as error:
                runs.append(str(error))
        outcomes = {one.run_id: one for one in self._launched([run for run in runs if isinstance(run, Resolved)])}
        return [("", None, run) if isinstance(run, str) else self._score(run, outcomes[run.run_id]) for run in runs]

    def _launched(self, runs: Sequence[Resolved]) -> list[Outcome]:
        if not runs:
            return []
        self.listen({"event": "confirming", "runs": len(runs), "test": runs[0].session.test})
        if self.plan.slurm is not None:
            left = [run for run in runs if not is_finished(run)]
            logs = self._on_the_cluster("confirm", min(self.plan.workers, len(left))) if left else self.folder.path
            return [ended(run, logs) for run in runs]
        return launch(runs, places(self.plan.workers, self.plan.base.session.device), self.listen)

    def _score(self, run: Resolved, outcome: Outcome) -> Score:
        if not outcome.succeeded:
            return outcome.run_id, None, outcome.reason
        try:
            return outcome.run_id, self.plan.objectives[0].of_run(folder_of(run).events()), ""
        except (CCReIDError, KeyError) as error:
            return outcome.run_id, None, str(error)

    def _test(self, confirmation: Confirmation) -> Confirmation:
        """Now that the choice is made the test split is opened, for the chosen configuration and the defaults."""
        if confirmation.chosen == DEFAULTS:
            return confirmation
        runs = {name: self._tested_runs(confirmation.row(name)) for name in (confirmation.chosen, DEFAULTS)}
        outcomes = {one.run_id: one for one in self._launched([run for of_row in runs.values() for run in of_row])}
        chosen, defaults = (
            [folder_of(run) for run in of_row if outcomes[run.run_id].succeeded] for of_row in runs.values()
        )
        if not chosen or not defaults:
            return confirmation
        return confirmation.model_copy(update={"tested": on_the_test_split(chosen, defaults)})

    def _tested_runs(self, row: Confirmed) -> list[Resolved]:
        return [self.plan.configuration(row.params, seed, test=True) for seed in row.by_seed]
