"""A worker: begins trials of a study, one after the other, until none is left to begin."""

from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState

from benchmarks.interruption import Interruption, StoppedError
from datasets.errors import DataError

from .plan import SweepPlan
from .storage import Storage
from .study import REASON, counted, next_trial
from .trial import Measure, carry_out

Listener = Callable[[dict[str, Any]], None]
FAILURES = 3
"""When so many trials in a row fail for one reason, or the first ones for any, it is not the parameters."""


def work(plan: SweepPlan, study: optuna.Study, storage: Storage, measure: Measure, listen: Listener) -> int:
    """Carry out trials; how many. `listen` hears trial-start, and trial-end with the trial as Optuna keeps it.

    Raises StoppedError after SIGTERM or SIGINT, when the running trial has left a checkpoint and is given back, and
    DataError where the data are wrong, the storage stays away, or trials fail in a row.
    """
    interruption = Interruption()
    done = 0

    def stop() -> StoppedError | None:
        return None if interruption.requested is None else interruption.stopped()

    with interruption.listening(), interruption.deferred():
        storage.join()
        while (error := stop()) is None:
            trial = next_trial(plan, study, storage)
            if trial is None:
                return done
            listen({"event": "trial-start", "number": trial.number, "params": trial.params})
            carry_out(plan, study, storage, trial, measure, stop)
            done += 1
            _require_some_success(study, storage)
            ended = storage.patiently(lambda number=trial.number: study.get_trials(deepcopy=False)[number])
            listen({"event": "trial-end", "trial": ended})
        raise error


def _require_some_success(study: optuna.Study, storage: Storage) -> None:
    """Raise DataError where the last trials all failed for one reason, or none has come to an end at all."""
    ended = counted(storage.patiently(lambda: study.get_trials(deepcopy=False)))
    last = ended[-FAILURES:]
    if len(last) < FAILURES or any(trial.state != TrialState.FAIL for trial in last):
        return
    reasons = {trial.user_attrs[REASON].partition(": ")[2] for trial in last}  # without the seed
    if len(reasons) == 1 or len(last) == len(ended):
        raise DataError(
            f"The last {FAILURES} trials failed, the last one in {last[-1].user_attrs[REASON].rstrip('.')}. Mend that; "
            "the same command goes on with the trials that are left."
        )
